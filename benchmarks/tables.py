"""Markdown tables that read well as plain text, and the sections of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass
class Section:
    """A table of the report, and the figures that bounds are made of."""

    title: str
    header: Sequence[str]
    rows: list[list[str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    left: int = 2  # so many columns are of text

    def lines(self) -> list[str]:
        """As Markdown."""
        notes = ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return [f"## {self.title}", "", *table(self.header, self.rows, self.left), *notes, ""]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """The first ``left`` columns are aligned to the left, the others to the right."""
    cells = [list(header), *(list(row) + [""] * (len(header) - len(row)) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    texts = []
    for line in cells:
        padded = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append(f"| {' | '.join(padded)} |")
    rule = [
        "-" * (width + 2) if column < left else "-" * (width + 1) + ":"
        for column, width in enumerate(widths)
    ]
    return [texts[0], f"|{'|'.join(rule)}|", *texts[1:]]


def ratio(value: float | None, other: float | None) -> str:
    """``value`` in units of ``other``; nothing where one of them was not measured."""
    if not value or not other:
        return ""
    result = value / other
    return f"{result:.2f}" if result < 10 else f"{result:.0f}"
