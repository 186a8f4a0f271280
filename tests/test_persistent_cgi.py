"""``PersistentCGI``: relays that find, start, share, replace and survive a background server."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import gateways.persistent
from gateways.cgi import PersistentCGI
from tests.servers.harness import room
from tests.test_cgi_script import DEADLINE, GET, POST, ROOT, UNWANTED

APP = """\
import os, signal, sys, time
STARTED = os.getpid()

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/die-after-reading":
        environ["wsgi.input"].read(1)
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/complain":
        environ["wsgi.errors"].write("a complaint\\n")
    if path == "/environment":
        start_response("200 OK", [])
        return [repr(sorted(os.environ)).encode()]
    if path == "/descriptors":
        start_response("200 OK", [])
        return [repr([os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)]).encode()]
    if path == "/deaf":
        start_response("200 OK", [])
        return iter([bytes(65536)] * 40)
    if path == "/echo":
        start_response("200 OK", [])
        return iter(lambda: environ["wsgi.input"].read(5), b"")
    if path == "/silent":
        start_response("200 OK", [])
        return silent()
    if path == "/lets-go":
        return endless(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d %r " % (os.getpid(), VERSION), environ["wsgi.input"].read()]

def silent():
    yield b"first"
    with open("go", "rb", buffering=0) as file:
        yield file.read(1)

def endless(environ, start_response):
    start_response("200 OK", [])
    try:
        while True:
            yield bytes(65536)
    finally:
        with open("closed", "wb", buffering=0) as file:
            file.write(b"closed")

VERSION = "one"
"""


def server_pid(path: str) -> int:
    """Who listens on a Unix socket; 0 if nobody does."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return 0
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid: int = struct.unpack("iII", credentials)[0]
        return pid


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that can only be looked at; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.005)


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or nobody has looked at its end yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Script:
    """A persistent CGI script in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        (folder / "myapp.py").write_text(APP)
        self.write()

    def write(self, **options: Any) -> None:
        """Write the script with these options."""
        given = {"app": "myapp:app", "directory": str(self.run), **options}
        (self.folder / "app.cgi").write_text(
            "import sys\nfrom gateways.cgi import PersistentCGI\n"
            f"PersistentCGI(**{given!r}).run()\n"
            "print(*sys.modules, file=sys.stderr)\n"
        )

    def start(self, env: Mapping[str, str] = GET, **options: Any) -> subprocess.Popen[bytes]:
        """Start it as a web server does."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            [sys.executable, "-S", "app.cgi"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, **env},
            cwd=self.folder,
            **{**pipes, **options},
        )

    def ask(self, path: str = "/", body: bytes = b"", **env: str) -> tuple[str, str]:
        """One request: what follows the head, and the error log without the list of modules."""
        length = {"CONTENT_LENGTH": str(len(body))} if body else {}
        process = self.start({**(POST if body else GET), **length, "PATH_INFO": path, **env})
        out, err = process.communicate(body, timeout=DEADLINE)
        assert process.returncode == 0, err
        self.modules = err.decode().splitlines()[-1].split()
        head, _, text = out.decode("latin-1").partition("\r\n\r\n")
        self.status = head.partition("\r\n")[0]
        return text, err.decode()

    def pid(self) -> int:
        """The process that answers."""
        return int(self.ask()[0].split()[0])

    def server(self) -> int:
        """The background server, 0 if there is none."""
        return max([server_pid(str(path)) for path in self.run.glob("*/socket")], default=0)

    @property
    def log(self) -> str:
        """What background servers have logged."""
        return "".join(path.read_text() for path in self.run.glob("*/log"))

    def end(self) -> None:
        """End the background servers."""
        for path in self.run.glob("*/socket"):
            if pid := server_pid(str(path)):
                os.kill(pid, signal.SIGTERM)
                wait_until(lambda pid=pid: has_ended(pid))  # type: ignore[misc]


@pytest.fixture
def script() -> Iterator[Script]:
    with room() as folder:  # short, as it is to hold sockets
        made = Script(folder)
        try:
            yield made
        finally:
            made.end()


def test_the_first_request_starts_a_server_and_the_others_use_it(script: Script) -> None:
    pids = {script.pid() for _ in range(3)}
    assert pids == {script.server()}
    assert script.status == "Status: 200 OK"
    assert script.ask(body=b"a body")[0].endswith("a body")


