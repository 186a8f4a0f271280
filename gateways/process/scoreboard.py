"""What every thread of every worker is doing, in memory that the supervisor and all workers share.

A worker has a row, a thread has a slot in it. Only the thread writes its slot, when a request
begins and when it ends, and only the worker's main thread writes the row's counters, a few times a
second; so nothing is locked. A reader may catch a slot half written and see the end of an older
path behind a newer one: it is for people to look at, and for counting who is busy.

A slot outlives its worker, so the supervisor can tell what one that crashed was doing.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

from gateways.core.recorder import Recorder
from gateways.core.slot import BUSY, SLOT_BYTES, Slot, read_slot

_COUNTERS = struct.Struct("<QdQQQQdQ")  # as in Counters
_BEAT = struct.Struct("<d")
_BEAT_AT = 128  # in a row, behind the counters


class Counters(NamedTuple):
    """What a worker has done; times are of the monotonic clock, sizes in bytes."""

    pid: int = 0
    started: float = 0.0
    requests: int = 0
    errors: int = 0  # answers from 500 on, and those that were cut short
    sent: int = 0
    aborted: int = 0  # by the client
    cpu_seconds: float = 0.0
    rss: int = 0


class Scoreboard:
    """``rows`` workers of ``threads`` threads each. Make it before the fork."""

    def __init__(self, rows: int, threads: int) -> None:
        self.rows = rows
        self.threads = threads
        self._row_bytes = SLOT_BYTES * (2 + threads)  # the counters, and a slot for thread 0
        self._memory = mmap.mmap(-1, rows * self._row_bytes)
        self._view = memoryview(self._memory)

    def clear(self, row: int) -> None:
        """Make a row ready for the next worker."""
        start = row * self._row_bytes
        self._view[start : start + self._row_bytes] = bytes(self._row_bytes)

    def counters(self, row: int) -> Counters:
        """What the worker has written about itself."""
        return Counters._make(_COUNTERS.unpack_from(self._view, row * self._row_bytes))

    def write_counters(self, row: int, counters: Counters) -> None:
        """For the worker's main thread."""
        _COUNTERS.pack_into(self._view, row * self._row_bytes, *counters)

    def write_beat(self, row: int, now: float) -> None:
        """The worker's main thread still gets its turn."""
        _BEAT.pack_into(self._view, row * self._row_bytes + _BEAT_AT, now)

    def beat(self, row: int) -> float:
        """When that was, the last time."""
        (then,) = _BEAT.unpack_from(self._view, row * self._row_bytes + _BEAT_AT)
        return float(then)

    def slots(self, row: int) -> list[Slot]:
        """What the threads of a worker do."""
        return [
            read_slot(self._view, self._offset(row, number))
            for number in range(1, self.threads + 1)
        ]

    def busy(self, row: int) -> int:
        """How many of its threads run a request."""
        first = self._offset(row, 0)
        end = (row + 1) * self._row_bytes
        return sum(self._view[at] == BUSY for at in range(first, end, SLOT_BYTES))

    def requests(self, row: int) -> int:
        """How many its threads have begun."""
        return sum(slot.requests for slot in self.slots(row))

    def recorder(self, row: int) -> Recorder:
        """What writes the slots of a worker."""
        offsets = [self._offset(row, number) for number in range(self.threads + 1)]
        return Recorder(self._view, offsets)

    def _offset(self, row: int, number: int) -> int:
        return row * self._row_bytes + (1 + number) * SLOT_BYTES

    def close(self) -> None:
        """Give the memory back."""
        self._view.release()
        self._memory.close()
