"""The supervisor and its workers: who dies, who takes over, and how all of it ends."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from gateways.errors import ConfigError
from tests.process.running import (
    APPLICATION,
    Running,
    command,
    processes,
    run,
    running,
    write_application,
    zombies_of,
)
from tests.servers.harness import DEADLINE_SECONDS, SOON_SECONDS, free_port, has_ended, wait_until

HANGS_AT_IMPORT = "import time\ntime.sleep(1000)\n"
GONE = (http.client.RemoteDisconnected, ConnectionResetError, http.client.IncompleteRead)


# -- the death of a worker ---------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
def test_a_killed_worker_is_replaced_and_only_what_ran_in_it_fails(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with running(tmp_path, "-w", "2", *options) as server:
        first, second = server.workers()
        requests = [server.begin_to_wait(f"r{number}") for number in range(4)]
        busy = {
            worker["pid"]: sum(thread["busy"] for thread in worker["threads"])
            for worker in server.status()["workers"]
        }
        began = time.monotonic()
        os.kill(first, signal.SIGKILL)
        server.wait_until(lambda: first not in server.workers(), "its end is noticed")
        server.wait_for_workers(2)
        print(f"two workers again after {time.monotonic() - began:.3f} s")
        assert time.monotonic() - began < SOON_SECONDS
        for number in range(4):
            server.release(f"r{number}")
        failed = 0
        for request in requests:
            try:
                assert request.answer().pid == second
            except GONE:
                failed += 1
            request.close()
        assert failed == busy[first]
        assert "has ended unexpectedly: SIGKILL; it was answering GET /wait/r" in server.log or (
            not busy[first]
        )
        assert not zombies_of(server.pid)


def test_a_worker_that_crashes_again_and_again_is_started_with_growing_delay(
    tmp_path: Path,
) -> None:
    # The second worker, by its place in the row, dies as soon as it serves.
    source = APPLICATION + (
        "import _thread, fcntl\n"
        "LOCK = open('lock', 'w')\n"
        "try:\n"
        "    fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n"
        "    def die():\n"
        "        while os.path.exists('calm'): time.sleep(0.01)\n"
        "        time.sleep(0.2)\n"
        "        os.kill(os.getpid(), 9)\n"
        "    _thread.start_new_thread(die, ())\n"
    )
    (tmp_path / "calm").touch()
    with running(tmp_path, "-w", "2", source=source) as server:
        began = time.monotonic()
        starts: list[float] = []
        (tmp_path / "calm").unlink()
        known = len((tmp_path / "imports").read_text().splitlines())
        while len(starts) < 5:
            server.wait_until(
                lambda: len((tmp_path / "imports").read_text().splitlines()) > known + len(starts),
                "the next start",
            )
            starts.append(time.monotonic() - began)
            assert server.get().status == 200
        pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
        print("starts after", [f"{start:.2f}" for start in starts])
        assert pauses[-1] > 1.0, pauses  # 1.6 and what a start takes; at first nothing but that
        assert server.log.count("has ended unexpectedly: SIGKILL") <= 6


@pytest.mark.parametrize("state", ["starting", "ready"])
def test_a_worker_that_is_told_to_leave_before_it_serves_is_replaced_then(
    tmp_path: Path, state: str
) -> None:
    # One of them holds the lock and loads for as long as the file is there.
    source = APPLICATION + (
        "import fcntl\n"
        "LOCK = open('lock', 'w')\n"
        "try:\n"
        "    fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    while os.path.exists('slow'): time.sleep(0.005)\n"
        "except BlockingIOError:\n"
        "    pass\n"
    )
    (tmp_path / "slow").touch()
    with running(tmp_path, "-w", "2", source=source, serving=False) as server:

        def waiting() -> list[int]:
            try:
                known = server.status()["workers"]
            except ConfigError:
                return []  # it does not listen yet
            return [worker["pid"] for worker in known if worker["state"] == state and known[1:]]

        server.wait_until(lambda: len(waiting()) == 1, f"one is {state}")
        (pid,) = waiting()
        os.kill(pid, signal.SIGTERM)
        (tmp_path / "slow").unlink()
        server.wait_until_serving()
        server.wait_for_log("SIGTERM; its successor is started first")
        server.wait_until(lambda: has_ended(pid), "it has left")
        assert pid not in server.wait_for_workers(2)


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_workers_leave_a_killed_supervisor_and_the_next_start_takes_the_socket(
    tmp_path: Path, options: tuple[str, ...], tcp: bool
) -> None:
    bind = f"127.0.0.1:{free_port()}" if tcp else ""
    write_application(tmp_path)
    server = Running(tmp_path, "-w", "2", *options, bind=bind)
    try:
        server.wait_until_serving()
        with server.begin_to_wait("r") as request:
            server.signal(signal.SIGKILL)
            server.server.process.wait()
            wait_until(lambda: "the supervisor is gone" in server.log, "they have seen it")
            server.release("r")
            assert request.answer().status == 200
        wait_until(lambda: not processes(server.pid), f"all have left: {processes(server.pid)}")
        names = {path.name for path in tmp_path.iterdir()}
        assert not names & {"app.sock", "pid", "pid.control"}
        with running(tmp_path, "-w", "2", *options, bind=bind) as successor:
            assert successor.get().status == 200
    finally:
        server.kill()


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_the_next_start_need_not_wait_for_the_last_request_of_a_killed_supervisor(
    tmp_path: Path, tcp: bool
) -> None:
    bind = f"127.0.0.1:{free_port()}" if tcp else ""
    write_application(tmp_path)
    server = Running(tmp_path, "-w", "2", bind=bind)
    try:
        server.wait_until_serving()
        with server.begin_to_wait("r") as request:
            server.signal(signal.SIGKILL)
            server.server.process.wait()
            with running(tmp_path, "-w", "2", bind=bind) as successor:
                server.release("r")
                assert request.answer().status == 200
                wait_until(lambda: not processes(server.pid), "the old workers have left")
                assert successor.get().status == 200
    finally:
        server.kill()


# -- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_graceful_stop_finishes_what_runs(
    tmp_path: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    with running(tmp_path, "-w", "2", *options) as server:
        with server.begin_to_wait("r") as request:
            server.signal(number)
            server.wait_until(lambda: not server.is_listening(), "it has let go of its address")
            server.release("r")
            assert request.answer().status == 200
        assert server.wait_for_end() == 0
        assert server.log.count("stopping") == 1


def test_a_graceful_stop_has_an_end(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2", "--graceful-timeout", "0.3") as server:
        with server.begin_to_wait("r") as request:
            began = time.monotonic()
            server.signal(signal.SIGTERM)
            with pytest.raises(GONE):
                request.answer()
            assert server.wait_for_end() == 0
            took = time.monotonic() - began
        print(f"stopped after {took:.2f} s")
        assert 0.3 <= took < SOON_SECONDS
        assert "GET '/wait/r'" in server.log  # what was cut off


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGQUIT),
        (signal.SIGQUIT,),
    ],
    ids=lambda numbers: "-".join(number.name for number in numbers),
)
@pytest.mark.parametrize("kind", ["wait", "stuck"])
def test_a_stop_at_once_waits_for_nothing(
    tmp_path: Path, numbers: tuple[signal.Signals, ...], kind: str
) -> None:
    with running(tmp_path, "-w", "2") as server:
        with server.begin_to_wait("r", kind) as request:
            *before, last = numbers
            for number in before:
                server.signal(number)
                server.wait_until(lambda: not server.is_listening(), "it is stopping")
            began = time.monotonic()
            server.signal(last)
            with pytest.raises(GONE):
                request.answer()
            assert server.wait_for_end() == 0
            assert time.monotonic() - began < SOON_SECONDS


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
def test_control_c_is_one_graceful_stop(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running(tmp_path, "-w", "2", *options) as server:
        with server.begin_to_wait("r") as request:
            os.killpg(server.pid, signal.SIGINT)
            server.wait_until(lambda: not server.is_listening(), "it is stopping")
            server.release("r")
            assert request.answer().status == 200
        assert server.wait_for_end() == 0
        assert server.log.count("stopping") == 1
        assert "KeyboardInterrupt" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
def test_a_stop_during_the_start_leaves_nothing(
    tmp_path: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    source = "open('importing', 'w').close()\n" + HANGS_AT_IMPORT
    with running(tmp_path, "-w", "2", *options, source=source, serving=False) as server:
        server.wait_until((tmp_path / "importing").exists, "the import hangs")
        began = time.monotonic()
        server.signal(number)
        server.wait_for_end()
        assert time.monotonic() - began < SOON_SECONDS
        assert "Traceback" not in server.log


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
def test_a_worker_in_an_import_ends_with_a_killed_supervisor(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    source = "open('importing', 'w').close()\n" + HANGS_AT_IMPORT
    write_application(tmp_path, source=source)
    server = Running(tmp_path, "-w", "2", *options)
    try:
        server.wait_until((tmp_path / "importing").exists, "the import hangs")
        server.signal(signal.SIGKILL)
        server.server.process.wait()
        wait_until(lambda: not processes(server.pid), "nobody is left")
    finally:
        server.kill()


def test_a_worker_in_a_c_call_ends_with_a_killed_supervisor(tmp_path: Path) -> None:
    write_application(tmp_path)
    server = Running(tmp_path, "-w", "2", "--graceful-timeout", "0.3")
    try:
        server.wait_until_serving()
        with server.begin_to_wait("r", "stuck"):
            server.signal(signal.SIGKILL)
            server.server.process.wait()
            wait_until(lambda: not processes(server.pid), "nobody is left")
        assert not os.path.exists(str(server.address))
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("number", "graceful"), [(signal.SIGTERM, "0.3"), (signal.SIGQUIT, "30")], ids=["TERM", "QUIT"]
)
def test_a_suspended_worker_does_not_outlive_the_stop(
    tmp_path: Path, number: signal.Signals, graceful: str
) -> None:
    with running(tmp_path, "-w", "2", "--graceful-timeout", graceful) as server:
        os.kill(server.workers()[0], signal.SIGSTOP)
        began = time.monotonic()
        server.signal(number)
        assert server.wait_for_end() == 0
        print(f"stopped after {time.monotonic() - began:.2f} s")
        assert time.monotonic() - began < SOON_SECONDS


# -- pidfile and daemon ------------------------------------------------------------------------


def test_a_second_start_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server:
        other = str(tmp_path / "other.sock")
        second = run(tmp_path, "http", "--bind", other, "--pidfile", str(server.pidfile), "app:app")
        assert second.returncode == 2
        assert str(server.pid) in second.stderr
        assert not os.path.exists(other)
        assert server.pidfile.read_text().strip() == str(server.pid)
        assert server.reload().returncode == 0


def test_a_stale_pidfile_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")  # lives, and is somebody else
    with running(tmp_path, "-w", "1") as server:
        assert server.pidfile.read_text().strip() == str(server.pid)


@pytest.fixture
def daemon(tmp_path: Path) -> list[str]:
    """The command that starts a daemon in this folder."""
    write_application(tmp_path)
    words = ["http", "--bind", str(tmp_path / "app.sock"), "--pidfile", str(tmp_path / "pid")]
    return command(*words, "-w", "2", "--daemon", "--error-log", str(tmp_path / "log"), "app:app")


def test_a_daemon_serves_when_its_command_returns(tmp_path: Path, daemon: list[str]) -> None:
    done = subprocess.run(
        daemon, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 0, done.stderr
    pid = int((tmp_path / "pid").read_text())
    try:
        status = run(tmp_path, "status", "--pidfile", "pid")
        assert f"supervisor {pid}" in status.stdout
        assert run(tmp_path, "reload", "--pidfile", "pid").returncode == 0
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: has_ended(pid), "it has ended")
        names = {path.name for path in tmp_path.iterdir()}
        assert not names & {"app.sock", "pid", "pid.control"}
    finally:
        if not has_ended(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_daemon_that_cannot_serve_says_why_on_the_terminal(
    tmp_path: Path, daemon: list[str]
) -> None:
    (tmp_path / "app.py").write_text("import no_such_module\n")
    done = subprocess.run(
        daemon, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 3
    assert "No module named 'no_such_module'" in done.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert not names & {"app.sock", "pid", "pid.control"}


# -- logs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
def test_usr1_opens_all_logs_anew_in_all_processes(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    writes = "    environ['wsgi.errors'].write(path + '\\n')\n    start_response("
    source = APPLICATION.replace("    start_response(", writes)
    logs = ["--error-log", str(tmp_path / "errors"), "--access-log", str(tmp_path / "access")]
    write_application(tmp_path, source=source)
    errors, access = tmp_path / "errors", tmp_path / "access"
    server = Running(tmp_path, "-w", "2", *logs, *options)
    try:
        server.wait_until(
            lambda: errors.exists() and "serving app:app" in errors.read_text(), "serving"
        )
        pids = server.workers()
        errors.rename(tmp_path / "errors.1")
        access.rename(tmp_path / "access.1")
        server.signal(signal.SIGUSR1)
        server.wait_until(lambda: errors.exists() and access.exists(), "they are opened anew")
        old = [tmp_path / "errors.1", tmp_path / "access.1"]
        for pid in [server.pid, *pids]:
            server.wait_until(
                lambda pid=pid: (
                    not any(
                        os.path.samestat(link.stat(), path.stat())
                        for link in Path(f"/proc/{pid}/fd").iterdir()
                        for path in old
                        if link.exists()
                    )
                ),
                f"{pid} has let go of the old files",
            )
        # As many as both have threads, so that each answers some.
        held = [server.begin_to_wait(f"after-{n}") for n in range(8)]
        for n in range(8):
            server.release(f"after-{n}")
        assert {request.answer().pid for request in held} == set(pids)
        for request in held:
            request.close()
        for n in range(8):
            server.wait_until(lambda: f"/wait/after-{n}" in access.read_text(), "a line")  # noqa: B023
            server.wait_until(lambda: f"/wait/after-{n}" in errors.read_text(), "a line")  # noqa: B023
        server.signal(signal.SIGHUP)
        server.wait_until(lambda: "generation 2" in errors.read_text(), "the supervisor logs there")
        assert "generation 2" not in (tmp_path / "errors.1").read_text()
        assert "/wait/after-" not in (tmp_path / "access.1").read_text()
        server.signal(signal.SIGTERM)
        assert server.wait_for_end() == 0
        server.assert_nothing_left()
    finally:
        server.kill()


def test_the_command_shows_what_runs(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2") as server:
        with server.begin_to_wait("r") as request:
            shown = run(tmp_path, "status", "--pidfile", str(server.pidfile))
            assert shown.returncode == 0
            assert "GET /wait/r" in shown.stdout
            assert f"supervisor {server.pid}, generation 1" in shown.stdout
            server.release("r")
            request.answer()


def test_commands_to_a_server_that_is_not_there_say_so(tmp_path: Path) -> None:
    for word in ("reload", "status"):
        done = run(tmp_path, word, "--pidfile", "pid")
        assert done.returncode == 1
        assert "no server runs with --pidfile pid" in done.stderr
