"""Requests to bytes: against the specifications' own examples, and read back by our codecs."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

import pytest

from gateways.client.encoders import encode
from gateways.client.message import Body, BodyLike, Request
from gateways.client.variables import build_variables, split_path
from gateways.errors import ConfigError
from gateways.protocols.encoders import (
    encode_fastcgi_head,
    encode_scgi_head,
    encode_uwsgi_head,
    encode_uwsgi_vars,
)
from gateways.protocols.records import FCGI_BEGIN_REQUEST, FCGI_DATA, FCGI_PARAMS, FCGI_STDIN
from gateways.protocols.variables import decode_pairs
from tests.protocols.vectors import split_records


def sent(scheme: str, body: BodyLike = b"", keep: bool = False, **fields: Any) -> bytes:
    """All that is sent for a request."""
    with contextlib.closing(Body(body)) as whole:
        outgoing = encode(scheme, Request(**fields), whole, keep=keep)
        return b"".join(bytes(piece) for piece in outgoing)


# The encoders of gateways.protocols


def test_scgi_is_as_in_its_specification() -> None:
    head = encode_scgi_head(
        [
            ("CONTENT_LENGTH", "27"),
            ("SCGI", "1"),
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/deepthought"),
        ]
    )
    assert head == (
        b"70:CONTENT_LENGTH\x0027\x00SCGI\x001\x00REQUEST_METHOD\x00POST\x00"
        b"REQUEST_URI\x00/deepthought\x00,"
    )


def test_uwsgi_is_little_endian() -> None:
    assert encode_uwsgi_vars([("A", b"xyz"), ("BC", "\xe9")]) == (
        b"\x01\x00A\x03\x00xyz\x02\x00BC\x01\x00\xe9"
    )
    long = encode_uwsgi_head([("A", "x" * 300)], 30, 2)
    assert long[:4] == b"\x1e\x31\x01\x02"
    assert long[4:9] == b"\x01\x00A\x2c\x01"


@pytest.mark.parametrize("size", [65529, 65530, 65536])
def test_uwsgi_has_a_limit(size: int) -> None:
    if size == 65530:
        assert len(encode_uwsgi_head([("A", "x" * size)])) == 4 + 65535
    elif size < 65530:
        assert len(encode_uwsgi_head([("A", "x" * size)])) == 4 + size + 5
    else:
        with pytest.raises(ValueError, match="65535"):
            encode_uwsgi_head([("A", "x" * size)])
    with pytest.raises(ValueError, match="65535"):
        encode_uwsgi_head([("A", "x" * size), ("B", "y" * 100)])


def test_scgi_cannot_hold_a_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        encode_scgi_head([("A", "b\0c")])


def test_fastcgi_params_may_need_several_records() -> None:
    variables = [("A", "x" * 70000), ("B", "")]
    (_, _, begin), *params = split_records(encode_fastcgi_head(variables, 300, 1, keep=True))
    assert begin == b"\0\x01\x01\0\0\0\0\0"
    assert [(kind, number) for kind, number, _ in params] == [(FCGI_PARAMS, 300)] * 3
    assert params[-1][2] == b""
    assert decode_pairs(b"".join(content for *_, content in params)) == dict(variables)


# Requests


def test_a_fastcgi_request() -> None:
    records = split_records(sent("fcgi", iter([b"ab", b"", b"c"]), method="POST", target="/a?b"))
    kinds = [kind for kind, *_ in records]
    assert kinds == [FCGI_BEGIN_REQUEST, FCGI_PARAMS, FCGI_PARAMS, *[FCGI_STDIN] * 3]
    assert [content for *_, content in records[3:]] == [b"ab", b"c", b""]
    variables = decode_pairs(records[1][2])
    assert variables["REQUEST_URI"] == "/a?b"
    assert variables["CONTENT_LENGTH"] == ""


def test_a_filter_gets_both_its_streams_and_an_authorizer_no_path() -> None:
    records = split_records(sent("fcgi", role="filter"))
    assert [kind for kind, *_ in records[-2:]] == [FCGI_STDIN, FCGI_DATA]
    records = split_records(sent("fcgi", role="authorizer", keep=True))
    assert records[0][2][:3] == b"\0\x02\x01"
    assert not {"PATH_INFO", "SCRIPT_NAME"} & set(decode_pairs(records[1][2]))


def test_an_scgi_request_begins_with_the_length_of_its_body() -> None:
    data = sent("scgi", iter([b"ab", b"c"]), method="POST")
    assert data.partition(b":")[2].startswith(b"CONTENT_LENGTH\x003\x00SCGI\x001\x00")
    assert data.endswith(b",abc")
    assert sent("scgi").partition(b":")[2].startswith(b"CONTENT_LENGTH\x000\x00")


def test_a_uwsgi_request_knows_the_length_of_a_pipe() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb") as end:
        end.write(b"abc")
        end.close()
        data = sent("uwsgi", pipe, method="PUT")
    assert b"\x0e\x00CONTENT_LENGTH\x01\x003" in data
    assert data.endswith(b"abc")


@pytest.mark.parametrize(
    ("fields", "body", "keep", "expected"),
    [
        ({}, b"", True, b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n"),
        (
            {"method": "PUT", "target": "/a"},
            b"abc",
            False,
            b"PUT /a HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\nContent-Length: 3\r\n"
            b"Connection: close\r\n\r\nabc",
        ),
        (
            {"method": "POST"},
            b"",
            True,
            b"POST / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            {"method": "POST"},
            [b"abc", b"d" * 17],
            True,
            b"POST / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n11\r\n" + b"d" * 17 + b"\r\n0\r\n\r\n",
        ),
    ],
)
def test_an_http_request(fields: dict[str, Any], body: Any, keep: bool, expected: bytes) -> None:
    headers = [("User-Agent", "x")]
    assert sent("http", body, keep, headers=headers, **fields) == expected


def test_what_a_protocol_cannot_carry_is_refused() -> None:
    with pytest.raises(ConfigError, match="--param"):
        sent("http", params={"A": "b"})
    with pytest.raises(ConfigError, match="roles"):
        sent("uwsgi", role="authorizer")
    with pytest.raises(ConfigError, match="65535"):
        sent("uwsgi", headers=[("A", "x" * 70000)])
    with pytest.raises(ConfigError, match="cannot be sent"):
        sent("fcgi", headers=[("A", "\u20ac")])


@pytest.mark.parametrize(
    ("source", "length"),
    [(b"abc", 3), ("\u00e9", 2), (None, 0), (io.BytesIO(b"abc"), 3), ([b"abc"], None)],
)
def test_the_length_of_a_body(source: Any, length: int | None) -> None:
    body = Body(source)
    assert body.length == length
    assert body.untouched
    with contextlib.closing(body):
        assert body.spool() == len(b"".join(body)) == (3 if length is None else length)


def test_a_file_counts_from_where_it_stands() -> None:
    file = io.BytesIO(b"abcdef")
    file.seek(4)
    assert Body(file).length == 2
    assert b"".join(Body(file)) == b"ef"


# Variables


def test_the_variables_of_a_request() -> None:
    request = Request(
        "POST",
        "/a%20b/c%2Fd?x=%20",
        [
            ("Host", "example.test:8080"),
            ("content-type", "text/plain"),
            ("X-A", "1"),
            ("x-a", "2"),
            ("Cookie", "a=1"),
            ("Cookie", "b=2"),
            ("Proxy", "http://evil"),
            ("X_B", "1"),
        ],
        {"REMOTE_USER": "me", "REMOTE_ADDR": "192.0.2.1"},
        "/a%20b",
    )
    variables = build_variables(request, 3)
    expected = {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/a%20b/c%2Fd?x=%20",
        "SCRIPT_NAME": "/a b",
        "PATH_INFO": "/c/d",
        "QUERY_STRING": "x=%20",
        "SERVER_NAME": "example.test",
        "SERVER_PORT": "8080",
        "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "text/plain",
        "HTTP_HOST": "example.test:8080",
        "HTTP_X_A": "1, 2",
        "HTTP_COOKIE": "a=1; b=2",
        "REMOTE_USER": "me",
        "REMOTE_ADDR": "192.0.2.1",
        "GATEWAY_INTERFACE": "CGI/1.1",
    }
    assert expected.items() <= variables.items()
    assert not {"HTTP_PROXY", "HTTP_X_B", "HTTP_CONTENT_TYPE"} & set(variables)


def test_a_get_without_a_body_has_no_length() -> None:
    assert "CONTENT_LENGTH" not in build_variables(Request(), 0)


@pytest.mark.parametrize(
    ("target", "script_name", "expected"),
    [
        ("/a/b", "", ("", "/a/b")),
        ("/a/b", "/a", ("/a", "/b")),
        ("/a", "/a", ("/a", "")),
        ("/a/", "/a/", ("/a", "/")),
        ("/%61/b?/c", "/a", ("/a", "/b")),
        ("/caf%C3%A9", "", ("", "/caf\xc3\xa9")),
    ],
)
def test_the_path_is_split(target: str, script_name: str, expected: tuple[str, str]) -> None:
    assert split_path(target, script_name) == expected


@pytest.mark.parametrize("target", ["/ab", "/", "/b/a"])
def test_a_script_name_is_a_prefix_of_segments(target: str) -> None:
    with pytest.raises(ConfigError, match="below the script name"):
        split_path(target, "/a")
