"""The coarse clock: who wakes it, and when it is gone."""

from __future__ import annotations

import threading

from gateways.core.clock import Clock


def test_a_sleeping_clock_wakes_when_it_is_unparked() -> None:
    clock = Clock()
    clock.parked = True
    thread = threading.Thread(target=clock.sleep, args=(None,))
    thread.start()
    clock.unpark()
    thread.join(20)
    assert not thread.is_alive()
    assert not clock.parked
    clock.close()


def test_whoever_is_too_late_to_wake_it_is_not_told_so() -> None:
    clock = Clock()
    clock.close()
    clock.unpark()
