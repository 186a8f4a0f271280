"""How long to wait before a worker is started in place of one that died or did not come up."""

from __future__ import annotations

_QUICK_DEATH_SECONDS = 1.0
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 30.0


class Patience:
    """A death is answered at once, death upon death with growing patience.

    One that comes soon may be somebody's kill -9; a second one in a row is a crash.
    """

    def __init__(self) -> None:
        self.until = 0.0  # nothing is started before
        self._failures = 0  # in a row

    def forget(self) -> None:
        """A generation has come up: what was before counts no more."""
        self._failures = 0

    def on_death(self, now: float, lived: float) -> None:
        """A worker that served for ``lived`` seconds is gone."""
        self._failures = 0 if lived > _QUICK_DEATH_SECONDS else self._failures + 1
        self._wait(now, self._failures - 1)

    def on_failure(self, now: float) -> None:
        """One could not be made ready."""
        self._failures += 1
        self._wait(now, self._failures)

    def _wait(self, now: float, failures: int) -> None:
        delay = 0.0
        if failures > 0:
            delay = min(_FIRST_DELAY_SECONDS * 2.0**failures, _LONGEST_DELAY_SECONDS)
        self.until = now + delay
