"""Programs that start a server with the listening socket on descriptor 0."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .fastcgi_client import ask
from .harness import (
    DEADLINE_SECONDS,
    HERE,
    SOON_SECONDS,
    Fifo,
    children_of,
    connect,
    has_ended,
    require,
    started_on_a_free_port,
    wait_until,
)
from .launching import Launcher, asking_all_the_time, fill_script, processes_in, write_application

# What the launchers start: gateways, on whatever socket it inherits.
COMMAND = [sys.executable, "-m", "gateways", "fcgi", "--pythonpath", str(HERE), "flaskapp:app"]


@pytest.fixture
def launch(own_directory: Path) -> Iterator[Launcher]:
    """Starts a server; nothing of it is left after the test, however that went."""
    starter = Launcher(own_directory / "app.log")
    yield starter
    starter.end()


def launcher(program: str) -> str:
    package = {"cgi-fcgi": "libfcgi-bin", "supervisord": "supervisor"}.get(program, program)
    return require(program, package)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_spawn_fcgi_becomes_the_script(
    own_directory: Path, scripts: Path, launch: Launcher, number: signal.Signals
) -> None:
    path = str(own_directory / "app.sock")
    script = scripts / "yourapplication.fcgi"
    command = [launcher("spawn-fcgi"), "-n", "-s", path, "--", str(script)]
    server = launch(command)
    server.wait_until_accepting(path)
    reply = ask(path, "/greet/Zo\xc3\xab")
    assert (reply.status, reply.body) == ("200 OK", "Hello Zoë")
    assert ask(path, "/pid").body == str(server.process.pid)
    assert server.stop(number) == 0
    assert Path(path).exists(), "the socket is not the script's to remove"


def test_spawn_fcgi_on_tcp(launch: Launcher) -> None:
    program = launcher("spawn-fcgi")
    server, port = started_on_a_free_port(
        lambda port: launch([program, "-n", "-a", "127.0.0.1", "-p", str(port), "--", *COMMAND])
    )
    assert ask(("127.0.0.1", port), "/").body == "Hello from Flask"
    assert server.stop() == 0


def test_processes_of_spawn_fcgi_share_a_socket_and_end_one_by_one(
    own_directory: Path, launch: Launcher
) -> None:
    path = str(own_directory / "app.sock")
    done = subprocess.run(
        [launcher("spawn-fcgi"), "-F", "2", "-s", path, "--", *COMMAND],
        env={**os.environ, **launch.environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    pids = [int(pid) for pid in re.findall(r"PID: (\d+)", done.stdout + done.stderr)]
    assert len(pids) == 2
    for pid in pids:
        assert ask(path, "/").status == "200 OK"
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda pid=pid: has_ended(pid), f"{pid} has ended")  # type: ignore[misc]


def test_multiwatch_ends_its_children_gracefully(own_directory: Path, launch: Launcher) -> None:
    """It sends SIGUSR1: the socket stays open, the running request finishes, the status is 0."""
    path = str(own_directory / "app.sock")
    command = [launcher("spawn-fcgi"), "-n", "-s", path, "--", launcher("multiwatch")]
    server = launch([*command, "-f", "2", "--", *COMMAND])
    server.wait_until_accepting(path)
    with (
        Fifo(own_directory / "begun") as begun,
        Fifo(own_directory / "pipe") as pipe,
        ThreadPoolExecutor(1) as pool,
    ):
        wait_until(lambda: server.log.count("in this process") == 2, "both children serve")
        children = children_of(server.process.pid)
        assert len(children) == 2
        reply = pool.submit(ask, path, "/wait", f"begun={begun.path}&pipe={pipe.path}")
        try:
            assert begun.receive() == "begun"
            server.process.terminate()
            wait_until(lambda: any(has_ended(pid) for pid in children), "the idle child has ended")
        finally:
            pipe.send()
        assert reply.result().body == "the wait was worth it"
        assert server.stop() == 0
        assert all(has_ended(pid) for pid in children)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("name", ["spawn-fcgi.sh", "multiwatch.sh"])
def test_the_scripts_of_contrib(own_directory: Path, launch: Launcher, name: str) -> None:
    """The process that is started is the one to send signals to, and nothing is forked below."""
    for program in ("spawn-fcgi", "multiwatch"):
        launcher(program)
    path = str(own_directory / "app.sock")
    write_application(own_directory, "1")
    server = launch([_script(own_directory, name)])
    server.wait_until_accepting(path)
    watched = 2 if name == "multiwatch.sh" else 0
    server.wait_until(lambda: server.log.count("in this process") == max(watched, 1), "all serve")
    pid = server.process.pid
    children = children_of(pid)
    assert len(children) == watched
    assert processes_in([ask(path, "/").body]) <= {*(children or [pid])}
    assert not [grandchild for child in children for grandchild in children_of(child)]
    with _kept_open(path):
        begun = time.monotonic()
        assert server.stop() == 0
        wait_until(lambda: all(map(has_ended, children)), "the children have ended")
        assert time.monotonic() - begun < SOON_SECONDS


@pytest.mark.parametrize("way", ["--max-requests", "SIGHUP"])
def test_a_process_of_multiwatch_is_renewed(
    own_directory: Path, launch: Launcher, way: str
) -> None:
    """multiwatch sees nothing of it, and no request is lost."""
    for program in ("spawn-fcgi", "multiwatch"):
        launcher(program)
    path = str(own_directory / "app.sock")
    write_application(own_directory, "1")
    options = "--max-requests 200 " if way == "--max-requests" else ""
    server = launch([_script(own_directory, "multiwatch.sh", options)])
    server.wait_until_accepting(path)
    server.wait_until(lambda: server.log.count("in this process") == 2, "both serve")
    first = children_of(server.process.pid)
    with asking_all_the_time(lambda: ask(path, "/").body) as answers:
        server.wait_until(lambda: len(answers) > 20, "some answers")
        write_application(own_directory, "2")
        if way == "SIGHUP":
            for pid in first:
                os.kill(pid, signal.SIGHUP)
        server.wait_until(lambda: server.log.count("in this process") >= 4, "both are renewed")
        before = len(answers)
        # The kernel gives one of them what the other has no time for.
        server.wait_until(
            lambda: processes_in(answers[before + 4 :]) == {*first}, "answers of both"
        )
        assert all(answer.split()[0] == "2" for answer in answers[before + 4 :])
    assert processes_in(answers) == {*first} == {*children_of(server.process.pid)}
    assert server.stop() == 0


def _script(directory: Path, name: str, options: str = "") -> Path:
    return fill_script(
        directory,
        name,
        SOCKET=directory / "app.sock",
        DIRECTORY=directory,
        APPLICATION=f"{options}versioned:app",
    )


@contextlib.contextmanager
def _kept_open(path: str) -> Iterator[None]:
    """A connection on which nothing is asked."""
    with connect(path):
        ask(path, "/")  # which has been accepted after the other one
        yield


def test_cgi_fcgi_asks_a_running_server(own_directory: Path, launch: Launcher) -> None:
    path = str(own_directory / "app.sock")
    command = [launcher("spawn-fcgi"), "-n", "-s", path, "--", *COMMAND]
    server = launch(command)
    server.wait_until_accepting(path)
    body = b"name=" + b"x" * 100_000
    variables = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/upload",
        "CONTENT_LENGTH": str(len(body)),
        # cgi-fcgi cuts the variables at 8184 bytes, whatever lies there.
        **{f"HTTP_X_{number}": "v" * 500 for number in range(40)},
    }
    done = subprocess.run(
        [launcher("cgi-fcgi"), "-bind", "-connect", path],
        input=body,
        env=variables,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    assert done.stdout.startswith(b"Status: 200 OK\r\n")
    assert b'"length":100005' in done.stdout.replace(b" ", b"")
    assert server.stop() == 0


def test_cgi_fcgi_starts_the_script_itself(
    own_directory: Path, scripts: Path, launch: Launcher
) -> None:
    path = str(own_directory / "app.sock")
    subprocess.run(
        [
            launcher("cgi-fcgi"),
            "-start",
            "-connect",
            path,
            scripts / "yourapplication.fcgi",
        ],
        env={**os.environ, **launch.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    pid = int(ask(path, "/pid").body)
    os.kill(pid, signal.SIGUSR1)  # what libfcgi's own applications take for a graceful end
    wait_until(lambda: has_ended(pid), "the script has ended")


def test_what_a_test_leaves_behind_is_ended(own_directory: Path, launch: Launcher) -> None:
    path = str(own_directory / "app.sock")
    command = [launcher("spawn-fcgi"), "-n", "-s", path, "--", launcher("multiwatch")]
    server = launch([*command, "-f", "2", "--", *COMMAND])
    server.wait_until(lambda: server.log.count("in this process") == 2, "both serve")
    children = children_of(server.process.pid)
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert {*launch.processes()} == {*children}
    launch.end()
    wait_until(lambda: all(map(has_ended, children)), "they have ended")
