"""The usual mistakes, each made on real servers; ``test_troubleshooting`` compares what is said.

A mistake is a function that returns what it led to, by the name that docs/troubleshooting.md gives
to whoever sees it: ``nginx visitor`` (status line, headers and page), ``nginx`` (its error log),
``gateways`` (our log), and so on. Its servers have ended by then, so nothing has to be waited for.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .client import Site
from .frontends import apache, lighttpd, nginx
from .harness import (
    WEB_SERVER_USER,
    Fifo,
    free_port,
    gateway,
    gateway_on_tcp,
    wait_until,
)
from .launching import write_application
from .scripts import write_script

Texts = dict[str, str]
Mistake = Callable[[Path, Path], Texts]

MISTAKES: dict[str, Mistake] = {}

PROTOCOLS = {"FastCGI": "fcgi", "uwsgi": "uwsgi", "SCGI": "scgi", "HTTP": "http"}
_GATEWAYS = [sys.executable, "-m", "gateways"]
_PREFIX = "/yourapplication"


def mistake(made: Mistake) -> Mistake:
    """Enter a mistake under its name in the document."""
    MISTAKES[made.__name__.replace("_", "-")] = made
    return made


# -- how they are made -------------------------------------------------------------------------


def visit(
    site: Site,
    path: str = "/",
    method: str = "GET",
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """The answer as the visitor gets it: status line, headers, page."""
    with site.response(method, path, body, headers) as response:
        head = f"{response.status} {response.reason}\n{response.msg}"
        return head + response.read().decode(errors="replace")


def errors_of(site: Site) -> str:
    """All that a web server has logged; lighttpd -D leaves the standard error of scripts alone."""
    other = site.directory / "lighttpd.log"
    return site.error_log + (other.read_text(errors="replace") if other.exists() else "")


@contextlib.contextmanager
def nginx_on(place: Path, text: str, *, options: str = "", **values: Any) -> Iterator[Site]:
    """nginx with a configuration of the mistake's own; ``text`` is what stands in ``server``."""
    place.mkdir(exist_ok=True)
    file = place / "mistaken.conf"
    file.write_text(f"server {{\n    listen 127.0.0.1:@PORT@;\n{text}\n}}\n")
    with nginx(place, str(file), options=options, prefix="", **values) as site:
        yield site


@contextlib.contextmanager
def site_on(
    front_end: Callable[..., contextlib.AbstractContextManager[Site]],
    place: Path,
    text: str,
    **values: object,
) -> Iterator[Site]:
    """Apache or lighttpd with a configuration of the mistake's own."""
    place.mkdir(exist_ok=True)
    file = place / "mistaken.conf"
    file.write_text(text)
    with front_end(place, str(file), **values) as site:
        yield site


def behind_each(place: Path, path: str) -> Texts:
    """What nginx, Apache and lighttpd make of the FastCGI server at a Unix path."""
    texts = {}
    for name, running in {
        "nginx": nginx(place, "root.conf", BACKEND=f"unix:{path}"),
        "Apache": apache(place, "proxy-fcgi-unix.conf", SOCKET=path),
        "lighttpd": lighttpd(place, "socket.conf", SOCKET=path),
    }.items():
        with running as site:
            texts[f"{name} visitor"] = visit(site)
        texts[name] = errors_of(site)
    return texts


EVERY_STARTER = ("mod_fcgid", "mod_cgid", "lighttpd")


def started_by_each(
    place: Path, text: str, names: Iterable[str] = EVERY_STARTER, mode: int = 0o755
) -> Texts:
    """What mod_fcgid, mod_cgid and lighttpd make of a script."""
    where = place / "own"
    where.mkdir()
    for name in ("yourapplication.fcgi", "yourapplication.cgi"):
        write_script(where / name, text)
        (where / name).chmod(mode)
    texts = {}
    place.chmod(0o777)  # lighttpd makes the socket
    values: dict[str, Any] = {"SCRIPTS": where, "SOCKET": place / "app.sock"}
    starters = {
        "mod_fcgid": (apache, place, "fcgid-root.conf"),
        "mod_cgid": (apache, place / "cgi", "cgid.conf"),
        "lighttpd": (lighttpd, place, "root.conf"),
    }
    for name in names:
        front_end, root, conf = starters[name]
        try:
            with front_end(root, conf, **values) as site:
                texts[f"{name} visitor"] = visit(site)
        except (RuntimeError, OSError) as error:
            if front_end is not lighttpd:
                raise
            # It listens, starts the script, and ends because that has ended.
            texts[f"{name} visitor"] = f"no answer\n{error}"
        logs = (root / ("lighttpd" if name == "lighttpd" else "apache")).glob("*.log")
        texts[name] = "".join(log.read_text(errors="replace") for log in logs)
    return texts


