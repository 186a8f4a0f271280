"""The plain files of a compiled build, as a package of their own: ``gateways_pure``.

Its sources are those of ``gateways``, but that they import each other under that name.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import gateways

_ROOT = Path(gateways.__file__).parent
_NAME = "gateways_pure"


class _Renamed(ast.NodeTransformer):
    """``from gateways.x import y`` becomes ``from gateways_pure.x import y``."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        """The only form in which the package imports its own modules."""
        first, dot, rest = (node.module or "").partition(".")
        if first == "gateways":
            node.module = _NAME + dot + rest
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, **_: Any) -> Any:  # type: ignore[override]
        """Compile it, renamed."""
        return compile(_Renamed().visit(ast.parse(data)), path, "exec", dont_inherit=True)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Keep no bytecode: it would be taken for that of ``gateways``."""

    def path_stats(self, path: str) -> Any:
        """Nor use any."""
        raise OSError


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for what is ours."""
        first, *rest = name.split(".")
        if first != _NAME:
            return None
        file = _ROOT.joinpath(*rest)
        is_package = file.is_dir()
        file = file / "__init__.py" if is_package else file.with_suffix(".py")
        return importlib.util.spec_from_file_location(
            name,
            file,
            loader=_Loader(name, str(file)),
            submodule_search_locations=[str(file.parent)] if is_package else None,
        )


def pure(name: str) -> Any:
    """The module ``gateways.{name}`` as it runs without a compiler."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return importlib.import_module(f"{_NAME}.{name}")


def built(name: str) -> Any:
    """The module as it is installed."""
    return importlib.import_module(f"gateways.{name}")
