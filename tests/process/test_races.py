"""What comes at the wrong time: reloads, upgrades and deaths in the midst of each other."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process.running import APPLICATION, Running, command, running
from tests.servers.harness import DEADLINE_SECONDS

# It stops in its import while there is a file "slow", from when it has written "loading" until
# there is a file "loaded". With a file "broken" it loads nowhere but under --check-config.
SLOW = """
import os, sys, time
if os.path.exists("slow"):
    open("loading", "w").close()
    while not os.path.exists("loaded"):
        time.sleep(0.005)
if os.path.exists("broken") and "--check-config" not in sys.orig_argv:
    raise RuntimeError("broken on purpose")
"""
BOTH = pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])


def begin_reload(server: Running) -> subprocess.Popen[str]:
    """``gateways reload``, which waits."""
    words = command("reload", "--pidfile", str(server.pidfile))
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=server.folder
    )


def has_ended_well(reload: subprocess.Popen[str]) -> None:
    output, errors = reload.communicate(timeout=DEADLINE_SECONDS)
    assert (reload.returncode, errors) == (0, ""), output


@BOTH
def test_a_reload_that_is_asked_for_during_the_start(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "slow").touch()
    source = SLOW + APPLICATION
    with running(tmp_path, *options, source=source, serving=False) as server:
        server.wait_until((tmp_path / "loading").exists, "it loads")
        reload = begin_reload(server)
        server.wait_until(lambda: server.status()["generation"] == 0, "the command is heard")
        (tmp_path / "loaded").touch()
        has_ended_well(reload)
        assert server.status()["generation"] == 2


def test_an_upgrade_during_the_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    with running(tmp_path, source=SLOW + APPLICATION, serving=False) as server:
        server.wait_until((tmp_path / "loading").exists, "it loads")
        server.signal(signal.SIGUSR2)
        server.wait_for_log("SIGUSR2 comes at the wrong time")
        (tmp_path / "loaded").touch()
        server.wait_until_serving()


@BOTH
def test_reloads_while_the_program_is_replaced(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running(tmp_path, *options, source=SLOW + APPLICATION) as server:
        (tmp_path / "slow").touch()
        server.signal(signal.SIGUSR2)
        server.wait_until((tmp_path / "loading").exists, "the new program is checked")
        server.signal(signal.SIGHUP)
        server.wait_for_log("reload: SIGHUP")
        server.signal(signal.SIGHUP)
        (tmp_path / "slow").unlink()
        (tmp_path / "loaded").touch()
        server.wait_for_log("replacing the program")
        server.wait_for_log("(generation", 2 if "(generation 2)" in server.log else 1)
        has_ended_well(begin_reload(server))
        assert server.get().status == 200
        assert (tmp_path / "app.sock").exists()
        assert (tmp_path / "pid.control").exists()


def test_workers_that_come_after_an_upgrade_that_failed(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1", "-t", "4", source=SLOW + APPLICATION) as server:
        (tmp_path / "broken").touch()
        server.signal(signal.SIGUSR2)
        server.wait_for_log("does not come up")
        (tmp_path / "broken").unlink()
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            (old,) = server.wait_for_workers(1)
            os.kill(old, number)
            server.wait_until(lambda old=old: old not in server.workers(), "it is gone")
        server.wait_for_workers(1)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: server.get(f"/{number}"), range(16)))
        assert {answer.status for answer in answers} == {200}
        _, *later = re.split(r"(?m)^\d{4}-", server.log.rpartition("does not come up")[2])
        assert later
        assert not [record for record in later if "Traceback" in record]


def test_a_supervisor_without_descriptors_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2") as server:
        first, second = server.workers()
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{server.pid}/fd"))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used - 2, limits[1]))
        os.kill(first, signal.SIGKILL)
        server.wait_for_log("a worker could not be started")
        assert server.get().pid == second
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        server.wait_for_workers(2)


@BOTH
def test_a_worker_that_comes_after_the_logs_were_rotated(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    with running(tmp_path, "-w", "1", "--access-log", str(log), *options) as server:
        server.get("/before")
        log.rename(old)
        server.signal(signal.SIGUSR1)
        server.wait_until(log.exists, "the log is opened anew")
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        server.wait_until(lambda: worker not in server.workers(), "it is gone")
        assert server.get("/after").pid != worker
        server.wait_until(lambda: "/after" in log.read_text(), "its line is in the new log")
        assert "/after" not in old.read_text()


def test_on_demand_while_the_last_worker_takes_its_leave(tmp_path: Path) -> None:
    (tmp_path / "gateways.toml").write_text('[hooks]\non_exit = "app:leave"\n')
    leave = "\ndef leave(process):\n    wait('leave')\n"
    options = ["-w", "0:1", "--worker-idle-timeout", "0.2"]
    with running(tmp_path, *options, source=APPLICATION + leave) as server:
        (first,) = server.workers()
        server.wait_until((tmp_path / "begun-leave").exists, "it takes its leave")
        assert server.get().pid != first
        server.release("leave")


def test_more_and_fewer_workers_at_the_same_time(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server:
        server.signal(signal.SIGTTIN)
        server.wait_for_log("2 workers from now on")
        server.signal(signal.SIGTTOU)  # the second one is being started
        server.wait_for_log("1 worker from now on")
        server.wait_for_workers(1)
        server.signal(signal.SIGTTOU)  # the last one stays
        server.wait_for_log("1 worker from now on", 2)
        assert server.get().status == 200
