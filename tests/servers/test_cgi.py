"""CGI scripts of ``gateways.cgi``, plain and persistent, behind mod_cgid and lighttpd's mod_cgi."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from .certificate import Certificate
from .client import Site
from .flaskapp import BIG, digest, pattern
from .flasksuite import FlaskSuite
from .frontends import apache, lighttpd
from .harness import WEB_SERVER_USER, has_ended, wait_until
from .scripts import write_script

# The application of the suite, and what must not harm a response.
NOISY = """\
import os
import subprocess

from yourapplication import app


@app.get("/noise")
def noise():
    print("a print")
    os.write(1, b"a C library\\n")
    subprocess.run(["echo", "a child process"], check=True)
    return "the answer"


@app.get("/argv")
def argv():
    import sys
    return " ".join(sys.argv[1:])
"""

CALLS = {
    "plain": 'CGIHandler(script_name="").run("noisy:app")',
    "persistent": 'PersistentCGI(app="noisy:app", script_name="", directory={run!r}).run()',
}
WEB_SERVERS = {"mod_cgid": (apache, "cgid.conf"), "lighttpd": (lighttpd, "cgi.conf")}


@dataclass(frozen=True)
class Deployment:
    """A script, by its two kinds and two web servers."""

    web_server: str
    kind: str

    @property
    def persistent(self) -> bool:
        """Whether its application stays."""
        return self.kind == "persistent"


EVERY = [Deployment(web_server, kind) for web_server in WEB_SERVERS for kind in CALLS]


@contextlib.contextmanager
def deployed(
    deployment: Deployment, place: Path, scripts: Path, tls: Certificate | None = None
) -> Iterator[Site]:
    """The script behind the web server; its background servers end with the block."""
    where = place / "scripts"
    where.mkdir(parents=True)
    run = place / "run"
    run.mkdir()
    if WEB_SERVER_USER is not None:
        shutil.chown(run, WEB_SERVER_USER)
        shutil.chown(where, WEB_SERVER_USER)
    (where / "noisy.py").write_text(NOISY)
    python = (scripts / "yourapplication.fcgi").read_text().splitlines()[0]
    call = CALLS[deployment.kind].format(run=str(run / "gateways"))
    text = (
        f"{python}\nimport sys\nsys.path.insert(1, {str(scripts)!r})\n"
        f"from gateways.cgi import CGIHandler, PersistentCGI\n\n{call}\n"
    )
    write_script(where / "yourapplication.cgi", text)
    front_end, conf = WEB_SERVERS[deployment.web_server]
    try:
        with front_end(place, conf, tls=tls, SCRIPTS=where) as site:
            yield site
    finally:
        for path in run.glob("gateways/*/socket"):
            end_server(str(path))


def server_pid(path: str) -> int:
    """Who listens on a Unix socket; 0 if nobody does."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return 0
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid: int = struct.unpack("iII", credentials)[0]
        return pid


def end_server(path: str) -> None:
    """End a background server."""
    if pid := server_pid(path):
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: has_ended(pid), "the background server has ended")


@pytest.fixture(
    scope="module",
    params=EVERY,
    ids=lambda deployment: f"{deployment.web_server}-{deployment.kind}",
)
def deployment(request: pytest.FixtureRequest) -> Deployment:
    chosen: Deployment = request.param
    return chosen


@pytest.fixture(scope="module")
def site(deployment: Deployment, directory: Path, scripts: Path) -> Iterator[Site]:
    place = directory / f"{deployment.web_server}-{deployment.kind}"
    with deployed(deployment, place, scripts) as running:
        yield running


class TestFlask(FlaskSuite):
    """The whole suite."""

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_the_length_of_a_small_answer_is_known(self, site: Site, method: str) -> None:
        length = site.request(method, "/").headers["Content-Length"]
        # Apache drops the header of CGI scripts; it counts itself where all comes at once.
        assert length in (("16",) if site.directory.name == "lighttpd" else ("16", None))

    def test_an_encoded_slash_is_a_slash_in_the_path_and_encoded_in_the_uri(
        self, site: Site
    ) -> None:
        if site.directory.name == "lighttpd":
            super().test_an_encoded_slash_is_a_slash_in_the_path_and_encoded_in_the_uri(site)
        else:
            assert site.get("/files/a%2Fb/c").status == 404, "AllowEncodedSlashes is off"

    def test_a_traceback_is_in_the_web_servers_error_log(self, site: Site) -> None:
        assert "fell over" not in site.get("/raise").text
        for text in ("Exception on /raise", "RuntimeError: the application fell over"):
            wait_until(lambda text=text: text in error_log(site), text)  # type: ignore[misc]


def error_log(site: Site) -> str:
    """Where the web server has the standard error of a script: lighttpd -D leaves it alone."""
    if site.directory.name == "lighttpd":
        return (site.directory / "lighttpd.log").read_text(errors="replace")
    return site.error_log


def test_what_is_written_to_standard_output_is_not_in_the_response(
    site: Site, deployment: Deployment
) -> None:
    answer = site.get("/noise")
    assert (answer.status, answer.text) == (200, "the answer")
    log = error_log(site)
    if deployment.persistent:
        (path,) = (site.directory.parent / "run").glob("gateways/*/log")
        log = path.read_text()
    for line in ("a print", "a C library", "a child process"):
        assert line in log


def test_a_query_that_looks_like_options_is_none(site: Site, deployment: Deployment) -> None:
    answer = site.get("/argv?--help+-x%20y")
    assert answer.status == 200
    if deployment == Deployment("mod_cgid", "plain"):
        assert answer.text == "--help -x y", "mod_cgid really does that"
    assert site.get("/environ?--help+-x").json()["QUERY_STRING"] == "--help+-x"


def test_a_large_upload_of_unknown_length(site: Site) -> None:
    answer = site.request("POST", "/upload", pattern(3_000_000))
    assert answer.json() == {"sha256": digest(3_000_000), "length": 3_000_000}


def test_100_mb_each_way(site: Site) -> None:
    answer = site.request("POST", "/upload", pattern(BIG), {"Content-Length": str(BIG)})
    assert answer.json() == {"sha256": digest(BIG), "length": BIG}
    with site.response("GET", f"/download?size={BIG}") as response:
        for piece in pattern(BIG):
            assert response.read(len(piece)) == piece


@pytest.mark.parametrize(
    "deployment", EVERY, ids=lambda one: f"{one.web_server}-{one.kind}", scope="function"
)
def test_many_requests_at_once(deployment: Deployment, own_directory: Path, scripts: Path) -> None:
    count = 50 if deployment.persistent else 10  # plain ones have nothing to do with each other
    with deployed(deployment, own_directory, scripts) as site, ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda number: site.get(f"/greet/{number}"), range(count)))
        assert [answer.text for answer in answers] == [f"Hello {n}" for n in range(count)]
        pids = {site.get("/pid").text for _ in range(3)}
        if deployment.persistent:
            assert len(pids) == 1
            (log,) = (own_directory / "run").glob("gateways/*/log")
            assert log.read_text().count("serving on") == 1, "one was started, no more"
        else:
            assert len(pids) == 3
