"""Samples in; the main table, the chart and the page that is written out."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence

from benchmarks import chart
from benchmarks.measure import Row, Sample
from benchmarks.tables import Section, ratio

# What else may run without spoiling the figures. With a core less the threads of flup no longer get
# in each other's way, and it seems to cost half.
QUIET_CORES = 0.1

_PROTOCOLS = {"fcgi": "FastCGI", "uwsgi": "uwsgi", "scgi": "SCGI", "http": "HTTP"}


def main_section(rows: Sequence[Row]) -> Section:
    """CPU per request of every row, and its ratios."""
    header = ["protocol", "connection", "server", "CPU µs/request", "lowest-highest", "requests/s"]
    section = Section("CPU per request", [*header, "/ uWSGI", "/ floor"], left=3)
    costs = {row.name: row.cost for row in rows if row.cost}
    section.figures = costs
    for row in rows:
        cells = [_PROTOCOLS[row.peer.protocol], row.connection, row.peer.title]
        if row.cost is None:
            section.rows.append([*cells, "-"])
            section.notes.append(f"{row.name}: {row.problem}")
            continue
        each = [sample.cost for sample in row.samples]
        rate = statistics.median(sample.rate for sample in row.samples)
        figures = [f"{row.cost:.1f}", f"{min(each):.1f}-{max(each):.1f}", f"{rate:,.0f}"]
        uwsgi = costs.get(f"uWSGI {row.peer.protocol} new")
        floor = costs.get(f"floor fcgi {row.connection}")
        section.rows.append([*cells, *figures, ratio(row.cost, uwsgi), ratio(row.cost, floor)])
        if row.problem:
            section.notes.append(f"{row.name}, not in every round: {row.problem}")
    samples = [sample for row in rows for sample in row.samples]
    for build in ("compiled", "pure"):
        section.notes += _features(build, costs)
    section.notes += [quietness([sample.foreign for sample in samples]), *_sources(samples)]
    return section


def _features(build: str, costs: Mapping[str, float]) -> list[str]:
    """What the supervisor and its scoreboard, which are on by default, and an access log cost."""
    usual = costs.get(f"{build} fcgi kept")
    lines = []
    for kind, what in (("alone", "a supervisor and a scoreboard"), ("logged", "an access log")):
        other = costs.get(f"{build}-{kind} fcgi kept")
        if usual and other:
            cost = usual - other if kind == "alone" else other - usual
            lines.append(f"{build}: {what}: {cost:+.1f} µs per request")
    return lines


def main_chart(rows: Sequence[Row]) -> str:
    """The same as bars, a group for each protocol and connection."""
    groups: dict[str, list[tuple[str, float, bool]]] = {}
    for row in rows:
        if row.cost is not None:
            heading = f"{_PROTOCOLS[row.peer.protocol]}, {row.connection} connection"
            ours = row.peer.title.startswith("gateways")
            groups.setdefault(heading, []).append((row.peer.title, row.cost, ours))
    title = "CPU of the server per request, microseconds (less is better)"
    return chart.bars(title, "µs", list(groups.items()))


def quietness(foreign: Sequence[float]) -> str:
    """How much else ran meanwhile, and whether the figures are worth keeping."""
    if not foreign:
        return "nothing was measured"
    used = statistics.fmean(foreign)
    advice = "" if used <= QUIET_CORES else "; run it again on a quiet machine"
    return f"other programs used {used:.2f} of {os.cpu_count()} cores meanwhile{advice}"


def _sources(samples: Sequence[Sample]) -> list[str]:
    """How far the ticks of /proc/PID/stat are from the CPU clocks, over all that was measured."""
    clocks = sum(sample.cpu_seconds for sample in samples)
    if not clocks:
        return []
    off = sum(sample.tick_seconds for sample in samples) / clocks - 1
    return [f"utime and stime of /proc/PID/stat differ from the CPU clocks by {off:+.1%}"]


def document(command: str, sections: Sequence[Section], where: Sequence[str], picture: str) -> str:
    """The page that is written into results/."""
    parts = [
        f"# The latest run of `{command}`",
        "",
        "CPU time of the server alone, user and system, divided by what it did. Medians over the "
        "rounds. What the columns mean is in [the README](../README.md).",
        "",
        *([f"![CPU per request]({picture})", ""] if picture else []),
        *(line for section in sections for line in section.lines()),
        "## Where and with what",
        "",
        *(f"- {line}" for line in where),
        "",
    ]
    return "\n".join(parts)