def test_the_relay_imports_next_to_nothing(script: Script) -> None:
    script.ask()
    script.ask()
    assert "gateways.core.relay" in script.modules
    assert (UNWANTED | {"gateways.wsgi", "gateways.config"}) & set(script.modules) == set()


def test_fifty_first_requests_start_one_server(script: Script) -> None:
    processes = [script.start() for _ in range(50)]
    pids = set()
    for process in processes:
        out, err = process.communicate(timeout=DEADLINE)
        assert out.startswith(b"Status: 200 OK\r\n"), err
        pids.add(int(out.partition(b"\r\n\r\n")[2].split()[0]))
    assert pids == {script.server()}
    assert script.log.count("serving on") == 1


def test_everything_is_out_of_reach_of_others(script: Script) -> None:
    script.ask()
    (socket_file,) = script.run.glob("*/socket")
    assert socket_file.stat().st_mode & 0o777 == 0o600
    for directory in (script.run, socket_file.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
    for name in ("lock", "log"):
        assert (socket_file.parent / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("trap", ["a mode", "a link", "a file", "an open parent"])
def test_a_directory_of_others_is_not_used(script: Script, trap: str) -> None:
    if trap == "a mode":
        script.run.mkdir()
        script.run.chmod(0o755)
    elif trap == "a link":
        (script.folder / "elsewhere").mkdir(mode=0o700)
        script.run.symlink_to(script.folder / "elsewhere")
    elif trap == "a file":
        script.run.write_text("")
    else:
        script.folder.chmod(0o777)
    process = script.start()
    out, err = process.communicate(timeout=DEADLINE)
    assert int(out.partition(b"\r\n\r\n")[2].split()[0]) == process.pid, "served without a server"
    assert b"no server in the background" in err


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")


@as_root
def test_another_user_is_not_answered() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        script = Script(Path(name))
        try:
            script.ask()
            (socket_file,) = script.run.glob("*/socket")
            for directory in socket_file.parents[:2]:
                directory.chmod(0o755)
            socket_file.chmod(0o666)
            code = (
                "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                "s.settimeout(20)\nprint(s.recv(1))"
            )
            command = ["/usr/bin/python3", "-c", code, str(socket_file)]
            assert subprocess.check_output(command, user="nobody", cwd="/") == b"b''\n"
            assert "is not in --allow" in script.log
        finally:
            script.end()


@as_root
def test_a_server_of_another_user_is_not_asked(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    code = (
        "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\n"
        "os.setuid(65534)\ns.listen()\nprint('listening', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"listening\n"
        with pytest.raises(PermissionError, match="65534"):
            gateways.persistent._connect(path)
        other.communicate(timeout=DEADLINE)


@pytest.mark.parametrize("changed", ["myapp.py", "app.cgi"])
def test_a_changed_file_has_the_server_replaced(script: Script, changed: str) -> None:
    first = script.pid()
    path = script.folder / changed
    path.write_text(path.read_text().replace("'one'", "'two'") + "\n# changed\n")
    if changed == "myapp.py":
        path.write_text(APP.replace('"one"', '"version two"'))
    second = script.pid()
    assert second != first
    assert second == script.server()
    if changed == "myapp.py":
        assert "version two" in script.ask()[0]
    wait_until(lambda: has_ended(first))


def test_a_body_goes_on_to_the_successor_of_a_server_that_retires(script: Script) -> None:
    script.ask()
    (script.folder / "myapp.py").write_text(APP + "\n")
    body = os.urandom(300_000)
    assert script.ask("/echo", body)[0].encode("latin-1") == body


def test_a_replaced_server_finishes_what_it_runs(script: Script) -> None:
    running = script.start({**POST, "PATH_INFO": "/echo", "CONTENT_LENGTH": "10"})
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(b"first")
    running.stdin.flush()
    assert os.read(running.stdout.fileno(), 100).endswith(b"first")
    first = script.server()
    (script.folder / "myapp.py").write_text(APP + "\n")
    assert script.pid() != first
    out, err = running.communicate(b"final", timeout=DEADLINE)
    assert out == b"final", err


def test_an_idle_server_ends(script: Script) -> None:
    script.write(idle_timeout=0.3)
    pid = script.pid()
    wait_until(lambda: has_ended(pid))
    assert list(script.run.glob("*/socket")) == []
    assert script.pid() not in (pid, 0)


def test_a_dead_server_is_replaced(script: Script) -> None:
    pid = script.pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid))
    assert script.ask(body=b"a body")[0].endswith("a body")
    assert script.server() not in (pid, 0)


def test_a_server_that_cannot_start_fails_for_all_who_wait_and_each_gets_a_page(
    script: Script,
) -> None:
    (script.folder / "myapp.py").write_text("raise ValueError('hunter2')\n")
    processes = [script.start(POST) for _ in range(10)]
    for process in processes:
        out, err = process.communicate(b"hello", timeout=DEADLINE)
        assert out.startswith(b"Status: 500 Internal Server Error\r\n")
        assert b"ValueError: hunter2" in err
    assert 1 <= script.log.count("ValueError: hunter2") < 10


def test_an_answer_that_never_came_is_502_where_the_body_is_gone(script: Script) -> None:
    _, err = script.ask("/die-after-reading", b"a body")
    assert script.status == "Status: 502 Bad Gateway"
    assert "the server ended" in err


def test_an_answer_that_never_came_is_given_here_where_nothing_is_lost(script: Script) -> None:
    process = script.start({**GET, "PATH_INFO": "/die"})
    process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGKILL, "it was run once more, in the script's process"


def test_the_body_is_whole_where_no_server_can_be_had(script: Script) -> None:
    script.run.write_text("")
    body = bytes(range(256)) * 4096
    text, _ = script.ask(body=body)
    assert text.encode("latin-1").endswith(body)


def test_a_large_body_and_a_large_answer_at_once(script: Script) -> None:
    body = os.urandom(1_000_003)
    assert script.ask("/echo", body)[0].encode("latin-1") == body


def test_who_sends_all_of_the_body_first_gets_the_answer(script: Script) -> None:
    size = 3_000_000
    process = script.start({**POST, "PATH_INFO": "/deaf", "CONTENT_LENGTH": str(size)})
    assert process.stdin is not None
    process.stdin.write(bytes(size))
    process.stdin.close()
    process.stdin = None
    out, _ = process.communicate(timeout=DEADLINE)
    assert len(out.partition(b"\r\n\r\n")[2]) == 40 * 65536


def test_a_client_that_leaves_closes_the_response(script: Script) -> None:
    os.mkfifo(script.folder / "closed")
    fifo = os.open(script.folder / "closed", os.O_RDWR)
    process = script.start({**GET, "PATH_INFO": "/lets-go"})
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 100)
    process.stdout.close()
    ready, _, _ = select.select([fifo], [], [], DEADLINE)
    assert ready
    os.close(fifo)
    process.stdout = None
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, b"Traceback" in err) == (0, False)


