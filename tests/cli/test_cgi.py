"""``gateways cgi``, started as a web server starts a CGI script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.harness import DEADLINE_SECONDS

COMMAND = [sys.executable, "-m", "gateways", "cgi"]
CGI = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "/app.cgi",
    "PATH_INFO": "/a b",
    "QUERY_STRING": "--help+-x",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
}
APPLICATION = """
def app(environ, start_response):
    print("a stray line")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(environ["SCRIPT_NAME"] + "|" + environ["PATH_INFO"]).encode()]
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "site_app.py").write_text(APPLICATION)
    return subprocess.run(
        [*COMMAND, "--chdir", str(folder), *arguments],
        env={**os.environ, **CGI},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )


@pytest.mark.parametrize("words", [(), ("--help", "-x y"), ("--script-name", "/other")])
def test_words_of_a_query_string_are_no_options(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(tmp_path, "site_app:app", *words)
    assert done.returncode == 0
    assert done.stdout.startswith("Status: 200 OK\n")
    assert done.stdout.endswith("\n\n/app.cgi|/a b")
    assert "a stray line" in done.stderr


def test_options_come_before_the_application(tmp_path: Path) -> None:
    done = run(tmp_path, "--script-name", "/app.cgi/a b", "site_app:app")
    assert done.stdout.endswith("\n\n/app.cgi/a b|")


def test_a_failed_import_is_a_page_and_a_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "no_such_module:app")
    assert done.stdout.startswith("Status: 500 ")
    assert "no_such_module" in done.stderr
    assert "no_such_module" not in done.stdout
