"""Measure what CGI costs: ``python benchmarks/cgi_bench.py [--requests N]``.

Each row is a process for each sample, as a web server starts one; its CPU time is that of the
children that were waited for. The rows take turns, and the median of the samples counts. The
interpreter runs without ``site`` (-S), so that what an editable installation imports at its start,
in every row, hides nothing. The background server of the persistent row is no child of ours: its
CPU per request is read from its clock and added.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.cpu import tree_seconds  # noqa: E402  # after the path

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
_SCRIPTS = {
    "wsgiref": "from wsgiref.handlers import CGIHandler\nfrom {app} import app\n"
    "CGIHandler().run(app)\n",
    "gateways.cgi": 'from gateways.cgi import CGIHandler\nCGIHandler().run("{app}:app")\n',
    "persistent": "from gateways.cgi import PersistentCGI\n"
    'PersistentCGI(app="{app}:app", directory={run!r}).run()\n',
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


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=40, help="samples of each row (40)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateways-cgi-") as name:
        folder = Path(name)
        rows = _rows(folder)
        environ = _environ()
        try:
            for row in rows:
                _sample(row, folder, environ, 0)  # compiles, and starts the server
            for _ in range(options.requests):
                for row in rows:
                    server = server_of(folder, row.name) if row.background else 0
                    row.samples.append(_sample(row, folder, environ, server))
        finally:
            for row in rows:
                server = server_of(folder, row.name) if row.background else 0
                if server:
                    os.kill(server, signal.SIGTERM)
                    deadline = time.monotonic() + 10
                    while server_of(folder, row.name) and time.monotonic() < deadline:
                        time.sleep(0.01)
    _print(rows)
    return 0


def _rows(folder: Path) -> list[Row]:
    rows = [
        Row("python itself", ["-c", "pass"]),
        Row("import gateways.cgi", ["-c", "import gateways.cgi"]),
        Row("import gateways.cgi, all of a request", ["-c", "import gateways.core.cgi"]),
        Row("import wsgiref.handlers", ["-c", "import wsgiref.handlers"]),
    ]
    for app, text in (("trivial", _TRIVIAL), ("flaskapp", _FLASK)):
        (folder / f"{app}.py").write_text(text)
        for kind, script in _SCRIPTS.items():
            name = f"one CGI request: {kind}, {app}"
            run = str(folder / _slug(name))
            (folder / f"{_slug(name)}.cgi").write_text(script.format(app=app, run=run))
            path = f"{_slug(name)}.cgi"
            rows.append(Row(name, [path], b"Hello", background=kind == "persistent"))
    return rows


def _slug(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name)


def _environ() -> dict[str, str]:
    site_packages = [entry for entry in sys.path if entry.endswith("site-packages")]
    path = os.pathsep.join([str(ROOT), *site_packages])
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


def server_of(folder: Path, name: str) -> int:
    """The background server of a row; 0 if there is none."""
    for path in (folder / _slug(name)).glob("*/socket"):
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(path))
            except OSError:
                continue
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return int(struct.unpack("iII", credentials)[0])
    return 0


def _print(rows: list[Row]) -> None:
    print("| row | CPU, ms | without python itself, ms |\n|---|---|---|")
    itself = rows[0].milliseconds
    for row in rows:
        print(f"| {row.name} | {row.milliseconds:.1f} | {row.milliseconds - itself:.1f} |")
    named = {row.name: row.milliseconds for row in rows}
    for app in ("trivial", "flaskapp"):
        persistent = named[f"one CGI request: persistent, {app}"]
        wsgiref = named[f"one CGI request: wsgiref, {app}"]
        print(f"persistent / wsgiref, {app}: 1/{wsgiref / persistent:.1f}")


if __name__ == "__main__":
    sys.exit(main())
