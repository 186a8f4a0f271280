"""A real server in a thread of the test, on a real socket, and the web server's end of it."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateways.config import Config
from gateways.core.listener import tcp_listener, unix_listener
from gateways.core.poller import EpollPoller, Poller, SelectorPoller
from gateways.core.server import Server
from gateways.process.single import SingleProcess
from gateways.protocols.records import FCGI_END_REQUEST, HEADER
from gateways.wsgi.runner import Application
from tests.protocols.vectors import Reply, replies
from tests.servers.harness import DEADLINE_SECONDS

DEADLINE = DEADLINE_SECONDS

POLLERS: dict[str, Callable[[], Poller]] = {
    "epoll": EpollPoller,
    "poll": lambda: SelectorPoller(selectors.PollSelector()),
    "select": lambda: SelectorPoller(selectors.SelectSelector()),
}


class Serving:
    """A server that runs, and how to reach it."""

    def __init__(self, server: Server, process: SingleProcess, address: Any) -> None:
        self.server = server
        self.process = process
        self.address = address

    def connect(self) -> Peer:
        """A new connection to the server."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        sock = socket.socket(family)
        sock.connect(self.address)  # with a timeout it would not wait for a full backlog
        sock.settimeout(DEADLINE)
        return Peer(sock)

    def connections(self) -> int:
        """Open connections, as the server counts them."""
        return len(self.server.connections)


class Peer:
    """The web server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self._complete = 0  # bytes that are whole records
        self._ended = 0

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.sock.sendall(data)

    def replies(self, count: int = 1) -> dict[int, Reply]:
        """Read until ``count`` requests have been ended, on this connection in all."""
        while True:
            while self._complete + 8 <= len(self.received):
                _, kind, _, length, padding = HEADER.unpack_from(self.received, self._complete)
                if self._complete + 8 + length + padding > len(self.received):
                    break
                self._complete += 8 + length + padding
                self._ended += kind == FCGI_END_REQUEST
            if self._ended >= count:
                return replies(bytes(self.received[: self._complete]))
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError(f"closed after {bytes(self.received)!r:.200}")
            self.received += data

    def reply(self) -> Reply:
        """Read until one request has been ended, and give its reply."""
        (reply,) = self.replies().values()
        return reply

    def is_closed(self) -> bool:
        """Wait for the server to close; anything it still sends is kept."""
        try:
            while data := self.sock.recv(1 << 20):
                self.received += data
        except ConnectionResetError:
            pass
        return True


@contextlib.contextmanager
def serving(
    application: Application,
    folder: Path,
    *,
    poller: str = "epoll",
    tcp: bool = False,
    protocol: str = "fcgi",
    server: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Serving]:
    """Serve ``application`` with the given Config fields until the block ends."""
    listener = (
        tcp_listener("127.0.0.1", 0, 128) if tcp else unix_listener(str(folder / "app.sock"), 1024)
    )
    listener.protocol = protocol
    address = listener.socket.getsockname()
    config = Config(**{"graceful_timeout_seconds": 5.0, **options})
    instance = Server(application, [listener], config, poller=POLLERS[poller](), **(server or {}))
    process = SingleProcess(instance)
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        yield Serving(instance, process, address)
    finally:
        if not instance.draining:  # else the test has stopped it, and it may be gone by now
            process.stop()
        thread.join(DEADLINE)
        if thread.is_alive():
            raise TimeoutError("the server did not stop")


def eventually(condition: Callable[[], Any], what: str = "the condition") -> None:
    """Wait until ``condition`` holds, for things that nothing announces."""
    deadline = time.monotonic() + DEADLINE
    waiter = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true in {DEADLINE} seconds")
        waiter.wait(0.005)


class LogLines(logging.Handler):
    """Collects what the package logs; ``with LogLines() as lines``."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self, level: int = logging.DEBUG) -> list[str]:
        """The messages at and above ``level``, with the lines below them."""
        return [
            "\n".join(filter(None, (record.getMessage(), record.stack_info)))
            for record in self.records
            # The listener may rightly say that a web server could not enter pytest's folders.
            if record.levelno >= level and record.name != "gateways.listener"
        ]

    def __enter__(self) -> LogLines:
        logger = logging.getLogger("gateways")
        self._level = logger.level
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        logger = logging.getLogger("gateways")
        logger.removeHandler(self)
        logger.setLevel(self._level)
