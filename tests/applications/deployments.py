"""The ways to serve an application that are tried, each on files of contrib/ as they are."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.servers.client import Site
from tests.servers.frontends import apache, lighttpd, nginx
from tests.servers.harness import CONTRIB, gateway, gateway_on_tcp

from .installed import Code, Installed

Deployment = Callable[[Path, Installed, Code], AbstractContextManager[Site]]

PREFIX = "/yourapplication"
# In a script whose name a rewrite rule adds to every path.
NAMELESS = 'WSGIServer(app, script_name="")'


@contextlib.contextmanager
def nginx_at_the_root(place: Path, application: Installed, code: Code) -> Iterator[Site]:
    """All requests reach the application."""
    application = application.serving_files()
    with (
        gateway(place, *application.options(), app=application.argument) as (_, path),
        nginx(place, "root.conf", BACKEND=f"unix:{path}") as site,
    ):
        yield site


@contextlib.contextmanager
def nginx_at_a_prefix(place: Path, application: Installed, code: Code) -> Iterator[Site]:
    """nginx serves the files; a session goes from one process to the other."""
    options = [*application.options(), "--workers=2"]
    with (
        gateway(place, *options, app=application.argument) as (_, path),
        nginx(place, "prefix.conf", prefix=PREFIX, BACKEND=f"unix:{path}") as site,
    ):
        (site.directory / f"htdocs{PREFIX}").symlink_to(application.public)
        yield site


@contextlib.contextmanager
def mod_fcgid_at_the_root(place: Path, application: Installed, code: Code) -> Iterator[Site]:
    """Apache starts the script, and more of it when one process is busy."""
    scripts = application.serving_files().script(place / "scripts", code)
    with apache(place, "fcgid-root.conf", SCRIPTS=scripts) as site:
        yield site


@contextlib.contextmanager
def mod_fcgid_at_a_prefix(place: Path, application: Installed, code: Code) -> Iterator[Site]:
    """The same, and Apache serves the files."""
    scripts = application.script(place / "scripts", code)
    with apache(place, "fcgid-prefix.conf", prefix=PREFIX, SCRIPTS=scripts) as site:
        (site.directory / f"htdocs{PREFIX}").symlink_to(application.public)
        yield site


@contextlib.contextmanager
def mod_fcgid_on_a_shared_host(place: Path, application: Installed, code: Code) -> Iterator[Site]:
    """By .htaccess: Apache serves what is a file, and sends all else to the script."""
    scripts = application.script(place / "scripts", code, call=NAMELESS)
    with apache(place, "fcgid-shared-host.conf") as site:
        htdocs = site.directory / "htdocs"
        shutil.copy(CONTRIB / "apache" / "shared-host.htaccess", htdocs / ".htaccess")
        shutil.copy(scripts / "yourapplication.fcgi", htdocs)
        for folder in application.public.iterdir():
            (htdocs / folder.name).symlink_to(folder)
        yield site


@contextlib.contextmanager
def lighttpd_at_the_root(place: Path, application: Installed, code: Code) -> Iterator[Site]:
    """lighttpd starts the script."""
    place.chmod(0o777)  # it makes the script's socket after it has dropped root
    scripts = application.serving_files().script(place / "scripts", code)
    with lighttpd(place, "root.conf", SCRIPTS=scripts, SOCKET=place / "app.sock") as site:
        yield site


@contextlib.contextmanager
def lighttpd_rewriting(place: Path, application: Installed, code: Code) -> Iterator[Site]:
    """lighttpd starts the script, whose name shows nowhere, and serves the static files alone."""
    place.chmod(0o777)
    scripts = application.serving_files().script(place / "scripts", code, call=NAMELESS)
    with lighttpd(place, "script.conf", SCRIPTS=scripts, SOCKET=place / "app.sock") as site:
        (site.directory / "static").rmdir()
        shutil.move(application.public / "static", site.directory / "static")
        yield site


@contextlib.contextmanager
def lighttpd_at_a_prefix(place: Path, application: Installed, code: Code) -> Iterator[Site]:
    """A server that runs already, on TCP."""
    application = application.serving_files()
    with (
        gateway_on_tcp(place, *application.options(), app=application.argument) as (_, port),
        lighttpd(place, "prefix.conf", prefix=PREFIX, BACKEND_PORT=port) as site,
    ):
        yield site


DEPLOYMENTS: list[Deployment] = [
    nginx_at_the_root,
    nginx_at_a_prefix,
    mod_fcgid_at_the_root,
    mod_fcgid_at_a_prefix,
    mod_fcgid_on_a_shared_host,
    lighttpd_at_the_root,
    lighttpd_rewriting,
    lighttpd_at_a_prefix,
]
