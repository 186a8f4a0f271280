"""The HTTP codec: what comes in, as CGI variables and bodies, however the bytes are cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateways.errors import ClientDisconnected, ConfigError, LimitExceeded, ProtocolError
from gateways.protocols import http_head
from gateways.protocols.base import Phase
from gateways.protocols.http import HTTPSettings, require_httptools
from gateways.values import replace

from .driver import bytewise
from .http_driver import SETTINGS, Run, chunked, get, only, outcome, post, sink

VECTORS = {
    "a GET": get(),
    "three GETs": get("/1") + get("/2") + get("/3"),
    "a POST": post(b"twelve bytes"),
    "a POST, then a GET": post(b"twelve bytes") + get("/next"),
    "a chunked POST": chunked(b"some", b"content"),
    "chunked POSTs, then a GET": chunked(b"a" * 40) + chunked(b"b") + get("/next"),
    "chunks with extensions and trailers": chunked(b"x", trailers=b"X-Sum: 1\r\n") + get("/n"),
    "an empty chunked body": chunked() + get("/next"),
    "an empty line before a request": b"\r\n" + get() + b"\r\n" + get("/2"),
    "HTTP/1.0": get(version="1.0") + get("/never"),
    "HTTP/1.0 that is kept": get("/", "Connection: Keep-Alive", version="1.0") + get("/2"),
    "a close": get("/", "Connection: close") + get("/never"),
    "a bad head after a good one": get() + b"nonsense\r\n\r\n" + get("/never"),
    "a bare LF": b"GET / HTTP/1.1\nHost: a\n\n" + get("/never"),
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a bad chunk": get("/", "Transfer-Encoding: chunked") + b"3\r\nabcd\r\n0\r\n\r\n",
    "an incomplete head": get() + b"GET / HT",
    "an incomplete body": post(b"twelve bytes")[:-3],
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n\n",
}
vectors = pytest.mark.parametrize("data", VECTORS.values(), ids=VECTORS.keys())


@vectors
def test_a_vector_gives_the_same_byte_by_byte(data: bytes) -> None:
    assert outcome(bytewise(data)) == outcome([data])


@vectors
def test_a_vector_gives_the_same_cut_at_every_position(data: bytes) -> None:
    whole = outcome([data])
    for cut in range(1, len(data)):
        assert outcome([data[:cut], data[cut:]]) == whole, f"cut at {cut}"


@vectors
def test_a_vector_gives_the_same_when_the_peer_closes_after_it(data: bytes) -> None:
    assert outcome([*bytewise(data), b""]) == outcome([data, b""])


def test_the_variables_of_a_request() -> None:
    fields = ("X-Two: 1", "cookie: a=1", "x-two: 2", "Cookie: b=2", "Content-Type: text/plain")
    request = only(
        post(b"body", *fields, "X.Dot: d", "Empty:", "X-Latin: \xe9", target="/p%20%C3%A9?q=%20&r")
    )
    assert request.variables == {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/p%20%C3%A9?q=%20&r",
        "REQUEST_SCHEME": "http",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/p \xc3\xa9",
        "QUERY_STRING": "q=%20&r",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "192.0.2.1",
        "SERVER_PORT": "8000",
        "REMOTE_ADDR": "203.0.113.9",
        "REMOTE_PORT": "4711",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "4",
        "HTTP_HOST": "example.test",
        "HTTP_X_TWO": "1, 2",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X.DOT": "d",
        "HTTP_EMPTY": "",
        "HTTP_X_LATIN": "\xe9",
    }
    assert request.content_length == 4
    assert sink(request).data == b"body"


def test_fields_that_are_no_variables() -> None:
    names = ("X_Under", "Proxy", "Content_Length", "X_Forwarded_For", "Script_Name")
    variables = only(chunked(b"x", fields=tuple(f"{name}: 7" for name in names))).variables
    assert not [name for name, value in variables.items() if value == "7"]
    assert "HTTP_TRANSFER_ENCODING" not in variables
    assert "CONTENT_LENGTH" not in variables


@pytest.mark.parametrize("field", ["Script-Name", "Remote-Addr", "Https", "Request-Scheme"])
def test_a_field_cannot_stand_in_for_a_variable(field: str) -> None:
    variables = only(get("/", f"{field}: forged")).variables
    assert [name for name, value in variables.items() if value == "forged"] == [
        "HTTP_" + field.upper().replace("-", "_")
    ]


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        ("/", "/", "", "example.test"),
        ("//a//b", "//a//b", "", "example.test"),
        ("/a%2Fb%2525", "/a/b%25", "", "example.test"),
        ("/a%zz?x=%00", "/a%zz", "x=%00", "example.test"),
        ("/a?b?c", "/a", "b?c", "example.test"),
        ("/\xc3\xa9", "/\xc3\xa9", "", "example.test"),
        ("http://Other.test:81/a?b", "/a", "b", "Other.test:81"),
        ("HTTPS://other.test", "/", "", "other.test"),
        ("http://other.test?q=/", "/", "q=/", "other.test"),
        ("http://[::1]:80/x", "/x", "", "[::1]:80"),
    ],
)
def test_a_target(target: str, path: str, query: str, host: str) -> None:
    variables = only(get(target)).variables
    assert variables["REQUEST_URI"] == target
    assert (variables["PATH_INFO"], variables["QUERY_STRING"]) == (path, query)
    assert variables["HTTP_HOST"] == host
    assert variables["REQUEST_SCHEME"] == "http"


def test_the_asterisk_form() -> None:
    request = only(get("*", method="OPTIONS"))
    assert request.refusal is None
    assert request.variables["PATH_INFO"] == "*"


def test_any_token_is_a_method() -> None:
    assert only(get(method="FROB-NICATE")).variables["REQUEST_METHOD"] == "FROB-NICATE"


@pytest.mark.parametrize(
    ("address", "host", "name", "port"),
    [
        (("192.0.2.1", 8000), "example.test:81", "192.0.2.1", "8000"),
        (("0.0.0.0", 8000), "example.test:81", "example.test", "8000"),
        (("::", 8000, 0, 0), "[2001:db8::1]:81", "[2001:db8::1]", "8000"),
        (("2001:db8::1", 8000, 0, 0), "example.test", "[2001:db8::1]", "8000"),
        ("/run/app.sock", "example.test:81", "example.test", "81"),
        (b"\0abstract", "example.test", "example.test", "80"),
        (None, "", "localhost", "80"),
    ],
)
def test_the_server_is_the_listener_or_what_the_client_asked_for(
    address: object, host: str, name: str, port: str
) -> None:
    data = f"GET / HTTP/1.0\r\n{host and f'Host: {host}'}\r\n".encode() + b"\r\n" * bool(host)
    variables = only(data, replace(SETTINGS, server_address=address)).variables
    assert (variables["SERVER_NAME"], variables["SERVER_PORT"]) == (name, port)


@pytest.mark.parametrize(
    ("peer", "address", "port"),
    [
        (("2001:db8::1%eth0", 5, 0, 2), "2001:db8::1", "5"),
        (("::ffff:192.0.2.7", 5, 0, 0), "192.0.2.7", "5"),
        ("", "", None),
        (b"", "", None),
        (None, "", None),
    ],
)
def test_the_peer(peer: object, address: str, port: str | None) -> None:
    variables = only(get(), peer=peer).variables
    assert (variables["REMOTE_ADDR"], variables.get("REMOTE_PORT")) == (address, port)


# -- pipelining and keeping --------------------------------------------------------------------


def test_pipelined_requests_run_one_after_the_other() -> None:
    run = Run()
    (first,) = run.feed(get("/1") + post(b"body", target="/2") + get("/3"))
    assert (run.codec.active, run.codec.queued) == (1, 1)
    assert run.feed(get("/4")) == []
    run.answer(first, b"one")
    assert [r.variables["PATH_INFO"] for r in run.ready] == ["/1", "/2"]
    run.answer(run.ready[1])
    run.answer(run.ready[2])
    assert [r.variables["PATH_INFO"] for r in run.ready] == ["/1", "/2", "/3", "/4"]
    assert run.codec.queued == 0
    assert sink(run.ready[1]).data == b"body"
    run.answer(run.ready[3])
    assert (run.codec.active, run.codec.requests_seen, run.codec.closing) == (0, 4, False)


@pytest.mark.parametrize(
    ("version", "fields", "kept"),
    [
        ("1.1", (), True),
        ("1.1", ("Connection: close",), False),
        ("1.1", ("Connection: x, Close",), False),
        ("1.1", ("Connection: keep-alive, close",), False),
        ("1.1", ("Connection: upgrade", "Upgrade: h2c"), True),
        ("1.0", (), False),
        ("1.0", ("Connection: Keep-Alive",), True),
        ("1.7", (), True),
    ],
)
def test_which_connections_are_kept(version: str, fields: tuple[str, ...], kept: bool) -> None:
    run = Run()
    (request,) = run.feed(get("/", *fields, version=version))
    run.answer(request, b"ok", headers=[("Content-Length", "2")])
    assert run.codec.closing is not kept
    assert run.feed(get("/2", *fields, version=version)) == run.ready[1:]
    assert len(run.ready) == 1 + kept


def test_what_is_pipelined_without_end_is_bounded() -> None:
    run = Run()
    (first,) = run.feed(get("/first"))
    for _ in range(100):
        run.feed(get("/next") * 1000)
    assert len(run.codec._held) < 1 << 21
    done = run.answer_all()
    assert done[0] is first
    assert len(done) > 1000
    assert {request.variables["PATH_INFO"] for request in done[1:]} == {"/next"}
    assert run.codec.closing
    assert run.codec.input_pending
    assert run.codec.active == 0


def test_the_phases() -> None:
    run = Run()
    assert run.codec.phase() is Phase.IDLE
    data = post(b"body")
    run.feed(data[:9])
    assert run.codec.phase() is Phase.HEAD
    run.feed(data[9:-2])
    assert run.codec.phase() is Phase.BODY
    (request,) = run.feed(data[-2:])
    assert run.codec.phase() is Phase.IDLE
    run.answer(request)
    assert run.codec.phase() is Phase.IDLE


# -- bodies ------------------------------------------------------------------------------------


def test_a_small_body_is_awaited_a_large_one_is_not() -> None:
    settings = replace(SETTINGS, body_memory_bytes=10)
    run = Run(settings)
    data = post(b"x" * 20)
    assert run.feed(data[:-10]) == []
    (request,) = run.feed(data[-10:-5])
    assert not sink(request).whole
    run.feed(data[-5:])
    assert sink(request).whole


def test_a_chunked_request_runs_before_its_body_has_come() -> None:
    run = Run()
    data = chunked(b"some", b"more")
    head, _, body = data.partition(b"\r\n\r\n")
    (request,) = run.feed(head + b"\r\n\r\n")
    assert request.content_length is None
    run.feed(*bytewise(body))
    assert (sink(request).data, sink(request).whole) == (b"somemore", True)


def test_expect_runs_at_once_and_continues_once() -> None:
    run = Run()
    (request,) = run.feed(get("/", "Expect: 100-Continue", "Content-Length: 4", method="POST"))
    assert run.collect() == b""
    run.codec.body_wanted()
    run.codec.body_wanted()
    assert run.collect() == b"HTTP/1.1 100 Continue\r\n\r\n"
    run.feed(b"body")
    assert sink(request).data == b"body"
    run.answer(request)
    assert not run.codec.closing


@pytest.mark.parametrize(
    "data",
    [
        get("/", "Expect: 100-continue", "Content-Length: 4", version="1.0", method="POST"),
        get("/", "Content-Length: 4", method="POST"),
        get("/", "Expect: 100-continue"),
        get("/", "Expect: 100-continue", "Content-Length: 4", method="POST") + b"b",
    ],
    ids=["HTTP/1.0", "not asked for", "no body", "the body has begun to come"],
)
def test_no_100_where_nobody_waits_for_it(data: bytes) -> None:
    run = Run()
    run.feed(data)
    run.codec.body_wanted()
    assert run.collect() == b""


def test_no_100_within_a_response() -> None:
    run = Run()
    (request,) = run.feed(get("/", "Expect: 100-continue", "Content-Length: 4", method="POST"))
    run.codec.send_head(request, "200 OK", [])
    run.codec.send_body(request, b"early")
    head = run.collect()
    assert b"Connection: close" in head
    run.codec.body_wanted()
    assert run.collect() == b""


# -- the end of input --------------------------------------------------------------------------


def test_a_half_close_after_requests_leaves_them_valid() -> None:
    run = Run()
    (first,) = run.feed(post(b"body") + get("/2") + get("/incomplete")[:-5], b"")
    assert not first.aborted
    run.answer(first)
    run.answer(run.ready[1])
    assert len(run.ready) == 2
    assert (run.codec.closing, run.codec.active, run.codec.queued) == (True, 0, 0)


def test_a_request_that_waited_and_was_cut_short_fails_its_reader() -> None:
    run = Run()
    (first,) = run.feed(get("/1") + chunked(b"some")[:-5], b"")
    run.answer(first)
    assert isinstance(sink(run.ready[1]).error, ClientDisconnected)
    run.answer(run.ready[1])
    assert (run.codec.closing, run.codec.active) == (True, 0)


def test_a_request_that_waited_and_whose_body_is_awaited_is_dropped() -> None:
    run = Run()
    (first,) = run.feed(get("/1") + post(b"body")[:-1], b"")
    run.answer(first)
    assert run.ready == [first]
    assert (run.codec.closing, run.codec.active) == (True, 0)


def test_a_head_without_crlf_is_not_waited_for() -> None:
    run = Run()
    run.feed(*bytewise(b"GET / HTTP/1.0\n"))
    assert run.ready[0].refusal is not None


def test_a_close_within_a_body_fails_its_reader() -> None:
    run = Run()
    (request,) = run.feed(chunked(b"some")[:-5], b"")
    assert isinstance(sink(request).error, ClientDisconnected)
    assert b"Connection: close" in run.answer(request, b"sorry")
    assert run.codec.closing


def test_a_close_within_a_body_that_is_awaited_leaves_nothing() -> None:
    run = Run()
    assert run.feed(post(b"body")[:-1], b"") == []
    assert (run.codec.active, run.codec.closing, run.codec.input_pending) == (0, True, False)


def test_a_close_between_requests_is_nothing() -> None:
    run = Run()
    assert run.feed(b"") == []
    assert (run.codec.active, run.codec.closing, run.codec.output) == (0, True, [])


# -- limits ------------------------------------------------------------------------------------

LIMITED = HTTPSettings(
    max_head_bytes=1000, max_request_line_bytes=100, max_fields=10, max_body_bytes=50
)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/" + "a" * 100), 414),
        (b"G" * 101, 414),
        (get("/", "A: " + "a" * 1000), 431),
        (get("/", "A: " + "a" * 1000)[:-2], 431),
        (get("/", *["A: a"] * 10), 431),
        (post(b"x" * 51), 413),
        (get("/", "Expect: 100-continue", "Content-Length: 51"), 413),
    ],
)
def test_a_limit(data: bytes, status: int) -> None:
    for pieces in ([data], bytewise(data)):
        run = Run(LIMITED)
        run.feed(*pieces)
        (request,) = run.ready
        assert isinstance(request.refusal, LimitExceeded)
        assert request.refusal.status == status
        assert request.body is None
        run.answer(request, b"sorry")
        assert b"Connection: close" in run.sent
        assert run.codec.closing
        assert run.codec.input_pending
        assert run.feed(get()) == []


@pytest.mark.parametrize(
    "data",
    [
        get("/" + "a" * 84),
        get("/", *["A: a"] * 9),
        post(b"x" * 50),
        chunked(b"x" * 25, b"y" * 25),
        get("/" * 80) * 30,
    ],
)
def test_what_is_within_the_limits_passes(data: bytes) -> None:
    for pieces in ([data], bytewise(data)):
        requests, *_ = outcome(pieces, LIMITED)
        assert requests
        assert all(len(request) > 1 for request in requests)


def test_a_chunked_body_over_the_limit_fails_its_reader() -> None:
    run = Run(LIMITED)
    (request,) = run.feed(chunked(b"x" * 30, b"y" * 30) + get("/never"))
    error = sink(request).error
    assert isinstance(error, LimitExceeded)
    assert error.status == 413
    run.answer(request)
    assert run.codec.closing
    assert run.codec.input_pending
    assert len(run.ready) == 1


# -- anything at all ---------------------------------------------------------------------------

PARTS = [
    *[bytes(part) for part in VECTORS.values()],
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"GET ", b"/ HTTP/1.1\r\n", b"Host: a\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\nabcde\r\n", b"0\r\n\r\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=20), max_size=12), st.integers())
@hypothesis_settings(max_examples=300, deadline=None)
def test_whatever_comes_is_answered_or_awaited(parts: list[bytes], seed: int) -> None:
    data = b"".join(parts)
    cuts = random.Random(seed)
    pieces = []
    while data:
        size = cuts.randint(1, 50)
        pieces.append(data[:size])
        data = data[size:]
    run = Run()
    for piece in pieces:
        run.feed(piece)
        run.answer_all()
    run.feed(b"")
    run.answer_all()
    assert run.ready == []
    assert (run.codec.active, run.codec.queued, run.codec.closing) == (0, 0, True)


@given(st.binary(max_size=200))
@hypothesis_settings(max_examples=200, deadline=None)
def test_random_fields_are_refused_or_read(data: bytes) -> None:
    (request,) = Run().feed(b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n")[:1]
    if request.refusal is None:
        text = "".join(request.variables.values())
        assert not any(bad in text for bad in "\0\r\n")
    else:
        assert isinstance(request.refusal, ProtocolError)


def test_without_the_parser_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    require_httptools()
    monkeypatch.setattr(http_head, "httptools", None)
    with pytest.raises(ConfigError, match=r"pip install 'gateways\[http\]'"):
        require_httptools()
