"""The rows that have a bound, each beside its peer alone: A B A B …, one right after the other.

In a whole run minutes lie between two rows of a round. A machine that others use too is slower for
some of them, by more than a bound leaves room for, and a ratio of two medians shows that as well.
Here what disturbs the one row disturbs the other, and the median of the ratios leaves out the
rounds in which it did not.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.bounds import BOUNDS, beside
from benchmarks.measure import Row, Sample, in_turns
from benchmarks.tables import Section


def measure(
    rows: Sequence[Row],
    figures: Mapping[str, float],
    rounds: int,
    take: Callable[[Row], Sample],
    progress: Callable[[str], None],
) -> Section:
    """Each bound between two of ``rows``; of several peers the one that was cheapest before."""
    section = Section(
        f"In pairs, {rounds} rounds in close turns",
        ["row", "beside", "ratio of CPU", "lowest-highest"],
    )
    known = {row.name: row for row in rows if not row.problem}
    for bound in BOUNDS:
        theirs = bound.cheapest(figures)
        if bound.ours not in known or theirs not in known:
            continue
        pair = [dataclasses.replace(known[name], samples=[]) for name in (bound.ours, theirs)]
        in_turns(pair, rounds, take, lambda text: progress(f"in pairs, {text}"))
        one, other = pair
        if problem := one.problem or other.problem:
            section.rows.append([bound.ours, theirs, problem])
            continue
        ratios = [a.cost / b.cost for a, b in zip(one.samples, other.samples, strict=True)]
        median = statistics.median(ratios)
        section.figures[beside(bound.ours, theirs)] = median
        between = f"{min(ratios):.2f}-{max(ratios):.2f}"
        section.rows.append([bound.ours, theirs, f"{median:.2f}", between])
    return section
