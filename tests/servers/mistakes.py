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
    DEADLINE_SECONDS,
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

# The least that each needs; the distribution's files have the rest.
AT_ROOT = "location / { include fastcgi_params; fastcgi_pass @BACKEND@; }"
AT_ROOT_OF_LIGHTTPD = """
fastcgi.server = ( "/" => (( "socket" => "@SOCKET@", "check-local" => "disable" )) )
"""
SCRIPT_OF_LIGHTTPD = """
fastcgi.server = ( "/" => ((
    "socket" => "@SOCKET@",
    "bin-path" => "@SCRIPTS@/yourapplication.fcgi",
    "check-local" => "disable",
    "max-procs" => 1
)) )
"""
FCGID = """
ScriptAlias "/" "@SCRIPTS@/yourapplication.fcgi/"
<Directory "@SCRIPTS@">
    SetHandler fcgid-script
    Options +ExecCGI
    Require all granted
</Directory>
"""
CGID = """
LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
ScriptSock "@ROOT@/cgisock"
ScriptAlias "/" "@SCRIPTS@/yourapplication.cgi/"
<Directory "@SCRIPTS@">
    Require all granted
</Directory>
"""


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


@contextlib.contextmanager
def apache_proxy(
    place: Path, backend: str, mount: str = "/", *, worker: str = "", inside: str = ""
) -> Iterator[Site]:
    """Apache with the least that takes it to a FastCGI server."""
    text = f'ProxyPass "{mount}" "{backend}{mount}" {worker}\n'
    text += f'<Location "/">\nRequire all granted\n{inside}\n</Location>'
    with site_on(apache, place, text) as site:
        yield site


def on_unix(path: str) -> str:
    """How Apache calls a FastCGI server on a Unix socket."""
    return f"unix:{path}|fcgi://localhost"


def behind_each(place: Path, path: str) -> Texts:
    """What nginx, Apache and lighttpd make of the FastCGI server at a Unix path."""
    texts = {}
    for name, running in {
        "nginx": nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}"),
        "Apache": apache_proxy(place, on_unix(path)),
        "lighttpd": site_on(lighttpd, place, AT_ROOT_OF_LIGHTTPD, SOCKET=path),
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
        "mod_fcgid": (apache, place, FCGID),
        "mod_cgid": (apache, place / "cgi", CGID),
        "lighttpd": (lighttpd, place, SCRIPT_OF_LIGHTTPD),
    }
    for name in names:
        front_end, root, text = starters[name]
        try:
            with site_on(front_end, root, text, **values) as site:
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
    on_tcp = f'fastcgi.server = ( "/" => (( "host" => "127.0.0.1", "port" => {port} )) )'
    texts = {}
    for name, running in {
        "nginx": nginx_on(place, AT_ROOT, BACKEND=f"127.0.0.1:{port}"),
        "Apache": apache_proxy(place, f"fcgi://127.0.0.1:{port}"),
        "lighttpd": site_on(lighttpd, place, on_tcp),
    }.items():
        with running as site:
            texts[f"{name} visitor"] = visit(site)
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
    text += f"location /http{_PREFIX}/ {{ proxy_pass http://unix:@HTTP@:{_PREFIX}/; }}"
    options = [f"--bind=http:unix:{place}/http.sock?mode=666"]
    texts = {}
    with gateway(place, *options, protocol="serve") as (server, path):
        backends: dict[str, Any] = {"BACKEND": f"unix:{path}", "HTTP": place / "http.sock"}
        with nginx_on(place, text, **backends) as site:
            texts["nginx visitor"] = visit(site, f"{_PREFIX}/greet/you")
            texts["HTTP visitor"] = visit(site, f"/http{_PREFIX}/greet/you")
        with apache_proxy(place, on_unix(path), f"{_PREFIX}/") as site:
            texts["Apache visitor"] = visit(site, f"{_PREFIX}/greet/you")
        texts["gateways"] = server.log
    with (
        gateway(place, *options, "--script-name", _PREFIX, protocol="serve"),
        nginx_on(place / "mended", text, **backends) as site,
    ):
        texts["mended nginx visitor"] = visit(site, f"{_PREFIX}/greet/you")
        texts["mended HTTP visitor"] = visit(site, f"/http{_PREFIX}/greet/you")
    return texts


