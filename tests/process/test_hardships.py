"""What applications, operators and machines do to a server that it has to get over."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from gateways.config import Config
from gateways.process import logfiles
from gateways.process.control import Control
from gateways.process.hooks import HookFailed, run_supervisor_hook
from tests.core.serving import LogLines
from tests.process.running import APPLICATION, command, run, running
from tests.servers.harness import DEADLINE_SECONDS, free_port, wait_until

FORKING = (
    APPLICATION
    + """
import multiprocessing, subprocess, sys
served = app
fork = multiprocessing.get_context("fork")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/back" and os.fork() == 0:
        open("child", "w").write(str(os.getpid()))
    elif path == "/exit" and os.fork() == 0:
        open("child", "w").write(str(os.getpid()))
        sys.exit()
    elif path in ("/process", "/daemon"):
        process = fork.Process(target=linger, daemon=path == "/daemon")
        process.start()
        start_response("200 OK", [])
        return [str(process.pid).encode()]
    elif path == "/value":
        queue = fork.SimpleQueue()
        process = fork.Process(target=queue.put, args=("value",))
        process.start()
        process.join()
        done = subprocess.run(["echo", "text"], capture_output=True, preexec_fn=os.getpid)
        start_response("200 OK", [])
        return [queue.get().encode(), done.stdout]
    return served(environ, start_response)

def linger():
    with open("lingers.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename("lingers.new", "lingers")
    time.sleep(1000)
"""
)

WAYS = {"supervised": ("-w", "1"), "alone": ("-w", "0"), "greenlets": ("-k", "gevent")}
ways = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- what an application forks -----------------------------------------------------------------


@ways
@pytest.mark.parametrize("path", ["/back", "/exit"])
def test_a_child_that_comes_back_from_its_request_ends(
    tmp_path: Path, path: str, options: tuple[str, ...]
) -> None:
    with running(tmp_path, *options, "--access-log", "-", source=FORKING) as server:
        worker = server.get().pid
        with server.begin(path) as connection:
            answer = connection.answer()
        assert (answer.status, answer.pid) == (200, worker)
        server.wait_until((tmp_path / "child").exists, "a child")
        server.wait_for_log("came back from the application; it ends")
        child = int((tmp_path / "child").read_text())
        server.wait_until(lambda: not is_alive(child), "its end")
        assert {server.get().pid for _ in range(5)} == {worker}
        server.wait_for_log(f'"GET {path} ')  # its line follows the answer
        assert server.log.count(f'"GET {path} ') == 1


@pytest.mark.parametrize("where", ["/process", "/daemon", "import"])
def test_what_an_application_has_forked_lets_go_of_the_port_and_obeys(
    tmp_path: Path, where: str
) -> None:
    bind = f"127.0.0.1:{free_port()}"
    source = FORKING
    if where == "import":
        source += "fork.Process(target=linger, daemon=True).start()\n"
    options = ("-w", "1", "--graceful-timeout", "0.1")
    with running(tmp_path, *options, source=source, bind=bind) as server:
        if where != "import":
            server.get(where)
        server.wait_until((tmp_path / "lingers").exists, "the child runs")
        child = int((tmp_path / "lingers").read_text())
        try:
            assert _sockets(server.workers()[0]) & _listening_sockets(bind)
            assert not _sockets(child) & _listening_sockets(bind)
            assert _caught(child) <= {signal.SIGINT}
            os.kill(child, signal.SIGTERM)
            server.wait_until(lambda: not is_alive(child), "it obeys")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _caught(pid: int) -> set[int]:
    """The signals that a process has handlers for."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.split("SigCgt:")[1].split()[0], 16)
    # Beyond these a C library has its own; faulthandler takes what ends a program.
    ours = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)
    return {number for number in ours if mask & (1 << number - 1)}


def _sockets(pid: int) -> set[int]:
    """The inodes of what a process has open."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(path.stat().st_ino)
    return found


def _listening_sockets(address: str) -> set[int]:
    """The inodes of the sockets that listen on a TCP port."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[9]) for line in lines if line[1].endswith(port) and line[3] == "0A"}


