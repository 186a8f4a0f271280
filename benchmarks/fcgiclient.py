"""A small FastCGI client over kept connections, independent of the package that it measures."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from benchmarks.processes import BenchmarkError
from benchmarks.servers import connect_to

FCGI_BEGIN_REQUEST = 1
FCGI_END_REQUEST = 3
FCGI_PARAMS = 4
FCGI_STDIN = 5
FCGI_STDOUT = 6
FCGI_RESPONDER = 1
FCGI_KEEP_CONN = 1

_HEADER = struct.Struct(">BBHHBx")
_TIMEOUT = struct.pack("ll", 10, 0)  # struct timeval


class Client:
    """``connections`` to one server, each asking the same request again and again."""

    def __init__(
        self, path: Path, connections: int, variables: Mapping[str, str], body: bytes
    ) -> None:
        self._request = encode_request(variables)
        self._body = body
        self._expected = b""  # the bytes of the response that was decoded last
        with contextlib.ExitStack() as stack:
            self._sockets = [stack.enter_context(connect_to(path)) for _ in range(connections)]
            self._stack = stack.pop_all()
        for connection in self._sockets:
            # A timeout of the kernel, because one of Python's costs a second call for each read.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def round(self) -> None:
        """One request on each connection; raises BenchmarkError for a response that is wrong."""
        for connection in self._sockets:
            connection.sendall(self._request)
        for connection in self._sockets:
            self._receive(connection)

    def _receive(self, connection: socket.socket) -> None:
        data = connection.recv(65536)
        while data != self._expected:
            # Decoding each response would make the client the slower of the two: what is the
            # same, byte for byte, as one that was right is right.
            if len(data) >= len(self._expected) and is_complete(data):
                check_response(data, self._body)
                self._expected = data
                return
            piece = connection.recv(65536)
            if not piece:
                raise BenchmarkError("the connection was closed, although it was to be kept")
            data += piece


def encode_request(variables: Mapping[str, str]) -> bytes:
    """The records of a request without a body, on a connection to be kept."""
    begin = struct.pack(">HB5x", FCGI_RESPONDER, FCGI_KEEP_CONN)
    pairs = b"".join(_encode_pair(name, value) for name, value in variables.items())
    return b"".join(
        (
            _record(FCGI_BEGIN_REQUEST, begin),
            _record(FCGI_PARAMS, pairs),
            _record(FCGI_PARAMS, b""),
            _record(FCGI_STDIN, b""),
        )
    )


def _encode_pair(name: str, value: str) -> bytes:
    raw = name.encode("latin-1"), value.encode("latin-1")
    lengths = b"".join(
        bytes((len(each),)) if len(each) < 128 else struct.pack(">I", len(each) | 1 << 31)
        for each in raw
    )
    return lengths + b"".join(raw)


def _record(kind: int, content: bytes) -> bytes:
    padding = -len(content) % 8
    return _HEADER.pack(1, kind, 1, len(content), padding) + content + bytes(padding)


def _split_records(data: bytes) -> list[tuple[int, bytes]]:
    """The whole records in ``data``, as (type, content)."""
    records = []
    at = 0
    while len(data) - at >= _HEADER.size:
        _, kind, _, size, padding = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + size
        if end + padding > len(data):
            break
        records.append((kind, data[at + _HEADER.size : end]))
        at = end + padding
    return records


def is_complete(data: bytes) -> bool:
    """Whether the end of the request is in ``data``."""
    records = _split_records(data)
    return bool(records) and records[-1][0] == FCGI_END_REQUEST


def check_response(data: bytes, body: bytes) -> None:
    """Raise BenchmarkError unless ``data`` is a complete 200 with this ``body``."""
    records = _split_records(data)
    output = b"".join(content for kind, content in records if kind == FCGI_STDOUT)
    head, _, rest = output.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if b": " in line)
    status = fields.get(b"Status", b"200")
    if status.split()[:1] != [b"200"] or rest != body:
        raise BenchmarkError(f"FastCGI response: {status.decode('latin-1')}, {rest[:80]!r}")
    if any(records[-1][1][:5]):
        raise BenchmarkError(f"FastCGI response: FCGI_END_REQUEST with {records[-1][1]!r}")
