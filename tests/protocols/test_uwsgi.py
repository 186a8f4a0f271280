"""The uwsgi codec: UW-1 to UW-11 of our checklist. What it shares with SCGI: test_oneshot.py."""

from __future__ import annotations

import pytest

from gateways.protocols.encoders import encode_uwsgi_head
from gateways.protocols.limits import RequestLimits
from gateways.protocols.uwsgi import MODIFIERS, Uwsgi
from gateways.protocols.variables import decode_vars, iter_vars, largest
from gateways.wsgi.environ import EnvironBuilder

from .driver import bytewise
from .oneshot_driver import Run

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a", "SERVER_PROTOCOL": "HTTP/1.1"}


def packet(variables: dict[str, str], modifier1: int = 0, modifier2: int = 0) -> bytes:
    return encode_uwsgi_head(variables.items(), modifier1, modifier2)


def run(*pieces: bytes, limits: RequestLimits | None = None) -> Run:
    return Run(Uwsgi, limits or RequestLimits()).feed(*pieces)


def test_the_bytes_of_a_request() -> None:
    golden = bytes.fromhex("00 1d00 00 0e00") + b"REQUEST_METHOD" + b"\x03\0GET\x04\0HOST\0\0"
    assert run(golden).request.variables == {"REQUEST_METHOD": "GET", "HOST": ""}
    assert packet({"REQUEST_METHOD": "GET", "HOST": ""}) == golden


def test_a_packet_of_the_largest_size() -> None:
    value = "v" * (65535 - 4 - 1)
    data = packet({"X": value})
    assert data[:4] == b"\0\xff\xff\0"
    assert run(data).request.variables == {"X": value}
    assert run(*[data[i : i + 4096] for i in range(0, len(data), 4096)]).request.refusal is None


@pytest.mark.parametrize(
    ("data", "variables"),
    [
        (b"", {}),
        (b"\1\0A\0\0", {"A": ""}),
        (b"\1\0A\1\0b", {"A": "b"}),
        (b"\1\0A\1\0b\1\0A\1\0c", {"A": "c"}),
        (b"\1\0\xe9\1\0\xe9", {"\xe9": "\xe9"}),
        (b"\6\0wsgi.x\1\0b", {}),
        (b"\2\0A=\1\0b", {}),
    ],
)
def test_variables(data: bytes, variables: dict[str, str]) -> None:
    assert decode_vars(data) == variables


def test_repeated_headers_are_joined() -> None:
    pairs = [("HTTP_COOKIE", "a=1"), ("HTTP_X", "1"), ("HTTP_COOKIE", "b=2"), ("HTTP_X", "2")]
    variables = run(encode_uwsgi_head(pairs)).request.variables
    assert variables == {"HTTP_COOKIE": "a=1; b=2", "HTTP_X": "1, 2"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\0\1\0b", "empty name"),
        (b"\0", "runs past the end"),
        (b"\1\0A\0\0\0", "runs past the end"),
        (b"\1\0A\0\0\0\0", "runs past the end"),
        (b"\1\0A\0\0\0\0\0", "runs past the end"),
        (b"\1\0A", "runs past the end"),
        (b"\1\0A\0", "runs past the end"),
        (b"\1\0A\2\0b", "runs past the end"),
        (b"\xff\xffA\0\0", "runs past the end"),
        (b"\1\0A\1\0\0", "NUL or a line break"),
        (b"\1\0A\1\0\n", "NUL or a line break"),
    ],
)
def test_bad_variables_are_refused(data: bytes, said: str) -> None:
    head = b"\0" + len(data).to_bytes(2, "little") + b"\0" + data
    for pieces in ([head], bytewise(head)):
        refusal = run(*pieces).request.refusal
        assert refusal is not None
        assert refusal.status == 400
        assert said in str(refusal)


def test_the_largest_of_variables_that_are_cut_off() -> None:
    assert largest(iter_vars(b"\1\0A\1\0b\1\0C\3\0def\1\0E\xff\xff")) in (("C", 3), ("E", 0))
    assert largest(iter_vars(b"")) == ("", 0)


# -- modifiers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("modifier", sorted(set(range(256)) - {0, 30}))
def test_no_other_modifier_is_served(modifier: int) -> None:
    made = run(packet(GET, modifier, 1))
    assert made.ready == []
    assert made.sent == b""
    assert f"modifier {modifier} " in str(made.error)
    if modifier in MODIFIERS:
        assert f"({MODIFIERS[modifier]})" in str(made.error)


@pytest.mark.parametrize(
    ("modifier", "name"),
    [(22, "eval"), (173, "RPC"), (97, "brutal reload"), (98, "graceful reload"), (17, "spooler")],
)
def test_the_control_channel_is_named_and_closed(modifier: int, name: str) -> None:
    assert f"modifier {modifier} ({name}) is not served" in str(run(packet(GET, modifier)).error)


def test_a_bad_modifier_needs_no_more_than_the_header() -> None:
    assert run(b"\x16\x00\x10").error is None
    assert run(b"\x16\x00\x10\x00").error is not None


