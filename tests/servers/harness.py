"""Servers as child processes: start one, wait until it serves, end it, keep what it said.

Nothing here sleeps and hopes: readiness is a connection that is accepted, an event is a byte in a
``Fifo``, and every wait has a deadline. No process outlives its ``with`` block.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn, Self

import pytest

from gateways.cli import templates

# For what takes a moment on a quiet machine: it costs nothing when things go right. Longer than a
# server's graceful timeout, so that what a test shows in the end is why the server has waited.
DEADLINE_SECONDS = 60.0

# For what must not wait until a server's graceful timeout is over; a loaded machine takes its time.
SOON_SECONDS = 15.0

# Below what the kernel gives to those who ask for any port, so that none of these takes one away
# between the moment in which it is found free and the one in which it is bound.
_PORTS = range(12_000, 32_000)

REPOSITORY = Path(__file__).resolve().parents[2]
CONTRIB = REPOSITORY / "contrib"
HERE = Path(__file__).resolve().parent

# Who web servers become when they are started as root; otherwise they stay who they are.
WEB_SERVER_USER = "www-data" if os.geteuid() == 0 else None

Address = str | tuple[str, int]


def missing(what: str, package: str) -> NoReturn:
    """A web server is not there: a failure in CI, where all must be; elsewhere a skip."""
    message = f"{what} is missing; the Debian package is {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def require(program: str, package: str) -> str:
    """The path of an installed program."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return path or missing(program, package)


def fill(template: Path, **values: object) -> str:
    """The text of a file in contrib/, filled in as ``gateways config`` does it."""
    return templates.fill(template.read_text(), {name: str(values[name]) for name in values})


def free_port() -> int:
    """A TCP port that was free a moment ago; ``started_on_a_free_port`` deals with the rest."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue  # taken
        return port


def connect(address: Address) -> socket.socket:
    """A connection to a Unix path or to (host, port)."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    connection = socket.socket(family)
    connection.settimeout(DEADLINE_SECONDS)
    try:
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def accepts(address: Address) -> bool:
    """Whether somebody listens there."""
    try:
        connect(address).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that can only be looked at; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in time: {what}")
        time.sleep(0.005)


class Server:
    """A child process that serves; its stdout and stderr are appended to the file ``log``."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._before = output.tell()  # what others have said
            self.process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
            )

    @property
    def log(self) -> str:
        """What the process has said so far."""
        return self._log.read_text(errors="replace")

    def has_said(self, text: str) -> bool:
        """Whether the process itself has, where another one has used the log before."""
        return text.encode() in self._log.read_bytes()[self._before :]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for ``condition``; fail at the deadline or when the process ends first."""

        def reached() -> bool:
            if condition():
                return True
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}, not {what}: {self.log}")
            return False

        try:
            wait_until(reached, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.log}") from None

    def wait_until_accepting(self, address: Address) -> None:
        """Wait until a connection is accepted."""
        self.wait_until(lambda: accepts(address), f"accepting at {address}")

    def wait_until_refusing(self, address: Address) -> None:
        """Wait until no connection is accepted any more, or the process has ended."""
        self.wait_until(
            lambda: not accepts(address) or self.process.poll() is not None,
            f"refusing at {address}",
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, unless it has ended already, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise TimeoutError(f"does not end on signal {number}: {self.log}") from None


def started_on_a_free_port(launch: Callable[[int], Server]) -> tuple[Server, int]:
    """Start a server that binds a port by number; somebody else may take it in between."""
    for _ in range(5):
        port = free_port()
        server = launch(port)
        try:
            server.wait_until_accepting(("127.0.0.1", port))
        except RuntimeError as error:
            if "in use" not in str(error).lower():
                raise
        except BaseException:
            server.stop(signal.SIGKILL)
            raise
        else:
            return server, port
    raise RuntimeError("found no free port")


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """A short directory that the web server's own user may enter (pytest's tmp_path is 0700)."""
    with tempfile.TemporaryDirectory(prefix="gateways-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@contextlib.contextmanager
def gateway(
    directory: Path,
    *options: str,
    app: str = "flaskapp:app",
    name: str = "app",
    protocol: str = "fcgi",
) -> Iterator[tuple[Server, str]]:
    """``gateways PROTOCOL`` on the Unix socket NAME.sock; SIGTERM must end it with status 0."""
    address = str(directory / f"{name}.sock")
    command = _gateways(protocol, f"unix:{address}?mode=666", options, app)
    server = Server(command, directory / f"{name}.log")
    with _ends_well(server):
        _wait_until_serving(server, app)
        yield server, address


@contextlib.contextmanager
def gateway_on_tcp(
    directory: Path,
    *options: str,
    app: str = "flaskapp:app",
    name: str = "app-tcp",
    protocol: str = "fcgi",
) -> Iterator[tuple[Server, int]]:
    """``gateways PROTOCOL`` on a TCP port; ends by SIGTERM, which must give status 0."""
    server, port = started_on_a_free_port(
        lambda port: Server(
            _gateways(protocol, f"127.0.0.1:{port}", options, app), directory / f"{name}.log"
        )
    )
    with _ends_well(server):
        _wait_until_serving(server, app)
        yield server, port


def _wait_until_serving(server: Server, app: str) -> None:
    """Its workers are there; it listens before."""
    server.wait_until(lambda: server.has_said(f"serving {app}"), "serving")


def _gateways(protocol: str, bind: str, options: Sequence[str], app: str) -> list[str]:
    command = [sys.executable, "-m", "gateways", protocol, "--bind", bind]
    return [*command, "--pythonpath", str(HERE), *options, app]


@contextlib.contextmanager
def _ends_well(server: Server) -> Iterator[None]:
    try:
        yield
    except BaseException:
        server.stop(signal.SIGKILL)
        raise
    status = server.stop()
    assert status == 0, f"exit status {status}: {server.log}"
    assert "has not ended" not in server.log, server.log  # by itself, in its graceful timeout


class Fifo:
    """Events between a test and an application, one byte each, through a named pipe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        path.chmod(0o666)
        # Both ends, so that neither side waits for the other to open it.
        self._descriptor = os.open(path, os.O_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
        self.path.unlink()

    def send(self) -> None:
        """Let the application go on by one step."""
        os.write(self._descriptor, b"\n")

    def receive(self) -> str:
        """What the application wrote; waits for it."""
        ready, _, _ = select.select([self._descriptor], [], [], DEADLINE_SECONDS)
        if not ready:
            raise TimeoutError("the application sent nothing")
        return os.read(self._descriptor, 4096).decode()


def has_ended(pid: int) -> bool:
    """Whether a process that is not our child has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sockets_of(pid: int) -> int:
    """How many sockets a process holds."""
    descriptors = Path(f"/proc/{pid}/fd")
    return sum(os.readlink(path).startswith("socket:") for path in descriptors.iterdir())
