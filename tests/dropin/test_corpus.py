"""Unmodified scripts of flup's users: by flup, by the stand-in and migrated, with equal answers."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateways.cli.migration import Script
from tests.servers.harness import wait_until

from .serving import CASES, PYTHON, RUN, SCRIPTS, Answer, Case, Place, left_of, serving


def ask(place: Place, command: Sequence[str], case: Case, name: str = "") -> list[Answer]:
    """The answers of a script that is run by ``command``; a stand-in ends well."""
    text = (SCRIPTS / case.name).read_text()
    words = [place.fill(word) for word in case.words]
    address = place.address(text + " ".join(case.words))
    script = place.folder / name if name else place.script(case.name)
    whole = [*command, str(script), *words]
    with serving(place, whole, case.protocol, address) as served:
        answers = served.answers()
        if command == PYTHON and not name:
            return answers  # how flup ends is flup's affair: some of it does not
        assert served.stop() == 0, served.log
        wait_until(lambda: not left_of(served), "its processes have ended")
        failed = [answer for answer in answers if answer.status in ("500", "503")]
        assert ("Traceback (most recent call last)" in served.log) == bool(failed)
        return answers


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_script_is_served_as_flup_serves_it(tmp_path: Path, case: Case) -> None:
    place = Place(tmp_path)
    case.prepare(tmp_path)
    ours = ask(place, RUN, case)
    assert tuple(answer.status for answer in ours[:3]) == case.statuses
    assert b"greet/you" in ours[0].body or b"Hello" in ours[0].body
    if case.by_flup:
        assert ours == ask(place, PYTHON, case)
    if case.migrates:
        migrated = ask(place, PYTHON, case, migrate(place, case.name))
        if case.name != "old_style.fcgi":  # gateways.fcgi wants what PEP 3333 does, and says so
            assert migrated == ours


def migrate(place: Place, name: str) -> str:
    """The name of a script with the imports replaced, and nothing else."""
    source = (place.folder / name).read_bytes()
    script = Script(name, source)
    migrated = script.migrate()
    assert script.notes == []
    pairs = zip(source.splitlines(), migrated.splitlines(), strict=True)
    different = [(old, new) for old, new in pairs if old != new]
    assert different
    assert all(b"flup.server" in old and b"gateways" in new for old, new in different)
    (place.folder / f"new-{name}").write_bytes(migrated)
    return f"new-{name}"


def test_flup_is_here_to_compare_with() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import flup.server.fcgi_fork

    assert "site-packages" in flup.server.fcgi_fork.__file__


def test_sighup_ends_a_script_with_its_own_status(tmp_path: Path) -> None:
    """``sys.exit(ret and 42 or 0)``: who started it is to start it again."""
    place = Place(tmp_path)
    with serving(place, [*RUN, place.script("socket.fcgi")], "fcgi", place.socket) as served:
        assert served.ask("/").status == 200
        assert served.stop(signal.SIGHUP) == 42
