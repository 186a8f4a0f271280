"""What the tests of process managers share: an application with a version, requests without end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .harness import CONTRIB, DEADLINE_SECONDS, Server, children_of, fill, wait_until

GATEWAYS = f"{sys.executable} -m gateways"

_APPLICATION = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{VERSION} {os.getpid()}".encode()]
"""


def write_application(directory: Path, version: str, begin: str = "") -> None:
    """The module ``versioned``; it answers its version and the process; ``begin`` runs first."""
    # Bytecode of the same second is taken for good unless the size differs.
    padding = "#" * int(version)
    text = f"{begin}\nVERSION = {version!r}{padding}\n{_APPLICATION}"
    temporary = directory / "versioned.py.new"
    temporary.write_text(text)
    temporary.replace(directory / "versioned.py")


def fill_script(directory: Path, name: str, **values: object) -> Path:
    """A script of contrib/launchers, filled in and executable."""
    script = directory / name
    script.write_text(fill(CONTRIB / "launchers" / name, GATEWAYS=GATEWAYS, **values))
    script.chmod(0o755)
    return script


class Launcher:
    """Starts what starts servers; ``end`` ends all of it, whoever is whose child by then."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._servers: list[Server] = []
        # Whatever is started inherits it, though it leaves the session and loses its parent.
        self.environment = {"LAUNCHED_BY": f"{os.getpid()}-{log}"}

    def __call__(self, command: Sequence[str | Path]) -> Server:
        self._servers.append(Server(command, self._log, environment=self.environment))
        return self._servers[-1]

    def processes(self) -> list[int]:
        """Those that live."""
        ((name, value),) = self.environment.items()
        mark = f"{name}={value}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                pass  # it has ended, or is another user's
        return found

    def end(self) -> None:
        """Kill what is left."""
        while left := self.processes():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        for server in self._servers:
            server.process.wait(DEADLINE_SECONDS)


def wait_for_workers(pid: int, count: int) -> list[int]:
    """The children of a supervisor, when there are so many."""
    wait_until(lambda: len(children_of(pid)) == count, f"{count} workers of {pid}")
    return children_of(pid)


@contextmanager
def asking_all_the_time(ask: Callable[[], str], threads: int = 2) -> Iterator[list[str]]:
    """Threads that ask without a pause; the answers. What goes wrong is raised at the end."""
    answers: list[str] = []
    problems: list[BaseException] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            try:
                answers.append(ask())
            except Exception as error:  # noqa: BLE001  # shown at the end
                problems.append(error)
                return

    askers = [threading.Thread(target=run) for _ in range(threads)]
    for asker in askers:
        asker.start()
    try:
        yield answers
    finally:
        over.set()
        for asker in askers:
            asker.join(DEADLINE_SECONDS)
    assert not problems, f"{problems[0]!r} after {len(answers)} answers"


def processes_in(answers: list[str]) -> set[int]:
    """Which processes have answered."""
    return {int(answer.split()[1]) for answer in answers}


def wait_for_version(server: Server, ask: Callable[[], str], version: str) -> None:
    """Wait until a version answers."""
    server.wait_until(lambda: ask().split()[0] == version, f"version {version} serves")
