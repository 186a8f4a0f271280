"""FastCGI records: the constants of the specification, and records to bytes.

Everything is big-endian. A record is an 8-byte header, up to 65,535 bytes of content and up to
255 bytes of padding (FastCGI 1.0, section 3.3).
"""

from __future__ import annotations

import struct

from gateways.protocols import framing
from gateways.protocols.base import Buffer, FilePart, Output

FCGI_VERSION_1 = 1
FCGI_HEADER_LEN = 8
FCGI_MAX_LENGTH = 65535
FCGI_NULL_REQUEST_ID = 0

FCGI_BEGIN_REQUEST = 1
FCGI_ABORT_REQUEST = 2
FCGI_END_REQUEST = 3
FCGI_PARAMS = 4
FCGI_STDIN = 5
FCGI_STDOUT = 6
FCGI_STDERR = 7
FCGI_DATA = 8
FCGI_GET_VALUES = 9
FCGI_GET_VALUES_RESULT = 10
FCGI_UNKNOWN_TYPE = 11

FCGI_KEEP_CONN = 1

FCGI_RESPONDER = 1
FCGI_AUTHORIZER = 2
FCGI_FILTER = 3

FCGI_REQUEST_COMPLETE = 0
FCGI_CANT_MPX_CONN = 1
FCGI_OVERLOADED = 2
FCGI_UNKNOWN_ROLE = 3

FCGI_MAX_CONNS = "FCGI_MAX_CONNS"
FCGI_MAX_REQS = "FCGI_MAX_REQS"
FCGI_MPXS_CONNS = "FCGI_MPXS_CONNS"

HEADER = struct.Struct(">BBHHBx")  # version, type, request id, content length, padding length
BEGIN_REQUEST = struct.Struct(">HB5x")  # role, flags
_END_REQUEST = struct.Struct(">BBHHBxIB3x")  # a header, then application and protocol status
# The empty record that ends STDOUT, and END_REQUEST, which nearly every response ends with.
_TRAILER = struct.Struct(">BBHHBxBBHHBxIB3x")
_UNKNOWN_TYPE = struct.Struct(">BBHHBxB7x")  # a header, then the type

# nginx logs up to 2,048 bytes a line, of which it needs some for itself.
_LOG_LINE = 1500
_PADDINGS = tuple(map(bytes, range(8)))
# A full record of this size needs no padding, so a long body is cut without copying it.
_LONGEST_ALIGNED = FCGI_MAX_LENGTH & ~7
# The kernel hands whole pages on, and 16 of them at a time.
_LONGEST_PAGES = 15 * 4096
# Up to here one copy into a record is cheaper than handing the kernel three buffers.
COPY_BELOW = 16384
_SHORT_REST = 256  # of a piece: 64 KiB have 8 bytes too many for one record


def pack_record(record_type: int, request_id: int, content: bytes = b"") -> bytes:
    """One record of at most 65,535 bytes of content, padded to a multiple of 8."""
    length = len(content)
    padding = -length & 7
    header = HEADER.pack(FCGI_VERSION_1, record_type, request_id, length, padding)
    return header + content + _PADDINGS[padding]


def pack_stream(record_type: int, request_id: int, data: bytes, out: list[Buffer]) -> None:
    """Append the records of a piece of a stream to ``out``; no data, no record.

    An empty record would end the stream: that is ``pack_record`` with no content.
    """
    length = len(data)
    if 0 < length <= COPY_BELOW:
        padding = -length & 7
        out.append(framing.pack_header(FCGI_VERSION_1, record_type, request_id, length, padding))
        out.append(data)
        if padding:
            out.append(_PADDINGS[padding])
        return
    view = memoryview(data)
    position = 0
    if length > _LONGEST_ALIGNED:
        header = framing.pack_header(FCGI_VERSION_1, record_type, request_id, _LONGEST_ALIGNED, 0)
    while length - position > _LONGEST_ALIGNED:
        out.append(header)
        out.append(view[position : position + _LONGEST_ALIGNED])
        position += _LONGEST_ALIGNED
    rest = length - position
    if rest:
        padding = -rest & 7
        header = framing.pack_header(FCGI_VERSION_1, record_type, request_id, rest, padding)
        if rest <= _SHORT_REST:
            out.append(header + data[position:] + _PADDINGS[padding])
            return
        out.append(header)
        out.append(view[position:])
        if padding:
            out.append(_PADDINGS[padding])


