"""What request smuggling is made of: each case must be refused, and end its connection.

A request that two servers read differently hides a second one; so whatever is ambiguous gets an
error, and nothing after it is ever taken for a request.
"""

from __future__ import annotations

from collections import deque

import pytest

from gateways.errors import LimitExceeded, ProtocolError
from gateways.protocols.chunked import ChunkedDecoder

from .driver import bytewise
from .http_driver import Run, get, sink

HOST = b"Host: example.test\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


def with_fields(*fields: bytes, method: bytes = b"POST", version: bytes = b"1.1") -> bytes:
    """A head with a Host and these fields."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return method + b" / HTTP/" + version + b"\r\n" + HOST + lines + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked"

REFUSED = {
    "length and coding": (with_fields(b"Content-Length: 5", CHUNKED), 400),
    "coding and length": (with_fields(CHUNKED, b"Content-Length: 5"), 400),
    "length 0 and coding": (with_fields(b"Content-Length: 0", CHUNKED), 400),
    "two lengths": (with_fields(b"Content-Length: 5", b"Content-Length: 6"), 400),
    "the same length twice": (with_fields(b"Content-Length: 5", b"content-length: 5"), 400),
    "a list of lengths": (with_fields(b"Content-Length: 5, 5"), 400),
    "length +5": (with_fields(b"Content-Length: +5"), 400),
    "length -5": (with_fields(b"Content-Length: -5"), 400),
    "length 1_0": (with_fields(b"Content-Length: 1_0"), 400),
    "length 0x5": (with_fields(b"Content-Length: 0x5"), 400),
    "length 5.0": (with_fields(b"Content-Length: 5.0"), 400),
    "length of other digits": (with_fields(b"Content-Length: \xb2"), 400),
    "a huge length": (with_fields(b"Content-Length: " + b"9" * 30), 400),
    "an empty length": (with_fields(b"Content-Length:"), 400),
    "coding in HTTP/1.0": (with_fields(CHUNKED, version=b"1.0"), 400),
    "chunked twice": (with_fields(b"Transfer-Encoding: chunked, chunked"), 400),
    "chunked twice, in two fields": (with_fields(CHUNKED, CHUNKED), 400),
    "chunked not last": (with_fields(b"Transfer-Encoding: chunked, identity"), 400),
    "chunked not last, in two fields": (with_fields(CHUNKED, b"Transfer-Encoding: gzip"), 400),
    "identity": (with_fields(b"Transfer-Encoding: identity"), 400),
    "gzip alone": (with_fields(b"Transfer-Encoding: gzip"), 400),
    "another coding": (with_fields(b"Transfer-Encoding: gzip, chunked"), 501),
    "xchunked": (with_fields(b"Transfer-Encoding: xchunked"), 400),
    "chunked with a parameter": (with_fields(b"Transfer-Encoding: chunked;q=1"), 400),
    "quoted chunked": (with_fields(b'Transfer-Encoding: "chunked"'), 400),
    "an empty coding": (with_fields(b"Transfer-Encoding:"), 400),
    "a vertical tab before chunked": (with_fields(b"Transfer-Encoding: \x0bchunked"), 400),
    "a space before the colon": (with_fields(b"Transfer-Encoding : chunked"), 400),
    "a tab before the colon": (with_fields(b"Content-Length\t: 5"), 400),
    "a space before the name": (with_fields(b" Content-Length: 5"), 400),
    "a space in the name": (with_fields(b"X Content-Length: 5"), 400),
    "a folded line": (with_fields(b"A: b", b" Content-Length: 5"), 400),
    "a folded line with a tab": (with_fields(b"A: b", b"\tc"), 400),
    "a bare CR in a value": (with_fields(b"A: b\rContent-Length: 5"), 400),
    "a bare LF in a value": (with_fields(b"A: b\nContent-Length: 5"), 400),
    "two CR": (with_fields(b"A: b\r"), 400),
    "only LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "a NUL in a value": (with_fields(b"A: b\0c"), 400),
    "a NUL in a name": (with_fields(b"A\0: b"), 400),
    "a control character": (with_fields(b"A: \x01"), 400),
    "DEL": (with_fields(b"A: \x7f"), 400),
    "no colon": (with_fields(b"Nothing"), 400),
    "no name": (with_fields(b": value"), 400),
    "a name in brackets": (with_fields(b"(name): value"), 400),
    "a name that is not ASCII": (with_fields(b"n\xe4me: value"), 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (with_fields(b"Host: example.test"), 400),
    "two Hosts in HTTP/1.0": (with_fields(b"Host: other.test", version=b"1.0"), 400),
    "an empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "a Host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a Host with a user": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    "a Host with a space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a Host with a bad port": (b"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400),
    "a Host that is a list": (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
    "a bad Host with an absolute target": (b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a tab in the request line": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a space at its end": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a control character in the target": (b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a bare CR in the request line": (b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a method that is no token": (b"GE(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "http in lower case": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "version 1": (b"GET / HTTP/1\r\n" + HOST + b"\r\n", 400),
    "version 1.10": (b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 400),
    "version 2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "version 2": (b"GET / HTTP/2\r\n" + HOST + b"\r\n", 505),
    "version 0.9": (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "an asterisk with GET": (get("*"), 400),
    "a target that is no path": (get("path"), 400),
    "a target of another scheme": (get("ftp://a/"), 400),
    "an absolute target with a user": (get("http://a@b/"), 400),
    "an absolute target without a host": (get("http:///x"), 400),
    "a NUL in the path": (get("/a%00b"), 400),
    "a line break in the path": (get("/a%0d%0ab"), 400),
    "another expectation": (with_fields(b"Expect: a-pony"), 417),
    "two empty lines": (b"\r\n\r\n" + get(), 400),
    "an LF before the request": (b"\n" + get(), 400),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
def test_it_is_refused_and_nothing_after_it_is_a_request(cut, data: bytes, status: int) -> None:  # type: ignore[no-untyped-def]
    run = Run()
    run.feed(*cut(data + b"0\r\n\r\n" + SMUGGLED))
    (request,) = run.ready
    assert request.refusal is not None
    assert request.refusal.status == status
    assert request.body is None
    run.answer(request, b"refused", status=f"{status} No")
    assert b"\r\nConnection: close\r\n" in run.sent
    assert (run.codec.closing, run.codec.input_pending) == (True, True)
    assert run.feed(SMUGGLED) == []
    assert len(run.ready) == 1


@pytest.mark.parametrize(
    "fields",
    [
        (b"Content-Length: 005",),
        (b"Content-Length:5",),
        (b"Content-Length: \t5 \t",),
        (b"TRANSFER-ENCODING: Chunked",),
        (b"A: \t b\tc \x80\xff",),
        (b"Host2: x", b"A:"),
    ],
)
def test_what_looks_odd_but_is_right_is_served(fields: tuple[bytes, ...]) -> None:
    run = Run()
    run.feed(with_fields(*fields), b"5\r\nabcde\r\n0\r\n\r\n")
    assert run.ready[0].refusal is None


BAD_CHUNKS = {
    "no size": b"\r\nabc\r\n",
    "a size with a sign": b"+3\r\nabc\r\n",
    "a size with 0x": b"0x3\r\nabc\r\n",
    "a size with _": b"0_3\r\nabc\r\n",
    "a space before the size": b" 3\r\nabc\r\n",
    "a space after the size": b"3 \r\nabc\r\n",
    "no hexadecimal digit": b"g\r\nabc\r\n",
    "a size of 16 digits": b"0000000000000003\r\nabc\r\n",
    "a size line that ends in LF": b"3\nabc\r\n",
    "a CR in an extension": b"3;a\rb\r\nabc\r\n",
    "a NUL in an extension": b"3;\0\r\nabc\r\n",
    "data that is too long": b"3\r\nabcd\r\n",
    "data that ends in LF": b"3\r\nabc\n0\r\n\r\n",
    "data that ends in CR": b"3\r\nabc\r0\r\n\r\n",
    "a last chunk that ends in LF": b"0\n\r\n",
    "an end that is LF": b"0\r\n\n",
    "a trailer without a colon": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "a trailer with a space in its name": b"0\r\nA B: c\r\n\r\n",
    "a trailer with a NUL": b"0\r\nA: \0\r\n\r\n",
    "a long extension": b"3;" + b"x" * 300 + b"\r\nabc\r\n",
    "an endless extension": b"3;" + b"x" * 300,
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
def test_bad_chunks_fail_the_body_and_the_connection(cut, body: bytes) -> None:  # type: ignore[no-untyped-def]
    run = Run()
    run.feed(with_fields(CHUNKED), *cut(body), SMUGGLED)
    (request,) = run.ready
    error = sink(request).error
    assert isinstance(error, ProtocolError)
    assert error.status == 400
    run.answer(request)
    assert (run.codec.closing, run.codec.input_pending) == (True, True)
    assert run.feed(SMUGGLED) == []
    assert len(run.ready) == 1


@pytest.mark.parametrize("trailers", [b"A: " + b"x" * 20000, b"A: x\r\n" * 4000])
def test_trailers_are_bounded(trailers: bytes) -> None:
    for pieces in ([trailers], bytewise(trailers)):
        decoder = ChunkedDecoder()
        decoder.feed(b"0\r\n")
        with pytest.raises(LimitExceeded):
            deque(map(decoder.feed, pieces))


GOOD_CHUNKS = {
    "one": (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
    "two": (b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", b"abcd"),
    "upper and lower case": (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "leading zeros": (b"0003\r\nabc\r\n000\r\n\r\n", b"abc"),
    "extensions": (b'3;a="b;c" ;d\r\nabc\r\n0;e\r\n\r\n', b"abc"),
    "trailers": (b"0\r\nA: b\r\nContent-Length: 5\r\nHost: x\r\n\r\n", b""),
    "data that looks like an end": (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize(("body", "content"), GOOD_CHUNKS.values(), ids=GOOD_CHUNKS.keys())
def test_chunks(body: bytes, content: bytes) -> None:
    rest = b"rest"
    for cut in range(len(body) + 1):
        decoder = ChunkedDecoder()
        first, over = decoder.feed(body[:cut])
        assert over == b""
        assert decoder.ended is (cut == len(body))
        second, over = decoder.feed(body[cut:] + rest)
        assert (first + second, over, decoder.ended) == (content, rest, True)
    decoder = ChunkedDecoder()
    assert b"".join(decoder.feed(piece)[0] for piece in bytewise(body)) == content
