"""Measure what CGI costs: ``python benchmarks/cgi_bench.py [--requests N] [--rounds N]``.

The first table is of processes that are started here (``cgi_direct``), the second of the same
scripts behind a real Apache, with nothing left out. The background server of the persistent rows is
no child of Apache: its CPU time is read from its clock and added.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import apache, builds, cgi_direct, report  # noqa: E402  # after the path
from benchmarks.cpu import machine_seconds, tree_seconds  # noqa: E402
from benchmarks.processes import BenchmarkError, compile_c, end_listener, listener  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
TARGET_RATIO = 1 / 5  # PersistentCGI to wsgiref's CGIHandler, with Flask, behind Apache

# Behind Apache: the names of the rows, and their keys in cgi_direct.
_BEHIND_APACHE = {
    "wsgiref.handlers.CGIHandler": "wsgiref",
    "gateways.cgi.CGIHandler": "gateways.cgi",
    "gateways.cgi.PersistentCGI": "persistent",
}
_FLASK_WITH_NAMES = """\
from flask import Flask
app = Flask(__name__)

@app.get("/greet/<name>")
def greet(name):
    return f"Hello {name}"
"""
_REQUESTS_IN_A_ROUND = 10
_WARM_UP_REQUESTS = 2


@dataclass(frozen=True)
class Batch:
    """The requests of one row in one round, behind Apache."""

    scripts: list[float]  # CPU seconds, one by one
    background: float  # seconds of all of them
    web_server: float
    foreign: float  # cores that were busy with what is not of the benchmark

    @property
    def milliseconds(self) -> float:
        """For a request, the scripts and the background server."""
        return (sum(self.scripts) + self.background) / len(self.scripts) * 1000


@dataclass
class ApacheRow:
    """One kind of script behind Apache."""

    name: str
    site: apache.Apache
    run: Path  # where a background server has its socket
    requests: int = 0
    start_seconds: float = 0.0  # what the start of the background server took
    batches: list[Batch] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        """The median over the rounds."""
        return statistics.median(batch.milliseconds for batch in self.batches)

    def background(self) -> int:
        """The background server; 0 if there is none."""
        return next(filter(None, map(listener, self.run.glob("gateways/*/socket"))), 0)

    def request(self, count: int) -> list[float]:
        """So many requests, one after the other; the CPU seconds of their scripts."""
        for _ in range(count):
            self.site.get(f"/greet/{self.requests}", b"Hello %d" % self.requests)
            self.requests += 1
        return self.site.script_seconds(self.requests)[-count:]


def main() -> int:
    """Measure, print the tables, write the results; what cannot be measured is said."""
    options = _parse_arguments()
    signal.signal(signal.SIGTERM, _leave)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gateways-cgi-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Apache runs as another user
        try:
            build = builds.find_build(options.gateways)
            direct = cgi_direct.measure(folder, build.packages(), options.requests)
            print("\n".join(cgi_direct.lines(direct)))
            program, timed = apache.program(), compile_c("timed", folder)
            rows, python = _measure_behind_apache(folder, build, timed, options.rounds)
        except BenchmarkError as error:
            print(f"no results of CGI: {error}")
            return 0
    behind = _apache_lines(rows)
    print("\n".join(["", *behind]))
    print(f"{time.monotonic() - start:.0f} s in all")
    settings = (
        f"directly: {options.requests} requests for each row, in turns; behind Apache: "
        f"{options.rounds} rounds in turns of {_REQUESTS_IN_A_ROUND} requests for each row, one "
        f"after the other, after {_WARM_UP_REQUESTS} to warm up"
    )
    where = [settings, *_versions(build, program, python)]
    text = _document(cgi_direct.lines(direct), behind, where)
    results = RESULTS / ("cgi.md" if build.kind == "pure" else f"cgi-{build.kind}.md")
    RESULTS.mkdir(exist_ok=True)
    results.write_text(text, encoding="utf-8")
    print(f"written to {results.relative_to(ROOT)}")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=30, help="samples of each row (30)")
    parser.add_argument(
        "--rounds",
        type=int,
        default=6,
        help=f"behind Apache, of {_REQUESTS_IN_A_ROUND} requests for each row (6)",
    )
    parser.add_argument(
        "--gateways",
        type=Path,
        default=ROOT / ".venv-pure",
        metavar="VENV",
        help="virtual environment with the gateways to measure (.venv-pure)",
    )
    return parser.parse_args()


def _leave(number: int, frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that what was started is ended and removed."""
    raise SystemExit(128 + number)


