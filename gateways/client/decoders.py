"""Response streams, decoded as they come: bytes in, pieces of the body out.

A decoder has ``head`` once the head is complete and ``complete`` once the response is; what comes
behind it is not looked at. Nothing is held back but what is incomplete.
"""

from __future__ import annotations

import re
import struct
from typing import Protocol

from gateways.client.errors import ClientError, ConnectionLost
from gateways.client.head import Head, HeadReader, wrong_answer
from gateways.protocols.records import (
    FCGI_CANT_MPX_CONN,
    FCGI_END_REQUEST,
    FCGI_HEADER_LEN,
    FCGI_OVERLOADED,
    FCGI_REQUEST_COMPLETE,
    FCGI_STDERR,
    FCGI_STDOUT,
    FCGI_UNKNOWN_ROLE,
    FCGI_UNKNOWN_TYPE,
    FCGI_VERSION_1,
    HEADER,
)

_END_BODY = struct.Struct(">IB3x")
_REFUSALS = {
    FCGI_CANT_MPX_CONN: "it cannot multiplex (FCGI_CANT_MPX_CONN)",
    FCGI_OVERLOADED: "it is overloaded (FCGI_OVERLOADED)",
    FCGI_UNKNOWN_ROLE: "it does not know the role (FCGI_UNKNOWN_ROLE)",
}
_CHUNK_LINE_BYTES = 4096
_DIGITS = re.compile("[0-9]{1,18}", re.ASCII)
_HEX = re.compile(b"[0-9A-Fa-f]{1,15}")


