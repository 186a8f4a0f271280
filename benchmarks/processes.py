"""Start a program, wait until it can be used, and end it: by its own id, in every case."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
READY_SECONDS = 15.0
_POLL_SECONDS = 0.01
_STOP_SECONDS = 3.0


class BenchmarkError(Exception):
    """A row that cannot be measured; the text says why."""


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    directory: Path,
    stop_signal: int = signal.SIGTERM,
    stop_seconds: float = _STOP_SECONDS,
    variables: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` in ``directory``; what it prints goes to ``log``; it is ended on leaving.

    ``variables`` are added to its environment. ``stop_seconds`` after ``stop_signal`` it is killed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(variables or {})},
            start_new_session=True,  # a group of its own, so that its children end with it
        )
    try:
        yield process
    finally:
        _end(process, stop_signal, stop_seconds)


def _end(process: subprocess.Popen[bytes], stop_signal: int, seconds: float) -> None:
    """Ask, wait, and then end whatever is left of the group that we started."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(stop_signal)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(
    process: subprocess.Popen[bytes], connect: Callable[[], socket.socket], log: Path
) -> None:
    """Wait until ``connect`` succeeds; raises BenchmarkError with the log's end if it does not."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        if process.poll() is not None:
            raise BenchmarkError(f"ended at its start with {process.returncode}: {tail(log)}")
        try:
            connect().close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"cannot be reached ({error}): {tail(log)}") from None
        time.sleep(_POLL_SECONDS)


def free_ports(count: int) -> list[int]:
    """Ports that are free now; all are held at once, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def compile_c(name: str, directory: Path) -> Path:
    """Compile one of the C programs beside this file into ``directory``."""
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None:
        raise BenchmarkError("no C compiler")
    program = directory / name
    command = [compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchmarkError(result.stderr.strip().splitlines()[-1])
    return program


def connect_unix(path: Path) -> socket.socket:
    """A connection to the Unix socket ``path``."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def listener(path: Path) -> int:
    """The process that listens on a Unix socket; 0 if there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return 0
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("iII", credentials)[0])


def end_listener(path: Path) -> None:
    """End a server that is no child of ours, and wait until it is gone."""
    pid = listener(path)
    if not pid:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if _has_ended(pid):
                return
            time.sleep(_POLL_SECONDS)


def _has_ended(pid: int) -> bool:
    """Whether it is gone, or a zombie of somebody else."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def tail(log: Path, lines: int = 3) -> str:
    """The last lines of a log, in one."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return " | ".join(text.strip().splitlines()[-lines:]) or "it printed nothing"
