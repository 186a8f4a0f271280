"""The pages about options say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateways.cli.options import FIELDS, TABLES, flag
from gateways.cli.reference import render

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_page_is_what_the_code_makes() -> None:
    written = (DOCS / "options.md").read_text(encoding="utf-8")
    assert written == render(), "run: python -m gateways.cli.reference > docs/options.md"


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_has_one_row(name: str) -> None:
    assert len(re.findall(rf"^\| [^|]*`{flag(name)}`", render(), re.MULTILINE)) == 1


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_one_row(name: str) -> None:
    assert render().count(f"| `[{name}]` |") == 1


def test_no_cell_of_the_page_is_split_by_its_text() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `-")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