def pack_both(
    record_type: int, request_id: int, first: bytes, second: bytes, out: list[Buffer]
) -> None:
    """Append one record of two pieces, which are short."""
    length = len(first) + len(second)
    padding = -length & 7
    out.append(framing.pack_header(FCGI_VERSION_1, record_type, request_id, length, padding))
    out.append(first)
    if second:
        out.append(second)
    if padding:
        out.append(_PADDINGS[padding])


def pack_file(record_type: int, request_id: int, part: FilePart, out: Output) -> None:
    """Append the records of a piece of a file, with their content left to whoever sends them."""
    for start in range(0, part.size, _LONGEST_PAGES):
        content = part.part(start, start + _LONGEST_PAGES)
        padding = -content.size & 7
        out.append(
            framing.pack_header(FCGI_VERSION_1, record_type, request_id, content.size, padding)
        )
        out.append(content)
        if padding:
            out.append(_PADDINGS[padding])


def pack_lines(record_type: int, request_id: int, data: bytes, out: list[Buffer]) -> None:
    """Append the records of a piece of text to ``out``, cut at line ends where it can be.

    Web servers log each record by itself, and cut off what is longer than a line of their log.
    """
    position = 0
    while position < len(data):
        end = position + _LOG_LINE
        if end < len(data):
            newline = data.rfind(b"\n", position, end)
            end = newline + 1 if newline >= 0 else end
        out.append(pack_record(record_type, request_id, data[position:end]))
        position = end


def pack_end_request(request_id: int, app_status: int, protocol_status: int) -> bytes:
    """FCGI_END_REQUEST; ``app_status`` is an unsigned 32-bit number."""
    return _END_REQUEST.pack(
        FCGI_VERSION_1, FCGI_END_REQUEST, request_id, 8, 0, app_status, protocol_status
    )


def pack_trailer(request_id: int, app_status: int) -> bytes:
    """The end of STDOUT and the FCGI_END_REQUEST of a request that was served."""
    if not app_status and request_id < _KNOWN_TRAILERS:
        return _TRAILERS[request_id]
    return _pack_trailer(request_id, app_status)


def _pack_trailer(request_id: int, app_status: int) -> bytes:
    # fmt: off
    return _TRAILER.pack(
        FCGI_VERSION_1, FCGI_STDOUT, request_id, 0, 0,
        FCGI_VERSION_1, FCGI_END_REQUEST, request_id, 8, 0, app_status, FCGI_REQUEST_COMPLETE,
    )
    # fmt: on


# Those with status 0, by request id, which is mostly 1.
_KNOWN_TRAILERS = 32
_TRAILERS = tuple([_pack_trailer(request_id, 0) for request_id in range(_KNOWN_TRAILERS)])


def pack_unknown_type(record_type: int) -> bytes:
    """FCGI_UNKNOWN_TYPE, a management record (request id 0)."""
    return _UNKNOWN_TYPE.pack(FCGI_VERSION_1, FCGI_UNKNOWN_TYPE, 0, 8, 0, record_type)


# What nearly all requests begin and end with, as request 1: BEGIN_REQUEST of a responder with
# either flag and half a header of PARAMS; the end of PARAMS; that and the end of STDIN. To compare
# many bytes is cheaper than to read a few.
USUAL_BEGINNING, USUAL_KEPT_BEGINNING = (
    pack_record(FCGI_BEGIN_REQUEST, 1, BEGIN_REQUEST.pack(FCGI_RESPONDER, flags))
    + pack_record(FCGI_PARAMS, 1)[:4]
    for flags in (0, FCGI_KEEP_CONN)
)
USUAL_END_OF_PARAMS = pack_record(FCGI_PARAMS, 1)
USUAL_END = USUAL_END_OF_PARAMS + pack_record(FCGI_STDIN, 1)
