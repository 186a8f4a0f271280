"""Encoders for FastCGI requests and decoders for replies, from the web server's side.

Streams are sent complete, with the empty record that ends them. ``cut`` is the size of the pieces
that a stream is sent in, in bytes; without it the records are as large as they may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_ABORT_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_DATA,
    FCGI_END_REQUEST,
    FCGI_GET_VALUES,
    FCGI_HEADER_LEN,
    FCGI_KEEP_CONN,
    FCGI_MAX_LENGTH,
    FCGI_PARAMS,
    FCGI_RESPONDER,
    FCGI_STDERR,
    FCGI_STDIN,
    FCGI_STDOUT,
    HEADER,
    pack_record,
)
from gateways.protocols.variables import encode_pairs

Text = str | bytes
Variables = Mapping[str, str] | Iterable[tuple[Text, Text]]

GET = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/a", "SCRIPT_NAME": "", "PATH_INFO": "/a"}


def record(
    kind: int, request_id: int, content: bytes = b"", padding: int = 0, version: int = 1
) -> bytes:
    """One record with ``padding`` bytes of noise behind its content."""
    header = HEADER.pack(version, kind, request_id, len(content), padding)
    return header + content + b"\xff" * padding


def stream(kind: int, request_id: int, data: bytes, cut: int | None = None) -> bytes:
    """A complete stream."""
    size = cut or FCGI_MAX_LENGTH
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(pack_record(kind, request_id, piece) for piece in [*pieces, b""])


def pairs(variables: Variables) -> bytes:
    """Name-value pairs; a list of pairs may repeat names."""
    items = variables.items() if isinstance(variables, Mapping) else variables
    return encode_pairs(list(items))


def begin(request_id: int, role: int = FCGI_RESPONDER, keep: bool = True) -> bytes:
    """FCGI_BEGIN_REQUEST."""
    flags = FCGI_KEEP_CONN if keep else 0
    return pack_record(FCGI_BEGIN_REQUEST, request_id, BEGIN_REQUEST.pack(role, flags))


def params(request_id: int, variables: Variables, cut: int | None = None) -> bytes:
    """The whole FCGI_PARAMS stream."""
    return stream(FCGI_PARAMS, request_id, pairs(variables), cut)


def stdin(request_id: int, data: bytes = b"", cut: int | None = None) -> bytes:
    """The whole FCGI_STDIN stream."""
    return stream(FCGI_STDIN, request_id, data, cut)


def filter_data(request_id: int, data: bytes = b"", cut: int | None = None) -> bytes:
    """The whole FCGI_DATA stream."""
    return stream(FCGI_DATA, request_id, data, cut)


def abort(request_id: int) -> bytes:
    """FCGI_ABORT_REQUEST."""
    return pack_record(FCGI_ABORT_REQUEST, request_id)


def get_values(*names: str) -> bytes:
    """FCGI_GET_VALUES for ``names``."""
    return pack_record(FCGI_GET_VALUES, 0, pairs([(name, "") for name in names]))


def request(
    request_id: int,
    variables: Variables,
    body: bytes = b"",
    keep: bool = True,
    role: int = FCGI_RESPONDER,
) -> bytes:
    """A whole request; CONTENT_LENGTH is up to ``variables``."""
    return begin(request_id, role, keep) + params(request_id, variables) + stdin(request_id, body)


def split_records(data: bytes) -> list[tuple[int, int, bytes]]:
    """Type, request id and content of each record; ValueError unless it is whole records."""
    found = []
    position = 0
    while position < len(data):
        if len(data) - position < FCGI_HEADER_LEN:
            raise ValueError(f"a record header is cut off at {position} of {len(data)}")
        version, kind, request_id, length, padding = HEADER.unpack_from(data, position)
        if version != 1:
            raise ValueError(f"a record of version {version} at {position}")
        position += FCGI_HEADER_LEN
        if len(data) - position < length + padding:
            raise ValueError(f"a record's content is cut off at {position} of {len(data)}")
        found.append((kind, request_id, data[position : position + length]))
        position += length + padding
    return found


@dataclass
class Reply:
    """One response; the statuses are None until FCGI_END_REQUEST has come.

    ``closed`` holds the types of the streams that were ended by an empty record.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    app_status: int | None = None
    protocol_status: int | None = None
    closed: frozenset[int] = frozenset()

    @property
    def status(self) -> str:
        """The value of the Status field."""
        head = self.stdout.partition(b"\r\n\r\n")[0].decode("latin-1")
        return head.partition("Status: ")[2].partition("\r\n")[0]

    @property
    def body(self) -> bytes:
        """What follows the head."""
        return self.stdout.partition(b"\r\n\r\n")[2]


def replies(data: bytes) -> dict[int, Reply]:
    """The replies by request id, management records left out.

    ValueError for what no web server would take: bytes after the end of a stream or of a reply, a
    reply that ends with a stream open, other types. For an id that is used twice: the last reply.
    """
    found: dict[int, Reply] = {}
    for kind, request_id, content in split_records(data):
        if request_id == 0:
            continue
        reply = found.get(request_id)
        if reply is None or (reply.app_status is not None and kind in (FCGI_STDOUT, FCGI_STDERR)):
            reply = found[request_id] = Reply()
        if kind in reply.closed:
            raise ValueError(f"request {request_id}: type {kind} after the end of its stream")
        if kind in (FCGI_STDOUT, FCGI_STDERR) and not content:
            reply.closed |= {kind}
        elif kind == FCGI_STDOUT:
            reply.stdout += content
        elif kind == FCGI_STDERR:
            reply.stderr += content
        elif kind == FCGI_END_REQUEST:
            if (reply.stdout and FCGI_STDOUT not in reply.closed) or (
                reply.stderr and FCGI_STDERR not in reply.closed
            ):
                raise ValueError(f"request {request_id}: ended with a stream open")
            reply.app_status = int.from_bytes(content[:4], "big")
            reply.protocol_status = content[4]
        else:
            raise ValueError(f"request {request_id}: a record of type {kind} in a reply")
    return found
