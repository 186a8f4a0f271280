"""A coarse clock, which the main thread advances: deadlines read it instead of the system's.

While requests are served it ticks every few hundredths of a second, which is also how fast a
long-running request gets its connection watched again; while nothing happens it is parked.
A worker that finds it parked sets it going, once, so that an idle process never wakes up.
"""

from __future__ import annotations

import os
import select
import threading
import time

TICK_SECONDS = 0.02


class Clock:
    """``now`` is in seconds of the monotonic clock, ``tick`` counts the ticks."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.tick = 0
        self.parked = False
        self._closed = False
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def unpark(self) -> None:
        """Set the clock right and going again; any thread, any time."""
        self.now = time.monotonic()  # first: who finds it unparked relies on the time
        self.parked = False
        with self._lock:
            if self._closed:
                return  # who asks a server to stop may be late
            try:
                os.write(self._wake_write, b"\0")
            except BlockingIOError:
                pass  # the main thread has been woken often enough

    def sleep(self, timeout: float | None, *also: int) -> None:
        """Until ``timeout`` seconds have passed, a worker unparks, or a descriptor of ``also``
        is readable. Then the time is set."""
        poll = select.poll()
        for fd in (self._wake_read, *also):
            poll.register(fd, select.POLLIN)
        for ready, _ in poll.poll(None if timeout is None else timeout * 1000):
            if ready == self._wake_read:  # else a call in vain, which costs a turn of the GIL
                self._take_wakes()
        self.now = time.monotonic()
        self.tick += 1

    def _take_wakes(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give the descriptors back."""
        with self._lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)
