"""Variables that were prepared with earlier requests: the environ is what it would be without."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateways.errors import LimitExceeded, ProtocolError
from gateways.protocols.encoders import encode_uwsgi_vars
from gateways.protocols.familiar import FIELDS, PAIRS, VARS, Names
from gateways.protocols.variables import (
    clean,
    decode_fields,
    decode_pairs,
    decode_vars,
    encode_pairs,
    new_names,
)
from gateways.wsgi.environ import EnvironBuilder

Pairs = list[tuple[str, str]]

# What a builder goes by, and what it may not touch, with the values that make a difference.
VALUES = {
    "REQUEST_METHOD": ["GET", "GET", "POST", ""],
    "SCRIPT_NAME": ["", "/app", "/app/page"],
    "PATH_INFO": ["", "/", "/page", "/app/page"],
    "DOCUMENT_URI": ["/app/page"],
    "QUERY_STRING": ["", "a=1", "a=2"],
    "REQUEST_URI": ["/app/page?a=1", "/app/page"],
    "SERVER_NAME": ["a.example", "_", "", "b.example:81"],
    "SERVER_PORT": ["80", "8080", "", "none"],
    "SERVER_ADDR": ["192.0.2.1", "192.0.2.2"],
    "SERVER_PROTOCOL": ["HTTP/1.1", ""],
    "SERVER_SOFTWARE": ["nginx", "lighttpd/1.4"],
    "REQUEST_SCHEME": ["http", "https"],
    "HTTPS": ["", "on", "off"],
    "UWSGI_SCHEME": ["https"],
    "GATEWAY_INTERFACE": ["CGI/1.1"],
    "REMOTE_ADDR": ["192.0.2.9", "192.0.2.8"],
    "REMOTE_USER": ["", "somebody"],
    "AUTH_TYPE": ["", "Basic"],
    "CONTENT_TYPE": ["", "text/plain"],
    "CONTENT_LENGTH": ["", "0"],
    "HTTP_HOST": ["a.example", "c.example:8080"],
    "HTTP_PROXY": ["http://x/"],
    "HTTP_CONTENT_LENGTH": ["5", ""],
    "HTTP_X_FORWARDED_PROTO": ["https", "http"],
    "HTTP_COOKIE": ["c=1", "c=2"],
    "REDIRECT_HTTP_AUTHORIZATION": ["Basic eDp5"],
    "HTTP_AUTHORIZATION": ["Basic eDp6"],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "mounted": {"script_name": "/app"},
    "users not believed": {"trust_remote_user": False},
    "its own variables": {"extra": {"HTTP_COOKIE": "mine", "app.config": "/etc/x"}},
    "its own path": {"extra": {"SCRIPT_NAME": "/mine"}},
}


def decode(wire: str, names: Names, pairs: Pairs, most: int = 0) -> dict[str, str]:
    if wire == "fcgi":
        return decode_pairs(encode_pairs(pairs), most, 0, -1, names)
    if wire == "uwsgi":
        return decode_vars(encode_uwsgi_vars(pairs), most, 0, names)
    fields = b"".join(f"{name}\0{value}\0".encode("latin-1") for name, value in pairs)
    return decode_fields(fields, most, names)


WIRES = {"fcgi": PAIRS, "uwsgi": VARS, "scgi": FIELDS}


def built(builder: EnvironBuilder, variables: dict[str, str]) -> dict[str, Any] | str:
    try:
        return builder.build(variables, None, None)
    except ProtocolError as error:
        return str(error)


def some_requests(chance: random.Random) -> list[Pairs]:
    """A few web servers that send always the same names, and mostly the same values."""
    names = list(VALUES)
    requests = []
    for _ in range(3):
        sent = ["REQUEST_METHOD", *chance.sample(names[1:], chance.randrange(4, len(names)))]
        usual = {name: chance.choice(VALUES[name]) for name in sent}
        for _ in range(60):
            values = dict(usual)
            for name in chance.sample(sent, chance.choice([0, 0, 1, 1, 3])):
                values[name] = chance.choice(VALUES[name])
            requests.append(list(values.items()))
    return requests


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("wire", WIRES)
def test_the_environ_is_what_it_is_for_a_first_request(wire: str, options: str, seed: int) -> None:
    builder = EnvironBuilder(**OPTIONS[options])
    names = new_names(WIRES[wire], builder.prepare)
    for pairs in some_requests(random.Random(seed)):
        wanted = clean(pairs)
        if wire == "uwsgi":
            # The codec's own, of which it serves one.
            assert all(not name.startswith("UWSGI_") or name == "UWSGI_SCHEME" for name in wanted)
        plain = built(EnvironBuilder(**OPTIONS[options]), wanted)
        assert built(builder, decode(wire, names, pairs)) == plain


USUAL = [
    ("REQUEST_METHOD", "GET"),
    ("PATH_INFO", "/page"),
    ("SCRIPT_NAME", ""),
    ("QUERY_STRING", "a=1"),
    ("SERVER_NAME", "a.example"),
    ("HTTPS", ""),
]


def usual_names(builder: EnvironBuilder, wire: str) -> Names:
    names = new_names(WIRES[wire], builder.prepare)
    for _ in range(40):
        decode(wire, names, USUAL)
    return names


@pytest.mark.parametrize("wire", WIRES)
def test_it_is_prepared_once_for_many_requests(wire: str) -> None:
    builder = EnvironBuilder()
    names = usual_names(builder, wire)
    variables = decode(wire, names, USUAL)
    assert variables["SERVER_PORT"] == "80"
    assert "wsgi.version" in variables
    assert "HTTPS" not in variables


@pytest.mark.parametrize("wire", WIRES)
def test_what_an_application_does_to_its_environ_no_other_request_sees(wire: str) -> None:
    builder = EnvironBuilder()
    names = usual_names(builder, wire)
    first = builder.build(decode(wire, names, USUAL), "body", "errors")
    first["wsgi.url_scheme"] = "gopher"
    del first["REQUEST_METHOD"]
    second = builder.build(decode(wire, names, USUAL), None, None)
    assert second["wsgi.url_scheme"] == "http"
    assert second["REQUEST_METHOD"] == "GET"
    assert second["wsgi.input"] != "body"
    assert second["wsgi.errors"] is None


@pytest.mark.parametrize("wire", WIRES)
def test_what_another_builder_has_prepared_is_built_anew(wire: str) -> None:
    names = usual_names(EnvironBuilder(multithread=False), wire)
    environ = EnvironBuilder(multithread=True).build(decode(wire, names, USUAL), None, None)
    assert environ["wsgi.multithread"] is True


@pytest.mark.parametrize("wire", WIRES)
def test_only_what_came_counts_for_the_limit(wire: str) -> None:
    names = usual_names(EnvironBuilder(), wire)
    assert decode(wire, names, USUAL, len(USUAL))
    with pytest.raises(LimitExceeded, match=f"has {len(USUAL)} variables"):
        decode(wire, names, USUAL, len(USUAL) - 1)