_STILL_THERE = f"""location {_PREFIX}/ {{
    include fastcgi_params;
    fastcgi_param SCRIPT_NAME {_PREFIX};
    fastcgi_param PATH_INFO $fastcgi_script_name;
    fastcgi_pass @BACKEND@;
}}
location /uwsgi/ {{
    include uwsgi_params;
    uwsgi_param SCRIPT_NAME /uwsgi;
    uwsgi_pass @UWSGI@;
}}"""


def _prefix_left_in(place: Path, path: str, app: str, *options: str) -> Texts:
    uwsgi = f"unix:{place}/uwsgi.sock"
    with (
        gateway(place, f"--bind=uwsgi:{uwsgi}?mode=666", *options, app=app, protocol="serve") as (
            server,
            fcgi,
        ),
        nginx_on(place, _STILL_THERE, BACKEND=f"unix:{fcgi}", UWSGI=uwsgi) as site,
    ):
        texts = {"nginx visitor": visit(site, f"{_PREFIX}{path}")}
        if not options:
            texts["uwsgi visitor"] = visit(site, f"/uwsgi{path}")
    return texts | {"gateways": server.log}


def _with_its_remedy(place: Path, path: str, app: str, script_name: str) -> Texts:
    mended = place / "mended"
    mended.mkdir()
    texts = _prefix_left_in(mended, path, app, "--script-name", script_name)
    return _prefix_left_in(place, path, app) | {"mended nginx visitor": texts["nginx visitor"]}


@mistake
def prefix_left_in_the_path(place: Path, scripts: Path) -> Texts:
    """SCRIPT_NAME holds the prefix, and so does PATH_INFO."""
    return _with_its_remedy(place, "/greet/you", "flaskapp:app", _PREFIX)


@mistake
def prefix_twice(place: Path, scripts: Path) -> Texts:
    """The same for an application that has the prefix in its own routes."""
    return _with_its_remedy(place, "/old", "troubled:prefixed", "")


@mistake
def prefix_elsewhere(place: Path, scripts: Path) -> Texts:
    """--script-name names a prefix at which the web server has nothing."""
    with (
        gateway(place, "--script-name", _PREFIX) as (server, path),
        nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, "/greet/you")}
    return texts | {"gateways": server.log}


@mistake
def root_of_lighttpd(place: Path, scripts: Path) -> Texts:
    """Mounted at "/" without fix-root-scriptname."""
    with (
        gateway(place) as (_, path),
        site_on(lighttpd, place, AT_ROOT_OF_LIGHTTPD, SOCKET=path) as site,
    ):
        texts = {"lighttpd visitor": visit(site, "/greet/you")}
    mended = place / "mended"
    with (
        gateway(place, "--script-name", "") as (_, path),
        site_on(lighttpd, mended, AT_ROOT_OF_LIGHTTPD, SOCKET=path) as site,
    ):
        return texts | {"mended lighttpd visitor": visit(site, "/greet/you")}


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
def carriage_return(place: Path, scripts: Path) -> Texts:
    """The first line was written on Windows."""
    return started_by_each(place, script(scripts, "").replace("\n", "\r\n"), ["mod_cgid"])


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


def _printing(place: Path, scripts: Path, handler: str) -> Texts:
    text = f"""
from {handler} import CGIHandler
from yourapplication import app

def noisy(environ, start_response):
    print("here I am", flush=True)
    return app(environ, start_response)

CGIHandler().run(noisy)
"""
    return started_by_each(place, script(scripts, text), ["mod_cgid"])


@mistake
def print_in_cgi(place: Path, scripts: Path) -> Texts:
    """The application prints."""
    return _printing(place, scripts, "gateways.cgi")


@mistake
def print_in_other_cgi(place: Path, scripts: Path) -> Texts:
    """The same with the handler of the guides."""
    return _printing(place, scripts, "wsgiref.handlers")


# -- the application ---------------------------------------------------------------------------


@mistake
def command_cannot_import(place: Path, scripts: Path) -> Texts:
    """The application cannot be imported when the server starts."""
    command = [*_GATEWAYS, "fcgi", "--bind", str(place / "app.sock"), "no_such_package:app"]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    return {"exit status": str(done.returncode), "gateways": done.stderr}