def test_a_client_that_leaves_a_silent_application_ends_the_relay(script: Script) -> None:
    os.mkfifo(script.folder / "go")
    fifo = os.open(script.folder / "go", os.O_RDWR)
    process = script.start({**GET, "PATH_INFO": "/silent"})
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 100).endswith(b"first")
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=DEADLINE)
    os.write(fifo, b"x")
    os.close(fifo)
    assert process.returncode == 0


def test_complaints_reach_the_web_servers_error_log(script: Script) -> None:
    assert "a complaint\n" in script.ask("/complain")[1]
    assert "a complaint\n" in script.log


def test_the_server_has_nothing_of_the_request_that_started_it(script: Script) -> None:
    script.ask(HTTP_COOKIE="secret", DATABASE="configured")
    names = script.ask("/environment")[0]
    assert "HTTP_COOKIE" not in names
    assert "REQUEST_METHOD" not in names
    assert "'DATABASE'" in names
    assert script.ask("/descriptors")[0].count("/log") == 2
    assert os.getsid(script.server()) not in (os.getsid(0), script.server())


def test_an_application_that_is_no_reference_is_refused() -> None:
    app: Any = lambda environ, start_response: []  # noqa: E731
    with pytest.raises(TypeError, match="reference"):
        PersistentCGI(app)
