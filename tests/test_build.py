"""The build: what is compiled is listed once, and all of it is compiled or none."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path

import pytest

import gateways
from gateways.cli import templates
from gateways.cli.config import FRONT_ENDS
from gateways.cli.group import describe_version

PACKAGE = Path(gateways.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[1]
_BUILD = runpy.run_path(str(REPOSITORY / "setup.py"))
COMPILED: list[str] = _BUILD["COMPILED"]
TEMPLATES: list[str] = _BUILD["TEMPLATES"]


def test_every_pxd_is_in_the_build_and_every_module_of_it_has_one() -> None:
    found = {
        ".".join(["gateways", *path.relative_to(PACKAGE).with_suffix("").parts])
        for path in PACKAGE.rglob("*.pxd")
    }
    # These stand in for single calls in those that are compiled; nothing of them is C by itself.
    stand_ins = {"core.slot", "protocols.framing", "protocols.room"}
    assert found - {f"gateways.{name}" for name in stand_ins} == set(COMPILED)


def test_the_list_is_in_order() -> None:
    assert sorted(set(COMPILED)) == COMPILED


@pytest.mark.parametrize("name", COMPILED)
def test_a_module_is_compiled_in_a_compiled_build(name: str) -> None:
    file = importlib.import_module(name).__file__ or ""
    assert file.endswith(".so" if "(compiled, " in describe_version() else ".py")


def test_the_source_lies_beside_what_is_compiled() -> None:
    """Tracebacks show it, and the parity test runs it."""
    for name in COMPILED:
        assert PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py").is_file()


def test_there_are_templates_for_whatever_they_can_be_asked_for() -> None:
    assert sorted(FRONT_ENDS) == TEMPLATES


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_templates_of_this_installation_are_the_files_of_contrib(name: str) -> None:
    """All of them, and nothing else, whether they lie in the package or beside it."""

    def files(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / name).iterdir()}

    assert files(Path(templates.folder())) == files(REPOSITORY / "contrib")
