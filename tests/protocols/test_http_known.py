"""A head whose names are known gives what the parser gives, or is left to it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateways.protocols.http_head import parse_fields, parse_request_line
from gateways.protocols.http_known import read_known, remember
from gateways.protocols.http_request import HTTPRequest, add_variables

from .http_driver import Run, sink

KNOWN = (
    *(b"Host", b"host", b"Cookie", b"Connection", b"Content-Length", b"Content-Type", b"X-A"),
    *(b"Upgrade", b"Proxy-Connection", b"X-Forwarded-For"),
)
UNKNOWN = (b"Transfer-Encoding", b"Expect", b"Proxy", b"X_A", b"", b" Host", b"Host ", b"X-\xe9")

LINES = st.sampled_from(
    (
        *(b"GET /a?b HTTP/1.1", b"HEAD /%41 HTTP/1.1", b"POST / HTTP/1.0", b"GET /%00 HTTP/1.1"),
        *(b"GET /#a HTTP/1.1", b"GET /a\tb HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/1.2"),
        *(b"GET /", b"OPTIONS * HTTP/1.1", b"X / HTTP/1.1", b"GET http://a/ HTTP/1.1"),
        b"GET /\xe9 HTTP/1.1",
    )
)
NAMES = st.sampled_from(KNOWN + UNKNOWN)
VALUES = st.sampled_from(
    (
        *(b"x", b"", b" x ", b"\tx\t", b"close", b"keep-alive, Upgrade", b"5", b"005", b"+5"),
        *(b"1" * 19, b"a b", b"a:80", b"\x80", b"x\0", b"x\x7f", b"x\r", b"x\ny", b"x\r\n y"),
        *(b"chunked", b"h2c"),
    )
) | st.binary(max_size=4)
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b": ", b":", b" :"]), VALUES), max_size=6)


@pytest.fixture(autouse=True, scope="module")
def names() -> None:
    """As after some requests."""
    remember([(name, b"") for name in KNOWN + UNKNOWN[:4]])


def head(line: bytes, fields: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """All of a head, and nothing else, as far as its values let it be."""
    return b"\r\n".join([line, *(b"".join(field) for field in fields), b"", b""])


def outcome(request: HTTPRequest) -> object:
    """Everything that a head decides, and the order of the variables."""
    framing = (request.content_length, request.body_left, request.expects_continue)
    kept = (request.minor, request.is_head, request.keep_alive)
    return list(request.variables.items()), framing, kept, request.decoder is None


def read_closely(data: bytes) -> HTTPRequest:
    """What the parser makes of a head."""
    end = data.index(b"\r\n")
    own = HTTPRequest()
    line = parse_request_line(data[:end])
    parse_fields(line, data[end + 2 :], 0)
    own.variables["REQUEST_METHOD"] = line.method
    own.variables["SERVER_PROTOCOL"] = f"HTTP/1.{line.minor}"
    own.variables["PATH_INFO"] = ""
    add_variables(own.variables, line)
    own.take_head(line)
    own.minor, own.is_head = line.minor, line.method == "HEAD"
    return own


@given(line=LINES, fields=FIELDS)
@example(line=b"GET / HTTP/1.1", fields=[(b"Host", b": ", b"x")])
@settings(max_examples=1500, deadline=None)
def test_what_is_read_at_once_is_what_the_parser_reads(
    line: bytes, fields: list[tuple[bytes, bytes, bytes]]
) -> None:
    data = head(line, fields)
    for _ in range(4):  # once its lines have come again, they are expected
        own = HTTPRequest()
        if read_known(own, data, 0):
            assert outcome(own) == outcome(read_closely(data))  # which raises nothing


GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(("name", "is_kept"), [(b"X-A", True), (b"Cookie", False)])
def test_a_value_is_kept_once_it_has_come_again_unless_it_is_a_secret(
    name: bytes, is_kept: bool
) -> None:
    values = []
    for _ in range(6):
        own = HTTPRequest()
        assert read_known(own, GET + name + b": some value\r\n\r\n", 0)
        values.append(own.variables["HTTP_" + name.decode().upper().replace("-", "_")])
    assert (values[-1] is values[-2]) == is_kept


@pytest.mark.parametrize(
    "data",
    [
        GET + b"\r\n",
        GET + b"Cookie: a=b; c=\xe9\r\nX-A:\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HEAD /%41 HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        GET + b"Connection: x , Close\r\n\r\n",
        b"POST / HTTP/1.1\r\nX-A: \t b\t\r\nhost: x\r\nContent-Length: 005\r\n\r\n",
    ],
)
def test_what_is_read_at_once(data: bytes) -> None:
    own = HTTPRequest()
    assert read_known(own, data, 0)
    assert outcome(own) == outcome(read_closely(data))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
        b"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\n\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\rHost: x\r\n\r\n",
        b"GET / HTTP/1.1\0\nHost: x\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n" + GET + b"\r\n",
        GET + b"host: y\r\n\r\n",
        GET + b"X-A: b\r\nx-a: b\r\n\r\n",
        GET + b"X-A: b\r\n c\r\n\r\n",
        GET + b"X-A : b\r\n\r\n",
        GET + b"X-A: b\0\r\n\r\n",
        GET + b"X-A: b\x7f\r\n\r\n",
        GET + b"X-A: b\n\r\n\r\n",
        GET + b"X-A: b\rc\r\n\r\n",
        GET + b"X-A: b\n\nCookie: c\r\n\r\n",
        GET + b"X-A: b\r\rCookie: c\r\n\r\n",
        GET + b"X-A: b\0\nCookie: c\r\n\r\n",
        GET + b"X_A: b\r\n\r\n",
        GET + b"Proxy: b\r\n\r\n",
        GET + b"Content-Length: +5\r\n\r\n",
        GET + b"Content-Length: 5, 5\r\n\r\n",
        GET + b"Content-Length: 1234567890123456789\r\n\r\n",
        GET + b"Content-Length: \xb2\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n",
        GET + b"Expect: 100-continue\r\n\r\n",
        GET + b"Never-Seen: 1\r\n\r\n",
        GET + b"\r\n" + GET + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ],
)
def test_what_is_left_to_the_parser(data: bytes) -> None:
    remember([(name, b"") for name in UNKNOWN[:4]])
    assert not read_known(HTTPRequest(), data, 0)


def test_too_many_fields_are_left_to_the_parser() -> None:
    data = GET + b"X-A: b\r\n\r\n"
    assert read_known(HTTPRequest(), data, 2)
    assert not read_known(HTTPRequest(), data, 1)


def test_a_name_is_known_once_the_parser_has_accepted_it() -> None:
    data = GET + b"X-New-One: b\r\n\r\n"
    assert not read_known(HTTPRequest(), data, 0)
    first, second = (Run().feed(data)[0].variables for _ in range(2))
    assert first == second
    assert read_known(HTTPRequest(), data, 0)


def test_the_name_of_a_head_that_was_refused_is_not_known() -> None:
    data = b"GET / HTTP/1.1\r\nX-Refused: b\r\n"
    assert Run().feed(data + b"\r\n")[0].refusal is not None  # without a Host
    assert not read_known(HTTPRequest(), data + b"Host: x\r\n\r\n", 0)


@pytest.mark.parametrize("body", [b"a\r\n\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_body_that_ends_like_a_head_is_a_body(body: bytes) -> None:
    run = Run()
    (request,) = run.feed(GET + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert (request.refusal, sink(request).data) == (None, body)
