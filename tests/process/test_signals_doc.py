"""docs/signals.md says what the code does."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from gateways.process import child, single
from gateways.process.supervisor import SIGNALS

_PAGE = Path(__file__).parents[2] / "docs" / "signals.md"


def _table(heading: str) -> dict[str, str]:
    """The rows below a heading."""
    section = _PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"(?m)^\| (SIG[A-Z0-9]+) \| (.*) \|$", section))


def test_the_table_of_the_supervisor_is_its_own() -> None:
    told = {signal.Signals(number).name: text for number, text in SIGNALS.items() if text}
    assert _table("To the supervisor") == told


@pytest.mark.parametrize(
    ("heading", "handled"),
    [
        (
            "To a single process",
            {*single.STOP_SIGNALS, *single.RESTART_SIGNALS, signal.SIGUSR1},
        ),
        ("To a worker", {*child._SIGNALS}),
    ],
)
def test_every_signal_that_is_handled_is_in_the_table(
    heading: str, handled: set[signal.Signals]
) -> None:
    assert set(_table(heading)) == {number.name for number in handled}
