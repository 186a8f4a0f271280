"""What systemd is told, over real sockets of either kind."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.process.notify import Notifier
from tests.core.serving import LogLines
from tests.servers.harness import DEADLINE_SECONDS


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A manager's socket, and what NOTIFY_SOCKET says."""
    path = str(tmp_path / "notify")
    name = path if request.param == "path" else f"@{path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(DEADLINE_SECONDS)
        yield sock, name


def test_every_message(manager: tuple[socket.socket, str]) -> None:
    sock, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("3 workers\nserve ü")
    notifier.main_pid(12)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.stopping()
    told = [sock.recv(4096).decode() for _ in range(5)]
    reloading = told.pop(3)
    assert told == ["READY=1", "STATUS=3 workers serve ü", "MAINPID=12", "STOPPING=1"]
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=([0-9]+)", reloading)
    assert found is not None
    assert before <= int(found[1]) <= after


def test_a_sign_of_life_when_it_is_due(manager: tuple[socket.socket, str]) -> None:
    sock, name = manager
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"}
    notifier = Notifier({**environ, "WATCHDOG_PID": str(os.getpid())})
    assert notifier.watchdog_interval() == 2.0
    assert [notifier.watch(now) for now in (10.0, 11.9, 12.0, 13.0)] == [12.0, 12.0, 14.0, 14.0]
    notifier.stopping()
    assert [sock.recv(100) for _ in range(3)] == [b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "4000000"}, 2.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "x"}, 0.0),
        ({"WATCHDOG_USEC": "0"}, 0.0),
        ({"WATCHDOG_USEC": "-5"}, 0.0),
        ({}, 0.0),
        ({"WATCHDOG_USEC": "4000000", "NOTIFY_SOCKET": ""}, 0.0),
    ],
)
def test_whether_somebody_watches(environ: dict[str, str], interval: float) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/run/notify", **environ})
    assert notifier.watchdog_interval() == interval


def say_everything(notifier: Notifier) -> None:
    """Call whatever there is."""
    notifier.ready()
    notifier.reloading()
    notifier.stopping()
    notifier.status("x")
    notifier.main_pid(1)
    notifier.watch(0.0)


def test_without_a_manager_nothing_happens() -> None:
    with LogLines() as lines:
        notifier = Notifier({"WATCHDOG_USEC": "4000000"})
        say_everything(notifier)
        assert notifier.watch(0.0) is None
    assert lines.texts() == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/nonexistent/notify", "[Errno 2] No such file or directory"),
        ("@nobody-is-there", "[Errno 111] Connection refused"),
        ("/" + "x" * 200, "AF_UNIX path too long"),
    ],
)
def test_a_manager_that_does_not_listen_is_logged_once(name: str, reason: str) -> None:
    with LogLines() as lines:
        say_everything(Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"}))
    assert lines.texts() == [
        f"cannot tell the service manager 'READY=1': {reason}; NOTIFY_SOCKET is {name}"
    ]


def test_a_manager_that_does_not_read_holds_nobody_up_for_long(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, LogLines() as lines:
        sock.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": f"{tmp_path}/notify"})
        while not lines.texts():
            notifier.ready()
    assert "cannot tell the service manager 'READY=1': timed out" in lines.texts()[0]
