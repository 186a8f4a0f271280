"""nginx, Apache httpd and lighttpd, each booted in a directory of its own on files of contrib/."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from .client import Site
from .harness import (
    CONTRIB,
    WEB_SERVER_USER,
    Server,
    fill,
    missing,
    require,
    started_on_a_free_port,
)

NGINX_PACKAGE = "nginx"
APACHE_PACKAGE = "apache2"
LIGHTTPD_PACKAGE = "lighttpd"

APACHE_MODULES = Path("/usr/lib/apache2/modules")
NGINX_PARAMS = [Path("/etc/nginx") / f"{name}_params" for name in ("fastcgi", "scgi", "uwsgi")]


@contextlib.contextmanager
def nginx(
    directory: Path, site: str, *, options: str = "", prefix: str = "", **values: object
) -> Iterator[Site]:
    """nginx on contrib/nginx/SITE; ``options`` are directives for the whole of it."""
    program = require("nginx", NGINX_PACKAGE)
    root = directory / "nginx"
    (root / "conf.d").mkdir(parents=True)
    (root / "htdocs").mkdir()
    (root / "conf.d" / "options.conf").write_text(options)
    # "include fastcgi_params" looks beside nginx.conf: the distribution's files must be there.
    for params in NGINX_PARAMS:
        if not params.exists():
            missing(str(params), NGINX_PACKAGE)
        (root / params.name).symlink_to(params)
    contrib = CONTRIB / "nginx"
    (root / "nginx.conf").write_text(fill(contrib / "nginx.conf", ROOT=root))
    user = f"user {WEB_SERVER_USER}; " if WEB_SERVER_USER else ""
    command = [program, "-c", str(root / "nginx.conf"), "-g", f"daemon off; {user}"]

    def launch(port: int) -> Server:
        text = fill(contrib / site, ROOT=root, PORT=port, **values)
        (root / "conf.d" / "site.conf").write_text(text)
        return Server([*command, "-e", str(root / "error.log")], root / "nginx.log")

    with _serving(launch) as port:
        yield Site(port, root, prefix)


@contextlib.contextmanager
def apache(directory: Path, site: str, *, prefix: str = "", **values: object) -> Iterator[Site]:
    """Apache httpd on contrib/apache/SITE."""
    program = require("apache2", APACHE_PACKAGE)
    if not (APACHE_MODULES / "mod_fcgid.so").exists():
        missing("mod_fcgid", "libapache2-mod-fcgid")
    root = directory / "apache"
    (root / "htdocs").mkdir(parents=True)
    contrib = CONTRIB / "apache"

    def launch(port: int) -> Server:
        (root / "apache.conf").write_text(fill(contrib / "apache.conf", ROOT=root, PORT=port))
        (root / "site.conf").write_text(fill(contrib / site, ROOT=root, **values))
        return Server([program, "-DFOREGROUND", "-f", root / "apache.conf"], root / "error.log")

    with _serving(launch) as port:
        yield Site(port, root, prefix)


@contextlib.contextmanager
def lighttpd(directory: Path, site: str, *, prefix: str = "", **values: object) -> Iterator[Site]:
    """lighttpd on contrib/lighttpd/SITE."""
    program = require("lighttpd", LIGHTTPD_PACKAGE)
    root = directory / "lighttpd"
    for name in ("htdocs", "static", "uploads"):
        (root / name).mkdir(parents=True)
    if WEB_SERVER_USER is not None:
        # It makes its log and the script's socket there after it has dropped root.
        for path in (root, root / "uploads"):
            shutil.chown(path, WEB_SERVER_USER)
    contrib = CONTRIB / "lighttpd"

    def launch(port: int) -> Server:
        (root / "lighttpd.conf").write_text(fill(contrib / "lighttpd.conf", ROOT=root, PORT=port))
        (root / "site.conf").write_text(fill(contrib / site, ROOT=root, **values))
        return Server([program, "-D", "-f", root / "lighttpd.conf"], root / "lighttpd.log")

    with _serving(launch) as port:
        yield Site(port, root, prefix)


@contextlib.contextmanager
def _serving(launch: Callable[[int], Server]) -> Iterator[int]:
    server, port = started_on_a_free_port(launch)
    try:
        yield port
    finally:
        server.stop(signal.SIGTERM)