def _measure_behind_apache(
    folder: Path, build: builds.Build, timed: Path, rounds: int
) -> tuple[list[ApacheRow], str]:
    """The rows, and the Python of the scripts."""
    packages = folder / "packages"
    python = apache.copy_packages(packages, build.packages() / "gateways")
    (packages / "flaskapp.py").write_text(_FLASK_WITH_NAMES)
    with contextlib.ExitStack() as stack:
        rows = []
        for name, kind in _BEHIND_APACHE.items():
            place = folder / f"apache-{kind}"
            run = place / "run"
            run.mkdir(parents=True)
            if apache.USER is not None:
                shutil.chown(run, apache.USER)
            call = cgi_direct.SCRIPTS[kind].format(app="flaskapp", run=str(run / "gateways"))
            text = f"#!{python}\nimport sys\nsys.path.insert(0, {str(packages)!r})\n{call}"
            stack.enter_context(_no_background_server_left(run))  # after Apache
            site = stack.enter_context(apache.serving_script(text, timed, place / "apache"))
            rows.append(ApacheRow(name, site, run))
        for row in rows:
            row.request(_WARM_UP_REQUESTS)
            if server := row.background():
                row.start_seconds = tree_seconds(server)
        background = [row.background() for row in rows]
        if [bool(server) for server in background] != [False, False, True]:
            raise BenchmarkError(f"the background servers are not as expected: {background}")
        for _ in range(rounds):
            for row, server in zip(rows, background, strict=True):
                row.batches.append(_batch(row, server))
        if [row.background() for row in rows] != background:
            raise BenchmarkError("the background server was replaced meanwhile")
    return rows, python


@contextlib.contextmanager
def _no_background_server_left(run: Path) -> Iterator[None]:
    try:
        yield
    finally:
        for path in run.glob("gateways/*/socket"):
            end_listener(path)


def _batch(row: ApacheRow, server: int) -> Batch:
    def clocks() -> tuple[float, float, float, float, float]:
        background = tree_seconds(server) if server else 0.0
        ours = tree_seconds(os.getpid())
        return background, row.site.own_seconds(), ours, machine_seconds(), time.monotonic()

    before = clocks()
    scripts = row.request(_REQUESTS_IN_A_ROUND)
    spent = [now - then for now, then in zip(clocks(), before, strict=True)]
    background, web_server, ours, machine, seconds = spent
    foreign = (machine - ours - background - sum(scripts)) / seconds
    return Batch(scripts, background, web_server, max(0.0, foreign))


def _apache_lines(rows: Sequence[ApacheRow]) -> list[str]:
    titles = ["script", "CPU ms/request", "lowest-highest", "of it the script"]
    titles += ["of it the background server", "besides: Apache itself"]
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    for row in rows:
        costs = [batch.milliseconds for batch in row.batches]
        count = sum(len(batch.scripts) for batch in row.batches)
        cells = [row.name, f"{row.milliseconds:.1f}", f"{min(costs):.1f}-{max(costs):.1f}"]
        for seconds in (
            sum(sum(batch.scripts) for batch in row.batches),
            sum(batch.background for batch in row.batches),
            sum(batch.web_server for batch in row.batches),
        ):
            cells.append(f"{seconds / count * 1000:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    wsgiref, plain, persistent = rows
    lines.append("")
    for row in (plain, persistent):
        ratio = row.milliseconds / wsgiref.milliseconds
        text = f"- {row.name} / {wsgiref.name}: {ratio:.3f} = 1/{1 / ratio:.1f}"
        if row is persistent:
            verdict = "within" if ratio <= TARGET_RATIO else "above"
            text += f", {verdict} the target of {TARGET_RATIO:.3f} (1/{1 / TARGET_RATIO:.0f})"
        lines.append(text)
    lines.append(
        f"- the start of the background server took {persistent.start_seconds * 1000:.0f} ms, "
        "once, which are not in the table"
    )
    lines.append(f"- {report.quietness([each.foreign for row in rows for each in row.batches])}")
    return lines


def _versions(build: builds.Build, program: str, python: str) -> list[str]:
    of_the_system = ", of the distribution" if python == "/usr/bin/python3" else ""
    server = builds.first_line([program, "-v"]).removeprefix("Server version: ")
    return [
        builds.describe_machine(),
        build.version,
        f"Flask {importlib.metadata.version('flask')}",
        f"{server}, mpm_event, mod_cgid, contrib/apache/cgid.conf",
        f"behind Apache: {builds.first_line([python, '--version'])}{of_the_system}",
        f"directly: {builds.describe_python(Path(sys.executable))}",
    ]


def _document(direct: Sequence[str], behind: Sequence[str], where: Sequence[str]) -> str:
    parts = [
        "# The latest run of `python benchmarks/cgi_bench.py`",
        "",
        "CPU time, user and system, of a request that a CGI script answers, in milliseconds. What "
        "is measured and how is in [the README](../README.md).",
        "",
        "## Behind Apache, a Flask application",
        "",
        *behind,
        "",
        "## Processes alone, without a web server and without `site`",
        "",
        *direct,
        "",
        "## Where and with what",
        "",
        *(f"- {line}" for line in where),
        "",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
