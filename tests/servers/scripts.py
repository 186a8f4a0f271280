"""``yourapplication.fcgi`` as a web server finds it: readable and runnable by its own user.

The checkout and the virtual environment may lie where that user cannot go (a home directory), so
everything the script imports is copied beside it, as on a shared host.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .harness import CONTRIB, DEADLINE_SECONDS, HERE, WEB_SERVER_USER, fill, missing

_PACKAGES = ("gateways", "flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "blinker")
_PACKAGES_OF_FLASK_ALONE = ("click",)

STRIPPED = {
    "script_name": 'WSGIServer(app, script_name="")',
    "middleware": "WSGIServer(ScriptNameStripper(app))",
}
# As the guides for shared hosts have it.
MIDDLEWARE = """
class ScriptNameStripper:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        environ["SCRIPT_NAME"] = ""
        return self.app(environ, start_response)


if __name__"""


def script_directory(where: Path) -> Path:
    """A directory with the script, the application and all that they import."""
    where.mkdir()
    copy_packages(where, *_PACKAGES, *_PACKAGES_OF_FLASK_ALONE)
    shutil.copy(HERE / "flaskapp.py", where / "yourapplication.py")
    shutil.copy(HERE / "gate.py", where)
    python = interpreter(where, "gateways.fcgi, yourapplication")
    text = fill(CONTRIB / "demo" / "yourapplication.fcgi", PYTHON=python, SCRIPTS=where)
    write_script(where / "yourapplication.fcgi", text)
    # The same script for rules that put its name into every URL, and two ways to take it out.
    for name, call in STRIPPED.items():
        (where / name).mkdir()
        stripped = text.replace("WSGIServer(app)", call).replace("if __name__", MIDDLEWARE, 1)
        write_script(where / name / "yourapplication.fcgi", stripped)
    return where


def copy_packages(where: Path, *names: str) -> None:
    """Installed packages; without the texts of other languages, which Django has 2,000 files of."""
    unneeded = shutil.ignore_patterns("*.po", "*.mo")
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            raise RuntimeError(f"the package {name} is not installed")
        shutil.copytree(spec.submodule_search_locations[0], where / name, ignore=unneeded)


def write_script(path: Path, text: str) -> None:
    """An executable file."""
    path.write_text(text)
    path.chmod(0o755)


def interpreter(where: Path, modules: str) -> str:
    """A Python that the web server's user can run and that can import ``modules`` from there."""
    candidates = [sys.executable, os.path.realpath(sys.executable), "/usr/bin/python3"]
    check = ["-c", f"import {modules}"]
    python = next((python for python in candidates if _runs(where, [python, *check])), None)
    return python or missing(f"a Python that {WEB_SERVER_USER or 'this user'} may run", "python3")


def _runs(where: Path, command: Sequence[str]) -> bool:
    try:
        result = subprocess.run(
            command,
            cwd=where,
            user=WEB_SERVER_USER,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(where)},
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    except OSError:  # not even executable for that user
        return False
    return result.returncode == 0
