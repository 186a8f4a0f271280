"""What makes ``import flup.server.fcgi`` find ours, whether flup is installed or not.

A finder before all others answers for ``flup.server`` and what is below it. The rest of flup is
left to an installed one; where there is none, the error says what to do.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from gateways.scgi import NoDefault
from gateways.version import __version__

_SERVER = "flup.server"
# Modules of flup.server, and where ours are.
TARGETS = {
    "fcgi": "gateways.flup.fcgi",
    "fcgi_base": "gateways.flup.fcgi",
    "fcgi_fork": "gateways.flup.fcgi_fork",
    "fcgi_single": "gateways.flup.fcgi_single",
    "scgi": "gateways.flup.scgi",
    "scgi_base": "gateways.flup.scgi",
    "scgi_fork": "gateways.flup.scgi_fork",
    "cgi": "gateways.flup.cgi",
    "paste_factory": "gateways.flup.paste_factory",
}
NO_AJP = (
    "gateways does not speak AJP. Have the web server speak FastCGI (Apache: ProxyPass / "
    "fcgi://localhost:9000/ instead of ajp://localhost:8009/), and the script import "
    "flup.server.fcgi in place of {name}"
)
_REMEDIES = {
    "flup.client": "gateways.client.WSGIApplication forwards to FastCGI and SCGI servers",
    "flup.middleware": "its middleware is in flup 1.0.2 and before, for Python 2; frameworks and "
    "packages of today (werkzeug, beaker) have what it did",
}


def install() -> None:
    """Stand in for flup in this process; modules of its servers that are loaded are put aside."""
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{_SERVER}.")]:
        del sys.modules[name]
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


def explain(name: str) -> str:
    """Why a module of flup is not there, and what to do."""
    module = name.removeprefix(f"{_SERVER}.")
    if module.startswith("ajp"):
        return NO_AJP.format(name=name)
    if name.startswith(f"{_SERVER}."):
        return (
            f"gateways stands in for flup's servers, and has nothing for {name}, which is a part "
            f"of their insides; there are {', '.join(TARGETS)}"
        )
    remedy = next((text for part, text in _REMEDIES.items() if name.startswith(part)), "")
    known = f"; {remedy}" if remedy else ""
    return f"gateways stands in for flup.server alone; {name} needs flup to be installed{known}"


def _missing(name: str) -> ImportError:
    """Of ModuleNotFoundError ``from flup.server import ajp`` would make another text."""
    return ImportError(explain(name), name=name)


class Finder:
    """A finder and loader of ``flup``, as far as that is ours to answer for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of one of ours; None leaves it to others."""
        if name == _SERVER or (name.startswith(f"{_SERVER}.") and name[12:] in TARGETS):
            return self._spec(name, is_package=name == _SERVER)
        if name.startswith(f"{_SERVER}."):
            raise _missing(name)
        if name != "flup" and not name.startswith("flup."):
            return None
        if self._others_find(name, path):
            return None
        if name == "flup":
            return self._spec(name, is_package=True)
        raise _missing(name)

    def _spec(self, name: str, *, is_package: bool) -> ModuleSpec:
        # No Loader of importlib.abc, which would import tempfile and more.
        loader: Any = self
        return ModuleSpec(name, loader, origin="gateways", is_package=is_package)

    def _others_find(self, name: str, path: Sequence[str] | None) -> bool:
        finders = [finder for finder in sys.meta_path if finder is not self]
        return any(
            finder.find_spec(name, path) for finder in finders if hasattr(finder, "find_spec")
        )

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """An empty one."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put ours in its place; or, of a package, fill it."""
        name = module.__name__
        ours = TARGETS.get(name.removeprefix(f"{_SERVER}."))
        if ours is not None and name != _SERVER:
            sys.modules[name] = importlib.import_module(ours)
        elif name == _SERVER:
            module.__dict__.update(NoDefault=NoDefault, __version__=__version__)
