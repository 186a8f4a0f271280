"""The same promises over every protocol: PEP 3333 as a peer sees it, and the environ."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import random
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.client import ClientError, request
from tests.core.serving import serving
from tests.end_to_end import applications

PROTOCOLS = ["fcgi", "uwsgi", "scgi", "http", "cgi"]
REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from gateways.cgi import CGIHandler
from tests.end_to_end.applications import NAME
CGIHandler(OPTIONS).run(NAME)
"""

Serve = Callable[..., str]


@pytest.fixture(params=PROTOCOLS)
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """``serve(name, **options)`` serves the application of that name; returns the target."""
    protocol = request.param
    with contextlib.ExitStack() as stack:

        def start(name: str, **options: Any) -> str:
            if protocol == "cgi":
                script = tmp_path / "script.cgi"
                given = ", ".join(f"{option}={value!r}" for option, value in options.items())
                script.write_text(SCRIPT.replace("NAME", name).replace("OPTIONS", given))
                script.chmod(0o755)
                return f"cgi:{script}"
            application = getattr(applications, name)
            served = stack.enter_context(
                serving(application, tmp_path, protocol=protocol, **options)
            )
            return f"{protocol}:{served.address}"

        yield start


# application, method -> status, body (None: not looked at)
ANSWERS = {
    "a whole response": ("hello", "GET", 200, b"hello"),
    "HEAD has no body": ("hello", "HEAD", 200, b""),
    "an iterable of pieces": ("pieces", "GET", 200, b"one two three"),
    "HEAD of pieces": ("pieces", "HEAD", 200, b""),
    "write()": ("writes", "GET", 200, b"written and returned"),
    "no body at all": ("nothing", "GET", 200, b""),
    "a body with 204": ("no_content", "GET", 204, b""),
    "not modified": ("not_modified", "GET", 304, b""),
    "exc_info before the head": ("changes_its_mind", "GET", 503, b"sorry"),
    "an application that raises": ("raises", "GET", 500, None),
    "a body of str": ("str_body", "GET", 500, None),
    "a header that holds another one": ("injects", "GET", 500, None),
    "more than Content-Length": ("too_long", "GET", 200, b"fou"),
    "under wsgiref.validate": ("valid", "GET", 200, b"valid "),
}


@pytest.mark.parametrize("case", ANSWERS.values(), ids=ANSWERS.keys())
def test_answers(serve: Serve, case: tuple[str, str, int, bytes | None]) -> None:
    name, method, status, body = case
    response = request(serve(name), "/page", method=method)
    assert response.status == status
    assert body is None or response.body == body
    assert b"secret" not in response.body
    assert not [value for field, value in response.headers if field.lower() == "set-cookie"]


def test_the_length_of_a_lone_chunk_is_known(serve: Serve) -> None:
    target = serve("hello")
    for method in ("GET", "HEAD"):
        response = request(target, "/", method=method)
        assert response.header("Content-Length") == "5"
        assert response.body == (b"hello" if method == "GET" else b"")


def test_repeated_headers_stay_apart_and_in_order(serve: Serve) -> None:
    headers = request(serve("cookies"), "/").headers
    assert [value for name, value in headers if name == "Set-Cookie"] == ["a=1", "b=2"]


def test_a_response_that_is_cut_short_is_not_taken_for_a_whole_one(serve: Serve) -> None:
    with pytest.raises(ClientError):
        _ = request(serve("too_short"), "/").body


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000])
def test_a_body_of_any_size(serve: Serve, size: int) -> None:
    body = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    assert request(serve("echo"), "/", method="POST", body=body).body == body


def test_a_large_body_is_streamed(serve: Serve) -> None:
    body = bytes(range(256)) * 40_000
    response = request(serve("digests"), "/", method="POST", body=body)
    assert response.body == hashlib.sha256(body).hexdigest().encode()


