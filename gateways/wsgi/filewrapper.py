"""``wsgi.file_wrapper``: a file-like object as a response body (PEP 3333).

Most of a real file can be sent by the kernel; the rest, and any other object, is iterated.
"""

from __future__ import annotations

import io
import os
import stat

from gateways.errors import ApplicationError

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from typing import Any


# What read() of these gives is what lies in the file, which is not so with GzipFile, for one.
_EXACT = (io.BufferedReader, io.BufferedRandom)
# Less is read and sent as quickly, and its end then needs no thread.
_LEAST = 262144


class FileWrapper:
    """Iterates ``filelike`` from where it stands, in blocks; has ``close`` if the file has."""

    def __init__(self, filelike: Any, blksize: int = 65536) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def rest(self, limit: int) -> tuple[int, int, int] | None:
        """Where the kernel finds what is left to send: a descriptor, a position, a size in bytes.

        ``limit`` bytes at most, if it is not negative. None for anything but a regular file with
        much left of it. ``skip`` what was sent.
        """
        file = self.filelike
        if type(file).__module__ == "tempfile":
            file = getattr(file, "file", file)
        raw = file.raw if type(file) in _EXACT else file
        if type(raw) is not io.FileIO or raw.closed or not raw.readable():
            return None
        status = os.fstat(raw.fileno())
        if status.st_size < _LEAST or not stat.S_ISREG(status.st_mode):
            return None
        position = file.tell()  # what is still to be written lies before it
        size = status.st_size - position
        if 0 <= limit < size:
            size = limit
        return (raw.fileno(), position, size) if size >= _LEAST else None

    def skip(self, size: int) -> None:
        """Go on behind the next ``size`` bytes."""
        self.filelike.seek(size, os.SEEK_CUR)

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data = self.filelike.read(self.blksize)
        if not data:
            raise StopIteration
        if isinstance(data, str):
            raise ApplicationError(
                "the file given to wsgi.file_wrapper was opened in text mode: open it with 'rb'"
            )
        return data  # type: ignore[no-any-return]
