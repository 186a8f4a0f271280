"""Responses, whole, byte by byte and cut off anywhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateways.client.decoders import CGIDecoder, Decoder, FastCGIDecoder, HTTPDecoder
from gateways.client.errors import ClientError, ConnectionLost
from gateways.protocols.records import (
    FCGI_END_REQUEST,
    FCGI_STDERR,
    FCGI_STDOUT,
    pack_record,
    pack_unknown_type,
)
from tests.client.answering import pieces_of

CGI = b"Status: 404 Not Here\r\nContent-Type: text/plain\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody\n"


def end(app_status: int = 0, protocol_status: int = 0) -> bytes:
    return pack_record(
        FCGI_END_REQUEST, 1, app_status.to_bytes(4, "big") + bytes([protocol_status, 0, 0, 0])
    )


def stdout(data: bytes) -> bytes:
    return b"".join(pack_record(FCGI_STDOUT, 1, piece) for piece in pieces_of(data, 7))


FASTCGI = (
    pack_unknown_type(77)
    + pack_record(FCGI_STDERR, 1, b"oops\n")
    + stdout(CGI)
    + pack_record(FCGI_STDERR, 1)
    + pack_record(FCGI_STDOUT, 1)
    + end(3)
)


def cgi(method: str = "GET") -> Decoder:
    return CGIDecoder("SCGI", method)


def fcgi(method: str = "GET") -> Decoder:
    return FastCGIDecoder(method, 1)


def http(method: str = "GET") -> Decoder:
    return HTTPDecoder(method)


H11 = b"HTTP/1.1 200 OK\r\n"

# decoder, bytes, status, reason, body, ended by the close, reusable
RESPONSES = {
    "cgi": (cgi, CGI, 404, "Not Here", b"body\n", True, False),
    "cgi, LF": (cgi, b"Status: 201\nA: b\n\n\nx", 201, "Created", b"\nx", True, False),
    "cgi, no status": (cgi, b"A: b\r\n\r\n", 200, "OK", b"", True, False),
    "cgi, location": (cgi, b"Location: /x\r\n\r\n", 302, "Found", b"", True, False),
    "cgi, length": (cgi, b"Content-Length: 2\r\n\r\nabc", 200, "OK", b"ab", False, False),
    "cgi, status line": (cgi, b"HTTP/1.0 299 Odd\r\n\r\nx", 299, "Odd", b"x", True, False),
    "fcgi": (fcgi, FASTCGI, 404, "Not Here", b"body\n", False, True),
    "http, length": (http, H11 + b"Content-Length: 3\r\n\r\nabc", 200, "OK", b"abc", False, True),
    "http, no length": (http, H11 + b"\r\nabc", 200, "OK", b"abc", True, False),
    "http, close": (
        *(http, H11 + b"Connection: x, Close\r\nContent-Length: 1\r\n\r\na"),
        *(200, "OK", b"a", False, False),
    ),
    "http/1.0": (
        *(http, b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"),
        *(200, "OK", b"a", False, False),
    ),
    "http/1.0, kept": (
        *(http, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na"),
        *(200, "OK", b"a", False, True),
    ),
    "http, chunked": (
        http,
        H11 + b"Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n"
        b"0\r\nTrailer: t\r\n\r\n",
        *(200, "OK", b"abc0123456789", False, True),
    ),
    "http, interim": (
        http,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n",
        *(204, "No Content", b"", False, True),
    ),
    "http, 304": (
        *(http, b"HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n", 304, "Not Modified"),
        *(b"", False, True),
    ),
}
responses = pytest.mark.parametrize("name", RESPONSES)


def decode(decoder: Decoder, pieces: list[bytes], *, closed: bool) -> bytes:
    body = b"".join(part for piece in pieces for part in decoder.feed(piece))
    if closed:
        assert not decoder.complete
        body += b"".join(decoder.feed(b""))
    return body


@responses
@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
def test_a_response_is_the_same_however_it_is_cut(name: str, size: int) -> None:
    new, data, status, reason, expected, closed, reusable = RESPONSES[name]
    if name == "cgi, length":
        data = data[:-1]  # what is too much has a test of its own
    decoder = new()
    assert decode(decoder, list(pieces_of(data, size)), closed=closed) == expected
    assert decoder.complete
    assert decoder.reusable == reusable
    assert decoder.head is not None
    assert (decoder.head.status, decoder.head.reason) == (status, reason)


@responses
def test_a_response_cut_off_is_an_error(name: str) -> None:
    new, data, *_, closed, _ = RESPONSES[name]
    head_size = len(data.partition(b"\r\n\r\n")[0])
    if name == "cgi, length":
        data = data[:-1]
    for size in range(head_size if closed and name != "cgi, LF" else len(data)):
        if name == "cgi, LF" and size >= 17:
            break
        decoder = new()
        with pytest.raises(ConnectionLost):
            decode(decoder, [data[:size]] if size else [], closed=True)


def test_what_else_a_fastcgi_response_brings() -> None:
    decoder = fcgi()
    decoder.feed(FASTCGI)
    assert decoder.app_status == 3
    assert decoder.errors == ["oops\n"]
    assert decoder.head is not None
    assert decoder.head.headers == [("Content-Type", "text/plain"), ("X-A", "1"), ("X-A", "2")]
    assert decoder.head.raw == CGI.removesuffix(b"body\n")


@pytest.mark.parametrize("new", [fcgi, http])
def test_bytes_behind_a_response_end_the_use_of_the_connection(
    new: Callable[[], Decoder],
) -> None:
    data = FASTCGI if new is fcgi else H11 + b"Content-Length: 3\r\n\r\nabc"
    decoder = new()
    assert b"".join(decoder.feed(data + b"\x01")) == (b"body\n" if new is fcgi else b"abc")
    assert decoder.complete
    assert not decoder.reusable


@pytest.mark.parametrize("name", ["http, chunked", "http, length", "http, no length"])
def test_head_has_no_body(name: str) -> None:
    data = RESPONSES[name][1]
    decoder = http("HEAD")
    assert decoder.feed(data[: data.index(b"\r\n\r\n") + 4]) == []
    assert decoder.complete


@pytest.mark.parametrize(
    ("new", "data", "message"),
    [
        (fcgi, H11, "try http:"),
        (fcgi, b"Status: 200 OK\r\n", "try scgi:"),
        (fcgi, end(0, 1), "FCGI_CANT_MPX_CONN"),
        (fcgi, end(0, 2), "FCGI_OVERLOADED"),
        (fcgi, end(0, 3), "FCGI_UNKNOWN_ROLE"),
        (fcgi, end(), "without an answer"),
        (fcgi, pack_record(FCGI_STDOUT, 2, b"x"), "never sent"),
        (fcgi, pack_record(5, 1, b"x"), "no place"),
        (fcgi, pack_record(FCGI_END_REQUEST, 1, b"x"), "instead of 8"),
        (fcgi, stdout(b"Content-Length: 9\r\n\r\nx") + end(), "8 bytes of its body"),
        (fcgi, stdout(b"garbage\n\n"), "'garbage' is no header"),
        (http, FASTCGI, "try fcgi:"),
        (http, CGI, "try scgi:"),
        (http, b"HTTP/1.1 abc\r\n\r\n", "status line"),
        (http, H11 + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", "Content-Length"),
        (http, H11 + b"Content-Length: -3\r\n\r\n", "Content-Length"),
        (http, H11 + b"Transfer-Encoding: gzip\r\n\r\n", "unknown form"),
        (http, H11 + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", "no size"),
        (http, H11 + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "longer than it says"),
        (http, H11 + b"A" * (1 << 19), "has no end"),
        (cgi, FASTCGI, "try fcgi:"),
        (cgi, b"\r\nbody", "empty line"),
        (cgi, b"Status: x\r\n\r\n", "the status is"),
        (cgi, b"A b: c\r\n\r\n", "no header"),
    ],
)
def test_what_is_no_response(new: Callable[[], Decoder], data: bytes, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        new().feed(data)
    assert message in str(caught.value)
