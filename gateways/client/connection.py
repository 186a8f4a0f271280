"""Connections: sending a request and receiving its response at the same time.

A server may answer before it has read the body, and may stop reading until its answer is taken;
so both directions of a pair of descriptors are waited for together. Nothing is read ahead of who
consumes the response.
"""

from __future__ import annotations

import os
import selectors
import socket
import stat
import struct
from collections.abc import Callable, Generator, Iterator

from gateways.client.errors import ClientTimeout, ConnectError, ConnectionLost
from gateways.client.target import Target
from gateways.protocols.base import Buffer

READ_BYTES = 65536

# An epoll would be one more descriptor for each request.
_Selector: Callable[[], selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)


class Channel:
    """A pair of descriptors to a server; for a socket both are the same one.

    ``errors`` is a third descriptor whose bytes go to ``on_errors``: the stderr of a script.
    """

    def __init__(self, write: int, read: int, errors: int | None = None) -> None:
        self._write = write
        self._read = read
        self._errors = errors
        self._errors_ended = False
        self.on_errors: Callable[[bytes], object] = lambda data: None
        self.received = False  # a byte of the present response
        self.all_sent = False
        for descriptor in {write, read, read if errors is None else errors}:
            os.set_blocking(descriptor, False)

    def exchange(self, outgoing: Iterator[Buffer], timeout: float) -> Generator[bytes, None, None]:
        """Send ``outgoing``; yields what comes meanwhile and afterwards, and ``b""`` at the end.

        ``timeout`` is in seconds without a byte in any direction. Whoever iterates ends it.
        """
        self.received = self.all_sent = False
        pending = memoryview(b"")
        with _Selector() as selector:
            self._watch(selector)
            while True:
                ready = {key.fd: events for key, events in selector.select(timeout)}
                if not ready:
                    raise ClientTimeout(f"nothing came from the server for {timeout:g} seconds")
                if self._errors in ready:
                    self._take_errors(selector)
                if ready.get(self._read, 0) & selectors.EVENT_READ:
                    data = self._receive()
                    if data is not None:
                        self.received = self.received or bool(data)
                        yield data
                        if not data:
                            break
                if ready.get(self._write, 0) & selectors.EVENT_WRITE:
                    pending = self._send(pending or _next(outgoing), outgoing, selector)

    def finish(self) -> int:
        """The server has sent everything; the exit status of a script."""
        return 0

    def close(self) -> None:
        """Give the descriptors back."""

    def end_of_input(self) -> None:
        """All is sent: a socket stays open, for half a connection looks like a client gone."""

    def _watch(self, selector: selectors.BaseSelector) -> None:
        if self._write == self._read:
            selector.register(self._read, selectors.EVENT_READ | selectors.EVENT_WRITE)
            return
        selector.register(self._write, selectors.EVENT_WRITE)
        selector.register(self._read, selectors.EVENT_READ)
        if self._errors is not None:
            selector.register(self._errors, selectors.EVENT_READ)

    def _stop_sending(self, selector: selectors.BaseSelector) -> None:
        if self._write == self._read:
            selector.modify(self._read, selectors.EVENT_READ)
        else:
            selector.unregister(self._write)
        self.end_of_input()

    def _send(
        self, pending: memoryview, outgoing: Iterator[Buffer], selector: selectors.BaseSelector
    ) -> memoryview:
        """Send once; returns what is to be sent next."""
        try:
            pending = pending[os.write(self._write, pending) :] if pending else pending
        except BlockingIOError:
            return pending
        except OSError:
            # The server wants no more of it; what it has to say about that is still to be read.
            self._stop_sending(selector)
            return memoryview(b"")
        # Looked for at once: the response to the last piece may be the next thing that happens.
        pending = pending or _next(outgoing)
        if not pending:
            self.all_sent = True
            self._stop_sending(selector)
        return pending

    def _receive(self) -> bytes | None:
        try:
            return os.read(self._read, READ_BYTES)
        except BlockingIOError:
            return None
        except ConnectionError as error:
            raise ConnectionLost(
                f"the server broke off the connection: {os.strerror(error.errno or 0)}"
            ) from None

    def _take_errors(self, selector: selectors.BaseSelector) -> None:
        if self._errors is None:
            return
        data = os.read(self._errors, READ_BYTES)
        self.on_errors(data)
        if not data:
            self._errors_ended = True
            selector.unregister(self._errors)


def _next(outgoing: Iterator[Buffer]) -> memoryview:
    """The next piece that is not empty; an empty one at the end."""
    for piece in outgoing:
        if piece:
            return memoryview(piece)
    return memoryview(b"")


class SocketChannel(Channel):
    """A connection to a server; ``used`` counts the requests that it has carried."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.used = 0
        super().__init__(sock.fileno(), sock.fileno())

    def is_idle(self) -> bool:
        """Whether it is open, with nothing to read that nobody has asked for."""
        with _Selector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            return not selector.select(0)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def connect(target: Target, timeout: float) -> SocketChannel:
    """Connect to a target. Raises ConnectError or ClientTimeout, with what to do about it."""
    try:
        return SocketChannel(_open(target, timeout))
    except socket.gaierror as error:
        raise _cannot_connect(target, f"the name is not known ({error.strerror})") from None
    except (TimeoutError, BlockingIOError):
        # A Unix socket says EAGAIN when SO_SNDTIMEO has passed.
        raise ClientTimeout(
            f"cannot connect to {target.text}: nobody accepted for {timeout:g} seconds; the "
            "server is stopped, or has more to do than it can"
        ) from None
    except OSError as error:
        raise _cannot_connect(target, _explain(target, error)) from None


def _open(target: Target, timeout: float) -> socket.socket:
    if not target.file:
        sock = socket.create_connection((target.host, target.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    try:
        # A timeout of Python's own would make it non-blocking, and then a full backlog is an error.
        interval = struct.pack("ll", int(timeout), int(timeout % 1 * 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)
        sock.connect(target.file)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(target: Target, error: OSError) -> str:
    remedy = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        return "there is no such file; is the server started, and with this path?"
    if isinstance(error, PermissionError):
        return (
            "permission denied; run this as the socket's owner or group, or give the server "
            "unix:PATH?mode=666"
        )
    if isinstance(error, ConnectionRefusedError):
        if target.file and not target.file.startswith("\0"):
            if not stat.S_ISSOCK(os.stat(target.file).st_mode):
                return "the file is no socket"
            return "the socket is there, but its server has ended; start it again"
        return "nothing listens there; is the server started, and on this address?"
    return remedy


def _cannot_connect(target: Target, why: str) -> ConnectError:
    return ConnectError(f"cannot connect to {target.text}: {why}")
