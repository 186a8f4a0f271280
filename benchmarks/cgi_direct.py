"""What a CGI process costs that is started here, as a web server starts one.

The CPU time of each is that of the children that were waited for; the background server of the
persistent rows is no child of ours, so its time is read from its clock and added. The rows take
turns, and the median of the samples counts. The interpreter runs without ``site`` (-S), so that
what an editable installation imports at its start, in every row, hides nothing.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cpu import tree_seconds
from benchmarks.processes import end_listener, listener

_FLASK = """\
from flask import Flask
app = Flask(__name__)

@app.get("/")
def index():
    return "Hello"
"""
_TRIVIAL = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello"]
"""
SCRIPTS = {
    "wsgiref": "from wsgiref.handlers import CGIHandler\nfrom {app} import app\n"
    "CGIHandler().run(app)\n",
    "gateways.cgi": 'from gateways.cgi import CGIHandler\nCGIHandler().run("{app}:app")\n',
    "persistent": "from gateways.cgi import PersistentCGI\n"
    'PersistentCGI(app="{app}:app", directory={run!r}, idle_timeout=60).run()\n',
}
_ENVIRON = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "localhost",
}


@dataclass
class Row:
    """One kind of process, and the CPU seconds that each of them took."""

    name: str
    arguments: list[str]
    expected: bytes | None = None
    background: bool = False
    samples: list[float] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        """The median."""
        return statistics.median(self.samples) * 1000


def measure(folder: Path, packages: Path, requests: int) -> list[Row]:
    """Every row, with so many samples; what the scripts are made of is put into ``folder``.

    ``packages`` holds the gateways that they import.
    """
    rows = _rows(folder)
    environ = _environ(packages)
    try:
        for row in rows:
            _sample(row, folder, environ, 0)  # compiles, and starts the server
        for _ in range(requests):
            for row in rows:
                server = _server_of(folder, row.name) if row.background else 0
                row.samples.append(_sample(row, folder, environ, server))
    finally:
        for path in folder.glob("*/*/socket"):
            end_listener(path)
    return rows


def _rows(folder: Path) -> list[Row]:
    rows = [
        Row("python itself", ["-c", "pass"]),
        Row("import gateways.cgi", ["-c", "import gateways.cgi"]),
        Row("import gateways.cgi, all of a request", ["-c", "import gateways.core.cgi"]),
        Row("import wsgiref.handlers", ["-c", "import wsgiref.handlers"]),
    ]
    for app, text in (("trivial", _TRIVIAL), ("flaskapp", _FLASK)):
        (folder / f"{app}.py").write_text(text)
        for kind, script in SCRIPTS.items():
            name = f"one CGI request: {kind}, {app}"
            run = str(folder / _slug(name))
            (folder / f"{_slug(name)}.cgi").write_text(script.format(app=app, run=run))
            path = f"{_slug(name)}.cgi"
            rows.append(Row(name, [path], b"Hello", background=kind == "persistent"))
    return rows


def _slug(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name)


def _environ(packages: Path) -> dict[str, str]:
    site_packages = [entry for entry in sys.path if entry.endswith("site-packages")]
    path = os.pathsep.join([str(packages), *site_packages])
    return {**_ENVIRON, "PATH": os.environ["PATH"], "PYTHONPATH": path}


def _sample(row: Row, folder: Path, environ: dict[str, str], server: int) -> float:
    before = _cpu_seconds(server)
    done = subprocess.run(
        [sys.executable, "-S", *row.arguments],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    seconds = _cpu_seconds(server) - before
    if row.expected is not None and not done.stdout.endswith(row.expected):
        raise RuntimeError(f"{row.name}: {done.stdout!r} {done.stderr!r}")
    return seconds


def _cpu_seconds(server: int) -> float:
    """Of the children that have ended, and of a background server (0: there is none)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime + (tree_seconds(server) if server else 0.0)


def _server_of(folder: Path, name: str) -> int:
    """The background server of a row; 0 if there is none."""
    return next(filter(None, map(listener, (folder / _slug(name)).glob("*/socket"))), 0)


def lines(rows: Sequence[Row]) -> list[str]:
    """The table, and the ratios that matter."""
    found = ["| row | CPU, ms | without python itself, ms |", "|---|---:|---:|"]
    itself = rows[0].milliseconds
    for row in rows:
        found.append(f"| {row.name} | {row.milliseconds:.1f} | {row.milliseconds - itself:.1f} |")
    named = {row.name: row.milliseconds for row in rows}
    found.append("")
    for app in ("trivial", "flaskapp"):
        persistent = named[f"one CGI request: persistent, {app}"]
        wsgiref = named[f"one CGI request: wsgiref, {app}"]
        found.append(f"- persistent / wsgiref, {app}: 1/{wsgiref / persistent:.1f}")
    return found
