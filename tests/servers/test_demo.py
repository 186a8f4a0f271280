"""``make run``: what contrib/demo/run.py shows, and that Ctrl-C ends it and all it has started."""

from __future__ import annotations

import re
import signal
import sys
import urllib.request
from pathlib import Path

from .frontends import NGINX_PACKAGE
from .harness import CONTRIB, DEADLINE_SECONDS, Server, children_of, has_ended, require

RUN = [sys.executable, str(CONTRIB / "demo" / "run.py")]


def test_with_nginx_it_prints_a_url_that_answers(own_directory: Path) -> None:
    require("nginx", NGINX_PACKAGE)
    server = Server(RUN, own_directory / "out.log")
    try:
        server.wait_until(lambda: "Ctrl-C ends it" in server.log, "serving")
        shown = server.log
        assert "hello?name=you -> 200 OK" in shown
        assert "PATH_INFO: /hello\n" in shown
        found = re.search(r"Serving (http://\S+)", shown)
        assert found is not None
        with urllib.request.urlopen(found[1] + "again", timeout=DEADLINE_SECONDS) as response:
            assert b"PATH_INFO: /again\n" in response.read()
    finally:
        _ends_on_ctrl_c(server)


def test_without_nginx_it_shows_the_exchange(own_directory: Path) -> None:
    server = Server([*RUN, "--without-nginx"], own_directory / "out.log")
    try:
        server.wait_until(lambda: "Ctrl-C ends it" in server.log, "serving")
        shown = server.log
        assert "--> PARAMS, request 1" in shown
        assert "PATH_INFO = /hello\n" in shown
        assert "<-- STDOUT, request 1" in shown
        assert "Status: 200 OK\n" in shown
        assert "<-- END_REQUEST, request 1, 8 bytes" in shown
    finally:
        _ends_on_ctrl_c(server)


def _ends_on_ctrl_c(server: Server) -> None:
    children = children_of(server.process.pid)
    assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in server.log
    assert children
    assert all(has_ended(pid) for pid in children)
