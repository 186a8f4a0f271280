"""A small blocking FastCGI client: the web server's end of a connection, a request at a time."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_END_REQUEST,
    FCGI_GET_VALUES,
    FCGI_GET_VALUES_RESULT,
    FCGI_KEEP_CONN,
    FCGI_PARAMS,
    FCGI_RESPONDER,
    FCGI_STDERR,
    FCGI_STDIN,
    FCGI_STDOUT,
    HEADER,
    pack_record,
    pack_stream,
)
from gateways.protocols.variables import decode_pairs, encode_pairs
from tests.servers.harness import DEADLINE_SECONDS

DEADLINE = DEADLINE_SECONDS

Address = str | tuple[str, int]

VARIABLES = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/page",
    "QUERY_STRING": "",
    "REQUEST_URI": "/page",
    "SERVER_NAME": "example.test",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "192.0.2.7",
    "HTTP_HOST": "example.test",
}


@dataclass
class Answer:
    """One response; ``complete`` is False where the connection was closed without its end."""

    stdout: bytes = b""
    stderr: str = ""
    complete: bool = False
    app_status: int = 0
    protocol_status: int = 0

    @property
    def status(self) -> str:
        """What the ``Status`` field says."""
        return dict(self.head())["Status"]

    @property
    def code(self) -> int:
        """Its number."""
        return int(self.status[:3])

    @property
    def body(self) -> bytes:
        """What follows the head."""
        return self.stdout.partition(b"\r\n\r\n")[2]

    def head(self) -> list[tuple[str, str]]:
        """The fields of the head, the status among them, in order."""
        head, end, _ = self.stdout.partition(b"\r\n\r\n")
        assert end, f"the head is not complete: {head!r}"
        fields = []
        for line in head.decode("latin-1").split("\r\n"):
            name, colon, value = line.partition(": ")
            assert colon, f"no header: {line!r}"
            fields.append((name, value))
        return fields

    def header(self, name: str) -> str | None:
        """The only value of a header; None if there is none."""
        values = [value for known, value in self.head() if known.lower() == name.lower()]
        assert len(values) < 2
        return values[0] if values else None


class Client:
    """One connection. It reads records as they come, so a response can be watched growing."""

    def __init__(self, address: Address) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(DEADLINE)
            self.sock.connect(address)
        except BaseException:
            self.sock.close()
            raise
        self._held = b""
        self._id = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self.sock.close()

    def send(
        self,
        variables: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        keep: bool = True,
        role: int = FCGI_RESPONDER,
        streams: Iterable[int] = (FCGI_STDIN,),
        params_record: int = 65535,
    ) -> None:
        """Begin a request and send all of it; ``params_record`` bounds the records' size."""
        self._id += 1
        begin = BEGIN_REQUEST.pack(role, FCGI_KEEP_CONN if keep else 0)
        params = encode_pairs({**VARIABLES, **(variables or {})}.items())
        data = pack_record(FCGI_BEGIN_REQUEST, self._id, begin)
        for start in range(0, len(params), params_record):
            data += pack_record(FCGI_PARAMS, self._id, params[start : start + params_record])
        data += pack_record(FCGI_PARAMS, self._id)
        self.sock.sendall(data)
        for stream in streams:
            pieces: list[bytes | memoryview] = []
            pack_stream(stream, self._id, body, pieces)
            for piece in pieces:
                self.sock.sendall(piece)
            self.sock.sendall(pack_record(stream, self._id))

    def records(self) -> Iterator[tuple[int, int, bytes]]:
        """Type, request id and content of each record, until the server closes."""
        while True:
            while len(self._held) >= HEADER.size:
                version, kind, number, length, padding = HEADER.unpack_from(self._held)
                assert version == 1
                end = HEADER.size + length
                if len(self._held) < end + padding:
                    break
                content = self._held[HEADER.size : end]
                self._held = self._held[end + padding :]
                yield kind, number, content
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                return
            if not data:
                return
            self._held += data

    def growing(self) -> Iterator[Answer]:
        """The answer to the request that was sent last, again after each of its records."""
        answer = Answer()
        for kind, number, content in self.records():
            assert number == self._id
            if kind == FCGI_STDOUT:
                answer.stdout += content
            elif kind == FCGI_STDERR:
                answer.stderr += content.decode()
            else:
                assert kind == FCGI_END_REQUEST
                answer.app_status = int.from_bytes(content[:4], "big")
                answer.protocol_status = content[4]
                answer.complete = True
                yield answer
                return
            yield answer
        yield answer

    def answer(self) -> Answer:
        """The whole answer to the request that was sent last."""
        *_, last = self.growing()
        return last

    def read_until(self, body: bytes) -> Answer:
        """Read no further than the record after which the response holds ``body``."""
        answer = Answer()
        for answer in self.growing():
            if body in answer.stdout:
                return answer
        raise AssertionError(f"{body!r} never came: {answer}")

    def values(self, *names: str) -> dict[str, str]:
        """Ask FCGI_GET_VALUES."""
        asked = encode_pairs((name, "") for name in names)
        self.sock.sendall(pack_record(FCGI_GET_VALUES, 0, asked))
        for kind, number, content in self.records():
            assert (kind, number) == (FCGI_GET_VALUES_RESULT, 0)
            return decode_pairs(content)
        raise AssertionError("closed without an answer")

    def is_closed(self) -> bool:
        """Whether the server closes without saying more."""
        return not self._held and not list(self.records())


def ask(
    address: Address,
    variables: Mapping[str, str] | None = None,
    body: bytes | None = None,
    *,
    role: int = FCGI_RESPONDER,
) -> Answer:
    """One request on a connection of its own; a body brings its method and length."""
    more = dict(variables or {})
    if body is not None:
        more = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), **more}
    with Client(address) as client:
        client.send(more, body or b"", keep=False, role=role)
        return client.answer()
