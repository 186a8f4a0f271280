"""Signals, queued in the handler and handled in a loop; the descriptor wakes that loop.

Python runs a handler only when its main thread is back among the bytecode. A signal that comes when
that has decided to wait, and does not wait yet, interrupts nothing: it would lie there until
something else happens. So the interpreter itself writes to the descriptor, in the very moment in
which the signal comes (``signal.set_wakeup_fd``), and the wait that follows is over at once.
"""

from __future__ import annotations

import collections
import os
import signal
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any


class SignalQueue:
    """Collects signals between ``install`` and ``restore``.

    Only the main thread may install handlers; elsewhere the queue stays empty, so that a server
    can be embedded in a thread.
    """

    def __init__(self, signals: Iterable[int]) -> None:
        self._signals = tuple(signals)
        self._queue: collections.deque[int] = collections.deque()
        self._previous: dict[int, Any] = {}
        self._previous_wake = -1
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def install(self) -> None:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                self._previous[number] = signal.signal(number, self._handle)
            self._previous_wake = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def restore(self) -> None:
        """Give them back to who had them, and the descriptors too."""
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._previous:
            signal.set_wakeup_fd(self._previous_wake)
        self._close()

    def forget(self) -> None:
        """Close the descriptors alone: in a child, whose handlers are reset already."""
        if self._previous:
            signal.set_wakeup_fd(-1)
        self._close()

    def _close(self) -> None:
        os.close(self._wake_read)
        os.close(self._wake_write)

    def fileno(self) -> int:
        """Readable when there may be a signal in the queue."""
        return self._wake_read

    def take(self) -> list[int]:
        """The signals that came since the last call, in order."""
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        taken = []
        while self._queue:
            taken.append(self._queue.popleft())
        return taken

    def holds(self, numbers: Iterable[int]) -> bool:
        """Whether one of these has come and is not taken yet."""
        return any(number in self._queue for number in numbers)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._queue.append(number)
        try:  # again: the loop may have read what was written when it came, and seen no signal yet
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # the loop has been woken often enough