def script(scripts: Path, text: str) -> str:
    """A script that finds what it imports."""
    python = (scripts / "yourapplication.fcgi").read_text().partition("\n")[0]
    return f"{python}\nimport sys\nsys.path.insert(0, {str(scripts)!r})\n{text}\n"


# -- the socket --------------------------------------------------------------------------------


def _must_drop_root() -> None:
    if WEB_SERVER_USER is None:
        pytest.skip("only root starts web servers that run as another user")


@mistake
def socket_mode(place: Path, scripts: Path) -> Texts:
    """Nobody but its owner may use the socket."""
    _must_drop_root()
    path = str(place / "closed.sock")
    with gateway(place, "--bind", path) as (server, _):
        return behind_each(place, path) | {"gateways": server.log}


@mistake
def closed_directory(place: Path, scripts: Path) -> Texts:
    """Everybody may use the socket, and only its owner the directory."""
    _must_drop_root()
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with gateway(closed) as (server, path):
        return behind_each(place, path) | {"gateways": server.log}


@mistake
def no_socket(place: Path, scripts: Path) -> Texts:
    """The server is not started, or listens elsewhere."""
    return behind_each(place, str(place / "nothing.sock"))


@mistake
def nobody_listens(place: Path, scripts: Path) -> Texts:
    """The file of a server that was killed."""
    path = place / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    path.chmod(0o666)
    return behind_each(place, str(path))


@mistake
def wrong_port(place: Path, scripts: Path) -> Texts:
    """The same on TCP."""
    port = free_port()
    texts = {}
    for name, running in {
        "nginx": nginx(place, "root.conf", BACKEND=f"127.0.0.1:{port}"),
        "Apache": apache(place, "proxy-fcgi-tcp.conf", BACKEND_PORT=port),
        "lighttpd": lighttpd(place, "prefix.conf", BACKEND_PORT=port),
    }.items():
        with running as site:
            texts[f"{name} visitor"] = visit(site, f"{_PREFIX}/")
        texts[name] = errors_of(site)
    return texts


# -- the protocol ------------------------------------------------------------------------------

_NGINX_PASS = {
    "fcgi": "include fastcgi_params; fastcgi_pass unix:{};",
    "uwsgi": "include uwsgi_params; uwsgi_pass unix:{};",
    "scgi": "include scgi_params; scgi_pass unix:{};",
    "http": "proxy_pass http://unix:{}:;",
}


def every_pair(place: Path) -> tuple[dict[tuple[str, str, str], str], Texts]:
    """The status of each wrong pair by (web server, what it speaks, what the socket speaks)."""
    paths = {spoken: place / f"{spoken}.sock" for spoken in PROTOCOLS.values()}
    binds = [
        f"--bind={spoken}:unix:{path}?mode=666"
        for spoken, path in paths.items()
        if spoken != "fcgi"
    ]
    pairs = [(a, b) for a in paths for b in paths if a != b]
    locations = "\n".join(
        f"location /{a}/{b} {{ {_NGINX_PASS[a].format(paths[b])} }}" for a, b in pairs
    )
    proxied = "\n".join(f'ProxyPass "/{a}/{b}" "unix:{paths[b]}|{a}://{a}-{b}/"' for a, b in pairs)
    lighttpd_site = ['server.modules += ( "mod_scgi" )']
    for a in ("fcgi", "uwsgi", "scgi"):
        hosts = ", ".join(
            f'"/{a}/{b}" => (( "socket" => "{paths[b]}", "check-local" => "disable" ))'
            for b in paths
            if a != b
        )
        kind = "fastcgi" if a == "fcgi" else "scgi"
        lighttpd_site.append(f'$HTTP["url"] =~ "^/{a}/" {{')
        if a != "fcgi":
            lighttpd_site.append(f'    scgi.protocol = "{a}"')
        lighttpd_site.append(f"    {kind}.server = ( {hosts} )\n}}")
    statuses = {}
    texts = {}
    with gateway(place, *binds, protocol="serve", name="fcgi") as (server, _):
        for name, running in {
            "nginx": nginx_on(place, locations),
            "Apache": site_on(
                apache, place, f'{proxied}\n<Location "/">\nRequire all granted\n</Location>'
            ),
            "lighttpd": site_on(lighttpd, place, "\n".join(lighttpd_site)),
        }.items():
            with running as site:
                for a, b in pairs:
                    if name == "lighttpd" and a == "http":
                        continue  # mod_proxy; not among the deployments
                    answer = visit(site, f"/{a}/{b}")
                    statuses[name, a, b] = answer.split()[0]
                    if (a, b) == ("uwsgi", "fcgi"):
                        texts[f"{name} visitor"] = answer
            texts[name] = errors_of(site)
        return statuses, texts | {"gateways": server.log}


