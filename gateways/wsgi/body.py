"""``wsgi.input``: the body of one request, in memory, then in a temporary file, then streaming.

A codec feeds it (under the connection's lock), the application reads it (in its own thread). The
two sides share the inbox and the file, and only these are touched under the lock; what the reader
has taken is its own. When the inbox is empty the reader asks ``wait``, which brings more of the
peer's bytes or blocks until another thread has. What arrives while nobody reads goes to memory
first, beyond that to a temporary file, and beyond that file's limit it is dropped: then the next
read fails, it never sees a shortened body.
"""

from __future__ import annotations

from gateways.errors import ClientDisconnected, LimitExceeded

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from typing import IO

_READ = 65536
_WORTH_A_VIEW = 4096


class EmptyBody:
    """The input of a request without a body; it has no state, so one serves all."""

    def read(self, size: int | None = -1, /) -> bytes:
        return b""

    def readline(self, size: int | None = -1, /) -> bytes:
        return b""

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        return []

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


EMPTY_BODY = EmptyBody()


class Body:
    """A body that arrives; ``length`` (bytes) is None where it ends with its stream.

    ``wait`` is called with this body when a read needs more than has arrived; it returns when
    something has changed, and raises when nothing will. Reads raise ClientDisconnected where the
    body was cut short, and LimitExceeded where it is larger than allowed.
    """

    __slots__ = (
        "_chunk",
        "_complete",
        "_error",
        "_file",
        "_inbox",
        "_lock",
        "_memory",
        "_offset",
        "_read_position",
        "_spool",
        "_taken",
        "_wait",
        "_write_position",
        "is_busy",
        "length",
        "received",
        "refused",
        "unread",
    )

    def __init__(
        self,
        length: int | None,
        lock: threading.Lock,
        wait: Callable[[Body], None],
        memory_bytes: int,
        spool_bytes: int,
    ) -> None:
        self.length = length
        self.received = 0
        self.unread = 0  # bytes that arrived and that the reader has not taken
        self.refused: LimitExceeded | None = None  # what the reader was told, if it was too much
        self._lock = lock
        self._wait = wait
        self._memory = memory_bytes
        self._spool = spool_bytes
        self._inbox: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._read_position = 0
        self._write_position = 0
        self._complete = length == 0
        self._error: BaseException | None = None
        # The reader's own: the pieces that it took from the inbox, the last one first, and the one
        # that it reads, up to _offset. They are joined once, when it is known how much is wanted.
        self._taken: list[bytes] = []
        self._chunk = b""
        self._offset = 0
        self.is_busy = False  # a reader takes over more, or waits for it

    # -- the codec's side, under the lock ------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Append what has arrived (see ``BodySink.feed``)."""
        if self._complete or self._error is not None:
            return
        if self.length is not None:
            data = data[: self.length - self.received]
        if not data:
            return
        self.received += len(data)
        self.unread += len(data)
        if self._file is None and self.unread - len(data) <= self._memory:
            self._inbox.append(data)
        else:
            self._to_file(data)
        if self.received == self.length:
            self._complete = True

    def end(self) -> None:
        """The stream has ended (see ``BodySink.end``)."""
        if self.length is not None and self.received < self.length:
            self.fail(
                ClientDisconnected(
                    f"the request body ended after {self.received} of {self.length} bytes"
                )
            )
        else:
            self._complete = True

    def fail(self, error: BaseException) -> None:
        """No more will come (see ``BodySink.fail``); a complete body stays readable."""
        if not self._complete and self._error is None:
            self._error = error

    @property
    def is_waited_for(self) -> bool:
        """Whether a reader that needs more would have to wait."""
        return not (self.unread or self._complete or self._error is not None)

    def _to_file(self, data: bytes) -> None:
        if self.unread > self._spool:
            self._error = LimitExceeded(
                f"the request body was not read in time, and more of it arrived than "
                f"--body-spool allows to keep ({self._spool})",
                413,
            )
            return
        try:
            if self._file is None:
                import tempfile

                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
            self._file.seek(self._write_position)
            self._file.write(data)
            self._write_position += len(data)
        except OSError as error:  # a full disk is the reader's to learn, not the connection's
            self._error = error

    # -- the application's side ----------------------------------------------------------------

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes, fewer only at the end; all that is left without a size."""
        if size is None or size < 0:
            every = []
            while self._offset < len(self._chunk) or self._take():
                every.append(self._chunk[self._offset :])
                self._chunk = b""
                self._offset = 0
            return every[0] if len(every) == 1 else b"".join(every)
        if len(self._chunk) - self._offset >= size:
            return self._buffered(size)
        parts: list[bytes | memoryview] = []
        missing = size
        while True:
            part = self._part(missing)
            parts.append(part)
            missing -= len(part)
            if not (missing and self._take()):
                return b"".join(parts)

    def readline(self, size: int | None = -1, /) -> bytes:
        """One line with its newline, or ``size`` bytes of it; b"" at the end."""
        left = -1 if size is None or size < 0 else size
        parts = []
        while left and (self._offset < len(self._chunk) or self._take()):
            newline = self._chunk.find(b"\n", self._offset)
            wanted = (newline if newline >= 0 else len(self._chunk) - 1) + 1 - self._offset
            if 0 < left < wanted:
                wanted = left
            part = self._buffered(wanted)
            parts.append(part)
            if part.endswith(b"\n"):
                break
            left -= len(part) if left > 0 else 0
        return b"".join(parts)

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """All lines, or lines of at least ``hint`` bytes together."""
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def close(self) -> None:
        """Give back what the body holds; reads after it find the end."""
        with self._lock:
            self._complete = True
            self._error = None
            self._inbox = []
            self.unread = 0
            self._taken = []
            self._chunk = b""
            self._offset = 0
            if self._file is not None:
                try:
                    self._file.close()
                except OSError:
                    pass  # it could not write the rest on a full disk, and nobody wants it now
                self._file = None

    def _buffered(self, size: int) -> bytes:
        """Up to ``size`` bytes of what was taken already."""
        if self._offset == 0 and size >= len(self._chunk):
            data = self._chunk
            self._chunk = b""
            return data
        data = self._chunk[self._offset : self._offset + size]
        self._skip(len(data))
        return data

    def _part(self, size: int) -> bytes | memoryview:
        """The same, to be joined: much of a piece is not copied for that."""
        size = min(size, len(self._chunk) - self._offset)
        if size < _WORTH_A_VIEW or size == len(self._chunk):
            return self._buffered(size)
        data = memoryview(self._chunk)[self._offset : self._offset + size]
        self._skip(len(data))
        return data

    def _skip(self, size: int) -> None:
        self._offset += size
        if self._offset == len(self._chunk):
            self._chunk = b""
            self._offset = 0

    def _take(self) -> bool:
        """Take over the next piece, waiting for it if need be; False at the end of the body."""
        self._offset = 0
        taken = self._taken  # another thread may close the body
        if taken:
            self._chunk = taken.pop()
            return True
        self.is_busy = True
        try:
            return self._take_or_wait()
        finally:
            self.is_busy = False

    def _take_or_wait(self) -> bool:
        while True:
            with self._lock:
                if self._inbox:
                    taken = self._inbox
                    self._inbox = []
                    for piece in taken:
                        self.unread -= len(piece)
                    taken.reverse()
                    self._chunk = taken.pop()
                    self._taken = taken
                    return True
                if self._file is not None:
                    self._chunk = self._from_file(self._file)
                    if self._chunk:  # else the disk was full
                        self.unread -= len(self._chunk)
                        return True
                if self._error is not None:
                    if isinstance(self._error, LimitExceeded):
                        self.refused = self._error
                    raise self._error
                if self._complete:
                    return False
            self._wait(self)

    def _from_file(self, file: IO[bytes]) -> bytes:
        file.seek(self._read_position)
        data = file.read(min(_READ, self._write_position - self._read_position))
        self._read_position += len(data)
        if self._read_position == self._write_position:
            file.close()  # caught up: what comes next is held in memory again
            self._file = None
            self._read_position = self._write_position = 0
        return data
