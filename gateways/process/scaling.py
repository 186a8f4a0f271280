"""How many workers there should be, between the least and the most that were asked for.

One more whenever all threads of all workers are busy at two looks in a row, and twice as many each
time that goes on; one less whenever a worker has had nothing to do for long enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateways.config import Workers
from gateways.process.member import Worker

LOOK_SECONDS = 0.1


class Scaling:
    """Looks at the scoreboard; the supervisor acts on it."""

    def __init__(self, bounds: Workers, idle_timeout_seconds: float) -> None:
        self.bounds = bounds
        self._idle_timeout = idle_timeout_seconds
        self._saturated = 0  # looks in a row
        self._step = 1

    def looks(self) -> bool:
        """Whether there is anything to decide."""
        return self.bounds.least != self.bounds.most

    def more(self, serving: Sequence[Worker], target: int, coming: bool) -> int:
        """How many workers to add. ``coming``: some are being started already."""
        if coming or target >= self.bounds.most or not serving:
            return 0
        if any(worker.busy() < worker.generation.config.threads for worker in serving):
            self._saturated, self._step = 0, 1
            return 0
        self._saturated += 1
        if self._saturated < 2:
            return 0
        step = min(self._step, self.bounds.most - target)
        self._step *= 2
        return step

    def idle(self, serving: Sequence[Worker], target: int, now: float) -> Worker | None:
        """A worker that is not needed, if there is one."""
        if target <= self.bounds.least:
            return None
        for worker in serving:
            asked = worker.generation.board.requests(worker.row)
            if asked != worker.asked or worker.busy():
                worker.asked = asked
                worker.idle_since = now
        idle = [w for w in serving if now - w.idle_since >= self._idle_timeout and not w.why]
        return min(idle, key=lambda worker: worker.idle_since, default=None)
