"""gateways behind lighttpd, booted on the files of contrib/lighttpd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Site
from .flaskapp import BIG, digest, pattern
from .flasksuite import FlaskSuite, events_arrive_one_by_one
from .frontends import backend_of, lighttpd
from .harness import gateway, gateway_on_tcp, has_ended, wait_until
from .scripts import STRIPPED


@contextlib.contextmanager
def script_at_the_root(place: Path, scripts: Path) -> Iterator[Site]:
    """lighttpd starts the script; fix-root-scriptname keeps its name out of the paths."""
    with lighttpd(place, "root.conf", SCRIPTS=scripts, SOCKET=place / "app.sock") as site:
        yield site


@contextlib.contextmanager
def prefix_on_tcp(place: Path, scripts: Path) -> Iterator[Site]:
    """A server that runs already, mounted at a prefix."""
    prefix = "/yourapplication"
    with (
        gateway_on_tcp(place) as (_, port),
        lighttpd(
            place, "fcgi.conf", BACKEND=backend_of("lighttpd", "fcgi", port), prefix=prefix
        ) as site,
    ):
        yield site


@pytest.fixture(
    scope="module",
    params=[script_at_the_root, prefix_on_tcp],
    ids=lambda deployment: deployment.__name__,
)
def site(request: pytest.FixtureRequest, directory: Path, scripts: Path) -> Iterator[Site]:
    place = directory / request.param.__name__
    place.mkdir()
    place.chmod(0o777)  # lighttpd makes the script's socket after it has dropped root
    with request.param(place, scripts) as running:
        yield running


class TestFlask(FlaskSuite):
    """The whole suite."""


def test_lighttpd_starts_one_process_and_ends_it(own_directory: Path, scripts: Path) -> None:
    own_directory.chmod(0o777)
    socket = own_directory / "app.sock"
    with lighttpd(own_directory, "root.conf", SCRIPTS=scripts, SOCKET=socket) as site:
        pids = {site.get("/pid").text for _ in range(5)}
        assert len(pids) == 1
    (pid,) = pids
    wait_until(lambda: has_ended(int(pid)), "the script has ended with lighttpd")


def test_a_rewritten_script_keeps_its_script_name(own_directory: Path, scripts: Path) -> None:
    own_directory.chmod(0o777)
    socket = own_directory / "app.sock"
    with lighttpd(own_directory, "script.conf", SCRIPTS=scripts, SOCKET=socket) as site:
        variables = site.get("/environ").json()
        assert variables["SCRIPT_NAME"] == "/yourapplication.fcgi"
        assert variables["PATH_INFO"] == "/environ"
        assert variables["REQUEST_URI"] == "/environ"
        assert site.get("/greet/J%C3%BCrgen").text == "Hello Jürgen"
        (site.directory / "static" / "style.css").write_text("body {}")
        assert site.get("/static/style.css").text == "body {}"


@pytest.mark.parametrize("stripped_by", STRIPPED)
def test_a_rewritten_script_can_keep_its_name_out_of_the_urls(
    own_directory: Path, scripts: Path, stripped_by: str
) -> None:
    own_directory.chmod(0o777)
    socket = own_directory / "app.sock"
    where = scripts / stripped_by
    with lighttpd(own_directory, "script.conf", SCRIPTS=where, SOCKET=socket) as site:
        variables = site.get("/environ").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == ("", "/environ")
        assert site.get("/redirect").headers["Location"] == "/greet/Zo%C3%AB"


def test_a_running_server_on_a_socket_streams_both_ways(own_directory: Path) -> None:
    with (
        gateway(own_directory) as (_, path),
        lighttpd(own_directory, "socket.conf", SOCKET=path) as site,
    ):
        variables = site.get("/environ/x").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == ("", "/environ/x")
        events_arrive_one_by_one(site)
        headers = {"Content-Length": str(BIG)}
        answer = site.request("POST", "/upload", pattern(BIG), headers)
        assert answer.json() == {"sha256": digest(BIG), "length": BIG}


@pytest.fixture(scope="module")
def guarded(directory: Path) -> Iterator[Site]:
    """An authorizer before /private."""
    place = directory / "guarded"
    place.mkdir()
    with (
        gateway(place, "--role", "authorizer", app="gate:application", name="gate") as (_, gate),
        gateway(place) as (_, path),
        lighttpd(place, "authorizer.conf", AUTHORIZER=gate, SOCKET=path) as site,
    ):
        yield site


class TestAnAuthorizer:
    """lighttpd asks about /private, and about nothing else."""

    def test_the_denial_is_the_complete_answer(self, guarded: Site) -> None:
        answer = guarded.get("/private/environ")
        assert (answer.status, answer.text) == (403, "Open, barley!")
        assert answer.headers["X-Gate"] == "shut"
        assert answer.headers["Set-Cookie"] == "tried=1"

    def test_variables_of_the_permission_reach_the_application(self, guarded: Site) -> None:
        variables = guarded.get("/private/environ", X_Word="sesame").json()
        assert variables["PATH_INFO"] == "/private/environ"
        assert variables["VISITOR"] == "Ali"
        assert variables["CAVE"] == "open"

    def test_a_permission_may_add_nothing(self, guarded: Site) -> None:
        answer = guarded.get("/private/environ", X_Word="nothing to add")
        assert answer.status == 200
        assert "VISITOR" not in answer.json()

    def test_other_paths_are_not_asked_about(self, guarded: Site) -> None:
        variables = guarded.get("/environ").json()
        assert variables["PATH_INFO"] == "/environ"
        assert "VISITOR" not in variables
