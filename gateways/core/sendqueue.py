"""Bytes on their way to a peer that may be slow: sent as far as it takes them, the rest is kept."""

from __future__ import annotations

from gateways.core.syscalls import MOST_VECTORS, send, send_vectors
from gateways.protocols.base import FilePart, Output

# Below this, one copy into one piece is no dearer than a vectored write.
_JOIN_BELOW = 8192


class SendQueue:
    """The unsent bytes of one connection; ``size`` counts them."""

    __slots__ = ("_buffers", "size")

    _buffers: Output
    size: int

    def send(self, fd: int, out: Output) -> None:
        """Send what is queued, then ``out``, as far as the peer takes it; raises OSError.

        The list is taken over.
        """
        size = 0
        for buffer in out:
            size += len(buffer)
        if self.size:
            self._buffers += out
        elif size <= _JOIN_BELOW:
            if out:
                data = out[0] if len(out) == 1 else b"".join(out)
                sent = send(fd, data)
                if sent < size:
                    self._buffers.append(memoryview(data)[sent:])
                    self.size = size - sent
            return
        else:
            self._buffers = out
        self.size += size
        try:
            while self._buffers and self._send_some(fd):
                pass  # else there is no room for more, and to try would cost a call
        except BlockingIOError:
            pass

    def _send_some(self, fd: int) -> bool:
        """One call; whether all that it offered was taken."""
        first = self._buffers[0]
        offered = 0
        count = 1
        if isinstance(first, FilePart):
            offered = first.size
            sent = first.file.send(fd, first.offset, offered)
        else:
            count = 0
            for buffer in self._buffers:
                if count == MOST_VECTORS or isinstance(buffer, FilePart):
                    break
                offered += len(buffer)
                count += 1
            sent = send(fd, first) if count == 1 else send_vectors(fd, self._buffers, count)
        if sent < offered:
            self._drop(sent)
            return False
        self.size -= sent
        del self._buffers[:count]
        return True

    def clear(self) -> None:
        """Forget what is unsent."""
        self._buffers.clear()
        self.size = 0

    def _drop(self, sent: int) -> None:
        self.size -= sent
        gone = 0
        for buffer in self._buffers:
            if sent < len(buffer):
                break
            sent -= len(buffer)
            gone += 1
        del self._buffers[:gone]
        if sent:
            first = self._buffers[0]
            if isinstance(first, FilePart):
                self._buffers[0] = first.part(sent, first.size)
            else:
                self._buffers[0] = memoryview(first)[sent:]


def new_queue() -> SendQueue:
    """An empty one; ``SendQueue()`` would cost a connection several times as much."""
    queue = SendQueue.__new__(SendQueue)
    queue._buffers = []
    queue.size = 0
    return queue
