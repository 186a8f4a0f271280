"""SIGUSR2: another program in the same process, on the same sockets, without a gap."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.process.running import (
    Running,
    processes,
    running,
    serves,
    write_application,
    write_module,
    zombies_of,
)
from tests.servers.harness import wait_until

BOTH = pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])


def replace_program(server: Running) -> None:
    """SIGUSR2, to its end."""
    count = server.log.count("serving app:app on")
    server.signal(signal.SIGUSR2)
    server.wait_until(
        lambda: server.log.count("serving app:app on") > count, "the new program serves"
    )


def descriptors(pid: int) -> int:
    """How many a process has, of which none may be lost or leaked."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@BOTH
def test_the_program_is_replaced_in_its_process(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running(tmp_path, "-w", "2", *options) as server:
        before = server.workers()
        replace_program(server)
        server.wait_for_workers(2)
        opened = descriptors(server.pid)
        for version in ("2", "3", "4"):
            write_application(tmp_path, version=version)
            replace_program(server)
            serves(server, version)
        assert not set(before) & set(server.wait_for_workers(2))
        assert server.pidfile.read_text().strip() == str(server.pid)
        assert server.status()["pid"] == server.pid
        assert descriptors(server.pid) == opened
        assert len(processes(server.pid)) == 3 + len(options)
        assert not zombies_of(server.pid)
        write_application(tmp_path, version="5")
        assert server.reload().returncode == 0
        assert server.get().version == "5"


def test_the_new_program_is_really_another_one(tmp_path: Path) -> None:
    # What the supervisor's interpreter reads when it starts: only a new one sees it.
    (tmp_path / "sitecustomize.py").touch()
    environment = {"PYTHONPATH": str(tmp_path)}
    with running(tmp_path, "-w", "1", environment=environment) as server:
        seen = tmp_path / "seen"
        write_module(
            tmp_path,
            "import sys\n"
            "if '--check-config' not in sys.orig_argv:\n"
            f"    open({str(seen)!r}, 'w').close()\n",
            "sitecustomize.py",
        )
        assert server.reload().returncode == 0
        assert not seen.exists()
        replace_program(server)
        assert seen.exists()


def test_a_request_that_runs_is_finished_by_the_old_worker(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server:
        with server.begin_to_wait("r") as request:
            (old,) = server.workers()
            write_application(tmp_path, version="2")
            replace_program(server)
            serves(server, "2")
            server.release("r")
            answer = request.answer()
            assert (answer.pid, answer.version) == (old, "1")
        server.wait_for_workers(1)
        assert not zombies_of(server.pid)


@BOTH
def test_a_program_that_would_not_serve_is_not_started(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with running(tmp_path, "-w", "2", *options) as server:
        before = server.workers()
        write_module(tmp_path, "import no_such_module\n")
        server.signal(signal.SIGUSR2)
        server.wait_for_log("the new program is not started")
        assert "No module named 'no_such_module'" in server.log
        assert server.workers() == before
        assert server.get().version == "1"
        assert server.reload().returncode == 1
        write_application(tmp_path, version="2")
        assert server.reload().returncode == 0
        assert server.get().version == "2"
        replace_program(server)
        assert server.get().status == 200


def test_a_program_that_fails_after_it_was_checked_leaves_the_old_workers(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2") as server:
        before = server.workers()
        # Its import goes well in the check, and in no worker.
        write_module(
            tmp_path,
            "import sys\n"
            "if '--check-config' not in sys.orig_argv:\n"
            "    raise RuntimeError('only when it matters')\n"
            "app = print\n",
        )
        server.signal(signal.SIGUSR2)
        server.wait_for_log("does not come up")
        assert "RuntimeError: only when it matters" in server.log
        assert server.get().version == "1"
        assert server.workers() == before
        write_application(tmp_path, version="2")
        assert server.reload().returncode == 0
        assert server.get().version == "2"
        server.wait_for_workers(2)


def test_a_worker_that_dies_after_the_leap_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2") as server:
        replace_program(server)
        first, second = server.wait_for_workers(2)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: first not in server.workers() and len(server.workers()) == 2, "two")
        assert second in server.workers()
        assert not zombies_of(server.pid)


def test_a_stop_after_the_leap_is_graceful(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2") as server:
        replace_program(server)
        with server.begin_to_wait("r") as request:
            server.signal(signal.SIGTERM)
            server.wait_until(lambda: not server.is_listening(), "it is stopping")
            server.release("r")
            assert request.answer().status == 200