@ways
def test_children_that_do_their_work_go_on_doing_it(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with running(tmp_path, *options, source=FORKING) as server:
        assert [server.get("/value").text for _ in range(3)] == ["valuetext\n"] * 3
        assert "Traceback" not in server.log


def test_an_application_that_makes_a_daemon_of_its_worker_ends_there(tmp_path: Path) -> None:
    source = "import os\nif os.fork():\n    os._exit(0)\n" + APPLICATION
    with running(tmp_path, "-w", "1", source=source, serving=False) as server:
        assert server.wait_for_end() == 3
        assert "came back from the application" in server.log
        server.assert_nothing_left()
        server.server.process.returncode = 0  # `running` is to be content


# -- signals at the wrong moment ---------------------------------------------------------------

SLOW = "import time\nopen('loading', 'w').close()\ntime.sleep(1000)\n"
HOOKS = """
import atexit, os, time

def hang(process):
    open("hook", "w").write(str(os.getpid()))
    time.sleep(1000)

def register(process):
    atexit.register(hang, process)
"""


def with_hook(folder: Path, name: str, function: str = "hang") -> tuple[str, str]:
    """The options for a hook."""
    (folder / "operators.py").write_text(HOOKS)
    (folder / "gateways.toml").write_text(f'[hooks]\n{name} = "operators:{function}"\n')
    return "--config", str(folder / "gateways.toml")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("when", ["loading", "hook"])
def test_a_signal_during_the_start_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, when: str
) -> None:
    options = ("-w", "0") if when == "loading" else with_hook(tmp_path, "on_start")
    source = SLOW if when == "loading" else APPLICATION
    with running(tmp_path, *options, source=source, serving=False) as server:
        server.wait_until((tmp_path / when).exists, when)
        for harmless in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            server.signal(harmless)
        server.signal(number)
        assert server.wait_for_end() == 0
        assert f"{number.name}: leaving at once" in server.log


def test_a_hook_that_hangs_is_given_up_when_the_server_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging_hooks.py").write_text(HOOKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = Config(hooks={"on_reload": "hanging_hooks:hang"})
    with pytest.raises(HookFailed, match="was ended: the server stops"):
        run_supervisor_hook(config, "on_reload", 2, given_up=(tmp_path / "hook").exists)
    assert not is_alive(int((tmp_path / "hook").read_text() or 0))


@pytest.mark.parametrize(("name", "function"), [("on_exit", "hang"), ("post_fork", "register")])
def test_a_worker_without_a_supervisor_does_not_hang_in_its_farewell(
    tmp_path: Path, name: str, function: str
) -> None:
    options = ("-w", "1", "--graceful-timeout", "0.1", *with_hook(tmp_path, name, function))
    with running(tmp_path, *options) as server:
        (worker,) = server.workers()
        server.signal(signal.SIGKILL)
        wait_until((tmp_path / "hook").exists, "the hook hangs")
        wait_until(lambda: not is_alive(worker), "its end")
        server.server.process.wait()
        server.server.process.returncode = 0  # `running` is to be content


def test_a_second_signal_is_what_the_log_says(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server, server.begin_to_wait("a"):
        server.signal(signal.SIGTERM)
        server.wait_for_log("stopping")
        server.signal(signal.SIGTERM)
        server.wait_for_log("still running when the worker was told to stop at once: GET '/wait/a'")
        server.release("a")


# -- one process -------------------------------------------------------------------------------


def test_one_process_says_what_it_serves_and_that_it_stops(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "0") as server:
        server.signal(signal.SIGTERM)
        assert server.wait_for_end() == 0
        assert server.log.count("INFO serving ") == server.log.count("serving app:app on") == 1
        assert server.log.index("INFO stopping") < server.log.index("INFO stopped")


@pytest.mark.parametrize("word", ["reload", "status"])
def test_the_command_tells_what_to_do_with_one_process(tmp_path: Path, word: str) -> None:
    with running(tmp_path, "-w", "0") as server:
        done = run(tmp_path, word, "--pidfile", str(server.pidfile))
    assert done.returncode == 1
    assert done.stderr.startswith(f"gateways: error: process {server.pid} runs, but without a")
    assert f"kill -HUP {server.pid}" in done.stderr


# -- logs --------------------------------------------------------------------------------------


def _fill(writer: int) -> None:
    """Write until there is no room."""
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)


def _full_pipe() -> tuple[int, int]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    _fill(writer)
    return reader, writer