@mistake
def reload_cannot_import(place: Path, scripts: Path) -> Texts:
    """New code that cannot be imported."""
    write_application(place, "1")
    options = ("--pythonpath", str(place), "--pidfile", str(place / "pid"))
    with (
        gateway(place, *options, app="versioned:app") as (server, path),
        nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}") as site,
    ):
        visit(site)  # the first one has been loaded
        write_application(place, "2", "import no_such_package")
        command = [*_GATEWAYS, "reload", "--pidfile", str(place / "pid")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        texts = {
            "exit status of reload": str(done.returncode),
            "reload": done.stderr,
            "nginx visitor": visit(site),
        }
    return texts | {"gateways": server.log}


@mistake
def application_raises(place: Path, scripts: Path) -> Texts:
    """A bug."""
    with gateway(place, app="flaskapp:raising") as (server, path):
        with nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}") as site:
            texts = {"nginx visitor": visit(site, "/some/page")}
        texts["nginx"] = errors_of(site)
        with apache_proxy(place, on_unix(path)) as site:
            texts["Apache visitor"] = visit(site, "/some/page")
        texts["Apache"] = errors_of(site)
    return texts | {"gateways": server.log}


# -- limits and time-outs ----------------------------------------------------------------------


@mistake
def body_too_large_for_nginx(place: Path, scripts: Path) -> Texts:
    """More than client_max_body_size, 1m."""
    with (
        gateway(place) as (_, path),
        nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, "/upload", "POST", bytes(1_100_000))}
    return texts | {"nginx": errors_of(site)}


@mistake
def body_too_large(place: Path, scripts: Path) -> Texts:
    """More than --max-body."""
    with (
        gateway(place, "--max-body", "2k") as (server, path),
        nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, "/upload", "POST", bytes(3000))}
    return texts | {"gateways": server.log}


@mistake
def body_too_large_for_fcgid(place: Path, scripts: Path) -> Texts:
    """More than FcgidMaxRequestLen, 131072."""
    with site_on(apache, place, FCGID, SCRIPTS=scripts) as site:
        texts = {"mod_fcgid visitor": visit(site, "/upload", "POST", bytes(131_073))}
    return texts | {"mod_fcgid": errors_of(site)}


@mistake
def body_too_large_for_lighttpd(place: Path, scripts: Path) -> Texts:
    """More than server.max-request-size, in KiB."""
    text = f"server.max-request-size = 2{AT_ROOT_OF_LIGHTTPD}"
    with site_on(lighttpd, place, text, SOCKET=place / "app.sock") as site:
        texts = {"lighttpd visitor": visit(site, "/upload", "POST", bytes(3000))}
    return texts | {"lighttpd": errors_of(site)}


@mistake
def headers_too_large(place: Path, scripts: Path) -> Texts:
    """More than --max-variables-bytes; more than nginx takes itself."""
    with (
        gateway(place, "--max-variables-bytes", "4k") as (server, path),
        nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}") as site,
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
        with nginx_on(place, AT_ROOT, options=options, BACKEND=f"unix:{path}") as site:
            texts["nginx visitor"] = _slow(site, place)
        texts["nginx"] = errors_of(site)
        with apache_proxy(place, on_unix(path), worker="timeout=1") as site:
            texts["Apache visitor"] = _slow(site, place)
        texts["Apache"] = errors_of(site)
        text = AT_ROOT_OF_LIGHTTPD.replace('"check-local"', '"read-timeout" => 1, "check-local"')
        with site_on(lighttpd, place, text, SOCKET=path) as site:
            texts["lighttpd visitor"] = _slow(site, place)
        texts["lighttpd"] = errors_of(site)
    return texts


@mistake
def fcgid_times_out(place: Path, scripts: Path) -> Texts:
    """A script takes longer than FcgidIOTimeout."""
    text = f"{FCGID}FcgidIOTimeout 1\n"
    with site_on(apache, place, text, SCRIPTS=scripts) as site:
        texts = {"mod_fcgid visitor": _slow(site, place)}
    return texts | {"mod_fcgid": errors_of(site)}


@mistake
def request_times_out(place: Path, scripts: Path) -> Texts:
    """--timeout."""
    with (
        gateway(place, "--timeout", "0.5", app="troubled:sleepy") as (server, path),
        nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}") as site,
    ):
        texts = {"nginx visitor": visit(site, "/report")}
    return texts | {"nginx": errors_of(site), "gateways": server.log}


@mistake
def buffered(place: Path, scripts: Path) -> Texts:
    """Events that the web server keeps until there are many."""
    texts = {}
    with gateway(place, "--script-name", "") as (_, path), Fifo(place / "pipe") as pipe:
        for name, running in {
            "nginx": nginx_on(place, AT_ROOT, BACKEND=f"unix:{path}"),
            "Apache": apache_proxy(place, on_unix(path)),
            "lighttpd": site_on(lighttpd, place, AT_ROOT_OF_LIGHTTPD, SOCKET=path),
        }.items():
            with running as site:
                texts[f"{name} visitor"] = _held_back(site, pipe)
    return texts


