"""A server as an operator runs it: the real command, its processes, signals and log.

It leads a session of its own, so whatever it leaves behind is found. When a test is done with it,
SIGTERM must end it with status 0, with no process, socket or pidfile left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateways.process.control import ask, control_path
from tests.servers.harness import DEADLINE_SECONDS, Address, Server, connect, wait_until

APPLICATION = """
import os, threading, time

VERSION = open("version").read()
with open("imports", "a") as file:
    file.write(f"{os.getpid()} {VERSION}\\n")

def wait(name):
    open(f"begun-{name}", "w").close()
    while not os.path.exists(f"go-{name}"):
        time.sleep(0.005)

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/wait/"):
        wait(path.rpartition("/")[2])
    elif path.startswith("/stuck/"):  # in a call that no exception gets out of
        open("begun-" + path.rpartition("/")[2], "w").close()
        time.sleep(1000)
    elif path == "/crash":
        os.kill(os.getpid(), 9)
    elif path.startswith("/hold/"):  # memory
        HELD.append(bytes(1024) * 1024 * int(path.rpartition("/")[2]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {VERSION} {path}".encode()]

HELD = []
"""

Status = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A response of the application above, or of the server in its stead."""

    status: int
    text: str

    @property
    def pid(self) -> int:
        """Of the worker that answered."""
        return int(self.text.split()[0])

    @property
    def version(self) -> str:
        """Of the application that answered."""
        return self.text.split()[1]


class Connection(http.client.HTTPConnection):
    """HTTP to a Unix path or to (host, port)."""

    def __init__(self, address: Address) -> None:
        super().__init__("localhost", timeout=DEADLINE_SECONDS)
        self._address = address

    def connect(self) -> None:
        self.sock = connect(self._address)

    def answer(self) -> Answer:
        """The response to what was requested."""
        response = self.getresponse()
        return Answer(response.status, response.read().decode())

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def command(*words: str) -> list[str]:
    """``gateways …`` of this interpreter."""
    return [sys.executable, "-m", "gateways", *words]


def run(folder: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``gateways …`` in ``folder`` to its end."""
    return subprocess.run(
        command(*words),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        **options,
    )


def write_application(folder: Path, version: str = "1", source: str = APPLICATION) -> None:
    """The application of ``folder`` from now on."""
    (folder / "version").write_text(version)
    write_module(folder, source)


def write_module(folder: Path, source: str, name: str = "app.py") -> None:
    """A module whose bytecode of before is not taken for it: that is told by size and second."""
    path = folder / name
    new = folder / f"{name}.new"
    new.write_text(source)
    for stale in (folder / "__pycache__").glob(f"{path.stem}.*"):
        stale.unlink()
    new.rename(path)


class Running:
    """A server that was started, and what an operator can find out about it."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        protocol: str = "http",
        application: str = "app:app",
        bind: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.application = application
        self.pidfile = folder / "pid"
        self.address: Address = str(folder / "app.sock")
        if bind:
            host, _, port = bind.rpartition(":")
            self.address = (host, int(port))
        words = [protocol, "--bind", bind or str(self.address), "--pidfile", str(self.pidfile)]
        starts = len([*folder.glob("log-*")])
        self.server = Server(
            ["setsid", *command(*words, *options, application)],
            folder / f"log-{starts}",
            environment=environment,
        )
        self.pid = self.server.process.pid

    # -- as a client ---------------------------------------------------------------------------

    def begin(self, path: str) -> Connection:
        """Send a request on a connection of its own; ``.answer()`` waits for the response."""
        connection = Connection(self.address)
        connection.request("GET", path, headers={"Connection": "close"})
        return connection

    def begin_to_wait(self, name: str, kind: str = "wait") -> Connection:
        """A request that is running when this returns, until ``release``."""
        connection = self.begin(f"/{kind}/{name}")
        self.wait_until((self.folder / f"begun-{name}").exists, f"request {name} runs")
        return connection

    def release(self, name: str) -> None:
        """Let such a request finish."""
        (self.folder / f"go-{name}").touch()

    def get(self, path: str = "/") -> Answer:
        """A request, to its end."""
        with self.begin(path) as connection:
            return connection.answer()

    def is_listening(self) -> bool:
        """Whether somebody accepts connections, or will: looks, and does not disturb."""
        if isinstance(self.address, str):
            return os.path.exists(self.address)
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0

    # -- as an operator ------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self.server.log

    def wait_until(self, condition: Any, what: str) -> None:
        """Wait for ``condition``; fails early where the server has ended."""
        self.server.wait_until(condition, what)

    def wait_until_serving(self) -> None:
        """The start is over, and it went well."""
        self.wait_until(lambda: f"serving {self.application} on" in self.log, "serving")

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Wait until the log has this text so many times."""
        wait_until(lambda: self.log.count(text) >= count, f"{text!r} in {self.log}")

    def wait_for_end(self) -> int:
        """Its exit status."""
        try:
            return self.server.process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"it does not end: {processes(self.pid)} {self.log}") from None

    def signal(self, number: int) -> None:
        """To the supervisor."""
        os.kill(self.pid, number)

    def reload(self) -> subprocess.CompletedProcess[str]:
        """``gateways reload``, to its end."""
        return run(self.folder, "reload", "--pidfile", str(self.pidfile))

    def status(self) -> Status:
        """What ``gateways status --json`` prints."""
        return ask(control_path(str(self.pidfile)), "status")

    def workers(self, state: str = "serving") -> list[int]:
        """The process ids of the workers in that state."""
        return [w["pid"] for w in self.status()["workers"] if w["state"] == state]

    def wait_for_workers(self, count: int) -> list[int]:
        """Wait until exactly so many serve and no other is there; their process ids."""

        def settled() -> bool:
            states = [worker["state"] for worker in self.status()["workers"]]
            return states == ["serving"] * count

        self.wait_until(settled, f"{count} workers")
        return self.workers()

    # -- the end -------------------------------------------------------------------------------

    def assert_nothing_left(self) -> None:
        """It has ended: no process, socket or pidfile of it is there any more."""
        wait_until(lambda: not processes(self.pid), f"no processes: {processes(self.pid)}")
        self.assert_no_files_left()

    def assert_no_files_left(self) -> None:
        """The files that it made for itself are gone."""
        names = {path.name for path in self.folder.iterdir()}
        assert not names & {"app.sock", "pid", "pid.control", "app.sock.lock"}, names

    def kill(self) -> None:
        """End all of it at once, however it is."""
        for pid in [self.pid, *processes(self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.server.process.wait()


def processes(session: int) -> dict[int, str]:
    """The living processes of a session, each with its state and name."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        fields = text.rpartition(")")[2].split()
        # A zombie of an orphan is for the machine's init to reap.
        if int(fields[3]) == session and (fields[0] != "Z" or int(fields[1]) == session):
            found[int(path.parent.name)] = f"{fields[0]} {text.split('(')[1].split(')')[0]}"
    return found


def zombies_of(pid: int) -> list[int]:
    """The children of a process that it has not waited for, though they have ended."""
    return [child for child, what in processes(pid).items() if what.startswith("Z")]


@contextlib.contextmanager
def running(
    folder: Path, *options: str, source: str = APPLICATION, serving: bool = True, **rest: Any
) -> Iterator[Running]:
    """Start the application ``source`` in ``folder``, wait until it serves; SIGTERM at the end."""
    write_application(folder, source=source)
    server = Running(folder, *options, **rest)
    try:
        if serving:
            server.wait_until_serving()
        yield server
        if server.server.process.poll() is None:
            server.signal(signal.SIGTERM)
        status = server.wait_for_end()
        assert status == 0, f"exit status {status}: {server.log}"
        server.assert_nothing_left()
    finally:
        server.kill()


def serves(server: Running, version: str) -> None:
    """The new generation is the only one that answers, but for a moment of the old one's end."""
    wait_until(lambda: server.get().version == version, f"version {version}")
