"""Measure what a request costs a server: ``python benchmarks/bench.py [--quick]``.

Every server runs on this machine, in this run, one after the other, behind the same nginx and under
the same load. The figure is the CPU time of the server for a request, because nginx and the load
generator share the cores with it. It is a benchmark and no test: being slow is no error.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.cpu import machine_seconds, tree_seconds
from benchmarks.load import run_direct, run_wrk
from benchmarks.nginx import Nginx, nginx_before
from benchmarks.processes import BenchmarkError
from benchmarks.servers import Server, available, serving, versions

RESULTS = Path(__file__).resolve().parent / "results" / "latest.md"
LOADS = ("kept", "new", "direct")
_WARM_UP_SECONDS = 0.2
_SETTLE_SECONDS = 0.02


@dataclasses.dataclass(frozen=True)
class Stage:
    """What every row is measured with."""

    nginx: Nginx
    backend: Path  # the socket on which nginx expects the server under test
    seconds: int
    connections: int


def main() -> int:
    """Measure, print the table, write the results; 1 if a row could not be measured."""
    options = _parse_arguments()
    signal.signal(signal.SIGTERM, _leave)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gateways-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the worker of nginx runs as another user
        servers, remarks = available(directory)
        rows = _select(servers, options.only)
        if not rows:
            print(f"no row has {' or '.join(options.only)} in its name", file=sys.stderr)
            return 2
        backend = directory / "app.sock"
        try:
            with nginx_before(backend, directory, options.connections) as nginx:
                _measure_all(
                    rows,
                    Stage(nginx, backend, options.seconds, options.connections),
                    options.rounds,
                )
        except BenchmarkError as error:
            print(error, file=sys.stderr)
            return 2
    settings = (
        f"{options.rounds} rounds in turns of {options.seconds} s for each row, "
        f"{options.connections} connections, over a Unix socket"
    )
    print("\n".join([*report.table([row for row, _ in rows]), ""]))
    results = [row for row, _ in rows]
    for line in [
        *report.bound(results),
        report.quiet(results),
        *remarks,
        *report.failures(results),
    ]:
        print(line)
    print(f"{settings}; {time.monotonic() - start:.0f} s in all")
    if not options.only and not report.failures(results):  # a part of the rows is no record
        RESULTS.parent.mkdir(exist_ok=True)
        text = report.document(results, [*versions(), *remarks], settings)
        RESULTS.write_text(text, encoding="utf-8")
        print(f"written to {RESULTS.relative_to(RESULTS.parent.parent.parent)}")
    return 1 if report.failures(results) else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 second")
    parser.add_argument("--seconds", type=_at_least_one, help="for each row and round (2)")
    parser.add_argument("--rounds", type=_at_least_one, help="each row once in a round (5)")
    parser.add_argument(
        "--connections", type=_at_least_one, default=8, help="open at the same time (8)"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="only rows with this in their name, such as 'gateways' or 'kept'; may be repeated, "
        "and writes no results",
    )
    options = parser.parse_args()
    options.seconds = options.seconds or (1 if options.quick else 2)
    options.rounds = options.rounds or (3 if options.quick else 5)
    return options


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _leave(number: int, frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that what was started is ended and removed."""
    raise SystemExit(128 + number)


def _select(servers: Sequence[Server], only: Sequence[str]) -> list[tuple[report.Row, Server]]:
    rows = [
        (report.Row(server.name, server.family, load), server)
        for load in LOADS
        for server in servers
    ]
    return [each for each in rows if not only or any(part in each[0].name for part in only)]


def _measure_all(rows: Sequence[tuple[report.Row, Server]], stage: Stage, rounds: int) -> None:
    """A B C A B C …: what disturbs the machine for a while disturbs each row alike."""
    for number in range(1, rounds + 1):
        for row, server in rows:
            if row.failure:
                continue
            _show_progress(f"round {number} of {rounds}: {row.name}")
            try:
                row.samples.append(_measure(row.load, server, stage))
            except BenchmarkError as error:
                row.failure = str(error)
    _show_progress("")


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _measure(load: str, server: Server, stage: Stage) -> report.Sample:
    """One sample, of a server started for it."""
    backend, nginx, connections = stage.backend, stage.nginx, stage.connections
    with serving(server, backend, backend.with_suffix(".log")) as pid:
        run_direct(backend, _WARM_UP_SECONDS, connections)
        _settle()
        start, before, ours = time.monotonic(), tree_seconds(pid), _foreign_seconds()
        if load == "direct":
            answered = run_direct(backend, stage.seconds, connections)
        else:
            url = nginx.kept_url if load == "kept" else nginx.new_url
            answered = run_wrk(url, stage.seconds, connections)
        _settle()
        cpu_seconds = tree_seconds(pid) - before
        foreign = (_foreign_seconds() - ours) / (time.monotonic() - start)
        return report.Sample(answered, cpu_seconds, max(0.0, foreign))


def _foreign_seconds() -> float:
    """The CPU time so far of everything that does not belong to the benchmark."""
    return machine_seconds() - tree_seconds(os.getpid())


def _settle() -> None:
    """Let a server close what the load generator has left; that is part of what was asked."""
    time.sleep(_SETTLE_SECONDS)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
