"""mod_fcgid and lighttpd that start a script of flup's, unmodified but for its first line."""

from __future__ import annotations

from pathlib import Path

import pytest

from .frontends import MANAGERS, Manager, mod_fcgid
from .harness import children_of, has_ended, wait_until
from .scripts import write_script

SCRIPT = """#!/usr/bin/env -S PYTHONPATH={scripts} {python} -m gateways run
from flup.server.{module} import WSGIServer
from yourapplication import app

if __name__ == '__main__':
    WSGIServer(app, {arguments}).run()
"""


@pytest.mark.parametrize("manager", MANAGERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("module", "arguments"),
    [("fcgi", "maxThreads=2"), ("fcgi_fork", "minSpare=1, maxSpare=2, maxChildren=2")],
)
def test_a_web_server_starts_a_script_and_ends_it(
    own_directory: Path, scripts: Path, manager: Manager, module: str, arguments: str
) -> None:
    python = (scripts / "yourapplication.fcgi").read_text().partition("\n")[0].removeprefix("#!")
    text = SCRIPT.format(scripts=scripts, python=python, module=module, arguments=arguments)
    where = own_directory / "where"
    where.mkdir()
    write_script(where / "yourapplication.fcgi", text)
    forks = module == "fcgi_fork"
    with manager(own_directory, where) as site:
        variables = site.get("/environ/a%20b?q=%20").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == ("", "/environ/a b")
        assert (variables["wsgi.multiprocess"], variables["wsgi.multithread"]) == (forks, not forks)
        body = b"name=" + b"x" * 200_000
        assert site.request("POST", "/upload", body).json()["length"] == len(body)
        pid = int(site.get("/pid").text)
        assert not children_of(pid)
    wait_until(lambda: has_ended(pid), "the script has ended")
    log = (
        own_directory / ("apache" if manager is mod_fcgid else "lighttpd") / "error.log"
    ).read_text()
    assert "SIGKILL" not in log
    assert "Traceback" not in log