FILE = random.Random(1).randbytes(2_500_000)
# the query, what of the file must come
FILES: dict[str, tuple[dict[str, Any], slice]] = {
    "a file": ({}, slice(None)),
    "from where it stands": ({"start": 1_000_001}, slice(1_000_001, None)),
    "from its last bytes": ({"start": 2_499_990}, slice(2_499_990, None)),
    "from behind its end": ({"start": 3_000_000}, slice(0, 0)),
    "its length declared": ({"length": 2_500_000}, slice(None)),
    "of which less is declared": ({"length": 1_966_080}, slice(1_966_080)),
    "of which one byte is declared": ({"length": 1}, slice(1)),
    "from where it stands, some of it": (
        {"start": 70_000, "length": 2_000_000},
        slice(70_000, 2_070_000),
    ),
    **{kind: ({"kind": kind}, slice(None)) for kind in applications.FILES},
    "read from, then sent": ({"kind": "read from", "length": 2_499_000}, slice(1000, None)),
    "compressed, its length declared": (
        {"kind": "compressed", "length": 2_500_000},
        slice(None),
    ),
}
FILES["read from"] = ({"kind": "read from"}, slice(1000, None))


@pytest.mark.parametrize("case", FILES.values(), ids=FILES.keys())
def test_a_file(serve: Serve, tmp_path: Path, case: tuple[dict[str, Any], slice]) -> None:
    query, part = case
    path = tmp_path / "file"
    compressed = query.get("kind") == "compressed"
    path.write_bytes(gzip.compress(FILE, 0) if compressed else FILE)
    target = serve("sends_a_file")
    uri = f"/?{urllib.parse.urlencode({'path': path, **query})}"
    response = request(target, uri)
    assert response.body == FILE[part]
    response = request(target, uri, method="HEAD")
    assert response.status == 200
    assert response.body == b""


def test_a_file_shorter_than_its_content_length(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILE)
    target = serve("sends_a_file")
    with pytest.raises(ClientError):
        _ = request(target, f"/?path={path}&length=2500001").body


def test_ten_megabytes_each_way_are_no_deadlock(serve: Serve) -> None:
    response = request(serve("large"), "/", method="POST", body=bytes(10_000_000))
    assert len(response.body) == 160 * 65536


def test_a_body_over_the_limit_is_answered_413(serve: Serve) -> None:
    response = request(serve("echo", max_body_bytes=1000), "/", method="POST", body=bytes(2000))
    assert response.status == 413


# the path, as it is requested; SCRIPT_NAME and PATH_INFO of who answers; None: the root
MOUNTED = {
    "/app/shop": ("/app/shop", ""),
    "/app/shop/": ("/app/shop", "/"),
    "/app/shop/a%20b/%C3%A9?q=%2F": ("/app/shop", "/a b/\xc3\xa9"),
    "/app/sh%6Fp/x": ("/app/shop", "/x"),
    "/app/shop/administrator": ("/app/shop", "/administrator"),
    "/app/shop/admin/x": ("/app/shop/admin", "/x"),
    "/app/shop//x": ("/app/shop", "//x"),
    "/app/shopping": None,
    "/app/": None,
}


@pytest.mark.parametrize("path", MOUNTED)
def test_an_application_below_a_prefix(serve: Serve, path: str) -> None:
    target = serve("mounted", script_name="/app")
    given = "" if target.startswith("http:") else "/app"
    response = request(target, path, script_name=given)
    expected = MOUNTED[path]
    if expected is None:
        assert response.body == b"hello"
        return
    environ = json.loads(response.body)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == expected
    assert environ["REQUEST_URI"] == path
    assert environ["QUERY_STRING"] == path.partition("?")[2]


def test_the_environ(serve: Serve) -> None:
    target = serve("shows", script_name="/app")
    response = request(
        target,
        "/app/a%20b/%C3%A9;p=1?q=%2F%20+x",
        method="POST",
        body=b"a=1",
        script_name="" if target.startswith("http:") else "/app",
        headers=[
            ("Host", "example.test:8080"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Dup", "1"),
            ("X-Dup", "2"),
            ("Cookie", "a=1"),
            ("Cookie", "b=2"),
            ("X-Lat1", "caf\xe9"),
            ("Proxy", "http://evil.test/"),
        ],
    )
    environ = json.loads(response.body)
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/a b/\xc3\xa9;p=1",
        "QUERY_STRING": "q=%2F%20+x",
        "REQUEST_URI": "/app/a%20b/%C3%A9;p=1?q=%2F%20+x",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": "3",
        "HTTP_HOST": "example.test:8080",
        "HTTP_X_DUP": "1, 2",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_LAT1": "caf\xe9",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input_terminated": True,
        "wsgi.run_once": target.startswith("cgi:"),
    }
    assert {name: environ.get(name) for name in expected} == expected
    assert "HTTP_PROXY" not in environ
    assert environ["SERVER_NAME"]
    assert environ["SERVER_PORT"].isdigit()
