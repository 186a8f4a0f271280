"""One sample: a server started for it, its CPU time before and after a load."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.cpu import machine_seconds, tree_seconds, tree_ticks
from benchmarks.load import Answered, ask, connection_to
from benchmarks.peers import SERVED, Peer
from benchmarks.processes import READY_SECONDS, BenchmarkError, running, tail

_WARM_UP_REQUESTS = 300
_SETTLE_SECONDS = 0.02
_POLL_SECONDS = 0.002
_UNDER_SECONDS = 60.0  # valgrind makes everything fifty times slower


@dataclasses.dataclass(frozen=True)
class Stage:
    """What every row is measured with."""

    urls: Mapping[str, str]  # of nginx, for each protocol and connection
    backend: Path  # the socket on which nginx expects the server under test
    file: Path  # what apps.bodies sends as a file
    connections: int

    def url(self, peer: Peer, connection: str) -> str:
        """Where nginx speaks to ``peer`` over connections that are new or kept."""
        return self.urls[f"{peer.protocol} {connection}"]


@dataclasses.dataclass(frozen=True)
class Sample:
    """What one row did in one round."""

    answered: Answered
    cpu_seconds: float  # of the server
    tick_seconds: float  # the same from the other source
    foreign: float  # cores that were busy with what is not of the benchmark

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.answered.requests / self.answered.seconds

    @property
    def cost(self) -> float:
        """CPU microseconds per request."""
        return self.cpu_seconds / self.answered.requests * 1e6


@dataclasses.dataclass
class Row:
    """One server under one load, and a sample for each round."""

    peer: Peer
    connection: str
    samples: list[Sample] = dataclasses.field(default_factory=list)
    problem: str = ""

    @property
    def name(self) -> str:
        """What figures, bounds and ``--only`` know it by: ``pure-4 uwsgi new``."""
        return f"{self.peer.name} {self.connection}"

    @property
    def cost(self) -> float | None:
        """The median of the CPU microseconds per request; None without a sample."""
        return statistics.median(each.cost for each in self.samples) if self.samples else None


@contextlib.contextmanager
def serving(
    peer: Peer, stage: Stage, connection: str, app: str = "trivial", under: Sequence[str] = ()
) -> Iterator[int]:
    """Run ``peer``; gives its process id once an answer came through nginx.

    ``under`` is a program, with its arguments, that runs the server; it gets time to write.
    """
    if peer.problem:
        raise BenchmarkError(peer.problem)
    stage.backend.unlink(missing_ok=True)
    log = stage.backend.with_suffix(".log")
    with running(
        [*under, *peer.command(stage.backend, app)],
        log=log,
        directory=SERVED,
        # None of them has anything to finish, and some look for their signal once a second.
        stop_signal=signal.SIGTERM if under else signal.SIGKILL,
        stop_seconds=_UNDER_SECONDS,
        variables={"BENCHMARK_FILE": str(stage.file)},
    ) as process:
        seconds = _UNDER_SECONDS if under else READY_SECONDS
        _wait_for_answer(stage.url(peer, connection), app, seconds, process, log)
        yield process.pid
        if process.poll() is not None:
            raise BenchmarkError(f"ended by itself with {process.returncode}: {tail(log, 1)}")


def _wait_for_answer(
    url: str, app: str, seconds: float, process: subprocess.Popen[bytes], log: Path
) -> None:
    """A 200 with which the application was loaded; until then nginx answers 502."""
    target = "/" if app == "trivial" else "/whole?1"
    deadline = time.monotonic() + seconds
    with contextlib.closing(connection_to(url)) as connection:
        while True:
            try:
                ask(connection, target)
                return
            except BenchmarkError as error:
                if process.poll() is not None:
                    raise BenchmarkError(f"ended at its start: {tail(log, 1)}") from None
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"cannot be reached ({error}): {tail(log, 1)}") from None
            time.sleep(_POLL_SECONDS)


def sample(pid: int, load: Callable[[], Answered]) -> Sample:
    """What ``load`` costs the server with its first process ``pid``."""
    _settle()
    start = time.monotonic()
    before, ticks, foreign = tree_seconds(pid), tree_ticks(pid), _foreign_seconds()
    answered = load()
    _settle()
    return Sample(
        answered,
        tree_seconds(pid) - before,
        tree_ticks(pid) - ticks,
        max(0.0, (_foreign_seconds() - foreign) / (time.monotonic() - start)),
    )


def warm_up(url: str) -> None:
    """Enough requests for caches and specialised bytecode."""
    with contextlib.closing(connection_to(url)) as connection:
        for _ in range(_WARM_UP_REQUESTS):
            ask(connection)


def in_turns(
    rows: list[Row], rounds: int, take: Callable[[Row], Sample], progress: Callable[[str], None]
) -> None:
    """A B C A B C …: what disturbs the machine for a while disturbs each row alike."""
    for number in range(1, rounds + 1):
        for row in rows:
            if row.problem:
                continue
            progress(f"round {number} of {rounds}: {row.name}")
            try:
                row.samples.append(take(row))
            except BenchmarkError as error:
                row.problem = str(error)


def _foreign_seconds() -> float:
    """The CPU time so far of everything that does not belong to the benchmark."""
    return machine_seconds() - tree_seconds(os.getpid())


def _settle() -> None:
    """Let a server close what the load generator has left; that is part of what was asked."""
    time.sleep(_SETTLE_SECONDS)
