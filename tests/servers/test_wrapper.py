"""mod_fcgid and lighttpd that start the command, by the wrapper of contrib/launchers."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import pytest

from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_KEEP_CONN,
    FCGI_PARAMS,
    FCGI_RESPONDER,
    FCGI_STDIN,
    pack_record,
)
from gateways.protocols.variables import encode_pairs

from .frontends import MANAGERS, Manager, bin_path, mod_fcgid
from .harness import CONTRIB, SOON_SECONDS, children_of, connect, fill, has_ended, wait_until
from .launching import asking_all_the_time
from .scripts import write_script

managers = pytest.mark.parametrize("manager", MANAGERS, ids=lambda f: f.__name__)


def wrapped(scripts: Path, where: Path, options: str = "") -> Path:
    """A directory with the wrapper alone, under the name that the configurations have."""
    python = (scripts / "yourapplication.fcgi").read_text().partition("\n")[0].removeprefix("#!")
    text = fill(
        CONTRIB / "launchers" / "wrapper.fcgi",
        DIRECTORY=scripts,
        GATEWAYS=f"{python} -m gateways",
        APPLICATION=f"{options} yourapplication:app",
    )
    where.mkdir()
    write_script(where / "yourapplication.fcgi", text)
    return where


def _sockets(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_socket() and "cgisock" not in path.name]


def _kept_connection(path: Path) -> contextlib.closing[socket.socket]:
    """A connection that was used once and is kept open, idle, by both sides."""
    connection = connect(str(path))
    variables = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/pid"}
    connection.sendall(
        pack_record(FCGI_BEGIN_REQUEST, 1, BEGIN_REQUEST.pack(FCGI_RESPONDER, FCGI_KEEP_CONN))
        + pack_record(FCGI_PARAMS, 1, encode_pairs(variables.items()))
        + pack_record(FCGI_PARAMS, 1)
        + pack_record(FCGI_STDIN, 1)
    )
    assert b"200 OK" in connection.recv(65536)
    return contextlib.closing(connection)


@managers
def test_the_command_is_one_process(own_directory: Path, scripts: Path, manager: Manager) -> None:
    """It serves in the process that was started, and forks nothing."""
    where = wrapped(scripts, own_directory / "wrapper")
    with manager(own_directory, where) as site:
        pid = int(site.get("/pid").text)
        assert "gateways" in Path(f"/proc/{pid}/cmdline").read_text()
        assert not children_of(pid)
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        assert os.readlink(f"/proc/{parent}/exe").startswith("/usr/sbin/")
        variables = site.get("/environ/x").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == ("", "/environ/x")
        assert variables["wsgi.multiprocess"] is True


@managers
def test_it_ends_within_three_seconds_with_a_connection_open(
    own_directory: Path, scripts: Path, manager: Manager
) -> None:
    where = wrapped(scripts, own_directory / "wrapper")
    with contextlib.ExitStack() as connections:
        with manager(own_directory, where) as site:
            pid = int(site.get("/pid").text)
            for path in _sockets(own_directory):
                connections.enter_context(_kept_connection(path))
            begun = time.monotonic()
        wait_until(lambda: has_ended(pid), "the process has ended")
        assert time.monotonic() - begun < SOON_SECONDS
    log = (
        own_directory / ("apache" if manager is mod_fcgid else "lighttpd") / "error.log"
    ).read_text()
    assert "SIGKILL" not in log
    assert "Traceback" not in log


@managers
@pytest.mark.parametrize("workers", ["", "--workers 2"], ids=["one", "two"])
def test_a_process_that_has_had_its_requests_is_replaced_and_none_is_lost(
    own_directory: Path, scripts: Path, manager: Manager, workers: str
) -> None:
    where = wrapped(scripts, own_directory / "wrapper", f"--max-requests 40 {workers}")
    with manager(own_directory, where) as site:

        def ask() -> str:
            answer = site.get("/image")
            assert answer.status == 200
            return answer.text

        with asking_all_the_time(ask, 4) as answers:
            wait_until(lambda: len(set(answers)) > 5, "some have had their requests")
        if manager is bin_path and not workers:
            assert len({answer.split()[0] for answer in answers}) == 1, "the process stays"
