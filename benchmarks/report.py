"""Samples in, table out."""

from __future__ import annotations

import dataclasses
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import Answered

# What the first complete version has to reach: 25 µs where flup needs 150 µs.
TARGET_RATIO = 25 / 150

# What else may run without spoiling the figures. With a core less the threads of flup no longer get
# in each other's way, and it seems to cost half.
QUIET_CORES = 0.1


@dataclasses.dataclass(frozen=True)
class Sample:
    """One row in one round."""

    answered: Answered
    cpu_seconds: float  # of the server
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

    server: str
    family: str
    load: str
    samples: list[Sample] = dataclasses.field(default_factory=list)
    failure: str = ""

    @property
    def name(self) -> str:
        """What ``--only`` is compared with."""
        return f"{self.server}, {self.load}"

    @property
    def cost(self) -> float | None:
        """The median of the CPU microseconds per request; None without a sample."""
        if self.failure or not self.samples:
            return None
        return statistics.median(sample.cost for sample in self.samples)


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as a Markdown table that reads well as plain text."""
    titles = ["connection", "server", "CPU µs/request", "lowest-highest", "requests/s"]
    lines = [[*titles, "/ flup", "/ floor"]]
    for row in rows:
        cells = [row.load, row.server]
        if row.cost is None:
            lines.append([*cells, "failed" if row.failure else "-", "", "", "", ""])
            continue
        costs = [sample.cost for sample in row.samples]
        rate = statistics.median(sample.rate for sample in row.samples)
        lines.append(
            [
                *cells,
                f"{row.cost:.1f}",
                f"{min(costs):.1f}-{max(costs):.1f}",
                f"{rate:,.0f}",
                *(_format_ratio(ratio(row, rows, family)) for family in ("flup", "floor")),
            ]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    texts = []
    for line in lines:
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append(f"| {' | '.join(cells)} |")
    rule = [
        "-" * (width + 2) if column < 2 else "-" * (width + 1) + ":"
        for column, width in enumerate(widths)
    ]
    return [texts[0], f"|{'|'.join(rule)}|", *texts[1:]]


def ratio(row: Row, rows: Sequence[Row], family: str) -> float | None:
    """CPU per request of ``row`` to the row of ``family`` under the same load."""
    for other in rows:
        if other.family == family and other.load == row.load and other.cost and row.cost:
            return row.cost / other.cost
    return None


def _format_ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def bound(rows: Sequence[Row]) -> list[str]:
    """The figure to watch, and whether it is where it should be; never an error."""
    lines = []
    for row in rows:
        value = ratio(row, rows, "flup")
        if row.family == "gateways" and row.load == "kept" and value is not None:
            verdict = "within" if value <= TARGET_RATIO else "above"
            lines.append(
                f"{row.server}, kept / flup, kept: {value:.3f}, "
                f"{verdict} the bound of {TARGET_RATIO:.3f} (25/150)"
            )
    return lines


def quiet(rows: Sequence[Row]) -> str:
    """``quietness`` of all samples."""
    return quietness([sample.foreign for row in rows for sample in row.samples])


def quietness(foreign: Sequence[float]) -> str:
    """How much else ran meanwhile, and whether the figures are worth keeping."""
    if not foreign:
        return "nothing was measured"
    used = statistics.fmean(foreign)
    advice = "" if used <= QUIET_CORES else "; run it again on a quiet machine"
    return f"other programs used {used:.2f} of {os.cpu_count()} cores meanwhile{advice}"


def failures(rows: Sequence[Row]) -> list[str]:
    """A line for each row that failed."""
    return [f"{row.name}: {row.failure}" for row in rows if row.failure]


def machine() -> str:
    """Processor, kernel and distribution."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    return f"{model}, {os.cpu_count()} cores; {system}, Linux {platform.release()}"


def document(rows: Sequence[Row], versions: Sequence[str], settings: str) -> str:
    """The page that is written into results/."""
    parts = [
        "# The latest run of `python benchmarks/bench.py`",
        "",
        "CPU time of the server alone, user and system, divided by the requests that it answered. "
        "Medians over the rounds. What the columns mean is in [the README](../README.md).",
        "",
        *table(rows),
        "",
        *(f"- {line}" for line in [*bound(rows), quiet(rows)]),
        "",
        "## Where and with what",
        "",
        f"- {settings}",
        f"- {machine()}",
        *(f"- {line}" for line in versions),
        "",
    ]
    return "\n".join(parts)