@mistake
def tls_to_a_plain_socket(place: Path, scripts: Path) -> Texts:
    """https:// in proxy_pass."""
    with (
        gateway_on_tcp(place, protocol="http") as (server, port),
        nginx_on(place, f"location / {{ proxy_pass https://127.0.0.1:{port}; }}") as site,
    ):
        texts = {"nginx visitor": visit(site)}
    return texts | {"nginx": errors_of(site), "gateways": server.log}


# -- the prefix --------------------------------------------------------------------------------


@mistake
def prefix_not_set(place: Path, scripts: Path) -> Texts:
    """Mounted at a prefix, and nobody has said so."""
    text = f"location {_PREFIX}/ {{ include fastcgi_params; fastcgi_pass @BACKEND@; }}"
    with (
        gateway(place) as (server, path),
        nginx_on(place, text, BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, f"{_PREFIX}/greet/you")}
    return texts | {"gateways": server.log}


_STILL_THERE = f"""location {_PREFIX}/ {{
    include fastcgi_params;
    fastcgi_param SCRIPT_NAME {_PREFIX};
    fastcgi_param PATH_INFO $fastcgi_script_name;
    fastcgi_pass @BACKEND@;
}}"""


@mistake
def prefix_left_in_the_path(place: Path, scripts: Path) -> Texts:
    """SCRIPT_NAME holds the prefix, and so does PATH_INFO."""
    with (
        gateway(place) as (server, path),
        nginx_on(place, _STILL_THERE, BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, f"{_PREFIX}/greet/you")}
    return texts | {"gateways": server.log}


@mistake
def prefix_twice(place: Path, scripts: Path) -> Texts:
    """The same for an application that has the prefix in its own routes."""
    with (
        gateway(place, app="troubled:prefixed") as (server, path),
        nginx_on(place, _STILL_THERE, BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, f"{_PREFIX}/old")}
    return texts | {"gateways": server.log}


@mistake
def prefix_elsewhere(place: Path, scripts: Path) -> Texts:
    """--script-name names a prefix at which the web server has nothing."""
    with (
        gateway(place, "--script-name", _PREFIX) as (server, path),
        nginx(place, "root.conf", BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, "/greet/you")}
    return texts | {"gateways": server.log}


@mistake
def root_of_lighttpd(place: Path, scripts: Path) -> Texts:
    """Mounted at "/" without fix-root-scriptname."""
    text = (
        """fastcgi.server = ( "/" => (( "socket" => "@SOCKET@", "check-local" => "disable" )) )"""
    )
    with (
        gateway(place) as (_, path),
        site_on(lighttpd, place, text, SOCKET=path) as site,
    ):
        return {"lighttpd visitor": visit(site, "/greet/you")}


# -- scripts -----------------------------------------------------------------------------------


@mistake
def not_executable(place: Path, scripts: Path) -> Texts:
    """chmod +x was forgotten."""
    text = (scripts / "yourapplication.fcgi").read_text()
    return started_by_each(place, text, mode=0o644)


@mistake
def wrong_interpreter(place: Path, scripts: Path) -> Texts:
    """The first line names a Python that is not there."""
    text = (scripts / "yourapplication.fcgi").read_text().partition("\n")[2]
    return started_by_each(place, f"#!/nowhere/bin/python3\n{text}")


@mistake
def script_cannot_import(place: Path, scripts: Path) -> Texts:
    """A package that this interpreter does not have."""
    text = "from gateways.fcgi import WSGIServer\nfrom no_such_package import app\n"
    return started_by_each(place, script(scripts, text + "\nWSGIServer(app).run()"))