@mistake
def buffered_by_fcgid(place: Path, scripts: Path) -> Texts:
    """The same of a script that mod_fcgid has started, and with what lets events through."""
    texts = {}
    with Fifo(place / "pipe") as pipe:
        with site_on(apache, place, FCGID, SCRIPTS=scripts) as site:
            texts["mod_fcgid visitor"] = _held_back(site, pipe)
        text = f"{FCGID}FcgidOutputBufferSize 0\n"
        with site_on(apache, place / "mended", text, SCRIPTS=scripts) as site:
            texts["mended mod_fcgid visitor"] = _let_through(site, pipe)
    return texts


def _let_through(site: Site, pipe: Fifo) -> str:
    """The answer of which each event is seen before the application goes on."""
    with site.raw() as client:
        client.sendall(f"GET /events?pipe={pipe.path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        for number in range(3):
            while f"data: {number}\n\n".encode() not in answer:
                answer += client.recv(65536)
            pipe.send()
        answer += b"".join(iter(lambda: client.recv(65536), b""))
    return answer.decode().partition(" ")[2]


def _held_back(site: Site, pipe: Fifo) -> str:
    """The answer of which nothing is seen before its end."""
    with site.raw() as client:
        client.sendall(f"GET /events?pipe={pipe.path} HTTP/1.0\r\n\r\n".encode())
        for _ in range(2):
            pipe.send()
        # Three events are made, and the application waits behind the third.
        wait_until(lambda: not _unread(pipe.path), "the events are made")
        ready, _, _ = select.select([client], [], [], 0.5)
        pipe.send()
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert not ready, "something is seen before the end"
    return answer.partition(" ")[2]


def _unread(path: Path) -> int:
    """How many bytes lie in a named pipe."""
    with path.open("r+b", buffering=0) as pipe:
        (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(count)


# -- what gets lost on the way -----------------------------------------------------------------


@mistake
def authorization_lost(place: Path, scripts: Path) -> Texts:
    """Apache keeps the Authorization header to itself."""
    headers = {"Authorization": "Basic dTpw"}
    with gateway(place, "--script-name", "", app="troubled:guarded") as (_, path):
        with apache_proxy(place, on_unix(path)) as site:
            texts = {"Apache visitor": visit(site, headers=headers)}
        mended = place / "mended"
        with apache_proxy(mended, on_unix(path), inside="CGIPassAuth On") as site:
            return texts | {"mended Apache visitor": visit(site, headers=headers)}


@mistake
def port_lost(place: Path, scripts: Path) -> Texts:
    """Debian's fastcgi_params send HTTP_HOST without the port."""
    text = "location / { include fastcgi_params; @MORE@ fastcgi_pass @BACKEND@; }"
    texts = {}
    with gateway(place, app="troubled:redirecting") as (_, path):
        for who, more in {"": "", "mended ": "fastcgi_param HTTP_HOST $http_host;"}.items():
            where = place / (who.strip() or "made")
            with nginx_on(where, text, BACKEND=f"unix:{path}", MORE=more) as site:
                texts[f"{who}nginx visitor"] = visit(site)
    return texts


@mistake
def https_lost(place: Path, scripts: Path) -> Texts:
    """A proxy has taken TLS off, and the application makes http:// links."""
    text = """
location /http { proxy_set_header X-Forwarded-Proto https; proxy_pass http://unix:@HTTP@:; }
location /mended { include fastcgi_params; fastcgi_param HTTPS on; fastcgi_pass unix:@FCGI@; }
location / { include fastcgi_params; fastcgi_pass unix:@FCGI@; }
"""
    proxies = {"": "192.0.2.1", "mended ": "unix"}
    texts = {}
    for who, proxy in proxies.items():
        options = [f"--bind=http:unix:{place}/http.sock?mode=666", "--forwarded-allow-ips", proxy]
        where = place / (who.strip() or "made")
        with (
            gateway(place, *options, app="troubled:redirecting", protocol="serve") as (
                server,
                path,
            ),
            nginx_on(where, text, HTTP=place / "http.sock", FCGI=path) as site,
        ):
            texts[f"{who}HTTP visitor"] = visit(site, "/http")
            headers = {"X-Forwarded-Proto": "https"}
            path = "/mended" if who else "/"
            texts[f"{who}FastCGI visitor"] = visit(site, path, headers=headers)
    return texts | {"gateways": server.log}