def test_a_log_that_nobody_reads_keeps_nobody(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n"
    )
    reader, writer = _full_pipe()
    options = ("-b", str(tmp_path / "app.sock"), "-w", "2", "--access-log", "-")
    process = subprocess.Popen(
        command("http", *options, "app:app"), cwd=tmp_path, stdout=writer, stderr=writer
    )
    try:
        os.close(writer)
        assert _answers(tmp_path / "app.sock")
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def _answers(path: Path) -> bool:
    def ask() -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_SECONDS)
            if sock.connect_ex(str(path)):
                return False
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return sock.recv(100).startswith(b"HTTP/1.1 200")

    wait_until(ask, "an answer")
    return True


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("flag", [True, False], ids=["at once", "with poll"])
def test_lost_records_are_told_of_when_somebody_reads_again(
    kind: str, flag: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfiles, "_PATIENCE_MS", 1)
    if not flag:
        monkeypatch.setattr(logfiles, "_NOWAIT", 0)
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        reader, writer = (end.detach() for end in socket.socketpair())
    _fill(writer)
    target = logfiles.Target(writer, "a log")
    with LogLines() as lines:
        for _ in range(3):
            target.write(b"lost\n")
        assert not lines.records
        os.set_blocking(reader, False)
        with contextlib.suppress(BlockingIOError):
            while os.read(reader, 65536):
                pass
        target.write(b"written\n")
    os.set_blocking(reader, True)
    assert os.read(reader, 100) == b"written\n"
    os.close(reader)
    os.close(writer)
    assert "3 records for a log were lost (its reader did not read)" in lines.texts()[0]


def test_that_nothing_will_be_logged_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("1")
    (tmp_path / "app.py").write_text(APPLICATION)
    pidfile = tmp_path / "pid"
    options = ("-b", str(tmp_path / "app.sock"), "--pidfile", str(pidfile), "-w", "3", "--daemon")
    done = run(tmp_path, "http", *options, "app:app")
    assert done.returncode == 0, done.stderr
    pid = int(pidfile.read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_alive(pid), "its end")
    assert done.stderr.count("nothing will be logged from here on") == 1


# -- who talks to the supervisor ---------------------------------------------------------------


def test_clients_that_say_nothing_do_not_keep_others_out(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    control = Control(path)
    (listening,) = control.descriptors()
    silent = []
    for _ in range(40):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        control.on_readable(listening)
        silent.append(sock)
    assert len(control.descriptors()) == 1 + 32
    assert silent[7].recv(1) == b""  # the oldest had to go
    silent[39].sendall(b"status\n")
    ((client, word),) = control.on_readable(control.descriptors()[-1])
    assert word == "status"
    client.answer(ok=True)
    assert json.loads(silent[39].recv(100)) == {"ok": True}
    for sock in silent:
        sock.close()
    control.close()


@pytest.mark.parametrize("clients", [0, 3])
def test_without_a_free_descriptor_the_socket_does_not_stay_readable(
    tmp_path: Path, clients: int
) -> None:
    path = str(tmp_path / "control")
    control = Control(path)
    (listening,) = control.descriptors()
    peers = [socket.socket(socket.AF_UNIX) for _ in range(clients + 1)]
    for peer in peers[:-1]:
        peer.connect(path)
        control.on_readable(listening)
    peers[-1].settimeout(DEADLINE_SECONDS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    peers[-1].connect(path)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 0))
        for _ in range(2):
            control.on_readable(listening)
        if clients:
            assert len(control.descriptors()) == 1 + clients  # one for another
            assert peers[0].recv(1) == b""
        else:
            assert peers[-1].recv(1) == b""
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for peer in peers:
        peer.close()
    control.close()


# -- limits that cannot be met -----------------------------------------------------------------


def test_a_limit_below_what_a_worker_needs_is_no_storm(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1", "--max-rss", "1m") as server:
        worker = server.get().pid
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            assert server.get().pid == worker


# -- what a user may not read ------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_directory_that_the_user_may_not_read_is_named(how: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        closed, inside = folder / "closed", folder / "closed" / "inside"
        inside.mkdir(parents=True)
        closed.chmod(0o700)
        (inside / "app.py").write_text("def app(environ, start_response): ...\n")
        options = ["-b", str(folder / "app.sock"), "--user", "nobody"]
        environ = {**os.environ, "PYTHONPATH": str(inside)}
        if how == "option":
            options += ["--pythonpath", str(inside)]
            environ = dict(os.environ)
        done = run(folder, "http", *options, "app:app", env=environ)
    assert done.returncode != 0
    assert f"User nobody may not read {closed}, where {inside} lies" in done.stderr
    assert f"chmod o+rx {closed}" in done.stderr
