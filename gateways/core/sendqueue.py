"""Bytes on their way to a peer that may be slow: sent as far as it takes them, the rest is kept."""

from __future__ import annotations

import collections
import itertools
import os

from gateways.protocols.base import Buffer, FilePart, Output

# Below this, one copy into one piece is cheaper than a vectored write.
_JOIN_BELOW = 65536
_VECTORS = 64


class SendQueue:
    """The unsent bytes of one connection; ``size`` counts them."""

    __slots__ = ("_buffers", "size")

    def __init__(self) -> None:
        self._buffers: collections.deque[Buffer | FilePart] = collections.deque()
        self.size = 0

    def send(self, fd: int, out: Output) -> None:
        """Send what is queued, then ``out``, as far as the peer takes it; raises OSError."""
        if self.size == 0 and out:
            size = 0
            for buffer in out:
                size += len(buffer)
            if size <= _JOIN_BELOW:
                self._send_at_once(fd, out[0] if len(out) == 1 else b"".join(out), size)
                return
        for buffer in out:
            self.size += len(buffer)
        self._buffers.extend(out)
        while self._buffers:
            first = self._buffers[0]
            try:
                if isinstance(first, FilePart):
                    offered = first.size
                    sent = first.file.send(fd, first.offset, offered)
                else:
                    vectors = self._vectors()
                    offered = sum(map(len, vectors))
                    sent = os.writev(fd, vectors)
            except BlockingIOError:
                return
            self._drop(sent)
            if sent < offered:
                return  # there is no room for more; to try would cost a call

    def clear(self) -> None:
        """Forget what is unsent."""
        self._buffers.clear()
        self.size = 0

    def _send_at_once(self, fd: int, data: Buffer, size: int) -> None:
        """One write, the ordinary case."""
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        if sent < size:
            self._buffers.append(memoryview(data)[sent:])
            self.size = size - sent

    def _vectors(self) -> list[Buffer]:
        """What is in memory before the next piece of a file, as much as goes into one call."""
        vectors: list[Buffer] = []
        for buffer in itertools.islice(self._buffers, _VECTORS):
            if isinstance(buffer, FilePart):
                break
            vectors.append(buffer)
        return vectors

    def _drop(self, sent: int) -> None:
        self.size -= sent
        while sent:
            first = self._buffers[0]
            if len(first) > sent:
                if isinstance(first, FilePart):
                    self._buffers[0] = first.part(sent, first.size)
                else:
                    self._buffers[0] = memoryview(first)[sent:]
                return
            sent -= len(first)
            self._buffers.popleft()
