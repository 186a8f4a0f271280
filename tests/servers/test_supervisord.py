"""supervisord, booted on the files of contrib/supervisor, in both of its ways."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .fastcgi_client import ask
from .harness import (
    CONTRIB,
    DEADLINE_SECONDS,
    Server,
    accepts,
    children_of,
    fill,
    has_ended,
    require,
    wait_until,
)
from .launching import (
    GATEWAYS,
    asking_all_the_time,
    processes_in,
    wait_for_version,
    wait_for_workers,
    write_application,
)

_PACKAGE = "supervisor"
NAME = "yourapplication"


class Supervisord:
    """A running supervisord, and what it looks after."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server = server
        self.root = root
        self.path = str(root / "app.sock")

    def ask(self) -> str:
        """Version and process id of who answers."""
        reply = ask(self.path, "/")
        assert reply.status == "200 OK", reply
        return reply.body

    def control(self, *words: str) -> str:
        """What supervisorctl says."""
        program = require("supervisorctl", _PACKAGE)
        done = subprocess.run(
            [program, "-c", self.root / "supervisord.conf", *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        return done.stdout + done.stderr

    def pid(self, process: str = NAME) -> int:
        """The process id behind a name."""
        return int(self.control("pid", process))

    @property
    def log(self) -> str:
        """What supervisord has written."""
        return (self.root / "supervisord.log").read_text()

    def output(self, name: str = NAME) -> str:
        """What a process has written."""
        file = self.root / f"{name}.log"
        return file.read_text() if file.exists() else ""


@contextlib.contextmanager
def supervisord(
    root: Path, name: str, change: Callable[[str], str] = lambda text: text
) -> Iterator[Supervisord]:
    """supervisord on contrib/supervisor/NAME, after a ``change`` of its text."""
    contrib = CONTRIB / "supervisor"
    values = {
        "ROOT": root,
        "GATEWAYS": GATEWAYS,
        "DIRECTORY": root,
        "APPLICATION": "versioned:app",
        "SOCKET": f"unix://{root / 'app.sock'}",
        "BIND": f"unix:{root / 'app.sock'}?mode=666",
        "PROTOCOL": "fcgi",
        "OPTIONS": "--script-name=",
        "NAME": NAME,
        "LOGS": root,
    }
    (root / "conf.d").mkdir()
    (root / "conf.d" / name).write_text(change(fill(contrib / name, **values)))
    (root / "supervisord.conf").write_text(fill(contrib / "supervisord.conf", **values))
    write_application(root, "1")
    program = require("supervisord", _PACKAGE)
    server = Server([program, "-c", root / "supervisord.conf"], root / "out.log")
    running = Supervisord(server, root)
    try:
        running.server.wait_until_accepting(running.path)
        yield running
    except BaseException:
        running.server.stop()
        raise
    assert running.server.stop() == 0


def with_line(name: str, value: str) -> Callable[[str], str]:
    """A change of a file: another value for a line that it has."""

    def change(text: str) -> str:
        changed, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", text)
        assert count == 1
        return changed

    return change


@pytest.mark.parametrize("group", ["false", "true"])
@pytest.mark.parametrize("number", ["TERM", "INT", "QUIT"])
def test_a_program_with_workers_of_its_own_is_stopped(
    own_directory: Path, number: str, group: str
) -> None:
    def change(text: str) -> str:
        return with_line("stopsignal", number)(with_line("stopasgroup", group)(text))

    with supervisord(own_directory, "program.conf", change) as running:
        pid = running.pid()
        workers = wait_for_workers(pid, 2)
        assert running.ask().split()[0] == "1"
        assert running.control("stop", NAME) == f"{NAME}: stopped\n"
        assert all(map(has_ended, [pid, *workers]))
        assert not Path(running.path).exists()
        assert f"stopped: {NAME} (exit status 0)" in running.log, running.log
        loud = re.findall(r"Traceback|ERROR.*|WARNING (?!serving as root).*", running.output())
        # At once, a worker is killed, and that is said.
        assert not [line for line in loud if number != "QUIT" or "at once" not in line]


def test_a_program_is_reloaded_by_a_signal_and_loses_nothing(own_directory: Path) -> None:
    with supervisord(own_directory, "program.conf") as running:
        pid = running.pid()
        old = wait_for_workers(pid, 2)
        with asking_all_the_time(running.ask) as answers:
            running.server.wait_until(lambda: len(answers) > 50, "some answers")
            write_application(own_directory, "2")
            assert running.control("signal", "HUP", NAME) == f"{NAME}: signalled\n"
            wait_for_version(running.server, running.ask, "2")
            wait_until(lambda: all(map(has_ended, old)), "the old workers have left")
        assert running.pid() == pid
        assert "exited: " not in running.log


def test_a_program_that_was_killed_is_started_again(own_directory: Path) -> None:
    """Its workers leave, and the successor takes pidfile and socket over."""
    with supervisord(own_directory, "program.conf") as running:
        pid = running.pid()
        workers = wait_for_workers(pid, 2)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(map(has_ended, workers)), "the workers have left")
        wait_until(lambda: running.pid() not in (0, pid), "there is another one")
        wait_until(lambda: accepts(running.path), "it serves")
        assert not processes_in([running.ask()]) & set(workers)


@pytest.mark.parametrize(
    ("number", "options"),
    [("TERM", ""), ("INT", ""), ("QUIT", ""), ("USR1", "--sigusr1 stop")],
)
def test_processes_on_a_socket_of_supervisord_are_stopped(
    own_directory: Path, number: str, options: str
) -> None:
    def change(text: str) -> str:
        return with_line("stopsignal", number)(text).replace(" fcgi ", f" fcgi {options} ")

    with supervisord(own_directory, "fcgi-program.conf", change) as running:
        pids = _both(running)
        assert running.ask().split()[0] == "1"
        running.control("stop", f"{NAME}:*")
        assert all(map(has_ended, pids))
        log = running.log
        assert log.count("stopped: yourapp") == log.count("(exit status 0)") == 2, log


def test_a_process_is_restarted_while_the_other_one_serves(own_directory: Path) -> None:
    with supervisord(own_directory, "fcgi-program.conf") as running:
        first, second = _both(running)
        assert not children_of(first), "nothing is forked"
        with asking_all_the_time(running.ask) as answers:
            running.server.wait_until(lambda: len(answers) > 50, "some answers")
            assert "started" in running.control("restart", f"{NAME}:{NAME}-0")
            assert has_ended(first)
            _both(running, count=2)
            # As a reload without a supervisor of our own: it is renewed in its place.
            running.control("signal", "HUP", f"{NAME}:{NAME}-1")
            again = "serving versioned:app on"
            wait_until(lambda: running.output(f"{NAME}-1").count(again) == 2, "it serves again")
        assert first not in _pids(running)
        assert second in _pids(running)
        assert f"exited: {NAME}-1" not in running.log


def test_usr1_opens_the_logs_anew(own_directory: Path) -> None:
    def change(text: str) -> str:
        log = own_directory / "error-%(process_num)d.log"
        return text.replace(" fcgi ", f" fcgi --error-log {log} ")

    log = own_directory / "error-0.log"
    with supervisord(own_directory, "fcgi-program.conf", change) as running:
        wait_until(
            lambda: log.exists() and "serving versioned:app on" in log.read_text(), "it serves"
        )
        pid = running.pid(f"{NAME}:{NAME}-0")
        log.rename(f"{log}.1")
        running.control("signal", "USR1", f"{NAME}:{NAME}-0")
        wait_until(log.exists, "there is a new log")
        running.ask()
        assert running.pid(f"{NAME}:{NAME}-0") == pid


def _pids(running: Supervisord) -> list[int]:
    return [running.pid(f"{NAME}:{NAME}-{number}") for number in range(2)]


def _both(running: Supervisord, count: int = 1) -> list[int]:
    """Both processes, when each has been started ``count`` times at most and serves now."""

    def serve() -> bool:
        outputs = [running.output(f"{NAME}-{number}") for number in range(2)]
        return all(0 < text.count("serving versioned:app on") <= count for text in outputs) and all(
            f"[{pid}]" in text for pid, text in zip(_pids(running), outputs, strict=True) if pid
        )

    wait_until(lambda: all(_pids(running)) and serve(), "both processes serve")
    return _pids(running)
