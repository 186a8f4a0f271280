"""The SCGI codec: SC-1 to SC-5 of our checklist. What it shares with uwsgi: test_oneshot.py."""

from __future__ import annotations

import pytest

from gateways.errors import LimitExceeded
from gateways.protocols.encoders import encode_netstring, encode_scgi_head
from gateways.protocols.limits import RequestLimits
from gateways.protocols.scgi import Scgi
from gateways.protocols.variables import decode_fields

from .driver import body_of, bytewise
from .oneshot_driver import Run

SMALL = RequestLimits(max_variables_bytes=100)

# The example of the specification, with its own length.
EXAMPLE = (
    b"70:"
    b"CONTENT_LENGTH\0" + b"27\0"
    b"SCGI\0" + b"1\0"
    b"REQUEST_METHOD\0POST\0"
    b"REQUEST_URI\0/deepthought\0"
    b","
    b"What is the answer to life?"
)


def run(*pieces: bytes, limits: RequestLimits | None = None) -> Run:
    return Run(Scgi, limits or RequestLimits()).feed(*pieces)


@pytest.mark.parametrize("pieces", [[EXAMPLE], bytewise(EXAMPLE)], ids=["whole", "byte by byte"])
def test_the_example_of_the_specification(pieces: list[bytes]) -> None:
    request = run(*pieces).request
    assert request.variables == {
        "CONTENT_LENGTH": "27",
        "SCGI": "1",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/deepthought",
    }
    assert body_of(request).data == b"What is the answer to life?"


def test_the_response_has_the_form_of_cgi() -> None:
    answer = run(EXAMPLE).answer(b"42", headers=[("Content-Type", "text/plain")])
    assert answer == b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n42"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\1\1\0\1\0\x08\0\0",
        b"+70:",
        b"-1:",
        b" 70:",
        b"070:",
        b"00:",
        b"70 :",
        b"7\xb2:",
        b":",
        b"12345678901:",
        b"12345678901",
        b"0x10:",
    ],
)
def test_what_is_no_netstring_closes_the_connection(data: bytes) -> None:
    for pieces in ([data], bytewise(data)):
        made = run(*pieces)
        assert made.error is not None
        assert made.ready == []


def test_a_length_of_ten_digits_is_the_longest() -> None:
    made = run(b"9999999999", limits=RequestLimits(max_variables_bytes=0))
    assert made.error is None
    assert made.feed(b":CONTENT").error is None
    assert made.ready == []


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"20:CONTENT_LENGTH\x000\0A\0b;", "end in a comma"),
        (b"20:CONTENT_LENGTH\x000\0A\0b,", "do not end in a NUL"),
        (b"20:CONTENT_LENGTH\x000\0AB\0,", "a name and no value"),
        (b"20:CONTENT_LENGTH\x000\0\0b\0,", "empty name"),
        (encode_scgi_head([("SCGI", "1"), ("A", "b")]), "without CONTENT_LENGTH"),
        (encode_scgi_head([("CONTENT_LENGTH", "0"), ("SCGI", "2")]), "SCGI version '2'"),
        (encode_scgi_head([("CONTENT_LENGTH", "0x1")]), "CONTENT_LENGTH is '0x1'"),
        (encode_scgi_head([("CONTENT_LENGTH", "1"), ("CONTENT_LENGTH", "2")]), "two different"),
        (b"0:,", "without CONTENT_LENGTH"),
        (encode_scgi_head([("CONTENT_LENGTH", "0"), ("A", "\n")]), "NUL or a line break"),
    ],
)
def test_bad_headers_are_refused(head: bytes, said: str) -> None:
    for pieces in ([head], bytewise(head)):
        refusal = run(*pieces).request.refusal
        assert refusal is not None
        assert refusal.status == 400
        assert said in str(refusal)


@pytest.mark.parametrize(
    "pairs",
    [
        [("SCGI", "1"), ("A", "b"), ("CONTENT_LENGTH", "3")],  # not the first
        [("CONTENT_LENGTH", "3"), ("A", "b")],  # SCGI is missing
        [("CONTENT_LENGTH", "003"), ("SCGI", "1")],
    ],
)
def test_what_is_harmless_is_forgiven(pairs: list[tuple[str, str]]) -> None:
    request = run(encode_scgi_head(pairs) + b"abc").request
    assert request.refusal is None
    assert body_of(request).data == b"abc"


def test_repeated_headers_are_joined() -> None:
    """The specification forbids them; nginx 1.22 and lighttpd send them."""
    data = b"HTTP_X\x001\0HTTP_COOKIE\0a=1\0HTTP_X\x002\0HTTP_COOKIE\0b=2\0A\x001\0A\x002\0"
    assert decode_fields(data) == {"HTTP_X": "1, 2", "HTTP_COOKIE": "a=1; b=2", "A": "2"}


def test_variables_are_latin_1_and_ours_cannot_be_forged() -> None:
    assert decode_fields(b"\xe9\0\xff\0wsgi.input\0x\0A=\0b\0") == {"\xe9": "\xff"}


def test_headers_beyond_the_limit_are_not_awaited() -> None:
    head = b"CONTENT_LENGTH\x000\0SCGI\x001\0HTTP_LONG\0" + b"v" * 10**6 + b"\0"
    made = run(encode_netstring(head)[:90], limits=SMALL)
    assert made.ready == []
    made.feed(encode_netstring(head)[90:200])
    refusal = made.request.refusal
    assert isinstance(refusal, LimitExceeded)
    assert refusal.status == 431
    assert f"{len(head)} bytes, --max-variables-bytes allows 100" in str(refusal)
    assert "the largest is 'HTTP_LONG' with" in str(refusal)
    assert made.answer().startswith(b"Status: 200 OK\r\n")
    assert made.codec.input_pending


def test_headers_of_exactly_the_limit() -> None:
    pairs = [("CONTENT_LENGTH", "0"), ("X", "v" * (100 - 17 - 3))]
    assert encode_scgi_head(pairs).startswith(b"100:")
    assert run(encode_scgi_head(pairs), limits=SMALL).request.refusal is None
