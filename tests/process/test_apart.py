"""A function in a process apart: its result, its errors, its end."""

from __future__ import annotations

import datetime
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gateways.errors import ConfigError
from gateways.process.apart import Apart, LeftApart


def descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


@pytest.mark.parametrize(
    "value",
    [None, ("text", 1, 2.5, {"a": (True, None)}), {"at": datetime.time(3)}, b"x" * 1_000_000],
    ids=["none", "plain", "more than that", "large"],
)
def test_the_result_comes_from_another_process(value: Any) -> None:
    before = descriptors()
    pid, result = Apart(lambda: (os.getpid(), value)).result()
    assert pid != os.getpid()
    assert result == value
    assert descriptors() == before
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_it_imports_stays_there() -> None:
    def work() -> bool:
        import mailbox  # nobody else has a use for it

        return mailbox.__name__ in sys.modules

    assert Apart(work).result()
    assert "mailbox" not in sys.modules


def refuse() -> None:
    raise ConfigError("not like this")


def test_an_error_of_the_operators_is_raised_here() -> None:
    with pytest.raises(ConfigError, match="not like this"):
        Apart(refuse).result()


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        (lambda: sys.exit(3), 3),
        (lambda: sys.exit(), 0),
        (lambda: os._exit(5), 5),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), 128 + signal.SIGKILL),
        (lambda: 1 // 0, 70),
    ],
)
def test_whoever_leaves_without_a_result_has_a_status(
    leave: Callable[[], object], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LeftApart) as left:
        Apart(leave).result()
    assert left.value.status == status


def test_a_result_comes_although_nobody_can_wait_for_children() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert Apart(lambda: 1).result() == 1
        with pytest.raises(LeftApart) as left:
            Apart(lambda: sys.exit(3)).result()
        assert left.value.status == 3
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_who_is_interrupted_leaves_no_process_behind() -> None:
    apart: Apart[None] = Apart(signal.pause)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            apart.result()
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_result_that_nobody_waits_for_is_dropped() -> None:
    waiting, go = os.pipe()
    apart = Apart(lambda: os.read(waiting, 1))
    os.close(apart._result)
    os.write(go, b"x")
    assert os.waitpid(apart._pid, 0)[1] == 0
    os.close(waiting)
    os.close(go)
