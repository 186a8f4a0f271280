"""The layering rule of docs/architecture.md: who may import whom, and how large a module may be."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateways

ROOT = Path(gateways.__file__).parent
LARGEST_MODULE = 400  # lines; one that grows past it has two concerns

_ORDER = [
    ["errors", "hints", "logs", "quoting", "values", "version"],
    ["checks"],
    ["config"],
    ["protocols"],
    ["wsgi"],
    ["core"],
    ["process"],
    ["scripting"],
    ["persistent"],
    ["fcgi", "uwsgi", "scgi", "cgi", "http", "client"],
    ["flup"],
    ["cli"],
    ["__main__", "__init__"],  # __init__ re-exports the public names
]
LAYERS = {part: height for height, parts in enumerate(_ORDER) for part in parts}
# A lower layer that an upper one does not know; a client must not need what serves.
STRANGERS = {
    ("wsgi", "protocols"),
    *(("client", part) for part in ("config", "wsgi", "core", "process")),
}
NO_IO = {"socket", "select", "selectors", "threading", "time", "logging", "os", "asyncio"}
IO_FREE = ["protocols"]

MODULES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}
modules = pytest.mark.parametrize("name", MODULES)


@functools.cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """The full names of everything that the module ``name`` imports, wherever in it that is."""
    package = ["gateways", *Path(name).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            # `from gateways import config` imports a module, `from gateways.config import x` a name
            yield from (f"{module}.{alias.name}" for alias in node.names)


def own_part(full_name: str) -> str | None:
    """The part of our package that a full name lies in; None for other packages."""
    parts = full_name.split(".")
    if parts[0] != "gateways":
        return None
    if len(parts) == 1 or (parts[1] not in LAYERS and len(parts) == 2):
        return "__init__"
    return parts[1]


def part_of(name: str) -> str:
    """The part of the package that a file belongs to."""
    first = Path(name).parts[0]
    return first.removesuffix(".py")


def violations(name: str, tree: ast.Module) -> list[str]:
    """What the module imports and must not."""
    part = part_of(name)
    found = []
    for imported in imports(name, tree):
        other = own_part(imported)
        if other is None:
            if part in IO_FREE and imported.split(".")[0] in NO_IO:
                found.append(imported)
        elif other != part and (LAYERS[other] >= LAYERS[part] or (part, other) in STRANGERS):
            found.append(imported)
    return found


@modules
def test_a_module_imports_only_from_below(name: str) -> None:
    assert part_of(name) in LAYERS, "a new part of the package needs a layer"
    assert violations(name, parse(MODULES[name])) == []


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("wsgi/x.py", "from gateways.errors import ProtocolError", []),
        ("wsgi/x.py", "from gateways.wsgi.body import Body", []),
        ("wsgi/x.py", "from . import body", []),
        ("wsgi/x.py", "import socket", []),
        ("wsgi/x.py", "from gateways.core import poller", ["gateways.core.poller"]),
        ("wsgi/x.py", "from ..core.poller import READ", ["gateways.core.poller.READ"]),
        ("wsgi/x.py", "from ..protocols import base", ["gateways.protocols.base"]),
        ("wsgi/x.py", "import gateways.protocols.base", ["gateways.protocols.base"]),
        ("wsgi/x.py", "from gateways import cli", ["gateways.cli"]),
        ("wsgi/x.py", "from gateways import FastCGI", ["gateways.FastCGI"]),
        ("protocols/x.py", "from gateways.wsgi import body", ["gateways.wsgi.body"]),
        ("protocols/x.py", "def f():\n    import os.path", ["os.path"]),
        ("protocols/x.py", "from threading import Lock", ["threading.Lock"]),
        ("protocols/x.py", "if 1:\n    from asyncio import run", ["asyncio.run"]),
        ("errors.py", "from gateways.config import Config", ["gateways.config.Config"]),
        ("core/x.py", "from gateways.protocols.base import Codec", []),
        ("fcgi.py", "from gateways.process.single import Single", []),
        ("fcgi.py", "import gateways.scgi", ["gateways.scgi"]),
        ("client/x.py", "from gateways.protocols.records import HEADER", []),
        ("client/x.py", "from gateways.core import poller", ["gateways.core.poller"]),
        ("__main__.py", "from gateways.cli.main import main", []),
    ],
)
def test_the_rule_finds_what_it_should(name: str, source: str, found: list[str]) -> None:
    assert violations(name, ast.parse(source)) == found


@modules
def test_a_module_stays_small(name: str) -> None:
    lines = MODULES[name].read_text(encoding="utf-8").count("\n")
    assert lines < LARGEST_MODULE


@modules
def test_nothing_is_validated_by_assert(name: str) -> None:
    """`python -O` removes them: misuse is a RuntimeError, a peer's fault a ProtocolError."""
    lines = [node.lineno for node in ast.walk(parse(MODULES[name])) if isinstance(node, ast.Assert)]
    assert lines == []


def test_the_modules_were_found() -> None:
    assert {"errors.py", "protocols/fastcgi.py", "wsgi/environ.py"} <= set(MODULES)
