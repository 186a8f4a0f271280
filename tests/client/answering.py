"""A server of one fixed answer, for what no real server would do; and how to read a request."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers.harness import DEADLINE_SECONDS

DEADLINE = DEADLINE_SECONDS


class Answering:
    """Accepts connections and gives each to the next handler."""

    def __init__(self, path: Path, handlers: list[Callable[[socket.socket], bytes]]) -> None:
        self.path = str(path)
        self._handlers = handlers
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._listener.settimeout(DEADLINE)
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        for handle in self._handlers:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(DEADLINE)
                handle(connection)

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        while self._thread.is_alive():
            # A handler that nobody wanted gets an empty connection.
            with socket.socket(socket.AF_UNIX) as nobody, contextlib.suppress(OSError):
                nobody.settimeout(DEADLINE)
                nobody.connect(self.path)
            self._thread.join(0.05)
        self._listener.close()


def answer(
    *pieces: bytes, until: bytes = b"", drain: bool = False
) -> Callable[[socket.socket], bytes]:
    """Read up to and with ``until``, send the pieces, and close (with ``drain`` when asked to)."""

    def handle(connection: socket.socket) -> bytes:
        heard = b""
        while until not in heard or not heard:
            data = connection.recv(65536)
            if not data:
                return heard
            heard += data
        for piece in pieces:
            connection.sendall(piece)
        while drain and (data := connection.recv(65536)):
            heard += data
        return heard

    return handle


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    """``data`` in pieces of ``size`` bytes."""
    return (data[start : start + size] for start in range(0, len(data), size))