class Decoder(Protocol):
    """One response."""

    @property
    def head(self) -> Head | None:
        """The head, once it is complete."""

    complete: bool
    reusable: bool  # once it is complete: whether the connection takes another request
    errors: list[str]  # text for the error log; the reader takes it away
    app_status: int

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, ``b""`` for the end of the connection; ClientError for what is wrong."""


class CGIDecoder:
    """A head and a body, up to the end of the connection: uwsgi, SCGI and CGI.

    ``to_the_end`` waits for that end even where Content-Length has told of an earlier one.
    """

    def __init__(self, protocol: str, method: str, *, to_the_end: bool = False) -> None:
        self.head: Head | None = None
        self.complete = False
        self.reusable = False
        self.errors: list[str] = []
        self.app_status = 0
        self._protocol = protocol
        self._method = method
        self._to_the_end = to_the_end
        self._reader = HeadReader(protocol, status_line=False)
        self._left: int | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """See ``Decoder.feed``."""
        if not data:
            self.finish()
            return []
        if self.head is None:
            found = self._reader.feed(data)
            if found is None:
                return []
            self.head, data = found
            self._left = body_length(self.head, self._method)
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            if self._left == 0 and not self._to_the_end:
                self.complete = True
        return [data] if data else []

    def finish(self) -> None:
        """The stream has ended."""
        if self.head is None:
            raise no_response(self._protocol, started=self._reader.started)
        if self._left:
            raise cut_short(self._left)
        self.complete = True


class FastCGIDecoder:
    """The records of one request id; its STDOUT is a CGI response."""

    def __init__(self, method: str, request_id: int) -> None:
        self.complete = False
        self.reusable = False
        self.errors: list[str] = []
        self.app_status = 0
        self._stdout = CGIDecoder("FastCGI", method, to_the_end=True)
        self._id = request_id
        self._held = b""
        self._stderr_held = b""

    @property
    def head(self) -> Head | None:
        """The head, once it is complete."""
        return self._stdout.head

    def feed(self, data: bytes) -> list[bytes]:
        """See ``Decoder.feed``."""
        if not data:
            if self.head is None:
                raise no_response("FastCGI", started=bool(self._held))
            raise ConnectionLost("the connection was closed before FCGI_END_REQUEST had come")
        data = self._held + data
        position = 0
        pieces: list[bytes] = []
        if data[0] != FCGI_VERSION_1:
            raise wrong_answer("FastCGI", data, f"a record begins with byte {data[0]}")
        while len(data) - position >= FCGI_HEADER_LEN and not self.complete:
            version, kind, number, length, padding = HEADER.unpack_from(data, position)
            if version != FCGI_VERSION_1:
                raise wrong_answer("FastCGI", data[position:], f"a record of version {version}")
            content = position + FCGI_HEADER_LEN
            if content + length + padding > len(data):
                break
            position = content + length + padding
            if number == self._id:
                pieces += self._record(kind, data[content : content + length])
            elif kind != FCGI_UNKNOWN_TYPE and number != 0:
                raise ClientError(f"a record of request {number}, which was never sent")
        self._held = data[position:]
        self.reusable = self.complete and not self._held
        return pieces

    def _record(self, kind: int, content: bytes) -> list[bytes]:
        if kind == FCGI_STDOUT:
            return self._stdout.feed(content) if content else []
        if kind == FCGI_STDERR:
            if content:
                self.errors.append(content.decode(errors="replace"))
        elif kind == FCGI_END_REQUEST:
            self._end(content)
        else:
            raise ClientError(f"a record of type {kind} has no place in a response")
        return []

    def _end(self, content: bytes) -> None:
        if len(content) != _END_BODY.size:
            raise ClientError(f"FCGI_END_REQUEST of {len(content)} bytes instead of 8")
        self.app_status, protocol_status = _END_BODY.unpack(content)
        if protocol_status != FCGI_REQUEST_COMPLETE:
            reason = _REFUSALS.get(protocol_status, f"protocol status {protocol_status}")
            raise ClientError(f"the server refused the request: {reason}")
        self._stdout.finish()
        self.complete = True


class HTTPDecoder:
    """One HTTP/1 response; interim ones (1xx) are passed over."""

    def __init__(self, method: str) -> None:
        self.head: Head | None = None
        self.complete = False
        self.reusable = False
        self.errors: list[str] = []
        self.app_status = 0
        self._method = method
        self._reader = HeadReader("HTTP", status_line=True)
        self._left: int | None = None  # bytes to the end of the body
        self._chunks: Chunks | None = None
        self._keeps = False

    def feed(self, data: bytes) -> list[bytes]:
        """See ``Decoder.feed``."""
        if not data:
            return self._closed()
        while self.head is None:
            found = self._reader.feed(data)
            if found is None:
                return []
            head, data = found
            self._reader = HeadReader("HTTP", status_line=True)
            if head.status >= 200 or head.status == 101:
                self._begin(head)
            elif not data:
                return []
        pieces: list[bytes] = []
        if self._chunks is not None:
            pieces = self._chunks.feed(data)
            self.complete = self._chunks.complete
            excess = self._chunks.held
        elif self._left is None:
            return [data] if data else []
        else:
            if data and self._left:
                pieces = [data[: self._left]]
            excess = data[self._left :]
            self._left -= len(data) - len(excess)
            self.complete = self._left == 0
        self.reusable = self.complete and self._keeps and not excess
        return pieces

    def _begin(self, head: Head) -> None:
        self.head = head
        options = {
            word.strip().lower() for value in head.values("Connection") for word in value.split(",")
        }
        self._keeps = "close" not in options and (head.version == "1.1" or "keep-alive" in options)
        self._left = body_length(head, self._method)
        codings = ", ".join(head.values("Transfer-Encoding")).lower()
        if codings and not _has_no_body(head, self._method):
            if codings != "chunked":
                raise ClientError(f"the response comes in an unknown form: {codings}")
            self._chunks = Chunks()

    def _closed(self) -> list[bytes]:
        if self.head is None:
            raise no_response("HTTP", started=self._reader.started)
        if self._chunks is not None:
            raise ConnectionLost("the connection was closed before the last chunk had come")
        if self._left:
            raise cut_short(self._left)
        self.complete = True
        return []


class Chunks:
    """The chunked coding (RFC 9112, section 7.1); trailers are read and dropped."""

    def __init__(self) -> None:
        self.complete = False
        self.held = b""  # an incomplete line; behind the end, what is too much
        self._left = 0  # bytes of data to come in this chunk
        self._part = "size"

    def feed(self, data: bytes) -> list[bytes]:
        """Pieces of the body."""
        data = self.held + data
        pieces = []
        while data and not self.complete:
            if self._left:
                pieces.append(data[: self._left])
                self._left -= len(pieces[-1])
                data = data[len(pieces[-1]) :]
                continue
            line, newline, rest = data.partition(b"\n")
            if not newline:
                if len(line) > _CHUNK_LINE_BYTES:
                    raise ClientError("a line between the chunks has no end")
                break
            data = rest
            self._line(line.removesuffix(b"\r"))
        self.held = data
        return pieces

    def _line(self, line: bytes) -> None:
        if self._part == "end of data":
            if line:
                raise ClientError(f"a chunk is longer than it says: {line[:40]!r}")
            self._part = "size"
        elif self._part == "trailers":
            self.complete = not line
        else:
            size = line.partition(b";")[0].strip()
            if not _HEX.fullmatch(size):
                raise ClientError(f"{line[:40]!r} is no size of a chunk")
            self._left = int(size, 16)
            self._part = "end of data" if self._left else "trailers"


def _has_no_body(head: Head, method: str) -> bool:
    return method == "HEAD" or head.status in (204, 304) or head.status < 200


def body_length(head: Head, method: str) -> int | None:
    """The bytes of the body that a head announces; None for "up to the end"."""
    if _has_no_body(head, method):
        return 0
    lengths = set(head.values("Content-Length"))
    if not lengths:
        return None
    (length, *others) = lengths
    if others or not _DIGITS.fullmatch(length):
        raise ClientError(f"the Content-Length is wrong: {', '.join(sorted(lengths))!r:.100}")
    return int(length)


def no_response(protocol: str, *, started: bool) -> ConnectionLost:
    """The server closed before there was a head."""
    if started:
        return ConnectionLost("the connection was closed in the middle of the response's head")
    return ConnectionLost(
        f"the server closed the connection without an answer; does it speak {protocol}? "
        "Its log may say more"
    )


def cut_short(missing: int) -> ConnectionLost:
    """The body ended too early."""
    return ConnectionLost(f"the response was cut short: {missing} bytes of its body are missing")
