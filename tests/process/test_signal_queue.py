"""Signals wake the loop whenever they come."""

from __future__ import annotations

import select
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from gateways.process.signals import SignalQueue
from tests.servers.harness import DEADLINE_SECONDS


@pytest.fixture(autouse=True)
def turns() -> Iterator[None]:
    """A thread runs when the one before it waits, and not sooner."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


def wakes(queue: SignalQueue) -> bool:
    """Whether SIGUSR1 does, that comes when the loop has decided to wait.

    Another thread gets it: so it interrupts no wait, as if this one had not quite begun.
    """
    about_to_wait = threading.Lock()
    about_to_wait.acquire()

    def send() -> None:
        with about_to_wait:  # which is when the main thread gives up the interpreter
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    sender = threading.Thread(target=send)
    sender.start()
    poll = select.poll()
    poll.register(queue, select.POLLIN)
    about_to_wait.release()
    woken = bool(poll.poll(DEADLINE_SECONDS * 1000))
    sender.join()
    return woken and queue.take() == [signal.SIGUSR1]


def test_one_that_comes_when_the_loop_is_about_to_wait() -> None:
    queue = SignalQueue([signal.SIGUSR1])
    queue.install()
    assert wakes(queue)
    queue.restore()
    assert signal.set_wakeup_fd(-1) == -1


def test_they_are_taken_in_the_order_in_which_they_came() -> None:
    queue = SignalQueue([signal.SIGUSR1, signal.SIGUSR2])
    queue.install()
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
        signal.raise_signal(number)
    assert queue.holds([signal.SIGUSR1])
    assert queue.take() == [signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2]
    assert not queue.take()
    queue.restore()


def test_who_was_woken_by_signals_before_is_so_afterwards() -> None:
    outer, inner = SignalQueue([signal.SIGUSR1]), SignalQueue([signal.SIGUSR1])
    outer.install()
    inner.install()
    inner.restore()
    assert wakes(outer)
    outer.restore()
