"""The two ends of a CGI script: what it reads from and writes to the web server.

Each is a pipe, a socket (mod_cgid: the same one for both) or a file, blocking or not, and shared
with the web server, so its flags are left alone. A web server may write all of a request body
before it reads any of the response, hence ``write_some``, which never blocks after a poll.
"""

from __future__ import annotations

import os
import select
import stat
import time

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from gateways.protocols.base import Buffer

READ_BYTES = 65536
_DRAIN_SILENCE_MS = 2000
_DRAIN_SECONDS = 30.0


class Input:
    """The request body; it is never read beyond ``left`` bytes (None: up to its end)."""

    def __init__(self, fd: int, left: int | None) -> None:
        self.fd = fd
        self.left = left
        self.short = False  # it has ended before it should have

    def read(self) -> bytes:
        """What is there, waiting for it; b"" at the end."""
        if self.left == 0:
            return b""
        wanted = READ_BYTES if self.left is None else min(READ_BYTES, self.left)
        while True:
            try:
                data = os.read(self.fd, wanted)
                break
            except BlockingIOError:
                _wait(self.fd, select.POLLIN)
        if not data:
            self.short = self.left is not None
            self.left = 0
        elif self.left is not None:
            self.left -= len(data)
        return data

    def drain(self) -> None:
        """Drop the rest, within limits: unread bytes of a socket would cost the peer our answer."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        try:
            while self.left != 0 and poll.poll(_DRAIN_SILENCE_MS) and time.monotonic() < deadline:
                self.read()
        except OSError:
            pass  # nobody is left to be kind to


class Output:
    """The response. OSError says that nobody wants it any more."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._socket = None
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            import _socket

            self._socket = _socket.socket(fileno=os.dup(fd))
            self._now = _socket.MSG_DONTWAIT

    def write(self, data: Buffer) -> None:
        """Write all of it, however long that takes."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                _wait(self.fd, select.POLLOUT)

    def write_some(self, data: Buffer | bytearray) -> int:
        """Write what can be written at once, now that a poll has said so; may be 0."""
        try:
            if self._socket is not None:
                return self._socket.send(data, self._now)
            # A poll promises that much room in a pipe, and no more.
            return os.write(self.fd, memoryview(data)[: select.PIPE_BUF])
        except BlockingIOError:
            return 0

    def end(self) -> None:
        """The response is complete: the peer shall see its end."""
        if self._socket is not None:
            try:
                self._socket.shutdown(1)  # SHUT_WR
            except OSError:
                pass  # it has left
        self.release()

    def release(self) -> None:
        """Close our descriptors; whoever has others goes on."""
        if self._socket is not None:
            self._socket.close()
        try:
            os.close(self.fd)
        except OSError:
            pass  # an error of an earlier write, on some file systems


def _wait(fd: int, event: int) -> None:
    poll = select.poll()
    poll.register(fd, event)
    poll.poll()
