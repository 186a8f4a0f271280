"""Scripts of flup's, served by flup, by ``gateways run``, or migrated."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gateways.client import Response, request
from tests.servers.harness import DEADLINE_SECONDS, Address, accepts, free_port, wait_until

from .prepared import prepare_dav, prepare_trac

SCRIPTS = Path(__file__).parent / "scripts"
RUN = [sys.executable, "-m", "gateways", "run"]
PYTHON = [sys.executable, "-W", "ignore"]  # flup's own warnings are not ours


class Case(NamedTuple):
    """A script of the corpus, and how it is started."""

    name: str
    words: Sequence[str] = ()
    protocol: str = "fcgi"
    by_flup: bool = True  # flup 1.0.3 can run it on this Python
    migrates: bool = True  # and nothing is left to do by hand
    statuses: tuple[str, ...] = ("200", "200", "404")  # of the first answers
    prepare: Callable[[Path], None] = lambda folder: None

    def __str__(self) -> str:
        return "-".join([self.name, *(word.partition("=")[2] for word in self.words[1:2])])


CASES = [
    Case("plain.fcgi"),
    Case("socket.fcgi"),
    Case("old_style.fcgi"),
    Case("bottle_app.py", migrates=False),  # the import is bottle's
    Case("webpy.py", ("fcgi", "127.0.0.1:@PORT@"), migrates=False),  # the import is web.py's
    Case("openlibrary.fcgi"),
    Case("manage.py", ("runfcgi", "method=threaded", "socket=@SOCKET@"), migrates=False),
    Case(
        "manage.py",
        ("runfcgi", "method=prefork", "socket=@SOCKET@", "umask=0", "maxchildren=5"),
        migrates=False,
    ),
    Case("trac.fcgi", migrates=False, prepare=prepare_trac),  # the import is Trac's
    Case("dav.py", statuses=("200", "405", "404"), prepare=prepare_dav),
    Case("fork_one.fcgi"),
    Case("toolforge.fcgi"),
    Case("single.fcgi"),
    Case("errors.fcgi"),
    Case("scgi_threads.py", protocol="scgi"),
    Case("scgi_forks.py", protocol="scgi"),
    Case("paste.py", by_flup=False),
]


_TIME = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")  # at the foot of a page


class Answer(NamedTuple):
    """What is to be the same."""

    status: str
    kind: str | None
    word: str | None
    body: bytes


class Served:
    """A script that serves."""

    def __init__(self, process: subprocess.Popen[bytes], target: str, log: Path) -> None:
        self.process = process
        self.target = target
        self._log = log

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    def ask(self, path: str, method: str = "GET", body: bytes = b"") -> Response:
        """One request."""
        headers = [("X-Word", "sesame")]
        return request(self.target, path, method=method, headers=headers, body=body)

    def answers(self) -> list[Answer]:
        """To the requests that all scripts are asked."""
        return [  # each is read to its end before the next is asked: flup may serve one alone
            _essence(self.ask("/greet/you?q=1&r=a%20b")),
            _essence(self.ask("/form", "POST", b"name=\xff&x=1")),
            _essence(self.ask("/missing")),
            _essence(self.ask("/fail")),
        ]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


def _essence(response: Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers}
    body = response.body
    failed = response.status == 500  # the page is the server's
    kind = None if failed else headers.get("content-type")
    body = b"" if failed else _TIME.sub(b"", body)
    return Answer(str(response.status), kind, headers.get("x-word"), body)


class Place:
    """A folder with the scripts, filled in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = str(folder / "app.sock")
        self.port = free_port()
        shutil.copy(SCRIPTS.parent / "visitors.py", folder)

    def fill(self, text: str) -> str:
        """The text with the addresses and the folder of this place."""
        filled = text.replace("@SOCKET@", self.socket).replace("@PORT@", str(self.port))
        return filled.replace("@FOLDER@", str(self.folder))

    def script(self, name: str) -> Path:
        """A script of the corpus."""
        path = self.folder / name
        path.write_text(self.fill((SCRIPTS / name).read_text()))
        path.chmod(0o755)
        return path

    def address(self, text: str) -> Address | None:
        """Where a script listens; None if that is up to who starts it."""
        if "@SOCKET@" in text:
            return self.socket
        return ("127.0.0.1", self.port) if "@PORT@" in text else None


def as_target(protocol: str, address: Address) -> str:
    """The address as the client names it."""
    where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    return f"{protocol}:{where}"


@contextlib.contextmanager
def serving(
    place: Place,
    command: Sequence[str | Path],
    protocol: str,
    address: Address | None,
    name: str = "script",
    environment: dict[str, str] | None = None,
) -> Iterator[Served]:
    """Run ``command`` until it serves, on a socket on descriptor 0 where it has no ``address``."""
    log = place.folder / f"{name}.log"
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        stdin = subprocess.DEVNULL
        if address is None:
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(place.socket)
            listening.listen()
            stdin = listening.fileno()
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        try:
            target = place.socket if address is None else address
            wait_until(lambda: accepts(target) or process.poll() is not None, f"{command} serves")
            served = Served(process, as_target(protocol, target), log)
            assert process.poll() is None, served.log
            yield served
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            # A prefork server's children lead groups of their own.
            for pid in _session(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            Path(place.socket).unlink(missing_ok=True)


def _session(leader: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def left_of(served: Served) -> list[int]:
    """The processes of it that live."""
    return _session(served.process.pid)
