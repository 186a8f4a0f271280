"""What ``gateways migrate`` writes: a script with its imports of flup's servers replaced.

The syntax tree says where they are; the text between stays as it is, byte by byte.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateways.errors import ConfigError
from gateways.flup.standin import TARGETS, explain

_SERVER = "flup.server"
# In place of each module of flup's servers. Where the arguments are the same, that is what new
# scripts import, too.
MODULES = {**TARGETS, "fcgi": "gateways.fcgi", "scgi": "gateways.scgi", "cgi": "gateways.cgi"}
_NO_DEFAULT = "gateways.scgi"  # has flup.server.NoDefault
_FROM = re.compile(rb"from(?:\s|\\\r?\n)*([\w.]+)")


class Edit(NamedTuple):
    """Bytes of the source to replace."""

    start: int
    end: int
    text: bytes


class Script:
    """A script's source and its syntax tree. Raises ConfigError for one that cannot be parsed."""

    def __init__(self, name: str, source: bytes) -> None:
        self.name = name
        self.source = source
        self.notes: list[str] = []  # what is left for people to do, each with its line
        self.edits: list[Edit] = []
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
            self._encoding = "utf-8" if encoding == "utf-8-sig" else encoding
            text = source.decode(self._encoding)
            self.tree = ast.parse(source, name)
        except (SyntaxError, ValueError) as error:
            raise ConfigError(
                f"{name} cannot be parsed: {error}. A script for Python 2 is translated by the "
                "2to3 of Python 3.12 and before"
            ) from error
        # Lines as the parser counts them; columns are those of UTF-8.
        self._lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
        self._offsets = [0]
        for line in self._lines:
            self._offsets.append(self._offsets[-1] + len(line.encode(self._encoding)))

    def migrate(self) -> bytes:
        """The source with the imports replaced; ``notes`` holds what could not be."""
        unbound: dict[str, str] = {}  # dotted names that an import has bound, and ours
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                unbound |= self._replace_import(node)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                self._replace_import_from(node, node.module)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._mention_text(node, node.value)
        self._replace_uses(unbound)
        result = self.source
        for edit in sorted(self.edits, reverse=True):
            result = result[: edit.start] + edit.text + result[edit.end :]
        return result

    def note(self, node: ast.AST, text: str) -> None:
        """Something for people, about a line."""
        self.notes.append(f"line {getattr(node, 'lineno', 0)}: {text}")

    def position(self, line: int, column: int) -> int:
        """Where in the source a place of the syntax tree is."""
        text = self._lines[line - 1]
        before = text.encode()[:column].decode()
        mark = 3 if line == 1 and self.source.startswith(b"\xef\xbb\xbf") else 0
        if mark and text.startswith("\ufeff"):  # the parser has not counted it
            before = "\ufeff" + text[1:].encode()[:column].decode()
        return self._offsets[line - 1] + len(before.encode(self._encoding))

    def span(self, node: ast.expr | ast.stmt | ast.alias) -> tuple[int, int]:
        """Where a node begins and ends."""
        start = self.position(node.lineno, node.col_offset)
        end = self.position(node.end_lineno or node.lineno, node.end_col_offset or 0)
        return start, end

    # -- statements ----------------------------------------------------------------------------

    def _replace_import(self, node: ast.Import) -> dict[str, str]:
        bound = {}
        for alias in node.names:
            target = self._target(node, alias.name)
            if target is None:
                continue
            start, _ = self.span(alias)
            self._edit(start, alias.name, target)
            if alias.asname is None:
                bound[alias.name] = target
        return bound

    def _replace_import_from(self, node: ast.ImportFrom, module: str) -> None:
        start, end = self.span(node)
        if module == _SERVER:
            self._replace_import_of_modules(node, start, end)
            return
        if module == "flup" and any(alias.name == "server" for alias in node.names):
            self.note(node, "import the server's module itself; this is left as it is")
        target = self._target(node, module)
        match = _FROM.match(self.source, start)
        if target is not None and match is not None:
            self.edits.append(Edit(match.start(1), match.end(1), target.encode()))

    def _replace_import_of_modules(self, node: ast.ImportFrom, start: int, end: int) -> None:
        """``from flup.server import fcgi, scgi_fork as fork``."""
        packages: dict[str, list[str]] = {}
        for alias in node.names:
            if alias.name == "NoDefault":
                package, name = _NO_DEFAULT, alias.name
            else:
                target = self._target(node, f"{_SERVER}.{alias.name}")
                if target is None:
                    return  # and it has been said why
                package, _, name = target.rpartition(".")
            as_name = "" if alias.asname is None else f" as {alias.asname}"
            packages.setdefault(package, []).append(name + as_name)
        match = _FROM.match(self.source, start)
        if len(packages) == 1 and match is not None:
            self.edits.append(Edit(match.start(1), match.end(1), next(iter(packages)).encode()))
            return
        statements = [f"from {key} import {', '.join(names)}" for key, names in packages.items()]
        self.edits.append(Edit(start, end, "; ".join(statements).encode()))

    def _target(self, node: ast.stmt, name: str) -> str | None:
        """What stands in for a module; None if it is to stay."""
        if name.startswith(f"{_SERVER}."):
            target = MODULES.get(name.removeprefix(f"{_SERVER}."))
            if target is None:
                self.note(node, explain(name))
            return target
        if name == "flup" or name.startswith("flup."):
            self.note(node, f"{name} stays what it is: it needs flup, if it is used")
        return None

    def _replace_uses(self, bound: Mapping[str, str]) -> None:
        """The dotted names that ``import flup.server.fcgi`` has bound."""
        if not bound:
            return
        replaced: set[int] = set()
        for node in ast.walk(self.tree):
            name = dotted(node)
            if isinstance(node, ast.Attribute) and name in bound:
                start, _ = self.span(node)
                self._edit(start, name, bound[name])
                replaced |= {id(part) for part in ast.walk(node)}
            elif name == "flup" and id(node) not in replaced:
                self.note(node, "the name flup is used for more than a server's module")

    def _edit(self, start: int, old: str, new: str) -> None:
        """Replace a dotted name, which may have blanks in it."""
        pattern = rb"\s*\.\s*".join(map(re.escape, old.encode().split(b".")))
        match = re.compile(pattern).match(self.source, start)
        if match is not None:
            self.edits.append(Edit(match.start(), match.end(), new.encode()))

    def _mention_text(self, node: ast.Constant, value: str) -> None:
        if re.fullmatch(r"flup(\.\w*)*", value):
            self.note(node, f"{value!r} is a text; put the module's new name there by hand")


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of such an expression, else ""."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def imports_of(tree: ast.Module) -> Iterator[tuple[str, str, ast.stmt]]:
    """(name that is bound, what it is, the statement) of every import, ``__future__`` aside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                yield bound, alias.name if alias.asname else bound, node
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module != "__future__":
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}", node
