"""One FastCGI request over a bare socket, for servers that no web server stands in front of."""

from __future__ import annotations

from dataclasses import dataclass

from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_END_REQUEST,
    FCGI_PARAMS,
    FCGI_RESPONDER,
    FCGI_STDERR,
    FCGI_STDIN,
    FCGI_STDOUT,
    HEADER,
    pack_record,
)
from gateways.protocols.variables import encode_pairs

from .harness import Address, connect


@dataclass(frozen=True)
class Reply:
    """The streams of a response, and the content of its END_REQUEST."""

    stdout: bytes
    stderr: bytes
    end: bytes

    @property
    def status(self) -> str:
        """The value of the Status header."""
        head = self.stdout.partition(b"\r\n\r\n")[0].decode("latin-1")
        return head.partition("Status: ")[2].partition("\r\n")[0]

    @property
    def body(self) -> str:
        """What follows the head."""
        return self.stdout.partition(b"\r\n\r\n")[2].decode()


def ask(address: Address, path: str, query: str = "") -> Reply:
    """GET a path of an application at the root; the server closes after the answer."""
    variables = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    with connect(address) as connection:
        connection.sendall(
            pack_record(FCGI_BEGIN_REQUEST, 1, BEGIN_REQUEST.pack(FCGI_RESPONDER, 0))
            + pack_record(FCGI_PARAMS, 1, encode_pairs(variables.items()))
            + pack_record(FCGI_PARAMS, 1)
            + pack_record(FCGI_STDIN, 1)
        )
        data = b""
        while piece := connection.recv(65536):
            data += piece
    streams = {FCGI_STDOUT: b"", FCGI_STDERR: b"", FCGI_END_REQUEST: b""}
    while data:
        _, kind, _, length, padding = HEADER.unpack_from(data)
        streams[kind] += data[HEADER.size : HEADER.size + length]
        data = data[HEADER.size + length + padding :]
    return Reply(streams[FCGI_STDOUT], streams[FCGI_STDERR], streams[FCGI_END_REQUEST])
