"""gateways behind Apache httpd, booted on the files of contrib/apache."""

from __future__ import annotations

import contextlib
import shutil
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Site
from .flasksuite import FlaskSuite
from .frontends import apache, backend_of, mod_fcgid
from .harness import CONTRIB, gateway, gateway_on_tcp, has_ended, wait_until
from .scripts import STRIPPED


@contextlib.contextmanager
def mod_proxy_fcgi_unix(place: Path, scripts: Path) -> Iterator[Site]:
    """A server that runs already, at the root."""
    with (
        gateway(place, "--script-name", "") as (_, path),
        apache(place, "proxy-fcgi-unix.conf", BACKEND=backend_of("apache", "fcgi", path)) as site,
    ):
        yield site


@contextlib.contextmanager
def mod_proxy_fcgi_tcp(place: Path, scripts: Path) -> Iterator[Site]:
    """A server that runs already, at a prefix, over kept connections."""
    prefix = "/yourapplication"
    with (
        gateway_on_tcp(place, "--script-name", prefix) as (_, port),
        apache(
            place,
            "proxy-fcgi-tcp.conf",
            BACKEND=backend_of("apache", "fcgi", port),
            prefix=prefix,
        ) as site,
    ):
        yield site


@pytest.fixture(
    scope="module",
    params=[mod_fcgid, mod_proxy_fcgi_unix, mod_proxy_fcgi_tcp],
    ids=lambda deployment: deployment.__name__,
)
def site(request: pytest.FixtureRequest, directory: Path, scripts: Path) -> Iterator[Site]:
    place = directory / request.param.__name__
    place.mkdir()
    with request.param(place, scripts) as running:
        yield running


class TestFlask(FlaskSuite):
    """The whole suite, as each module of Apache has it."""

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_the_length_of_a_small_answer_is_known(self, site: Site, method: str) -> None:
        length = site.request(method, "/").headers["Content-Length"]
        # mod_proxy_fcgi drops the header, and sends in chunks.
        assert length == ("16" if "fcgid" in str(site.directory) else None)

    def test_an_encoded_slash_is_a_slash_in_the_path_and_encoded_in_the_uri(
        self, site: Site
    ) -> None:
        assert site.get("/files/a%2Fb/c").status == 404, "AllowEncodedSlashes is off"


@pytest.mark.parametrize("site_file", ["fcgid-root.conf", "proxy-fcgi-unix.conf"])
def test_a_password_reaches_the_application(
    own_directory: Path, scripts: Path, site_file: str
) -> None:
    with (
        gateway(own_directory, "--script-name", "") as (_, path),
        apache(
            own_directory,
            site_file,
            SCRIPTS=scripts,
            BACKEND=backend_of("apache", "fcgi", path),
        ) as site,
    ):
        variables = site.get("/environ", Authorization="Basic dTpw").json()
        assert variables["HTTP_AUTHORIZATION"] == "Basic dTpw"


def test_mod_fcgid_ends_the_script_with_itself(own_directory: Path, scripts: Path) -> None:
    with apache(own_directory, "fcgid-root.conf", SCRIPTS=scripts) as site:
        pid = int(site.get("/pid").text)
    wait_until(lambda: has_ended(pid), "the script has ended with Apache")
    assert "SIGKILL" not in (own_directory / "apache" / "error.log").read_text()


@pytest.mark.parametrize("stripped_by", STRIPPED)
def test_a_shared_host_with_a_htaccess_file(
    own_directory: Path, scripts: Path, stripped_by: str
) -> None:
    htdocs = own_directory / "apache" / "htdocs"
    with apache(own_directory, "fcgid-shared-host.conf") as site:
        shutil.copy(CONTRIB / "apache" / "shared-host.htaccess", htdocs / ".htaccess")
        shutil.copy(scripts / stripped_by / "yourapplication.fcgi", htdocs)
        (htdocs / "style.css").write_text("body {}")
        assert site.get("/style.css").text == "body {}"
        assert site.get("/greet/J%C3%BCrgen").text == "Hello Jürgen"
        variables = site.get("/environ?q=1").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == ("", "/environ")
        assert variables["QUERY_STRING"] == "q=1"
        assert site.get("/redirect").headers["Location"] == "/greet/Zo%C3%AB"


@pytest.fixture(scope="module")
def guarded(directory: Path) -> Iterator[Site]:
    """mod_authnz_fcgi before /private."""
    place = directory / "guarded"
    place.mkdir()
    role = ("--role", "authorizer")
    with (
        gateway_on_tcp(place, *role, app="gate:application", name="gate") as (_, gate),
        gateway_on_tcp(place, "--script-name", "") as (_, port),
        apache(place, "authnz-fcgi.conf", AUTHORIZER_PORT=gate, BACKEND_PORT=port) as site,
    ):
        yield site


class TestAnAuthorizer:
    """mod_authnz_fcgi asks about /private, and about nothing else."""

    @staticmethod
    def _login(password: str) -> str:
        return "Basic " + b64encode(f"ali:{password}".encode()).decode()

    def test_no_password_is_asked_for_one(self, guarded: Site) -> None:
        answer = guarded.get("/private/environ")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="private"'

    def test_a_wrong_password_is_refused(self, guarded: Site) -> None:
        answer = guarded.get("/private/environ", Authorization=self._login("barley"))
        assert answer.status == 401

    def test_variables_of_the_permission_reach_the_application(self, guarded: Site) -> None:
        answer = guarded.get("/private/environ", Authorization=self._login("sesame"))
        assert answer.status == 200
        variables = answer.json()
        assert variables["PATH_INFO"] == "/private/environ"
        assert variables["REMOTE_USER"] == "ali"
        assert variables["VISITOR"] == "Ali"
        assert variables["CAVE"] == "open"

    def test_other_paths_are_not_asked_about(self, guarded: Site) -> None:
        variables = guarded.get("/environ").json()
        assert variables["PATH_INFO"] == "/environ"
        assert "VISITOR" not in variables
