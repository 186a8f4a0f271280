"""What guides have their readers do, as far as no other test does it; see docs/deployments.md."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from .client import Site
from .frontends import apache, backend_of, lighttpd, nginx
from .harness import (
    CONTRIB,
    HERE,
    Server,
    children_of,
    gateway,
    started_on_a_free_port,
)
from .scripts import write_script

PREFIX = "/yourapplication"
ROOT_FIX = """
class LighttpdCGIRootFix:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        environ["PATH_INFO"] = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        environ["SCRIPT_NAME"] = ""
        return self.app(environ, start_response)


if __name__"""
PROXY_FIX = """
from flaskapp import app
from werkzeug.middleware.proxy_fix import ProxyFix

app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)
"""
FACTORY = """
def create_app():
    from flaskapp import app
    return app
"""


def cgi_script(where: Path, scripts: Path, call: str) -> None:
    """``yourapplication.cgi`` in a folder."""
    python = (scripts / "yourapplication.fcgi").read_text().splitlines()[0]
    text = (
        f"{python}\nimport sys\nsys.path.insert(1, {str(scripts)!r})\n"
        f"from gateways.cgi import CGIHandler\nfrom yourapplication import app\n\n{call}\n"
    )
    write_script(where / "yourapplication.cgi", text)


def test_cgi_at_a_prefix(own_directory: Path, scripts: Path) -> None:
    cgi_script(own_directory, scripts, "CGIHandler().run(app)")
    with apache(own_directory, "cgid-prefix.conf", prefix=PREFIX, SCRIPTS=own_directory) as site:
        variables = site.get("/environ/a%20b?q=1").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == (PREFIX, "/environ/a b")
        assert site.get("/redirect").headers["Location"] == f"{PREFIX}/greet/Zo%C3%AB"


def test_cgi_by_a_htaccess_file(own_directory: Path, scripts: Path) -> None:
    with apache(own_directory, "cgid-shared-host.conf") as site:
        htdocs = site.directory / "htdocs"
        shutil.copy(CONTRIB / "apache" / "shared-host-cgi.htaccess", htdocs / ".htaccess")
        cgi_script(htdocs, scripts, 'CGIHandler(script_name="").run(app)')
        (htdocs / "style.css").write_text("body {}")
        assert site.get("/style.css").text == "body {}"
        variables = site.get("/environ/J%C3%BC?q=1").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == ("", "/environ/J\xc3\xbc")
        assert variables["QUERY_STRING"] == "q=1"


def test_the_root_fix_that_lighttpd_needed_does_no_harm(own_directory: Path, scripts: Path) -> None:
    own_directory.chmod(0o777)
    text = (scripts / "yourapplication.fcgi").read_text()
    text = text.replace("WSGIServer(app)", "WSGIServer(LighttpdCGIRootFix(app))")
    script = text.replace("if __name__", ROOT_FIX, 1)
    write_script(own_directory / "yourapplication.fcgi", script)
    socket = own_directory / "app.sock"
    with lighttpd(own_directory, "root.conf", SCRIPTS=own_directory, SOCKET=socket) as site:
        variables = site.get("/environ/x").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == ("", "/environ/x")


def test_proxy_fix_keeps_working(own_directory: Path) -> None:
    (own_directory / "fixed.py").write_text(PROXY_FIX)
    options = ("--pythonpath", str(own_directory))
    with (
        gateway(own_directory, *options, app="fixed:app", protocol="http") as (_, path),
        nginx(own_directory, "http.conf", BACKEND=backend_of("nginx", "http", path)) as site,
    ):
        forged = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https"}
        variables = site.request("GET", "/environ", headers=forged).json()
        assert variables["REMOTE_ADDR"] == "127.0.0.1"
        assert variables["wsgi.url_scheme"] == "http"
        assert variables["HTTP_HOST"] == f"127.0.0.1:{site.port}"


def test_one_server_speaks_several_protocols(own_directory: Path) -> None:
    fcgi, http = own_directory / "fcgi.sock", own_directory / "http.sock"
    binds = [f"fcgi:unix:{fcgi}?mode=666", f"http:unix:{http}?mode=666"]
    command = [sys.executable, "-m", "gateways", "serve", "--pythonpath", str(HERE)]
    for bind in binds:
        command += ["--bind", bind]
    server = Server([*command, "flaskapp:app"], own_directory / "app.log")
    try:
        for protocol, conf, socket in (("fcgi", "root.conf", fcgi), ("http", "http.conf", http)):
            server.wait_until_accepting(str(socket))
            place = own_directory / protocol
            place.mkdir()
            with nginx(place, conf, BACKEND=f"unix:{socket}") as site:
                assert site.get("/").text == "Hello from Flask"
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("application", ["flaskapp:app", "factory:create_app()"])
def test_the_flags_of_gunicorn(own_directory: Path, application: str) -> None:
    (own_directory / "factory.py").write_text(FACTORY)
    paths = ("--pythonpath", str(own_directory), "--pythonpath", str(HERE))
    server, port = started_on_a_free_port(
        lambda port: Server(
            [
                *(sys.executable, "-m", "gateways", "http", "-w", "2", "-b", f"127.0.0.1:{port}"),
                *paths,
                application,
            ],
            own_directory / "app.log",
        )
    )
    try:
        assert Site(port, own_directory).get("/greet/you").text == "Hello you"
        assert len(children_of(server.process.pid)) == 2
    finally:
        assert server.stop() == 0
