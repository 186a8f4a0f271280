"""When a worker has had its time: --max-requests, --max-rss, --max-lifetime.

It only says so; the successor is started first, and that is the supervisor's affair. Chance spreads
the ends of workers that began together.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from gateways.config import Config

if TYPE_CHECKING:
    from random import Random

MIB = 1024 * 1024
_LOOK_EVERY_SECONDS = 1.0  # at the memory; a look costs a system call or three
_LOOK_WHEN_IDLE_SECONDS = 10.0  # nothing much grows then, and a sleeping process should sleep


class Retirement:
    """The limits of one worker, which begins now; ``now`` is of ``time.monotonic``."""

    # Where a fresh worker needs more than --max-rss allows, a successor would be no better.
    YOUTH_SECONDS = 10.0

    def __init__(self, config: Config, random: Random | None = None) -> None:
        now = time.monotonic()
        if random is None and (config.max_requests or config.max_lifetime_seconds):
            from random import Random  # most processes do without

            random = Random()  # noqa: S311  # a jitter
        self._requests = config.max_requests
        if random is not None and config.max_requests:
            self._requests += random.randint(0, config.max_requests_jitter)
        self._rss = config.max_rss_bytes
        self._began = now
        lifetime = config.max_lifetime_seconds
        if random is not None and lifetime:
            lifetime *= 1 + random.uniform(0, 0.1)
        self._end = now + lifetime if lifetime else None
        self._next_look = self._next_look_idle = now + self.YOUTH_SECONDS
        self._rss_at_first = resident_bytes() if self._rss else 0
        self._reason = ""

    def reason(self, requests: int, now: float) -> str:
        """Why it should leave, for the log; '' while it may stay. Cheap; final once it is given."""
        if self._reason:
            return self._reason
        if self._requests and requests >= self._requests:
            self._reason = f"it has served {requests} requests (--max-requests)"
        elif self._end is not None and now >= self._end:
            self._reason = f"it has run for {now - self._began:.0f} s (--max-lifetime)"
        elif self._rss and now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_SECONDS
            self._next_look_idle = now + _LOOK_WHEN_IDLE_SECONDS
            rss = resident_bytes()
            if rss > self._rss:
                self._reason = (
                    f"its resident memory is {rss / MIB:.1f} MiB, "
                    f"above {self._rss / MIB:.1f} MiB (--max-rss)"
                )
                if self._rss_at_first > self._rss:
                    self._reason += (
                        f"; it began with {self._rss_at_first / MIB:.1f} MiB, as any other will: "
                        "raise the limit"
                    )
        return self._reason

    def next_look(self, now: float) -> float | None:
        """When to ask again at the latest, though no request comes; None: only requests count."""
        if self._reason:
            return now
        times = [] if self._end is None else [self._end]
        if self._rss:
            times.append(self._next_look_idle)
        return min(times, default=None)


def resident_bytes() -> int:
    """The resident memory of this process; its peak where no /proc is in sight, as in a chroot."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        pass  # not Linux, or no /proc in sight
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
