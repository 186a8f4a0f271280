"""The command that does what a script's call of a flup server does, as far as its text tells."""

from __future__ import annotations

import ast
import importlib
import inspect
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from gateways.cli.migration import MODULES, Script, dotted, imports_of
from gateways.flup.standin import TARGETS

_SOCKET_MODE = 0o777
_SUFFIXES = (".py", ".wsgi", ".fcgi")
_UNKNOWN = object()


def equivalent_commands(script: Script) -> list[str]:
    """A command for each server that the script makes; what cannot be told is in its notes."""
    names = {bound: what for bound, what, _ in imports_of(script.tree)}
    commands = []
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call):
            module = _module_called(dotted(node.func), names)
            if module:
                commands.append(_Call(script, module, node, names).command())
    return commands


def _module_called(name: str, names: Mapping[str, str]) -> str:
    """The module of flup whose server is called by ``name``, or ""."""
    first, dot, rest = name.partition(".")
    full = f"{names.get(first, first)}{dot}{rest}"
    module, _, attribute = full.removeprefix("flup.server.").rpartition(".")
    known = full.startswith("flup.server.") and module in TARGETS and module != "paste_factory"
    return module if known and attribute == "WSGIServer" else ""


class _Call:
    """One call of a server."""

    def __init__(
        self, script: Script, module: str, node: ast.Call, names: Mapping[str, str]
    ) -> None:
        self._script = script
        self._module = module
        self._node = node
        self._names = names
        self._options: list[str] = []
        self._arguments = self._bind()

    def _bind(self) -> dict[str, ast.expr]:
        """The arguments by name, further keywords among them."""
        if self._module == "cgi":
            signature: inspect.Signature = inspect.signature(lambda application: None)
        else:
            base = self._module.removesuffix("_base")
            imported = importlib.import_module(MODULES[base])
            signature = inspect.signature(imported.WSGIServer.__init__)
        names = [name for name in signature.parameters if name not in ("self", "kw")]
        found = dict(zip(names, self._node.args, strict=False))
        for keyword in self._node.keywords:
            if keyword.arg is not None:
                found[keyword.arg] = keyword.value
            elif isinstance(keyword.value, ast.Dict):
                for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                    if isinstance(key, ast.Constant):
                        found[str(key.value)] = value
            else:
                self._script.note(self._node, "its keywords (**) are known only when it runs")
        return found

    def _value(self, name: str, default: Any = None) -> Any:
        """The value of an argument that is written down; ``_UNKNOWN`` for one that is computed."""
        node = self._arguments.get(name)
        if node is None or dotted(node).endswith("NoDefault"):
            return default
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            return _UNKNOWN

    def command(self) -> str:
        """The command, as for a shell."""
        protocol = "scgi" if self._module.startswith("scgi") else "fcgi"
        forks = self._module.endswith("_fork")
        if self._module == "cgi" or self._value("forceCGI") is True:
            return shlex.join(["gateways", "cgi", *self._paths(), self._application()])
        self._bind_options()
        single = self._value("multithreaded", True) is False or self._module == "fcgi_single"
        if forks:
            least, spare = self._number("minSpare", 1), self._number("maxSpare", 5)
            most = max(self._number("maxChildren", 50), spare)
            self._options += ["--workers", f"{least}:{most}" if least != most else str(most)]
        if forks or single:
            self._options += ["--threads", "1"]
        elif "maxThreads" in self._arguments:
            self._options += ["--threads", str(self._number("maxThreads", 4))]
        self._add("maxRequests", lambda value: ["--max-requests", str(value)] if value else [])
        self._add("timeout", lambda value: ["--timeout", f"{value:g}"] if value else [])
        self._add("debug", lambda value: ["--debug"] if value else [])
        self._add("scriptName", lambda value: ["--script-name", value.rstrip("/")] if value else [])
        self._add("allowedServers", self._allow)
        if self._value("environ"):
            self._script.note(self._node, "environ has no option; wrap the application to add it")
        words = ["gateways", protocol, *self._options, *self._paths(), self._application()]
        return " ".join(word if word == "ADDRESS" else shlex.quote(word) for word in words)

    def _bind_options(self) -> None:
        scgi = self._module.startswith("scgi")
        address = self._value("bindAddress", ("localhost", 4000) if scgi else None)
        if isinstance(address, tuple) and len(address) >= 2:
            host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
            self._options += ["--bind", f"{host}:{address[1]}"]
        elif isinstance(address, str):
            umask = self._value("umask")
            mode = f"?mode={_SOCKET_MODE & ~umask:o}" if isinstance(umask, int) else ""
            self._options += ["--bind", f"unix:{address}{mode}"]
        elif address is _UNKNOWN:
            self._options += ["--bind", "ADDRESS"]
            self._script.note(self._node, "bindAddress is known only when it runs: ADDRESS")

    def _add(self, name: str, words: Callable[[Any], list[str]]) -> None:
        value = self._value(name)
        if value is _UNKNOWN:
            self._script.note(self._node, f"{name} is known only when it runs")
        elif value is not None:
            self._options += words(value)

    def _number(self, name: str, default: int) -> int:
        value = self._value(name, default)
        if isinstance(value, int):
            return value
        self._script.note(self._node, f"{name} is known only when it runs; {default} is assumed")
        return default

    def _allow(self, value: Any) -> list[str]:
        servers = value.split(",") if isinstance(value, str) else value
        return [word for server in servers for word in ("--allow", server.strip())]

    def _paths(self) -> list[str]:
        """What the script puts in front of sys.path and into the environment."""
        words = []
        for node in ast.walk(self._script.tree):
            call = isinstance(node, ast.Call) and dotted(node.func)
            if isinstance(node, ast.Call) and call in ("sys.path.insert", "sys.path.append"):
                path = node.args[-1] if node.args else None
                if isinstance(path, ast.Constant) and isinstance(path.value, str):
                    words += ["--pythonpath", path.value]
                else:
                    self._script.note(node, "a --pythonpath that is known only when it runs")
        return words

    def _application(self) -> str:
        """How the command names the application."""
        node = self._arguments.get("application")
        call = ""
        if isinstance(node, ast.Call) and not node.args and not node.keywords:
            node, call = node.func, "()"
        name = dotted(node) if node is not None else ""
        first, _, rest = name.partition(".")
        what = self._names.get(first)
        path = self._script.name
        if what is None and first in _names_of_module(self._script.tree):
            if not path.endswith(_SUFFIXES):
                self._script.note(
                    self._node, f"copy {path} to a name that ends in {' or '.join(_SUFFIXES)}"
                )
            return f"{path}:{name}{call}"
        if what is not None:
            module, _, attribute = f"{what}.{rest}".rstrip(".").rpartition(".")
            if module:
                return f"{module}:{attribute}{call}"
        self._script.note(
            self._node, "give the application a name (app = …), by which the command finds it"
        )
        return f"{path}:NAME"


def _names_of_module(tree: ast.Module) -> set[str]:
    """What an importer of the module finds in it, imports aside."""
    found = set()
    pending: list[ast.AST] = [*tree.body]
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif not isinstance(node, (ast.AsyncFunctionDef, ast.Lambda, ast.comprehension)):
            pending += ast.iter_child_nodes(node)
    return found