@mistake
def cgi_cannot_import(place: Path, scripts: Path) -> Texts:
    """The same, where gateways.cgi imports the application."""
    text = 'from gateways.cgi import CGIHandler\n\nCGIHandler().run("no_such_package:app")'
    return started_by_each(place, script(scripts, text), ["mod_cgid"])


@mistake
def print_in_cgi(place: Path, scripts: Path) -> Texts:
    """The application prints."""
    text = (
        "from gateways.cgi import CGIHandler\nfrom yourapplication import app\n\n"
        "def noisy(environ, start_response):\n    print('here I am')\n"
        "    return app(environ, start_response)\n\nCGIHandler(script_name='').run(noisy)"
    )
    return started_by_each(place, script(scripts, text), ["mod_cgid"])


# -- the application ---------------------------------------------------------------------------


@mistake
def command_cannot_import(place: Path, scripts: Path) -> Texts:
    """The application cannot be imported when the server starts."""
    command = [*_GATEWAYS, "fcgi", "--bind", str(place / "app.sock"), "no_such_package:app"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    return {"exit status": str(done.returncode), "gateways": done.stderr}


@mistake
def reload_cannot_import(place: Path, scripts: Path) -> Texts:
    """New code that cannot be imported."""
    write_application(place, "1")
    options = ("--pythonpath", str(place), "--pidfile", str(place / "pid"))
    with (
        gateway(place, *options, app="versioned:app") as (server, path),
        nginx(place, "root.conf", BACKEND=f"unix:{path}") as site,
    ):
        visit(site)  # the first one has been loaded
        write_application(place, "2", "import no_such_package")
        command = [*_GATEWAYS, "reload", "--pidfile", str(place / "pid")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        texts = {
            "exit status of reload": str(done.returncode),
            "reload": done.stderr,
            "nginx visitor": visit(site),
        }
    return texts | {"gateways": server.log}


@mistake
def application_raises(place: Path, scripts: Path) -> Texts:
    """A bug."""
    binds = [f"--bind=uwsgi:unix:{place}/uwsgi.sock?mode=666"]
    application = {"app": "flaskapp:raising", "protocol": "serve"}
    with gateway(place, *binds, **application) as (server, path):
        with nginx(place, "root.conf", BACKEND=f"unix:{path}") as site:
            texts = {"nginx visitor": visit(site, "/some/page")}
        texts["nginx"] = errors_of(site)
        with apache(place, "proxy-fcgi-unix.conf", SOCKET=path) as site:
            texts["Apache visitor"] = visit(site, "/some/page")
        texts["Apache"] = errors_of(site)
    return texts | {"gateways": server.log}


# -- limits and time-outs ----------------------------------------------------------------------


@mistake
def body_too_large_for_nginx(place: Path, scripts: Path) -> Texts:
    """More than client_max_body_size, 1m."""
    with (
        gateway(place) as (_, path),
        nginx(place, "stock.conf", BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, "/upload", "POST", bytes(1_100_000))}
    return texts | {"nginx": errors_of(site)}


@mistake
def body_too_large(place: Path, scripts: Path) -> Texts:
    """More than --max-body."""
    with (
        gateway(place, "--max-body", "2k") as (server, path),
        nginx(place, "root.conf", BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, "/upload", "POST", bytes(3000))}
    return texts | {"gateways": server.log}


@mistake
def body_too_large_for_fcgid(place: Path, scripts: Path) -> Texts:
    """More than FcgidMaxRequestLen, 131072."""
    text = """
ScriptAlias "/" "@SCRIPTS@/yourapplication.fcgi/"
<Directory "@SCRIPTS@">
    SetHandler fcgid-script
    Options +ExecCGI
    Require all granted
</Directory>
"""
    with site_on(apache, place, text, SCRIPTS=scripts) as site:
        texts = {"mod_fcgid visitor": visit(site, "/upload", "POST", bytes(131_073))}
    return texts | {"mod_fcgid": errors_of(site)}


@mistake
def headers_too_large(place: Path, scripts: Path) -> Texts:
    """More than --max-variables-bytes; more than nginx takes itself."""
    with (
        gateway(place, "--max-variables-bytes", "4k") as (server, path),
        nginx(place, "root.conf", BACKEND=f"unix:{path}") as site,
    ):
        texts = {
            "nginx visitor": visit(site, headers={"Cookie": "x" * 5000}),
            "nginx visitor with more": visit(site, headers={"Cookie": "x" * 9000}),
        }
    return texts | {"nginx": errors_of(site), "gateways": server.log}


def _slow(site: Site, place: Path) -> str:
    """The answer to a request that is released only when it has been given up."""
    with Fifo(place / "begun") as begun, Fifo(place / "pipe") as pipe:
        try:
            return visit(site, f"/wait?begun={begun.path}&pipe={pipe.path}")
        finally:
            pipe.send()


@mistake
def web_server_times_out(place: Path, scripts: Path) -> Texts:
    """The application takes longer than the web server waits."""
    texts = {}
    with gateway(place, "--script-name", "") as (_, path):
        options = "fastcgi_read_timeout 1;\n"
        with nginx(place, "root.conf", options=options, BACKEND=f"unix:{path}") as site:
            texts["nginx visitor"] = _slow(site, place)
        texts["nginx"] = errors_of(site)
        text = 'ProxyPass "/" "unix:@SOCKET@|fcgi://localhost/" timeout=1\n'
        text += '<Location "/">\nRequire all granted\n</Location>'
        with site_on(apache, place, text, SOCKET=path) as site:
            texts["Apache visitor"] = _slow(site, place)
        texts["Apache"] = errors_of(site)
    return texts


@mistake
def request_times_out(place: Path, scripts: Path) -> Texts:
    """--timeout."""
    with (
        gateway(place, "--timeout", "0.5", app="troubled:sleepy") as (server, path),
        nginx(place, "root.conf", BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, "/report")}
    return texts | {"nginx": errors_of(site), "gateways": server.log}


@mistake
def buffered(place: Path, scripts: Path) -> Texts:
    """Events that the web server keeps until there are many."""
    with (
        gateway(place) as (_, path),
        nginx(place, "root.conf", BACKEND=f"unix:{path}") as site,
        Fifo(place / "pipe") as pipe,
        site.raw() as client,
    ):
        client.sendall(f"GET /events?pipe={pipe.path} HTTP/1.0\r\n\r\n".encode())
        for _ in range(2):
            pipe.send()
        # Three events are made, and the application waits behind the third.
        wait_until(lambda: not _unread(pipe.path), "the events are made")
        ready, _, _ = select.select([client], [], [], 0.5)
        pipe.send()
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert not ready, "nothing is seen before the end"
    return {"nginx visitor": answer.partition(" ")[2]}


def _unread(path: Path) -> int:
    """How many bytes lie in a named pipe."""
    with path.open("r+b", buffering=0) as pipe:
        (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(count)


# -- what gets lost on the way -----------------------------------------------------------------


@mistake
def authorization_lost(place: Path, scripts: Path) -> Texts:
    """Apache keeps the Authorization header to itself."""
    text = 'ProxyPass "/" "unix:@SOCKET@|fcgi://localhost/"\n'
    text += '<Location "/">\nRequire all granted\n</Location>'
    with (
        gateway(place, "--script-name", "", app="troubled:guarded") as (_, path),
        site_on(apache, place, text, SOCKET=path) as site,
    ):
        return {"Apache visitor": visit(site, headers={"Authorization": "Basic dTpw"})}


@mistake
def port_lost(place: Path, scripts: Path) -> Texts:
    """Debian's fastcgi_params send HTTP_HOST without the port."""
    with (
        gateway(place, app="troubled:redirecting") as (_, path),
        nginx(place, "root.conf", BACKEND=f"unix:{path}") as site,
    ):
        return {"nginx visitor": visit(site)}


@mistake
def https_lost(place: Path, scripts: Path) -> Texts:
    """A proxy has taken TLS off, and the application makes http:// links."""
    http = (
        "location /http { proxy_set_header X-Forwarded-Proto https; proxy_pass http://unix:@A@:; }"
    )
    fcgi = "location / { include fastcgi_params; fastcgi_pass unix:@B@; }"
    options = [f"--bind=http:unix:{place}/http.sock?mode=666", "--forwarded-allow-ips", "192.0.2.1"]
    with (
        gateway(place, *options, app="troubled:redirecting", protocol="serve") as (server, path),
        nginx_on(place, f"{http}\n{fcgi}", A=place / "http.sock", B=path) as site,
    ):
        texts = {
            "HTTP visitor": visit(site, "/http"),
            "FastCGI visitor": visit(site, headers={"X-Forwarded-Proto": "https"}),
        }
    return texts | {"gateways": server.log}
