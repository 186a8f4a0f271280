"""Bytes on their way to a peer that may be slow: sent as far as it takes them, the rest is kept."""

from __future__ import annotations

import collections
import itertools
import os

from gateways.core.syscalls import send
from gateways.protocols.base import Buffer

# Below this, one copy into one piece is cheaper than a vectored write.
_JOIN_BELOW = 65536
_VECTORS = 64


class SendQueue:
    """The unsent bytes of one connection; ``size`` counts them."""

    __slots__ = ("_buffers", "size")

    def __init__(self) -> None:
        self._buffers: collections.deque[Buffer] = collections.deque()
        self.size = 0

    def send(self, fd: int, out: list[Buffer]) -> None:
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
            try:
                sent = os.writev(fd, list(itertools.islice(self._buffers, _VECTORS)))
            except BlockingIOError:
                return
            self._drop(sent)

    def clear(self) -> None:
        """Forget what is unsent."""
        self._buffers.clear()
        self.size = 0

    def _send_at_once(self, fd: int, data: Buffer, size: int) -> None:
        """One write, the ordinary case."""
        sent = send(fd, data)
        if sent < size:
            self._buffers.append(memoryview(data)[sent:])
            self.size = size - sent

    def _drop(self, sent: int) -> None:
        self.size -= sent
        while sent:
            first = self._buffers[0]
            if len(first) > sent:
                self._buffers[0] = memoryview(first)[sent:]
                return
            sent -= len(first)
            self._buffers.popleft()
