"""What ``gateways config`` prints, booted as it is, with the command that its heading names."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateways.cli.config import FRONT_ENDS
from gateways.cli.rendering import render
from gateways.cli.webservers import WEB_SERVERS

from . import frontends
from .client import Site
from .fastcgi_client import ask
from .harness import (
    CONTRIB,
    DEADLINE_SECONDS,
    HERE,
    Server,
    accepts,
    fill,
    require,
    started_on_a_free_port,
)
from .launching import write_application

PREFIX = "/yourapplication"
NAME = "example.test"
FORGED = {
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=10.0.0.1;proto=https;host=evil.test",
}


def printed(front_end: str, application: str, **options: Any) -> str:
    """What the command prints; what is not given is as the command has it."""
    defaults: dict[str, Any] = dict.fromkeys(
        ("protocol", "static", "server_name", "listen", "name", "directory", "user", "logs")
    )
    return render(
        front_end, application, **{**defaults, "prefix": "", "activated": False, **options}
    )


@dataclass(frozen=True)
class Case:
    """At the root over a Unix socket; at a prefix over TCP, by name and with files of its own."""

    web_server: str
    protocol: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.web_server}-{self.protocol}{'-prefix' if self.prefix else ''}"


CASES = [
    Case(web_server, protocol, prefix)
    for web_server, known in WEB_SERVERS.items()
    for protocol in known.files
    for prefix in ("", PREFIX)
]


@contextlib.contextmanager
def behind(case: Case, directory: Path) -> Iterator[Site]:
    """A web server on the printed text, before a server started by the command in its heading."""
    options: dict[str, Any] = {"protocol": case.protocol, "prefix": case.prefix}
    known = WEB_SERVERS[case.web_server]
    if known.serves_files:
        options["static"] = str(directory / "files")
    if case.prefix:
        options["server_name"] = NAME

    def text(bind: str, listen: str | None = None) -> str:
        return printed(case.web_server, "flaskapp:app", bind=bind, listen=listen, **options)

    def launch(bind: str) -> Server:
        (command,) = re.findall(r"(?m)^# {5}gateways (.*)$", text(bind))
        arguments = [*shlex.split(command), "--pythonpath", str(HERE)]
        return Server([sys.executable, "-m", "gateways", *arguments], directory / "app.log")

    if case.prefix:
        server, port = started_on_a_free_port(lambda port: launch(f"127.0.0.1:{port}"))
        bind = f"127.0.0.1:{port}"
    else:
        bind = f"unix:{directory}/app.sock?mode=666"
        server = launch(bind)
    try:
        if not case.prefix:
            server.wait_until_accepting(f"{directory}/app.sock")
        front_end: Callable[..., Any] = getattr(frontends, case.web_server)
        listens = known.listen is not None

        def site_file(port: int) -> str:
            return text(bind, f"127.0.0.1:{port}" if listens else None)

        with front_end(directory, site_file, prefix=case.prefix) as site:
            yield site
    finally:
        server.stop()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_web_server_on_the_printed_text_gives_right_answers(
    case: Case, own_directory: Path
) -> None:
    (own_directory / "files").mkdir()
    (own_directory / "files" / "style.css").write_text("body {}")
    headers = {"Host": NAME} if case.prefix else {}
    with behind(case, own_directory) as site:
        assert site.get("/", **headers).text == "Hello from Flask"
        variables = site.get("/environ/a%20b?q=1", **headers).json()
        assert variables["SCRIPT_NAME"] == case.prefix
        assert variables["PATH_INFO"] == "/environ/a b"
        assert variables["QUERY_STRING"] == "q=1"
        assert variables["REQUEST_URI"] == f"{case.prefix}/environ/a%20b?q=1"
        assert site.get("/greet/J%C3%BCrgen", **headers).text == "Hello Jürgen"
        location = site.get("/redirect", **headers).headers["Location"]
        assert location.removeprefix(f"http://{NAME}") == f"{case.prefix}/greet/Zo%C3%AB"
        if WEB_SERVERS[case.web_server].serves_files:
            assert site.get("/static/style.css", **headers).text == "body {}"
        without_slash = site.get("", **headers)
        assert without_slash.status in (200, 308), without_slash.text
        forged = site.request("GET", "/environ", headers={**FORGED, **headers}).json()
        assert forged["REMOTE_ADDR"] == "127.0.0.1"
        assert forged["wsgi.url_scheme"] == "http"
        assert forged["SCRIPT_NAME"] == case.prefix
        # The port is the site's, or that of the name that the client asked for.
        assert forged["SERVER_PORT"] in (str(site.port), "80")
        assert forged["HTTP_HOST"].partition(":")[0] == headers.get("Host", "127.0.0.1")
        nobody = site.get("/environ", Authorization="Basic dTpw", **headers).json()
        assert "REMOTE_USER" not in nobody, "no password was checked"


def test_every_web_server_has_been_booted() -> None:
    managers = {"supervisor", "systemd"}
    assert {case.web_server for case in CASES} | managers == set(FRONT_ENDS)


@pytest.mark.parametrize("activated", [False, True], ids=["its own socket", "supervisord's socket"])
def test_supervisord_runs_the_printed_program(own_directory: Path, activated: bool) -> None:
    program = require("supervisord", "supervisor")
    write_application(own_directory, "1")
    socket = str(own_directory / "app.sock")
    text = printed(
        "supervisor",
        "versioned:app",
        bind=f"unix:{socket}" if activated else f"unix:{socket}?mode=666",
        directory=str(own_directory),
        logs=str(own_directory),
        prefix=PREFIX,
        activated=activated,
    )
    (own_directory / "conf.d").mkdir()
    (own_directory / "conf.d" / "versioned.conf").write_text(text)
    main = fill(CONTRIB / "supervisor" / "supervisord.conf", ROOT=own_directory)
    (own_directory / "supervisord.conf").write_text(main)
    server = Server([program, "-c", own_directory / "supervisord.conf"], own_directory / "out.log")
    try:
        server.wait_until_accepting(socket)
        assert ask(socket, f"{PREFIX}/").body.split()[0] == "1"
        assert ask(socket, "/elsewhere").status.startswith("404")
    finally:
        assert server.stop() == 0


def _units(text: str) -> dict[str, str]:
    """The units of what is printed, by the names that their headings give them."""
    parts = re.split(r"(?m)^(?=# .*Goes into /etc/systemd/system/)", text)
    return {match[1]: part for part in parts if (match := re.search(r"/system/([\w.]+)", part))}


@pytest.mark.parametrize("activated", [False, True], ids=["its own socket", "systemd's socket"])
def test_systemd_takes_the_printed_units_and_their_command_serves(
    own_directory: Path, activated: bool
) -> None:
    write_application(own_directory, "1")
    text = printed(
        "systemd",
        "versioned:app",
        bind="unix:/run/versioned/app.sock?mode=666",
        directory=str(own_directory),
        prefix=PREFIX,
        activated=activated,
    )
    units = _units(text)
    service = "versioned.service"
    assert set(units) == ({service, "versioned.socket"} if activated else {service})
    for name, unit in units.items():
        (own_directory / name).write_text(unit)
    verified = subprocess.run(
        [
            *(require("systemd-analyze", "systemd"), "verify", "--man=no"),
            *(own_directory / name for name in units),
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{own_directory}:", "PATH": "/usr/bin:/bin"},
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    (command,) = re.findall(r"(?m)^ExecStart=(.*)$", units[service])
    # /run/versioned is what RuntimeDirectory= makes.
    words = shlex.split(command.replace("/run/versioned", str(own_directory)))
    socket = str(own_directory / "app.sock")
    if activated:
        activate = require("systemd-socket-activate", "systemd")
        words = [activate, "--listen", socket, *words]
    server = Server(words, own_directory / "out.log")
    try:
        server.wait_until(lambda: accepts(socket), "serves")
        assert ask(socket, f"{PREFIX}/").body.split()[0] == "1"
    finally:
        server.stop(signal.SIGTERM)