def test_a_ping_is_answered_and_closed() -> None:
    for pieces in ([b"\x64\0\0\0"], bytewise(b"\x64\0\0\0"), [b"\x64\0\0\0more"]):
        made = run(*pieces)
        assert made.sent == bytes.fromhex("64 00 00 01")
        assert made.ready == []
        assert (made.codec.closing, made.codec.active, made.codec.requests_seen) == (True, 0, 0)
        made.eof()
        assert made.sent == bytes.fromhex("64 00 00 01")


def test_a_pong_is_not_answered() -> None:
    assert "modifier 100 (ping) with modifier2 1" in str(run(b"\x64\0\0\1").error)


def test_the_second_modifier_of_a_request_means_nothing() -> None:
    assert run(packet(GET, 0, 7)).request.variables["PATH_INFO"] == "/a"


def test_modifier_30_with_a_second_one_has_another_layout() -> None:
    assert "modifier 30 with modifier2 1" in str(run(packet(GET, 30, 1)).error)


@pytest.mark.parametrize(
    ("script_name", "path", "expected"),
    [
        ("/app", "/app/x", "/x"),
        ("/app", "/app/", "/"),
        ("/app", "/app", ""),
        ("/app", "/apple", "/apple"),
        ("/app", "/other", "/other"),
        ("/app", "/x/app/y", "/x/app/y"),
        ("/app/", "/app/x", "/x"),
        ("/app", "/app/app/x", "/app/x"),
        ("", "/app/x", "/app/x"),
        ("/", "/app/x", "/app/x"),
        (None, "/app/x", "/app/x"),
    ],
)
def test_modifier_30_strips_on_a_segment_boundary(
    script_name: str | None, path: str, expected: str
) -> None:
    variables = {"PATH_INFO": path}
    if script_name is not None:
        variables["SCRIPT_NAME"] = script_name
    stripped = {**variables, "PATH_INFO": expected}
    if expected != path:
        stripped["gateways.original_path_info"] = path
    assert run(packet(variables, 30)).request.variables == stripped
    assert run(packet(variables, 0)).request.variables == variables


def test_modifier_30_without_a_path() -> None:
    variables = {"SCRIPT_NAME": "/app"}
    assert run(packet(variables, 30)).request.variables == variables


def test_variables_that_configure_the_uwsgi_server_are_dropped() -> None:
    magic = ("FILE", "SCRIPT", "MODULE", "CALLABLE", "PYHOME", "CHDIR", "SETENV", "TOUCH_RELOAD")
    variables = {f"UWSGI_{name}": "/tmp/evil.py" for name in (*magic, "APPID", "CACHE_GET", "")}
    kept = {"UWSGI_SCHEME": "https", "X_UWSGI_FILE": "kept"}
    assert run(packet({**variables, **kept})).request.variables == kept


# -- responses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "version"),
    [
        ("HTTP/1.0", b"HTTP/1.0"),
        ("HTTP/1.1", b"HTTP/1.1"),
        ("HTTP/2.0", b"HTTP/1.1"),
        ("", b"HTTP/1.0"),
        (None, b"HTTP/1.0"),
    ],
)
def test_the_response_begins_with_a_status_line(protocol: str | None, version: bytes) -> None:
    variables = {"REQUEST_METHOD": "GET"} | (
        {} if protocol is None else {"SERVER_PROTOCOL": protocol}
    )
    answer = run(packet(variables)).answer(b"x", headers=[("X-A", "b")])
    assert answer == version + b" 200 OK\r\nX-A: b\r\n\r\nx"


def test_a_refused_request_is_answered_in_http_too() -> None:
    made = run(b"\0\3\0\0\1\0A")
    assert made.request.refusal is not None
    assert made.answer().startswith(b"HTTP/1.0 200 OK\r\n")


# -- what gunicorn's uwsgi mode gets wrong -----------------------------------------------------

NGINX = {
    "QUERY_STRING": "q=1",
    "REQUEST_METHOD": "GET",
    "CONTENT_TYPE": "",
    "CONTENT_LENGTH": "",
    "REQUEST_URI": "/app/a%2520b?q=1",
    "PATH_INFO": "/app/a%20b",
    "DOCUMENT_ROOT": "/var/www/html",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REQUEST_SCHEME": "https",
    "HTTPS": "on",
    "REMOTE_ADDR": "203.0.113.9",
    "REMOTE_PORT": "4711",
    "REMOTE_USER": "alice",
    "SERVER_PORT": "443",
    "SERVER_NAME": "example.test",
    "SCRIPT_NAME": "/app",
    "X_CUSTOM": "from uwsgi_param",
}


def test_what_nginx_says_reaches_the_application() -> None:
    """gunicorn 27 makes HTTP headers of the variables, and loses every one of these."""
    request = run(packet(NGINX, 30)).request
    environ = EnvironBuilder().build(request.variables, request.body, None)
    for name in (
        "REMOTE_ADDR",
        "REMOTE_PORT",
        "REMOTE_USER",
        "SCRIPT_NAME",
        "REQUEST_URI",
        "DOCUMENT_ROOT",
        "HTTPS",
        "SERVER_NAME",
        "SERVER_PORT",
        "X_CUSTOM",
        "QUERY_STRING",
    ):
        assert environ[name] == NGINX[name], name
    assert environ["PATH_INFO"] == "/a%20b", "the web server has decoded it, once"
    assert environ["wsgi.url_scheme"] == "https"
