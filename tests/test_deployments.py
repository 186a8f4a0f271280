"""docs/deployments.md and the READMEs of contrib/: what they name exists and the reverse."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from gateways.cli.config import FRONT_ENDS
from gateways.cli.webservers import WEB_SERVERS

REPOSITORY = Path(__file__).resolve().parents[1]
CONTRIB = REPOSITORY / "contrib"
PAGE = (REPOSITORY / "docs" / "deployments.md").read_text()

ROWS = {int(match[1]): match[0] for match in re.finditer(r"(?m)^\| (\d+) \|.*$", PAGE)}
TESTS = sorted(set(re.findall(r"`(tests/[^`]*::[^`]*)`", PAGE)))
FILES = sorted(
    path.relative_to(CONTRIB)
    for path in CONTRIB.rglob("*")
    # The modules of the demonstration are no configuration.
    if path.is_file() and path.name != "README.md" and path.suffix not in (".py", ".pyc")
)
# What `gateways config` prints is booted by tests/servers/test_config.py, file by file.
PRINTED = {
    f"{name}/{file}"
    for name, known in WEB_SERVERS.items()
    for files in known.files.values()
    for file in files
} | {"apache/proxy-fcgi-tcp.conf", "systemd/gateways.socket", "systemd/gateways-activated.service"}


@functools.cache
def names_in(path: str) -> set[str]:
    """The tests and classes that a file defines."""
    tree = ast.parse((REPOSITORY / path).read_text())
    found = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return {node.name for node in found}


def test_every_row_is_there_and_has_a_test() -> None:
    assert list(ROWS) == list(range(1, 32))
    assert [number for number, row in ROWS.items() if "`tests/" not in row] == []


@pytest.mark.parametrize("test", TESTS)
def test_a_test_that_is_named_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in names_in(path)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_is_described_and_booted(file: Path) -> None:
    readme = CONTRIB / file.parts[0] / "README.md"
    described = PAGE + (readme.read_text() if readme.exists() else "")
    assert f"`{file.name}`" in described or f"/{file.name}`" in described
    if str(file) in PRINTED:
        return
    sources = [path.read_text() for path in (REPOSITORY / "tests").rglob("*.py")]
    assert any(re.search(rf'["/]{re.escape(file.name)}"', source) for source in sources)


@pytest.mark.parametrize("folder", FRONT_ENDS)
def test_a_readme_tells_what_to_take_to_do_to_change_and_to_watch_for(folder: str) -> None:
    text = (CONTRIB / folder / "README.md").read_text()
    assert "\n| file |" in text
    assert f"gateways config {folder} " in text
    assert "\nTo change: " in text
    assert "\nTo watch for:" in text
    table = text[text.index("\n| file |") :].split("\n\n")[0]
    named = re.findall(r"(?m)^\| (`[^|]*`) \|", table)
    files = [name for row in named for name in re.findall(r"`([^`]+)`", row)]
    assert [name for name in files if not (CONTRIB / folder / name).exists()] == []


@pytest.mark.parametrize("file", sorted((CONTRIB / "nginx").glob("*.conf")), ids=lambda f: f.name)
def test_nginx_passes_the_port_of_host_on_but_by_its_stock_parameters(file: Path) -> None:
    text = file.read_text()
    assert ("$host$colon_port;" in text) == (file.name not in ("nginx.conf", "stock.conf"))
