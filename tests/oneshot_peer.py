"""The web server's end of a uwsgi or SCGI connection, and a server that a script would run."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from gateways.protocols.encoders import encode_scgi_head, encode_uwsgi_head
from gateways.scripting import ScriptServer
from tests.servers.harness import DEADLINE_SECONDS

DEADLINE = DEADLINE_SECONDS

VARIABLES = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/page",
    "QUERY_STRING": "",
    "REQUEST_URI": "/page",
    "SERVER_NAME": "example.test",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "192.0.2.7",
}

Address = str | tuple[str, int]


def packet(
    protocol: str, variables: Mapping[str, str], body: bytes = b"", modifier1: int = 0
) -> bytes:
    """A request."""
    pairs = [("CONTENT_LENGTH", str(len(body))), *variables.items()]
    if protocol == "uwsgi":
        return encode_uwsgi_head(pairs, modifier1) + body
    return encode_scgi_head([*pairs, ("SCGI", "1")]) + body


def connect(address: Address, alive: threading.Thread | None = None) -> socket.socket:
    """A connection; with the thread of its server, also to one that is just being started."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    deadline = time.monotonic() + DEADLINE
    waiting = threading.Event()
    while True:
        sock = socket.socket(family)
        sock.settimeout(DEADLINE)
        try:
            sock.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            assert alive is not None
            assert alive.is_alive(), "the server has ended"
            assert time.monotonic() < deadline, "the server does not come up"
            waiting.wait(0.005)
        else:
            return sock


def exchange(address: Address, *pieces: bytes, half_close: bool = False) -> bytes:
    """Send the pieces, read until the server closes."""
    with connect(address) as sock:
        for piece in pieces:
            sock.sendall(piece)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        received = bytearray()
        while data := sock.recv(1 << 16):
            received += data
    return bytes(received)


@contextlib.contextmanager
def running(server: ScriptServer, address: Address) -> Iterator[Address]:
    """Run a server in a thread until the block ends."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(server.run())
        except BaseException as error:  # noqa: BLE001  # shown by the test, not by its thread
            outcome.append(error)

    thread = threading.Thread(target=run, name="server")
    thread.start()
    try:
        connect(address, thread).close()
        yield address
    finally:
        deadline = time.monotonic() + DEADLINE
        while thread.is_alive() and time.monotonic() < deadline:
            server.stop()
            thread.join(0.05)
    assert outcome == [False]


def describe(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An application that says what it was asked, and the length of the body."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR", "REQUEST_URI")
    body = environ["wsgi.input"].read()
    said = [environ.get(name, "-") for name in names] + [str(len(body)), str(sum(body) % 251)]
    return [" ".join(said).encode()]
