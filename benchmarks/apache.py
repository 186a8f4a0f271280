"""Apache httpd before CGI scripts: contrib/apache/cgid.conf, one Apache for each script.

The daemon of mod_cgid starts a script for every request, and ignores SIGCHLD: nobody waits for a
script, and what it has used is counted nowhere. So each script is started through ``timed.c``,
which waits for it and writes it down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.client
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cpu import tree_seconds
from benchmarks.processes import (
    READY_SECONDS,
    BenchmarkError,
    free_ports,
    running,
    tail,
    wait_until_ready,
)

_CONTRIB = Path(__file__).resolve().parent.parent / "contrib" / "apache"
_MOD_FCGID = Path("/usr/lib/apache2/modules/mod_fcgid.so")  # apache.conf loads it
_PACKAGES = ("flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "blinker", "click")
_ATTEMPTS = 3
_POLL_SECONDS = 0.002
_ANSWER_SECONDS = 30.0

# Who Apache becomes when it is started as root; otherwise it stays who it is.
USER = "www-data" if os.geteuid() == 0 else None


@dataclasses.dataclass(frozen=True)
class Apache:
    """A running httpd with one script at its root."""

    pid: int
    port: int
    log: Path
    samples: Path  # a line for each script that has ended

    def get(self, path: str, expected: bytes) -> None:
        """One request on a connection of its own; raises BenchmarkError for another answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", path)
            with connection.getresponse() as response:
                answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchmarkError(f"{path}: {error!r}: {tail(self.log)}") from None
        finally:
            connection.close()
        if answer != (200, expected):
            raise BenchmarkError(f"{path}: {answer[0]}, {answer[1][:80]!r}: {tail(self.log)}")

    def script_seconds(self, count: int) -> list[float]:
        """The CPU seconds of each script so far, of which there must be ``count``; waits for it."""
        deadline = time.monotonic() + READY_SECONDS
        while len(lines := self.samples.read_text(encoding="ascii").splitlines()) < count:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"a script does not end: {tail(self.log)}")
            time.sleep(_POLL_SECONDS)
        if len(lines) != count:
            raise BenchmarkError(f"{len(lines)} scripts for {count} requests: {tail(self.log)}")
        return [int(line) / 1e6 for line in lines]

    def own_seconds(self) -> float:
        """CPU time so far of Apache without the scripts."""
        return tree_seconds(self.pid)


def program() -> str:
    """The path of Apache httpd."""
    found = shutil.which("apache2") or shutil.which("apache2", path="/usr/sbin:/usr/local/sbin")
    if found is None or not _MOD_FCGID.exists():
        raise BenchmarkError("Apache is missing: apt-get install apache2 libapache2-mod-fcgid")
    return found


def copy_packages(where: Path, gateways: Path) -> str:
    """Copy what the scripts import to where the web server's user can read it.

    ``gateways`` is the directory of the package to measure. The result is a Python that this user
    may run and that can import it all.
    """
    where.mkdir()
    shutil.copytree(gateways, where / "gateways")
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.submodule_search_locations is None:
            raise BenchmarkError(f"the package {package} is missing: pip install flask")
        shutil.copytree(spec.submodule_search_locations[0], where / package)
    for python in (sys.executable, os.path.realpath(sys.executable), "/usr/bin/python3"):
        if _can_import(python, where):
            # That user could not write what is compiled, and would compile it for every request.
            subprocess.run([python, "-m", "compileall", "-q", str(where)], check=True)
            return python
    raise BenchmarkError(f"there is no Python that {USER or 'this user'} may run")


def _can_import(python: str, where: Path) -> bool:
    try:
        result = subprocess.run(
            [python, "-c", "import gateways.cgi, flask"],
            cwd=where,
            user=USER,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(where)},
            capture_output=True,
            check=False,
        )
    except OSError:  # not even executable for that user
        return False
    return result.returncode == 0


@contextlib.contextmanager
def serving_script(text: str, timed: Path, root: Path) -> Iterator[Apache]:
    """Run Apache in the new directory ``root``, with a script at ``/``.

    ``timed`` is the compiled timed.c.
    """
    command = [program(), "-DFOREGROUND", "-f", str(root / "apache.conf")]
    log = root / "error.log"
    (root / "htdocs").mkdir(parents=True)
    scripts = root / "scripts"
    scripts.mkdir()
    shutil.copy(timed, scripts / "yourapplication.cgi")
    (scripts / "script").write_text(text, encoding="utf-8")
    (scripts / "script").chmod(0o755)
    samples = scripts / "cpu"
    samples.touch()
    if USER is not None:
        shutil.chown(samples, USER)
    for attempt in range(1, _ATTEMPTS + 1):
        (port,) = free_ports(1)
        _fill("apache.conf", root / "apache.conf", ROOT=root, PORT=port)
        _fill("cgid.conf", root / "site.conf", ROOT=root, SCRIPTS=scripts)
        with running(command, log=root / "output.log", directory=root) as process:
            try:
                wait_until_ready(process, functools.partial(_connect, port), log)
            except BenchmarkError as error:
                if attempt < _ATTEMPTS:
                    continue  # somebody may have taken the port meanwhile
                raise BenchmarkError(f"Apache {error}") from None
            yield Apache(process.pid, port, log, samples)
            return


def _fill(template: str, path: Path, **values: object) -> None:
    text = (_CONTRIB / template).read_text(encoding="utf-8")
    filled = re.sub(r"@([A-Z_]+)@", lambda match: str(values[match[1]]), text)
    path.write_text(filled, encoding="utf-8")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)
