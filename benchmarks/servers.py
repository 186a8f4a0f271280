"""The servers that are compared: how each is started, over a Unix socket, and which version it is.

A peer is a ``Server`` in the list that ``available`` returns; nothing else has to know of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.processes import BenchmarkError, running, tail, wait_until_ready

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


@dataclasses.dataclass(frozen=True)
class Server:
    """One server with its options; ``family`` is what the ratios of a report are made with."""

    name: str
    family: str
    command: Callable[[Path], list[str]]  # given the path of the socket to listen on
    stop_signal: int = signal.SIGTERM


def available(directory: Path) -> tuple[list[Server], list[str]]:
    """The servers that can run here, and a remark for each that cannot.

    What has to be built is built in ``directory``.
    """
    servers = [_gateways(1), _gateways(4)]
    remarks = []
    if importlib.util.find_spec("flup"):
        # It looks for its signal once a second, and has nothing to finish.
        servers.append(Server("flup, threaded", "flup", _flup_command, signal.SIGKILL))
    else:
        remarks.append("no flup rows: pip install flup==1.0.3")
    try:
        floor = compile_c("floor", directory)
        servers.append(Server("floor (C)", "floor", lambda path: [str(floor), str(path)]))
    except BenchmarkError as error:
        remarks.append(f"no floor rows: {error}")
    return servers, remarks


def _gateways(threads: int) -> Server:
    def command(path: Path) -> list[str]:
        bind = ["--bind", f"unix:{path}?mode=666"]
        options = [*bind, "--threads", str(threads)]
        return [sys.executable, "-m", "gateways", "fcgi", *options, "benchmarks.apps:trivial"]

    return Server(f"gateways, {threads} thread{'s'[: threads > 1]}", "gateways", command)


def _flup_command(path: Path) -> list[str]:
    return [sys.executable, str(HERE / "flup_server.py"), str(path)]


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CC") or "cc")


def compile_c(name: str, directory: Path) -> Path:
    """Compile one of the C programs beside this file into ``directory``."""
    compiler = _compiler()
    if compiler is None:
        raise BenchmarkError("no C compiler")
    program = directory / name
    command = [compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchmarkError(result.stderr.strip().splitlines()[-1])
    return program


@contextlib.contextmanager
def serving(server: Server, path: Path, log: Path) -> Iterator[int]:
    """Run ``server`` on the socket ``path``; gives its process id once it can be connected to."""
    path.unlink(missing_ok=True)

    def connect() -> socket.socket:
        return connect_to(path)

    command = server.command(path)
    with running(command, log=log, directory=ROOT, stop_signal=server.stop_signal) as process:
        wait_until_ready(process, connect, log)
        yield process.pid
        if process.poll() is not None:
            raise BenchmarkError(f"ended by itself with {process.returncode}: {tail(log)}")


def connect_to(path: Path) -> socket.socket:
    """A connection to the Unix socket ``path``."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def versions() -> list[str]:
    """What takes part, with its version; what is not installed is left out."""
    found = [
        f"{gateways_version()}, CPython {build()}",
        first_line(["nginx", "-v"]),
        first_line(["wrk", "-v"]).partition(" [")[0],
    ]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found.insert(1, f"flup {importlib.metadata.version('flup')}")
    compiler = _compiler()
    if compiler:
        found.append(f"floor compiled by {first_line([compiler, '--version'])}")
    return [line for line in found if line]


def gateways_version() -> str:
    """The gateways that is measured."""
    return first_line([sys.executable, "-m", "gateways", "--version"])


def build() -> str:
    """How the interpreter was compiled, for whoever compares figures of two machines."""
    optimized = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return f"built {'with' if optimized else 'without'} --enable-optimizations"


def first_line(command: list[str]) -> str:
    """What a program says first, on either output; nothing where it cannot be run."""
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    output = (result.stdout + result.stderr).strip()  # nginx prints it on the latter
    return output.partition("\n")[0]
