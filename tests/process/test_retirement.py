"""When a worker has had its time."""

from __future__ import annotations

import mmap
import os
import resource
import time
from random import Random

import pytest

from gateways.config import Config
from gateways.process.retirement import MIB, Retirement, resident_bytes
from tests.core.forks import in_child

HOUR = 3600.0


def retirement(**options: float) -> Retirement:
    """The limits of a worker that begins now."""
    return Retirement(Config(**options), Random(1))  # type: ignore[arg-type]


def test_without_limits_it_stays_for_ever() -> None:
    limits = retirement(max_requests_jitter=5)
    assert limits.reason(10**9, time.monotonic() + 10**9) == ""
    assert limits.next_look(time.monotonic()) is None


def test_after_so_many_requests() -> None:
    limits = retirement(max_requests=100)
    now = time.monotonic()
    assert limits.next_look(now) is None
    assert limits.reason(99, now) == ""
    assert limits.reason(101, now) == "it has served 101 requests (--max-requests)"
    assert limits.reason(102, now) == "it has served 101 requests (--max-requests)"
    assert limits.next_look(now) == now


def test_workers_that_began_together_do_not_leave_together() -> None:
    now = time.monotonic()
    ends = set()
    for seed in range(200):
        limits = Retirement(Config(max_requests=100, max_requests_jitter=10), Random(seed))
        ends.add(next(count for count in range(1000) if limits.reason(count, now)))
    assert ends == set(range(100, 111))


def test_after_a_time_and_up_to_a_tenth_more() -> None:
    ends = set()
    for seed in range(200):
        began = time.monotonic()
        limits = Retirement(Config(max_lifetime_seconds=HOUR), Random(seed))
        end = limits.next_look(began)
        assert end is not None
        assert limits.reason(0, end - 0.01) == ""
        assert "it has run for 3" in limits.reason(0, end)
        ends.add(end - began)
    assert HOUR <= min(ends) < HOUR * 1.01
    assert HOUR * 1.09 < max(ends) < HOUR * 1.1 + 1


def test_when_its_memory_has_grown() -> None:
    def work() -> object:
        limits = retirement(max_rss_bytes=resident_bytes() + 50 * MIB)
        now = time.monotonic() + Retirement.YOUTH_SECONDS
        before = limits.reason(1, now)
        with mmap.mmap(-1, 80 * MIB) as memory:
            memory.write(b"x" * (80 * MIB))
            too_early = limits.reason(2, now + 0.9)
            return before, too_early, limits.reason(2, now + 1.1)

    before, too_early, reason = eval(in_child(work))
    assert (before, too_early) == ("", "")
    assert reason.startswith("its resident memory is ")
    assert reason.endswith("MiB (--max-rss)")


def test_a_limit_that_no_worker_can_keep_is_no_reason_to_leave_at_once() -> None:
    limits = retirement(max_rss_bytes=1)
    now = time.monotonic()
    then = limits.next_look(now)
    assert then is not None
    assert limits.reason(1000, then - 0.1) == ""
    assert then - now == pytest.approx(10, abs=1)
    reason = limits.reason(1, then)
    assert "above 0.0 MiB (--max-rss); it began with" in reason
    assert reason.endswith("raise the limit")


def test_a_worker_at_rest_is_looked_at_now_and_then() -> None:
    limits = retirement(max_rss_bytes=2**50, max_lifetime_seconds=HOUR)
    now = time.monotonic() + Retirement.YOUTH_SECONDS
    assert limits.reason(0, now) == ""
    assert limits.next_look(now) == now + 10
    assert limits.reason(0, now + 10) == ""
    assert limits.next_look(now + 10) == now + 20


def test_resident_memory_is_what_the_process_has_now() -> None:
    def work() -> object:
        before = resident_bytes()
        with mmap.mmap(-1, 64 * MIB) as memory:
            memory.write(b"x" * (64 * MIB))
            grown = resident_bytes() - before
        return grown // MIB, (resident_bytes() - before) // MIB

    grown, left = eval(in_child(work))
    assert 60 <= grown <= 80
    assert left <= 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its root directory")
def test_where_no_proc_is_in_sight_it_is_the_peak(tmp_path: object) -> None:
    def work() -> object:
        os.chroot(str(tmp_path))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return 0 <= resident_bytes() - peak < 10 * MIB

    assert in_child(work) == "True"
