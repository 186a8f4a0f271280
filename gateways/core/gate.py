"""How many threads may wait in the poller: all of them, or one while requests come thick and fast.

Under the GIL a second running thread is of no use to requests that only compute: it makes the
threads fight for the lock around each system call, which costs half as much again per request. So
while at least ``NARROW_ABOVE`` requests are answered between two ticks, and none of them takes as
long as a tick, the gate is narrow: one thread, the leader, goes on polling, the others are parked.
One long request opens it at once and for a while: then there is somebody to serve the others.
"""

from __future__ import annotations

import sys
import threading

NARROW_ABOVE = 100
_WIDE_TICKS = 50  # how long the gate stays wide after a long request


class Gate:
    """The ticker decides, with ``tick``; while it is ``narrow`` a worker asks before each poll."""

    __slots__ = ("_changed", "_leader", "_possible", "_wide_until", "narrow")

    def __init__(self, threads: int) -> None:
        self.narrow = False
        self._leader = 0  # the thread that goes on polling while the gate is narrow
        self._changed = threading.Condition()
        self._wide_until = 0
        has_gil = getattr(sys, "_is_gil_enabled", lambda: True)
        self._possible = threads > 1 and has_gil()

    def enter(self) -> None:
        """Wait until this thread may poll."""
        if not self.narrow:
            return
        thread = threading.get_ident()
        if self._leader != thread:
            with self._changed:
                while self.narrow and self._leader not in (0, thread):
                    self._changed.wait()
                if self.narrow:
                    self._leader = thread

    def tick(self, tick: int, answered: int, long_running: bool) -> None:
        """Decide anew: ``answered`` requests since the last tick, and whether one runs for long."""
        if long_running:
            self._wide_until = tick + _WIDE_TICKS
        if answered < NARROW_ABOVE or tick < self._wide_until:
            self.open()
        elif self._possible:
            self.narrow = True

    def open(self) -> None:
        """Let every thread pass."""
        if self.narrow:
            with self._changed:
                self.narrow = False
                self._leader = 0
                self._changed.notify_all()
