"""The applications as their owner installs them: a place for their data, and what serves them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tests.servers.harness import CONTRIB, DEADLINE_SECONDS, WEB_SERVER_USER, fill
from tests.servers.scripts import copy_packages, interpreter, write_script

APPLICATIONS = Path(__file__).resolve().parent

_LIBRARIES = ("gateways", "flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "blinker")
_LIBRARIES_OF_FLASK_ALONE = ("click",)
_LIBRARIES_OF_DJANGO = ("django", "asgiref", "sqlparse")


@dataclass(frozen=True)
class Code:
    """The applications and all that they import, where the web server's user can read it."""

    directory: Path
    python: str


def install_code(where: Path) -> Code:
    """Copy it; the checkout and the virtual environment may lie where that user cannot go."""
    where.mkdir()
    copy_packages(where, *_LIBRARIES, *_LIBRARIES_OF_FLASK_ALONE, *_LIBRARIES_OF_DJANGO)
    for name in ("blog", "papers"):
        shutil.copytree(APPLICATIONS / name, where / name)
    return Code(where, interpreter(where, "gateways.fcgi, flask, django"))


@dataclass(frozen=True)
class Installed:
    """One application with data of its own."""

    argument: str  # what `gateways` is asked to serve
    statement: str  # how a script gets it under the name of `app`
    environment: dict[str, str]
    public: Path  # what a web server may serve by itself

    def serving_files(self) -> Installed:
        """The same, serving its files itself, because the web server hands on all requests."""
        return replace(self, environment={**self.environment, "PAPERS_SERVES_FILES": "1"})

    def options(self) -> list[str]:
        """The options of `gateways` that are about the application."""
        variables = [f"--env={name}={value}" for name, value in self.environment.items()]
        return [f"--pythonpath={APPLICATIONS}", *variables]

    def script(self, where: Path, code: Code, *, call: str = "WSGIServer(app)") -> Path:
        """A directory with ``yourapplication.fcgi`` and the module that it imports."""
        where.mkdir()
        for package in code.directory.iterdir():
            (where / package.name).symlink_to(package)
        setting = f"import os\n\nos.environ.update({self.environment!r})\n"
        (where / "yourapplication.py").write_text(f"{setting}{self.statement}\n")
        template = CONTRIB / "demo" / "yourapplication.fcgi"
        text = fill(template, PYTHON=code.python, SCRIPTS=where)
        write_script(where / "yourapplication.fcgi", text.replace("WSGIServer(app)", call))
        return where


def install_blog(where: Path) -> Installed:
    """The blog, with nothing written yet."""
    instance = where / "instance"
    instance.mkdir(parents=True)
    shutil.copytree(APPLICATIONS / "blog" / "static", where / "public" / "static")
    _give_to_the_web_server(instance)
    return Installed(
        argument="blog:create_app()",
        statement="from blog import create_app\n\napp = create_app()",
        environment={"BLOG_INSTANCE": str(instance)},
        public=where / "public",
    )


def prepare_papers(where: Path) -> Path:
    """The data of an archive without papers: tables, collected static files, an account."""
    where.mkdir()
    subprocess.run(
        [sys.executable, "-m", "papers.prepare"],
        cwd=APPLICATIONS,
        env={**os.environ, "PAPERS_DATA": str(where)},
        timeout=2 * DEADLINE_SECONDS,
        check=True,
    )
    (where / "public" / "media").mkdir()
    return where


def install_papers(where: Path, prepared: Path) -> Installed:
    """The archive, with a copy of the data."""
    shutil.copytree(prepared, where)
    _give_to_the_web_server(where)
    return Installed(
        argument="papers.wsgi",
        statement="from papers.wsgi import application as app",
        environment={"PAPERS_DATA": str(where)},
        public=where / "public",
    )


def _give_to_the_web_server(directory: Path) -> None:
    """A script that it starts writes there."""
    if WEB_SERVER_USER is not None:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, WEB_SERVER_USER)
