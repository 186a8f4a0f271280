"""One request, one environ: whatever web server takes it and whatever protocol carries it on.

What differs is listed here, with its reason; anything else that differs is a failure.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .certificate import Certificate
from .client import Site
from .flaskapp import pattern
from .frontends import APACHE_MODULES, apache, backend_of, caddy, haproxy, lighttpd, nginx
from .harness import CONTRIB, REPOSITORY, fill, gateway
from .test_cgi import Deployment, deployed

# web server and protocol -> its configuration, and options of the server behind it
RUNNING: dict[str, tuple[Callable[..., Any], str, str, list[str]]] = {
    "nginx-fcgi": (nginx, "root.conf", "fcgi", []),
    "nginx-uwsgi": (nginx, "uwsgi.conf", "uwsgi", []),
    "nginx-scgi": (nginx, "scgi.conf", "scgi", []),
    "nginx-http": (nginx, "http.conf", "http", []),
    "apache-fcgi": (apache, "proxy-fcgi-unix.conf", "fcgi", ["--script-name", ""]),
    "apache-uwsgi": (apache, "proxy-uwsgi.conf", "uwsgi", []),
    "apache-scgi": (apache, "proxy-scgi.conf", "scgi", ["--script-name", ""]),
    "apache-http": (apache, "proxy-http.conf", "http", []),
    "lighttpd-fcgi": (lighttpd, "fcgi.conf", "fcgi", []),
    "lighttpd-scgi": (lighttpd, "scgi.conf", "scgi", []),
    "lighttpd-uwsgi": (lighttpd, "uwsgi.conf", "uwsgi", []),
    "caddy-fcgi": (caddy, "fcgi.caddy", "fcgi", ["--script-name", ""]),
    "caddy-http": (caddy, "http.caddy", "http", []),
    "haproxy-fcgi": (haproxy, "fcgi.cfg", "fcgi", ["--script-name", ""]),
    "haproxy-http": (haproxy, "http.cfg", "http", []),
}
SCRIPTS = {
    "apache-cgi": Deployment("mod_cgid", "plain"),
    "lighttpd-cgi": Deployment("lighttpd", "plain"),
}
FCGID = "apache-fcgid"
FRONT_ENDS = [*RUNNING, *SCRIPTS, FCGID]

COMMON: dict[str, str | None] = {
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "SCRIPT_NAME": "",
}
COMMON |= {"GATEWAY_INTERFACE": "CGI/1.1", "wsgi.url_scheme": "http", "HTTP_PROXY": None}

# the request -> what the application must find
PROBES: dict[str, tuple[dict[str, Any], dict[str, str | None]]] = {
    "a path with everything": (
        {
            "method": "GET",
            "path": "/environ/a%20b/%C3%A9/d;p=1?q=1&e=%2F%20+x",
            "headers": {"X-Dup": "1, 2", "Cookie": "a=1; b=2", "X-Lat1": "caf\xe9", "Proxy": "x"},
        },
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/environ/a b/\xc3\xa9/d;p=1",
            "QUERY_STRING": "q=1&e=%2F%20+x",
            "REQUEST_URI": "/environ/a%20b/%C3%A9/d;p=1?q=1&e=%2F%20+x",
            "HTTP_X_DUP": "1, 2",
            "HTTP_COOKIE": "a=1; b=2",
            "HTTP_X_LAT1": "caf\xe9",
        },
    ),
    "an encoded percent sign": (
        {"method": "GET", "path": "/environ/%2541"},
        {"PATH_INFO": "/environ/%41", "REQUEST_URI": "/environ/%2541", "QUERY_STRING": ""},
    ),
    "authorization": (
        {"method": "GET", "path": "/environ", "headers": {"Authorization": "Bearer abc"}},
        {"HTTP_AUTHORIZATION": "Bearer abc", "REMOTE_USER": None},
    ),
    "a client that says it comes another way": (
        {
            "method": "GET",
            "path": "/environ",
            "headers": {
                "X-Forwarded-Proto": "https",
                "X-Forwarded-For": "10.0.0.1",
                "X-Forwarded-Host": "evil.test",
                "X-Forwarded-Port": "1",
                "X-Forwarded-Prefix": "/evil",
                "Forwarded": "for=10.0.0.1;proto=https;host=evil.test",
            },
        },
        {"HTTPS": None},
    ),
    "a form": (
        {
            "method": "POST",
            "path": "/environ",
            "body": b"a=1",
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        },
        {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": "3",
            "HTTP_CONTENT_TYPE": None,
            "HTTP_CONTENT_LENGTH": None,
            "body": "a=1",
        },
    ),
    "an empty POST": (
        {"method": "POST", "path": "/environ", "headers": {"Content-Length": "0"}},
        {
            "REQUEST_METHOD": "POST",
            "CONTENT_LENGTH": "0",
            "HTTP_TRANSFER_ENCODING": None,
            "body": "",
        },
    ),
}


@contextlib.contextmanager
def behind(name: str, where: Path, scripts: Path, tls: Certificate | None = None) -> Iterator[Site]:
    """The application behind one of FRONT_ENDS."""
    where.mkdir()
    if name == FCGID:
        with apache(where, "fcgid-root.conf", tls=tls, SCRIPTS=scripts) as site:
            yield site
        return
    if name in SCRIPTS:
        with deployed(SCRIPTS[name], where, scripts, tls) as site:
            yield site
        return
    web_server, conf, protocol, options = RUNNING[name]
    with gateway(where, *options, protocol=protocol) as (_, path):
        backend = backend_of(name.partition("-")[0], protocol, path)
        with web_server(where, conf, tls=tls, BACKEND=backend) as site:
            yield site


@pytest.fixture(scope="module", params=FRONT_ENDS)
def front_end(
    request: pytest.FixtureRequest, directory: Path, scripts: Path
) -> Iterator[tuple[str, Site]]:
    """The same application behind one web server, over one protocol."""
    with behind(request.param, directory / request.param, scripts) as site:
        yield request.param, site


@pytest.mark.parametrize("probe", PROBES)
def test_the_environ_is_the_same_everywhere(front_end: tuple[str, Site], probe: str) -> None:
    _, site = front_end
    asked, expected = PROBES[probe]
    answer = site.request(**asked)
    assert answer.status == 200, answer.text
    environ = answer.json()
    host = f"127.0.0.1:{site.port}"
    expected = {**COMMON, "HTTP_HOST": host, "SERVER_PORT": str(site.port), **expected}
    assert {known: environ.get(known) for known in expected} == expected


END = b"\r\nConnection: close\r\n\r\n"


def exchanged(site: Site, request: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    """The head of an answer, and all that follows it up to the end of the connection, as it is."""
    with site.raw() as client:
        client.sendall(request)
        with client.makefile("rb") as stream:
            response = http.client.HTTPResponse(client, method="HEAD")  # it looks for no body
            response.fp.close()
            response.fp = stream
            response.begin()
            return response, stream.read()


@pytest.mark.parametrize("path", ["/environ", "/environ/a%20b"])
def test_head_is_get_without_a_body(front_end: tuple[str, Site], path: str) -> None:
    _, site = front_end
    host = f"127.0.0.1:{site.port}"
    names = [*COMMON, "REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REQUEST_URI"]
    names += ["HTTP_HOST", "SERVER_PORT", "CONTENT_TYPE", "CONTENT_LENGTH"]
    query = "&".join(f"in-head={name}" for name in names)
    asked = f"{path}?{query} HTTP/1.1\r\nHost: {host}".encode() + END
    got, _ = exchanged(site, b"GET " + asked)
    response, body = exchanged(site, b"HEAD " + asked)
    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Type"] == "application/json"
    environ = json.loads(response.headers["X-Environ"])
    assert environ == {**json.loads(got.headers["X-Environ"]), "REQUEST_METHOD": "HEAD"}
    assert set(environ) == set(names)
    assert {known: environ[known] for known in COMMON} == COMMON


@pytest.mark.parametrize("path", ["/greet/x", "/download?size=3"], ids=["length", "no length"])
def test_the_answer_to_http_1_0_is_not_chunked(front_end: tuple[str, Site], path: str) -> None:
    _, site = front_end
    head = f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{site.port}"
    response, body = exchanged(site, f"{head}\r\n\r\n".encode())
    expected = b"Hello x" if path == "/greet/x" else b"".join(pattern(3))
    assert (response.status, response.headers["Transfer-Encoding"]) == (200, None)
    assert body == expected
    assert response.headers["Content-Length"] in (None, str(len(expected)))


DOCUMENT = REPOSITORY / "docs" / "deployments.md"

# What is sent -> how what arrived is called in the table of docs/deployments.md.
OBSERVED: dict[str, tuple[bytes, Callable[[dict[str, Any]], str]]] = {
    "`Host` with a port": (
        b"GET /environ HTTP/1.1\r\nHost: 127.0.0.1:81",
        lambda environ: "kept" if environ["HTTP_HOST"] == "127.0.0.1:81" else "no port",
    ),
    "`a%2Fb`": (b"GET /environ/a%2Fb HTTP/1.1", lambda environ: f"`{environ['PATH_INFO'][9:]}`"),
    "`a//b`": (b"GET /environ/a//b HTTP/1.1", lambda environ: f"`{environ['PATH_INFO'][9:]}`"),
    "`a/../b`": (b"GET /environ/a/../b HTTP/1.1", lambda environ: f"`{environ['PATH_INFO'][9:]}`"),
    "`%E9`": (
        b"GET /environ/%E9 HTTP/1.1",
        lambda environ: "kept" if environ["PATH_INFO"] == "/environ/\xe9" else "changed",
    ),
    "`http://x/…`": (
        b"GET http://127.0.0.1/environ HTTP/1.1\r\nHost: 127.0.0.1",
        lambda environ: "a path" if environ["REQUEST_URI"][0] == "/" else "whole",
    ),
    "two cookie fields": (
        b"GET /environ HTTP/1.1\r\nCookie: a=1\r\nCookie: b=2",
        lambda environ: f"`{environ['HTTP_COOKIE']}`",
    ),
    "two `X-Dup`": (
        b"GET /environ HTTP/1.1\r\nX-Dup: 1\r\nX-Dup: 2",
        lambda environ: f"`{environ['HTTP_X_DUP']}`",
    ),
    "`X_Under`": (
        b"GET /environ HTTP/1.1\r\nX_Under: 1",
        lambda environ: "kept" if "HTTP_X_UNDER" in environ else "dropped",
    ),
    "chunked POST": (
        b"POST /environ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=1\r\n0",
        lambda environ: (
            ("length" if "CONTENT_LENGTH" in environ else "no length")
            if environ["body"] == "a=1"
            else "no body"
        ),
    ),
    "HTTP/1.0": (
        b"GET /environ HTTP/1.0\r\nHost: 127.0.0.1",
        lambda environ: "kept" if environ["SERVER_PROTOCOL"] == "HTTP/1.0" else "1.1",
    ),
    "no `Host`": (b"GET /environ HTTP/1.0", lambda environ: environ.get("HTTP_HOST", "none")),
    "unchecked password": (
        b"GET /environ HTTP/1.1\r\nAuthorization: Basic dTpw",
        lambda environ: "REMOTE_USER" if "REMOTE_USER" in environ else "no",
    ),
}


# And what of a response.
COLUMNS = [*OBSERVED, "length of HEAD"]


def observed(site: Site) -> list[str]:
    """What became of each, or the status of what the web server answers itself."""
    cells = []
    for request, describe in OBSERVED.values():
        head, *rest = request.split(b"\r\n", 1)
        own = b"Host:" in request or head.endswith(b"HTTP/1.0")
        lines = [head, *([] if own else [b"Host: 127.0.0.1"]), *rest]
        asked = b"\r\n".join(lines).replace(b"\r\n\r\n3", END + b"3") + END
        with site.raw() as client:
            client.sendall(asked)
            with http.client.HTTPResponse(client) as response:
                response.begin()
                body = response.read()
        reached = response.headers["Content-Type"] == "application/json"
        cells.append(describe(json.loads(body)) if reached else f"{response.status}")
    host = f"127.0.0.1:{site.port}"
    answer, _ = exchanged(site, f"HEAD /greet/x HTTP/1.1\r\nHost: {host}".encode() + END)
    cells.append("kept" if answer.headers["Content-Length"] == "7" else "dropped")
    return cells


def documented() -> dict[str, list[str]]:
    """The table of the page: by the names of FRONT_ENDS, a cell for each of COLUMNS."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    (heading,) = (row for row in cells if row[1:] == COLUMNS)
    return {row[0].strip("`"): row[1:] for row in cells if len(row) == len(heading)}


def test_what_a_web_server_changes_is_documented(front_end: tuple[str, Site]) -> None:
    name, site = front_end
    assert dict(zip(COLUMNS, observed(site), strict=True)) == dict(
        zip(COLUMNS, documented()[name], strict=True)
    )


@pytest.mark.parametrize("protocol", ["fcgi", "scgi"])
def test_apache_can_be_told_to_trust_lengths(own_directory: Path, protocol: str) -> None:
    """As docs/deployments.md has it; mod_env is there unless it was removed."""
    _, conf, _, options = RUNNING[f"apache-{protocol}"]
    with gateway(own_directory, *options, protocol=protocol) as (_, path):

        def site_file(port: int) -> str:
            backend = backend_of("apache", protocol, path)
            values = {"LISTEN": f"127.0.0.1:{port}", "MOUNT": "/", "PREFIX": "", "BACKEND": backend}
            text = fill(CONTRIB / "apache" / conf, **values)
            module = APACHE_MODULES / "mod_env.so"
            return f"LoadModule env_module {module}\nSetEnv ap_trust_cgilike_cl 1\n{text}"

        with apache(own_directory, site_file) as site:
            for method in ("GET", "HEAD"):
                assert site.request(method, "/greet/x").headers["Content-Length"] == "7"
