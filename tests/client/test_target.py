"""Targets: every form, and the message that mends each mistake."""

from __future__ import annotations

import pytest

from gateways.client.message import check_headers, make_target
from gateways.client.target import Target, parse_target
from gateways.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "scheme", "place", "path"),
    [
        ("fcgi:/tmp/app.sock", "fcgi", "/tmp/app.sock", ""),
        ("fcgi:./app.sock", "fcgi", "./app.sock", ""),
        ("fcgi:run/app.sock", "fcgi", "run/app.sock", ""),
        ("fcgi:unix:app.sock", "fcgi", "app.sock", ""),
        ("fcgi:unix:/tmp/a:b?mode=666&group=www", "fcgi", "/tmp/a:b", ""),
        ("fcgi:///tmp/app.sock", "fcgi", "/tmp/app.sock", ""),
        ("scgi:@name", "scgi", "\0name", ""),
        ("scgi:unix:@name", "scgi", "\0name", ""),
        ("uwsgi:127.0.0.1:3031", "uwsgi", ("127.0.0.1", 3031), ""),
        ("uwsgi://127.0.0.1:3031", "uwsgi", ("127.0.0.1", 3031), ""),
        ("uwsgi:[::1]:3031", "uwsgi", ("::1", 3031), ""),
        ("uwsgi::3031", "uwsgi", ("127.0.0.1", 3031), ""),
        ("http:localhost:8000", "http", ("localhost", 8000), ""),
        ("http:localhost:8000/a?b", "http", ("localhost", 8000), "/a?b"),
        ("http://localhost/a/b", "http", ("localhost", 80), "/a/b"),
        ("http://[::1]:8000/", "http", ("::1", 8000), "/"),
        ("http:/tmp/app.sock", "http", "/tmp/app.sock", ""),
        ("cgi:script.cgi", "cgi", "script.cgi", ""),
        ("cgi:/usr/lib/cgi-bin/a", "cgi", "/usr/lib/cgi-bin/a", ""),
    ],
)
def test_the_forms(text: str, scheme: str, place: str | tuple[str, int], path: str) -> None:
    if isinstance(place, str):
        expected = Target(text, scheme, file=place, path=path)
    else:
        expected = Target(text, scheme, host=place[0], port=place[1], path=path)
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "begins with the protocol"),
        ("/tmp/app.sock", "did you mean fcgi:/tmp/app.sock?"),
        ("127.0.0.1:9000", "begins with the protocol"),
        ("gopher:127.0.0.1:70", "begins with the protocol"),
        ("https://localhost/", "TLS"),
        ("fcgi:", "the address is missing"),
        ("http://", "the address is missing"),
        ("fcgi:localhost", "fcgi:localhost:9000, or fcgi:./localhost for a file"),
        ("fcgi:localhost:70000", "out of range"),
        ("fcgi:localhost:0", "out of range"),
        ("fcgi:localhost:http", "no host:port"),
        ("fcgi:::1:9000", "brackets"),
        ("fcgi://tmp/app.sock", "a file is fcgi:/tmp/app.sock"),
        ("fcgi://localhost:9000/path", "an argument of its own"),
    ],
)
def test_mistakes_are_told_with_the_right_form(text: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_target(text)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", "/"),
        ("", "/"),
        ("?q", "/?q"),
        ("/a b", "/a%20b"),
        ("/caf\u00e9?\u00fc", "/caf%C3%A9?%C3%BC"),
        ("/\udcff", "/%FF"),
        ("/%2F%zz", "/%2F%zz"),
        ("/a#b", "/a"),
        ("*", "*"),
        ("/a\r\nB: c", "/a%0D%0AB:%20c"),
    ],
)
def test_a_path_is_quoted_where_it_must_be(path: str, target: str) -> None:
    assert make_target(path) == target


def test_a_path_begins_with_a_slash() -> None:
    with pytest.raises(ConfigError, match="does not begin with"):
        make_target("a")


@pytest.mark.parametrize("header", [("A B", "c"), ("", "c"), ("A", "b\r\nC: d"), ("A", "\0")])
def test_headers_cannot_break_the_head(header: tuple[str, str]) -> None:
    with pytest.raises(ConfigError):
        check_headers([header])
