"""Measure what a request costs a server: ``python benchmarks/bench.py [--quick]``.

Every server runs on this machine, in this run, one after the other, behind the same nginx and under
the same load. The figure is the CPU time of the server for a request, because nginx and the load
generator share the cores with it. It is a benchmark and no test: being slow is no error, and what
cannot be measured is a row that says so. The exit status is 0.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import bodies, bounds, builds, footprint, idle, pairs, report  # noqa: E402  # after the path
from benchmarks.load import run_wrk  # noqa: E402
from benchmarks.measure import (  # noqa: E402
    Row,
    Sample,
    Stage,
    in_turns,
    sample,
    serving,
    warm_up,
)
from benchmarks.nginx import nginx_before  # noqa: E402
from benchmarks.peers import Others, main_rows  # noqa: E402
from benchmarks.processes import BenchmarkError  # noqa: E402
from benchmarks.tables import Section  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PARTS = ("requests", "pairs", "bodies", "idle", "footprint")


def main() -> int:
    """Measure, print the tables, write the results."""
    options = _parse_arguments()
    signal.signal(signal.SIGTERM, _leave)
    start = time.monotonic()
    found, remarks = builds.find_builds(options.gateways)
    with tempfile.TemporaryDirectory(prefix="gateways-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the worker of nginx runs as another user
        file = directory / "file"
        file.write_bytes(b"x" * bodies.FILE_BYTES)
        others = Others(options.peers, directory)
        rows = [Row(*each) for each in main_rows(found, others, quick=options.quick)]
        rows = [row for row in rows if _is_wanted(row, options.only)]
        backend = directory / "app.sock"
        try:
            with nginx_before(backend, directory, options.connections) as urls:
                stage = Stage(urls, backend, file, options.connections)
                sections = _measure(rows, found, others, stage, options)
        except BenchmarkError as error:
            remarks.append(f"nothing was measured: {error}")
            sections = []
    figures = {name: value for each in sections for name, value in each.figures.items()}
    sections.append(bounds.checklist(figures))
    settings = (
        f"{options.rounds} rounds in turns of {options.seconds} s for each row, "
        f"{options.connections} connections, over a Unix socket, "
        f"{time.monotonic() - start:.0f} s in all"
    )
    where = [settings, builds.describe_machine()]
    where += [f"{each.version}: {builds.describe_python(each.python)}" for each in found]
    where.append(f"peers: {builds.describe_python(options.peers / 'bin' / 'python')}")
    where += [*others.versions(), *builds.describe_tools(), *remarks]
    for section in sections:
        print("\n".join(section.lines()))
    print("\n".join(where))
    if options.output:
        _write(options.output, rows, sections, where)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="the main rows alone, 3 rounds of 1 second"
    )
    parser.add_argument("--seconds", type=_at_least_one, help="for each row and round (2)")
    parser.add_argument("--rounds", type=_at_least_one, help="each row once in a round (5)")
    parser.add_argument(
        "--connections", type=_at_least_one, default=8, help="open at the same time (8)"
    )
    parser.add_argument(
        "--gateways",
        action="append",
        type=Path,
        metavar="VENV",
        help="virtual environment with gateways, one for each build (.venv-compiled, .venv-pure)",
    )
    parser.add_argument(
        "--peers",
        type=lambda text: Path(text).absolute(),
        default=ROOT / ".venv-bench",
        metavar="VENV",
        help="virtual environment with the peers (.venv-bench)",
    )
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="only this part; may be repeated"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="only rows of the part `requests` with this in their name, such as 'pure fcgi' or "
        "'uWSGI'; may be repeated",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write latest.md and latest.svg there"
    )
    options = parser.parse_args()
    options.seconds = options.seconds or (1 if options.quick else 2)
    options.rounds = options.rounds or (3 if options.quick else 5)
    if options.part and "pairs" in options.part and "requests" not in options.part:
        parser.error(
            "the part pairs needs the figures of the part requests; give --part requests too"
        )
    options.part = options.part or (["requests"] if options.quick else PARTS)
    return options


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _leave(number: int, frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that what was started is ended and removed."""
    raise SystemExit(128 + number)


def _is_wanted(row: Row, only: Sequence[str]) -> bool:
    return not only or any(part in row.name for part in only)


def _measure(
    rows: list[Row],
    found: Sequence[builds.Build],
    others: Others,
    stage: Stage,
    options: argparse.Namespace,
) -> list[Section]:
    """The parts that are wanted, one after the other."""

    def take(row: Row, seconds: int = options.seconds) -> Sample:
        url = stage.url(row.peer, row.connection)
        with serving(row.peer, stage, row.connection) as pid:
            warm_up(url)
            return sample(pid, lambda: run_wrk(url, seconds, stage.connections))

    sections = []
    if "requests" in options.part:
        in_turns(rows, options.rounds, take, _show_progress)
        sections.append(report.main_section(rows))
        if "pairs" in options.part:
            figures = sections[0].figures
            rounds = 2 * options.rounds - 1
            short = functools.partial(take, seconds=1)
            sections.append(pairs.measure(rows, figures, rounds, short, _show_progress))
    rounds = min(3, options.rounds)
    if "bodies" in options.part:
        sections.append(bodies.measure(found, others, stage, rounds, _show_progress))
    if "idle" in options.part:
        sections.append(idle.measure(found, others, stage, options.seconds, _show_progress))
    if "footprint" in options.part:
        sections.append(footprint.measure(found, others, stage, rounds, _show_progress))
    _show_progress("")
    return sections


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _write(
    directory: Path, rows: Sequence[Row], sections: Sequence[Section], where: Sequence[str]
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    picture = report.main_chart(rows)
    if picture:
        (directory / "latest.svg").write_text(picture, encoding="utf-8")
    command = "python benchmarks/" + " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    text = report.document(command, sections, where, "latest.svg" if picture else "")
    (directory / "latest.md").write_text(text, encoding="utf-8")
    print(f"written to {directory}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
