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
import time
from typing import NamedTuple

IDLE, BUSY = 0, 1

_SLOT = struct.Struct("<B7xdQ16s144s48s")  # state, since, requests, method, path, client
_COUNTERS = struct.Struct("<QdQQQQdQ")  # as in Counters
_SLOT_BYTES = 256
_BEAT = struct.Struct("<d")
_BEAT_AT = 128  # in a row, behind the counters
_METHOD, _PATH, _CLIENT = 16, 144, 48


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


class Slot(NamedTuple):
    """What a thread does, or did last."""

    busy: bool
    since: float  # when its request began
    requests: int
    method: str
    path: str
    client: str

    def describe(self, now: float) -> str:
        """``GET /slow (from 192.0.2.1, 12.0 s)``."""
        return f"{self.method} {self.path} (from {self.client or '-'}, {now - self.since:.1f} s)"


class Scoreboard:
    """``rows`` workers of ``threads`` threads each. Make it before the fork."""

    def __init__(self, rows: int, threads: int) -> None:
        self.rows = rows
        self.threads = threads
        self._row_bytes = _SLOT_BYTES * (2 + threads)  # the counters, and a slot for thread 0
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
        return [self._slot(self._offset(row, number)) for number in range(1, self.threads + 1)]

    def busy(self, row: int) -> int:
        """How many of its threads run a request."""
        first = self._offset(row, 0)
        end = (row + 1) * self._row_bytes
        return sum(self._view[at] == BUSY for at in range(first, end, _SLOT_BYTES))

    def requests(self, row: int) -> int:
        """How many its threads have begun."""
        return sum(slot.requests for slot in self.slots(row))

    def recorder(self, row: int) -> Recorder:
        """What writes the slots of a worker."""
        offsets = [self._offset(row, number) for number in range(self.threads + 1)]
        return Recorder(self._view, offsets)

    def _offset(self, row: int, number: int) -> int:
        return row * self._row_bytes + (1 + number) * _SLOT_BYTES

    def _slot(self, at: int) -> Slot:
        state, since, requests, method, path, client = _SLOT.unpack_from(self._view, at)
        texts = (text.rstrip(b"\0").decode("latin-1") for text in (method, path, client))
        return Slot(state == BUSY, since, requests, *texts)

    def close(self) -> None:
        """Give the memory back."""
        self._view.release()
        self._memory.close()


class Recorder:
    """Writes the slots of a worker (a ``core.observer.Recorder``): two stores for each request."""

    def __init__(self, view: memoryview, offsets: list[int]) -> None:
        self._view = view
        self._offsets = offsets
        self._requests = [0] * len(offsets)
        self._pack_into = _SLOT.pack_into
        self._now = time.monotonic

    def begin(self, thread: int, variables: dict[str, str]) -> None:
        """The thread with this number begins a request."""
        get = variables.get
        self._requests[thread] = requests = self._requests[thread] + 1
        self._pack_into(
            self._view,
            self._offsets[thread],
            BUSY,
            self._now(),
            requests,
            get("REQUEST_METHOD", "")[:_METHOD].encode("latin-1", "replace"),
            (get("SCRIPT_NAME", "") + get("PATH_INFO", ""))[:_PATH].encode("latin-1", "replace"),
            get("REMOTE_ADDR", "")[:_CLIENT].encode("latin-1", "replace"),
        )

    def end(self, thread: int) -> None:
        """It has ended; what it was stays to be seen."""
        self._view[self._offsets[thread]] = IDLE
