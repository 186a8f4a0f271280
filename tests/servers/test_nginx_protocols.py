"""The other protocols behind nginx: uwsgi_pass, scgi_pass and proxy_pass, the same promises."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Site
from .flasksuite import BigBodies, FlaskSuite
from .frontends import nginx
from .harness import gateway, gateway_on_tcp

MATRIX = [*itertools.product(["uwsgi", "scgi", "http"], ["unix", "tcp"]), ("http", "gevent")]
GEVENT = ("-k", "gevent", "--threads", "100")


def _name(case: tuple[str, str]) -> str:
    return "-".join(case)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, directory: Path) -> Iterator[Site]:
    protocol, transport = request.param
    where = directory / _name(request.param)
    where.mkdir()
    if transport != "tcp":
        options = GEVENT if transport == "gevent" else ()
        with gateway(where, *options, protocol=protocol) as (_, path):
            with nginx(where, f"{protocol}.conf", BACKEND=f"unix:{path}") as running:
                yield running
    else:
        with gateway_on_tcp(where, protocol=protocol) as (_, port):
            with nginx(where, f"{protocol}.conf", BACKEND=f"127.0.0.1:{port}") as running:
                yield running


@pytest.mark.parametrize("site", MATRIX, ids=_name, indirect=True, scope="module")
class TestFlask(FlaskSuite):
    """The whole suite, over Unix sockets and TCP, and by greenlets."""

    def test_a_traceback_is_in_the_web_servers_error_log(self, site: Site) -> None:
        # These protocols have no way there; it is in our own log.
        assert site.get("/raise").status == 500
        (log,) = (site.directory.parent).glob("app*.log")
        assert "RuntimeError: the application fell over" in log.read_text()


@pytest.mark.parametrize("site", MATRIX, ids=_name, indirect=True, scope="module")
class TestBigBodies(BigBodies):
    """100 MB each way."""


def test_uwsgi_at_a_prefix(own_directory: Path) -> None:
    with (
        gateway(own_directory, protocol="uwsgi") as (_, path),
        nginx(
            own_directory, "uwsgi-prefix.conf", prefix="/yourapplication", BACKEND=f"unix:{path}"
        ) as site,
    ):
        variables = site.get("/environ/a%20b").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == (
            "/yourapplication",
            "/environ/a b",
        )
        assert site.get("").text == "Hello from Flask"


def test_what_gunicorn_loses_of_uwsgi_arrives(own_directory: Path) -> None:
    with (
        gateway(own_directory, protocol="uwsgi") as (_, path),
        nginx(own_directory, "uwsgi.conf", BACKEND=f"unix:{path}") as site,
    ):
        variables = site.get("/environ/a%2520b?q", Authorization="Basic dTpw").json()
        assert variables["PATH_INFO"] == "/environ/a%20b"  # decoded once
        assert variables["REQUEST_URI"] == "/environ/a%2520b?q"
        assert variables["REMOTE_ADDR"] == "127.0.0.1"
        assert variables["REMOTE_PORT"].isdigit()
        assert variables["DOCUMENT_ROOT"]
