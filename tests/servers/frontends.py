"""The web servers, each booted in a directory of its own on files of contrib/."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from .certificate import Certificate
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
LIGHTTPD_TLS = Path("/usr/lib/lighttpd/mod_openssl.so")
NGINX_PARAMS = [Path("/etc/nginx") / f"{name}_params" for name in ("fastcgi", "scgi", "uwsgi")]

# A file of contrib/, or else what makes the text of one for the port.
SiteFile = str | Callable[[int], str]


def backend_of(web_server: str, protocol: str, address: str | int) -> str:
    """The address of a server, a Unix path or a port of loopback, as a web server writes it."""
    unix = isinstance(address, str)
    tcp = f"127.0.0.1:{address}"
    return {
        "nginx": f"unix:{address}" if unix else tcp,
        "apache": f"unix:{address}|{protocol}://localhost" if unix else f"{protocol}://{tcp}",
        "lighttpd": f'"socket" => "{address}"'
        if unix
        else f'"host" => "127.0.0.1", "port" => {address}',
        "caddy": f"unix/{address}" if unix else tcp,
        "haproxy": f"unix@{address}" if unix else tcp,
    }[web_server]


@contextlib.contextmanager
def nginx(
    directory: Path,
    site: SiteFile,
    *,
    options: str = "",
    prefix: str = "",
    tls: Certificate | None = None,
    **values: object,
) -> Iterator[Site]:
    """nginx on contrib/nginx/SITE; ``options`` are directives for the whole of it."""
    program = require("nginx", NGINX_PACKAGE)
    root = directory / "nginx"
    (root / "conf.d").mkdir(parents=True)
    (root / "htdocs").mkdir()
    if tls:
        options += f"ssl_certificate {tls.pem};\nssl_certificate_key {tls.pem};\n"
        values["LISTEN"] = lambda port: f"127.0.0.1:{port} ssl"
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
        text = _text(contrib, site, root, port, prefix, values)
        (root / "conf.d" / "site.conf").write_text(text)
        return Server([*command, "-e", str(root / "error.log")], root / "nginx.log")

    with _serving(launch) as port:
        yield Site(port, root, prefix, tls.trust if tls else None)


@contextlib.contextmanager
def apache(
    directory: Path,
    site: SiteFile,
    *,
    prefix: str = "",
    tls: Certificate | None = None,
    **values: object,
) -> Iterator[Site]:
    """Apache httpd on contrib/apache/SITE."""
    program = require("apache2", APACHE_PACKAGE)
    if not (APACHE_MODULES / "mod_fcgid.so").exists():
        missing("mod_fcgid", "libapache2-mod-fcgid")
    root = directory / "apache"
    (root / "htdocs").mkdir(parents=True)
    contrib = CONTRIB / "apache"

    def launch(port: int) -> Server:
        (root / "apache.conf").write_text(fill(contrib / "apache.conf", ROOT=root, PORT=port))
        text = _text(contrib, site, root, port, prefix, values)
        if tls:
            module = f"LoadModule ssl_module {APACHE_MODULES / 'mod_ssl.so'}"
            text = f'{module}\nSSLEngine on\nSSLCertificateFile "{tls.pem}"\n{text}'
        (root / "site.conf").write_text(text)
        return Server([program, "-DFOREGROUND", "-f", root / "apache.conf"], root / "error.log")

    with _serving(launch) as port:
        yield Site(port, root, prefix, tls.trust if tls else None)


@contextlib.contextmanager
def lighttpd(
    directory: Path,
    site: SiteFile,
    *,
    prefix: str = "",
    tls: Certificate | None = None,
    **values: object,
) -> Iterator[Site]:
    """lighttpd on contrib/lighttpd/SITE."""
    program = require("lighttpd", LIGHTTPD_PACKAGE)
    root = directory / "lighttpd"
    for name in ("htdocs", "static", "uploads"):
        (root / name).mkdir(parents=True)
    if WEB_SERVER_USER is not None:
        # It makes its log and the script's socket there after it has dropped root.
        for path in (root, root / "uploads"):
            shutil.chown(path, WEB_SERVER_USER)
    if tls and not LIGHTTPD_TLS.exists():
        missing(LIGHTTPD_TLS.name, "lighttpd-mod-openssl")
    contrib = CONTRIB / "lighttpd"

    def launch(port: int) -> Server:
        (root / "lighttpd.conf").write_text(fill(contrib / "lighttpd.conf", ROOT=root, PORT=port))
        text = _text(contrib, site, root, port, prefix, values)
        if tls:
            text = f'ssl.engine = "enable"\nssl.pemfile = "{tls.pem}"\n{text}'
            text = f'server.modules += ( "mod_openssl" )\n{text}'
        (root / "site.conf").write_text(text)
        return Server([program, "-D", "-f", root / "lighttpd.conf"], root / "lighttpd.log")

    with _serving(launch) as port:
        yield Site(port, root, prefix, tls.trust if tls else None)


@contextlib.contextmanager
def caddy(
    directory: Path,
    site: SiteFile,
    *,
    prefix: str = "",
    tls: Certificate | None = None,
    **values: object,
) -> Iterator[Site]:
    """Caddy on contrib/caddy/SITE."""
    program = require("caddy", "caddy")
    root = directory / "caddy"
    root.mkdir()
    contrib = CONTRIB / "caddy"
    text = fill(contrib / "Caddyfile", ROOT=root)
    if tls:
        # It would bind port 80 to send visitors on.
        text = text.replace("admin off\n", "admin off\n\tauto_https disable_redirects\n")
        values["SITE"] = lambda port: f"https://127.0.0.1:{port}"
    (root / "Caddyfile").write_text(text)
    command = [program, "run", "--adapter", "caddyfile", "--config", str(root / "Caddyfile")]

    def launch(port: int) -> Server:
        text = _text(contrib, site, root, port, prefix, values)
        if tls:
            text = text.replace(f":{port} {{\n", f":{port} {{\n\ttls {tls.pem} {tls.pem}\n")
        (root / "site.caddy").write_text(text)
        # It keeps its state in the home directory.
        return Server(command, root / "error.log", environment={"HOME": str(root)})

    with _serving(launch) as port:
        yield Site(port, root, prefix, tls.trust if tls else None)


@contextlib.contextmanager
def haproxy(
    directory: Path,
    site: SiteFile,
    *,
    prefix: str = "",
    tls: Certificate | None = None,
    **values: object,
) -> Iterator[Site]:
    """HAProxy on contrib/haproxy/SITE."""
    program = require("haproxy", "haproxy")
    root = directory / "haproxy"
    root.mkdir()
    contrib = CONTRIB / "haproxy"
    if tls:
        values["LISTEN"] = lambda port: f"127.0.0.1:{port} ssl crt {tls.pem}"
    (root / "haproxy.cfg").write_text(fill(contrib / "haproxy.cfg", ROOT=root))
    command = [program, "-db", "-f", str(root / "haproxy.cfg"), "-f", str(root / "site.cfg")]

    def launch(port: int) -> Server:
        (root / "site.cfg").write_text(_text(contrib, site, root, port, prefix, values))
        return Server(command, root / "error.log")

    with _serving(launch) as port:
        yield Site(port, root, prefix, tls.trust if tls else None)


@contextlib.contextmanager
def mod_fcgid(directory: Path, scripts: Path) -> Iterator[Site]:
    """Apache, which starts the script: a process for as many requests as run at once."""
    with apache(directory, "fcgid-root.conf", SCRIPTS=scripts) as site:
        yield site


@contextlib.contextmanager
def bin_path(directory: Path, scripts: Path) -> Iterator[Site]:
    """lighttpd, which starts the script: one process."""
    directory.chmod(0o777)  # it makes the socket after it has dropped root
    with lighttpd(directory, "root.conf", SCRIPTS=scripts, SOCKET=directory / "app.sock") as site:
        yield site


Manager = Callable[[Path, Path], contextlib.AbstractContextManager[Site]]
MANAGERS: list[Manager] = [mod_fcgid, bin_path]


def _text(
    contrib: Path,
    site: SiteFile,
    root: Path,
    port: int,
    prefix: str,
    values: dict[str, object],
) -> str:
    """The site's configuration: a file of contrib/ with its placeholders filled in.

    A value that depends on the port is a function of it.
    """
    if not isinstance(site, str):
        return site(port)
    common: dict[str, object] = {
        "ROOT": root,
        "PORT": port,
        "LISTEN": f"127.0.0.1:{port}",
        "SITE": f"http://127.0.0.1:{port}",
        "PREFIX": prefix,
        "MOUNT": prefix or "/",
        "NAME": "yourapplication",
    }
    if contrib.name == "nginx":
        common["SERVER_NAME"] = "localhost"
    own = {name: value(port) if callable(value) else value for name, value in values.items()}
    return fill(contrib / site, **{**common, **own})


@contextlib.contextmanager
def _serving(launch: Callable[[int], Server]) -> Iterator[int]:
    server, port = started_on_a_free_port(launch)
    try:
        yield port
    finally:
        server.stop(signal.SIGTERM)
