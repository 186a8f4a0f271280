"""gateways behind Caddy, booted on the files of contrib/caddy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Site
from .flasksuite import FlaskSuite, events_arrive_one_by_one
from .frontends import backend_of, caddy
from .harness import gateway, gateway_on_tcp

PREFIX = "/yourapplication"


@pytest.fixture(scope="module")
def at_the_root(directory: Path) -> Iterator[Site]:
    """FastCGI on a Unix socket."""
    place = directory / "root"
    place.mkdir()
    with (
        gateway(place, "--script-name", "") as (_, path),
        caddy(place, "fcgi.caddy", BACKEND=backend_of("caddy", "fcgi", path)) as site,
    ):
        yield site


@pytest.fixture(scope="module")
def over_http(directory: Path) -> Iterator[Site]:
    """HTTP on TCP, at a prefix."""
    place = directory / "http"
    place.mkdir()
    with (
        gateway_on_tcp(place, "--script-name", PREFIX, protocol="http") as (_, port),
        caddy(
            place, "http.caddy", prefix=PREFIX, BACKEND=backend_of("caddy", "http", port)
        ) as site,
    ):
        yield site


class TestFlaskOverFastCGI(FlaskSuite):
    """The whole suite."""

    @pytest.fixture
    def site(self, at_the_root: Site) -> Site:
        return at_the_root

    def test_a_traceback_is_in_the_web_servers_error_log(self, site: Site) -> None:
        # Debian's 2.6.2 has `capture_stderr`, and drops what it captures (caddy#5515).
        assert site.get("/raise").status == 500
        assert "RuntimeError" not in site.error_log
        log = (site.directory.parent / "app.log").read_text()
        assert "RuntimeError: the application fell over" in log


class TestFlaskOverHTTP(FlaskSuite):
    """The whole suite."""

    @pytest.fixture
    def site(self, over_http: Site) -> Site:
        return over_http

    def test_a_traceback_is_in_the_web_servers_error_log(self, site: Site) -> None:
        # HTTP has no way there; it is in our own log.
        assert site.get("/raise").status == 500
        (log,) = site.directory.parent.glob("app*.log")
        assert "RuntimeError: the application fell over" in log.read_text()


def test_a_prefix_and_static_files(own_directory: Path) -> None:
    static = own_directory / "files"
    static.mkdir()
    (static / "style.css").write_text("body {}")
    with (
        gateway_on_tcp(own_directory, "--script-name", PREFIX) as (_, port),
        caddy(
            own_directory,
            "fcgi.caddy",
            prefix=PREFIX,
            BACKEND=backend_of("caddy", "fcgi", port),
            STATIC=static,
        ) as site,
    ):
        variables = site.get("/environ/a%20b?q=1").json()
        assert variables["SCRIPT_NAME"] == PREFIX
        assert variables["PATH_INFO"] == "/environ/a b"
        assert site.get("/").text == "Hello from Flask"
        assert site.get("").headers["Location"].endswith(f"{PREFIX}/")
        assert site.get("/static/style.css").text == "body {}"
        with site.connection() as connection:
            connection.request("GET", f"{PREFIX}x/environ")
            assert connection.getresponse().read() == b"", "another one's path"


def test_every_piece_is_sent_on_at_once(at_the_root: Site) -> None:
    events_arrive_one_by_one(at_the_root, unbuffered=False, mimetype="text/plain")


def test_a_client_cannot_say_who_it_is(over_http: Site) -> None:
    """Caddy sets or removes whatever a trusted proxy is believed."""
    forged = {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=10.0.0.1;proto=https;host=evil.test",
    }
    variables = over_http.request("GET", "/environ", headers=forged).json()
    assert variables["REMOTE_ADDR"] == "127.0.0.1"
    assert variables["wsgi.url_scheme"] == "http"
    assert variables["HTTP_HOST"] == f"127.0.0.1:{over_http.port}"
    assert variables["SERVER_PORT"] == str(over_http.port)
    assert variables["SCRIPT_NAME"] == PREFIX
