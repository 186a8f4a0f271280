"""A file whose bytes the kernel sends to a peer, without a copy of them in this process."""

from __future__ import annotations

import os

from gateways.errors import ApplicationError

IS_SUPPORTED = hasattr(os, "sendfile")

_READ_AHEAD = hasattr(os, "posix_fadvise")
_COPIED = 65536  # bytes at a time where the kernel cannot do it by itself


class OpenFile:
    """A regular file, held by a descriptor of our own: the application may close its own at any
    time, and what is queued must never be read from whatever gets that number next.

    ``error`` is why it could not be sent as it was promised. Raises OSError.
    """

    __slots__ = ("_fd", "error")

    def __init__(self, fd: int) -> None:
        self._fd = -1
        self._fd = os.dup(fd)
        self.error: Exception | None = None

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def reaches(self, offset: int, size: int) -> bool:
        """Whether the file has all of these bytes. Brings them into memory, so that ``send``, which
        holds the lock of a connection, does not wait for a disk. Raises OSError."""
        if _READ_AHEAD:
            os.posix_fadvise(self._fd, offset, size, os.POSIX_FADV_WILLNEED)
        return len(os.pread(self._fd, 1, offset + size - 1)) == 1

    def send(self, sock: int, offset: int, size: int) -> int:
        """Hand up to ``size`` bytes to the non-blocking socket ``sock``; returns how many it took.

        Raises OSError, and where that is not the peer's fault but the file's, sets ``error``.
        """
        try:
            sent = os.sendfile(sock, self._fd, offset, size)
        except (BlockingIOError, ConnectionError):
            raise
        except OSError:  # not with this kind of file or socket, on this system
            sent = self._copy(sock, offset, size)
        if not sent:
            self.error = ApplicationError(
                "the file given to wsgi.file_wrapper became shorter while it was sent"
            )
            raise OSError(str(self.error))
        return sent

    def _copy(self, sock: int, offset: int, size: int) -> int:
        try:
            data = os.pread(self._fd, min(size, _COPIED), offset)
        except OSError as error:
            self.error = error
            raise
        return os.write(sock, data) if data else 0
