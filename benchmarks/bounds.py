"""What must be reached: ratios of figures of the same run. A bound that is missed is no error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from benchmarks.tables import Section


@dataclasses.dataclass(frozen=True)
class Bound:
    """``ours`` / ``theirs`` at most; of several of theirs the lowest that was measured counts."""

    text: str
    ours: str  # figures: a row's name as in measure.Row, or what a section calls it
    theirs: tuple[str, ...]
    at_most: float

    def ratio(self, figures: Mapping[str, float], build: str = "") -> float | None:
        """As measured; with another ``build`` in the place of the one that the bound is for."""
        name = build + self.ours[self.ours.index(self.build) + len(self.build) :] if build else ""
        ours = figures.get(name or self.ours)
        theirs = self.cheapest(figures)
        return ours / figures[theirs] if ours and theirs else None

    def paired(self, figures: Mapping[str, float]) -> float | None:
        """As measured beside each other; where that was done, it counts as well."""
        return figures.get(beside(self.ours, self.cheapest(figures)))

    def cheapest(self, figures: Mapping[str, float]) -> str:
        """Of theirs the lowest that was measured, "" if none was."""
        measured = [each for each in self.theirs if each in figures]
        return min(measured, key=lambda each: figures[each], default="")

    @property
    def build(self) -> str:
        """compiled or pure."""
        return "compiled" if self.ours.startswith("compiled") else "pure"


def beside(ours: str, theirs: str) -> str:
    """What the ratio of two rows is called that were measured beside each other."""
    return f"{ours} / {theirs}"


_GUNICORN = ("gunicorn http new", "gunicorn-4 http kept")
BOUNDS = (
    Bound(
        "FastCGI, kept connection / floor, kept", "compiled fcgi kept", ("floor fcgi kept",), 1.6
    ),
    Bound(
        "FastCGI, kept connection / uWSGI FastCGI", "compiled fcgi kept", ("uWSGI fcgi new",), 0.5
    ),
    Bound(
        "FastCGI, new connection / uWSGI FastCGI", "compiled fcgi new", ("uWSGI fcgi new",), 0.85
    ),
    Bound("uwsgi / uWSGI uwsgi", "compiled uwsgi new", ("uWSGI uwsgi new",), 1.0),
    Bound(
        "4 threads, uwsgi / uWSGI uwsgi --threads 4",
        "compiled-4 uwsgi new",
        ("uWSGI-4 uwsgi new",),
        0.85,
    ),
    Bound("HTTP, kept / gunicorn HTTP (its cheapest)", "compiled http kept", _GUNICORN, 0.2),
    Bound("HTTP, kept / granian", "compiled http kept", ("granian http kept",), 1.0),
    Bound("HTTP, kept / uWSGI http-socket", "compiled http kept", ("uWSGI http new",), 1.0),
    Bound("FastCGI, new connection / uWSGI FastCGI", "pure fcgi new", ("uWSGI fcgi new",), 1.8),
    Bound("FastCGI, kept connection / flup, kept", "pure fcgi kept", ("flup fcgi kept",), 0.15),
    Bound(
        "download 100 MB, FastCGI / uWSGI FastCGI",
        "compiled fcgi pieces-100",
        ("uWSGI fcgi pieces-100",),
        1.0,
    ),
    Bound(
        "RSS of one worker / gunicorn sync worker", "compiled http rss", ("gunicorn http rss",), 0.9
    ),
)


def checklist(figures: Mapping[str, float]) -> Section:
    """Every bound, what was measured, and the other build beside it."""
    header = ["build", "row", "at most", "medians", "in pairs", "", "the other build"]
    section = Section("What must be reached", header)
    for bound in BOUNDS:
        value = bound.ratio(figures)
        other = bound.ratio(figures, "pure" if bound.build == "compiled" else "compiled")
        paired = bound.paired(figures)
        measured = [each for each in (value, paired) if each is not None]
        verdict = "not measured"
        if measured:
            verdict = "reached" if max(measured) <= bound.at_most else "missed"
        first, second, third = (
            "" if each is None else f"{each:.2f}" for each in (value, paired, other)
        )
        section.rows.append(
            [bound.build, bound.text, f"{bound.at_most:g}", first, second, verdict, third]
        )
    return section
