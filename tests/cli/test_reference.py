"""The pages about options say what the code does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateways
from gateways.cli.options import FIELDS, TABLES, flag, keys
from gateways.cli.reference import render

# Of other programs, as messages name them, and of the commands themselves.
FOREIGN_FLAGS = {"--cap-drop", "--check-config"}

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


def _texts(path: Path) -> Iterator[str]:
    """The texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


@pytest.mark.parametrize("layer", ["protocols", "core", "wsgi", "process"])
def test_what_is_said_of_options_names_them_as_they_are_typed(layer: str) -> None:
    """These layers know fields of Config, and whoever reads the log knows flags."""
    names = {name for name in FIELDS if "_" in name}
    flags = {f"--{key}" for name in FIELDS for key in keys(name)} | FOREIGN_FLAGS
    for path in sorted((Path(gateways.__file__).parent / layer).rglob("*.py")):
        for text in _texts(path):
            if " " in text:  # else it is no message
                assert names & set(re.findall(r"\w+", text)) == set(), path
                assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= flags, path
