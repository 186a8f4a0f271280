"""The servers that are compared, and how each is started; a new peer is added here."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.builds import Build
from benchmarks.processes import BenchmarkError, compile_c

SERVED = Path(__file__).resolve().parent / "served"


@dataclasses.dataclass(frozen=True)
class Peer:
    """One server, with its options, speaking one protocol over a Unix socket."""

    key: str  # "pure", "pure-4" (threads), "uWSGI": what figures and bounds are named with
    title: str
    protocol: str  # fcgi, uwsgi, scgi or http
    command: Callable[[Path, str], list[str]]  # given the socket to listen on, and a name in apps
    problem: str = ""  # why it cannot run here
    threads: int = 1

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.key} {self.protocol}"


def gateways(build: Build, protocol: str, threads: int = 1, key: str = "", *options: str) -> Peer:
    """gateways in its default processes: a supervisor and one worker."""

    def command(path: Path, app: str) -> list[str]:
        bind = f"unix:{path}?mode=666"
        arguments = [protocol, "--bind", bind, "--threads", str(threads), *options]
        return [str(build.program), *arguments, "--pythonpath", str(SERVED), f"apps:{app}"]

    added = "".join(f", {option.partition('=/')[0]}" for option in options)
    return Peer(
        key or build.kind + _suffix(threads),
        f"gateways, {build.kind}, {_count(threads)}{added}",
        protocol,
        command,
        threads=threads,
    )


class Others:
    """The peers, from the virtual environment ``environment``, and the floor."""

    def __init__(self, environment: Path, directory: Path) -> None:
        """What has to be built is built in ``directory``."""
        self.directory = directory
        self._bin = environment / "bin"
        self._versions: dict[str, str] = {}
        self._floor = directory / "floor"
        self._floor_problem = ""
        try:
            compile_c("floor", directory)
        except BenchmarkError as error:
            self._floor_problem = str(error)
        self._find_versions()

    def _find_versions(self) -> None:
        python = self._bin / "python"
        if not python.exists():
            return
        code = (
            "from importlib.metadata import distributions as all\n"
            "for each in all(): print(each.name.lower(), each.version)"
        )
        result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        self._versions = dict(line.split() for line in result.stdout.splitlines())

    def versions(self) -> list[str]:
        """Each peer with its version."""
        names = ("uwsgi", "gunicorn", "flup", "waitress", "granian")
        return [f"{each} {self._versions.get(each, '(not installed)')}" for each in names]

    def _problem(self, name: str) -> str:
        return "" if name in self._versions else f"{name} is not installed: make .venv-bench"

    def uwsgi(self, protocol: str, threads: int = 1) -> Peer:
        """uWSGI with a master and one process, which logs no requests."""
        socket = {"fcgi": "fastcgi", "uwsgi": "uwsgi", "scgi": "scgi", "http": "http"}[protocol]

        def command(path: Path, app: str) -> list[str]:
            options = ["--master", "--die-on-term", "--need-app", "--disable-logging"]
            options += ["--processes", "1", "--chmod-socket=666", "--pythonpath", str(SERVED)]
            if threads > 1:
                options += ["--threads", str(threads)]
            where = [f"--{socket}-socket", str(path)]
            return [str(self._bin / "uwsgi"), *where, *options, "--module", f"apps:{app}"]

        key = "uWSGI" + _suffix(threads)
        title = f"uWSGI, {_count(threads)}"
        return Peer(key, title, protocol, command, self._problem("uwsgi"), threads)

    def gunicorn(self, protocol: str, threads: int = 1) -> Peer:
        """With one thread the sync worker, with more gthread."""

        def command(path: Path, app: str) -> list[str]:
            options = ["--workers", "1", "--umask", "0", "--no-control-socket"]
            options += ["--protocol", protocol, "--uwsgi-allow-from", "*"]
            if threads > 1:
                options += ["--worker-class", "gthread", "--threads", str(threads)]
            where = ["--bind", f"unix:{path}", "--chdir", str(SERVED)]
            return [str(self._bin / "gunicorn"), *where, *options, f"apps:{app}"]

        title = f"gunicorn, {f'gthread, {threads} threads' if threads > 1 else 'sync'}"
        key = "gunicorn" + _suffix(threads)
        return Peer(key, title, protocol, command, self._problem("gunicorn"), threads)

    def flup(self) -> Peer:
        """A thread for each connection."""

        def command(path: Path, app: str) -> list[str]:
            return [str(self._bin / "python"), str(SERVED / "flup_server.py"), str(path), app]

        return Peer("flup", "flup, threaded", "fcgi", command, self._problem("flup"))

    def waitress(self) -> Peer:
        """Four threads for the application beside one for all input and output, as it comes."""

        def command(path: Path, app: str) -> list[str]:
            where = [f"--unix-socket={path}", "--unix-socket-perms=666"]
            return [str(self._bin / "waitress-serve"), *where, f"apps:{app}"]

        return Peer("waitress", "waitress, 4 threads", "http", command, self._problem("waitress"))

    def granian(self) -> Peer:
        """One worker, as it comes: one thread of Rust and one that runs the application."""

        def command(path: Path, app: str) -> list[str]:
            where = ["--uds", str(path), "--uds-permissions", "666", "--working-dir", str(SERVED)]
            options = ["--interface", "wsgi", "--workers", "1", "--blocking-threads", "1"]
            # Otherwise it serves no more connections at once than its backlog is long.
            options += ["--http", "1", "--no-ws", "--backpressure", "16384"]
            return [str(self._bin / "granian"), *where, *options, f"apps:{app}"]

        return Peer("granian", "granian", "http", command, self._problem("granian"))

    def floor(self) -> Peer:
        """A fixed answer from C: no variables decoded, no application."""

        def command(path: Path, app: str) -> list[str]:
            return [str(self._floor), str(path)]

        return Peer("floor", "floor (C)", "fcgi", command, self._floor_problem)


def main_rows(builds: Sequence[Build], others: Others, *, quick: bool) -> list[tuple[Peer, str]]:
    """Every peer with its connections, kept or new, in the order of the table."""
    ours = ["fcgi kept", "fcgi new", "uwsgi new", "http kept"]
    if not quick:
        ours += ["scgi new", "http new"]
    rows = []
    for build in builds:
        for threads in (1, 4):
            for protocol, _, connection in (each.partition(" ") for each in ours):
                if threads == 1 or not quick or protocol == "uwsgi":
                    rows.append((gateways(build, protocol, threads), connection))
        if not quick:
            # What the supervisor with its scoreboard costs, and an access log.
            plain = gateways(build, "fcgi", 1, f"{build.kind}-alone", "--workers=0")
            log = f"--access-log={others.directory / 'access.log'}"
            logged = gateways(build, "fcgi", 1, f"{build.kind}-logged", log)
            rows += [(plain, "kept"), (logged, "kept")]
    rows += [(others.uwsgi(protocol), "new") for protocol in ("fcgi", "uwsgi", "http")]
    rows += [(others.uwsgi("uwsgi", 4), "new")]
    rows += [(others.gunicorn("http"), "new")]
    rows += [(others.granian(), "kept"), (others.flup(), "kept")]
    rows += [(others.floor(), "kept"), (others.floor(), "new")]
    if not quick:
        rows += [(others.uwsgi("scgi"), "new"), (others.flup(), "new")]
        rows += [(others.gunicorn("http", 4), "kept"), (others.waitress(), "kept")]
        rows += [(others.gunicorn("uwsgi"), "new"), (others.gunicorn("uwsgi", 4), "new")]
    protocols = ["fcgi", "uwsgi", "scgi", "http"]
    return sorted(rows, key=lambda row: (protocols.index(row[0].protocol), row[1]))


def _suffix(threads: int) -> str:
    return f"-{threads}" if threads > 1 else ""


def _count(threads: int) -> str:
    return f"{threads} thread{'s'[: threads > 1]}"
