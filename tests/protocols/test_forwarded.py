"""X-Forwarded-* and Forwarded: who is believed, and what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.config import Config
from gateways.core.codecs import trusted_proxies
from gateways.errors import ConfigError
from gateways.protocols.forwarded import apply_forwarded
from gateways.values import replace

from .http_driver import SETTINGS, get, only

BASE = {
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "9",
    "REQUEST_SCHEME": "http",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "HTTP_HOST": "inner:8000",
    "SCRIPT_NAME": "",
}
TRUSTED = trusted_proxies(["127.0.0.1, 10.0.0.0/8", "fd00::/8", "unix"])
LOOPBACK = trusted_proxies(Config().forwarded_allow_ips)


def applied(**fields: str) -> dict[str, str]:
    """What the fields change of ``BASE``; a variable that is gone is "-"."""
    peer = fields.pop("peer", "127.0.0.1")
    given = {"HTTP_" + name: value for name, value in fields.items()}
    before = {**BASE, **given, "REMOTE_ADDR": peer}
    after = dict(before)
    apply_forwarded(after, TRUSTED)
    assert given.items() <= after.items() | {("HTTP_HOST", fields.get("HOST", ""))}
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    return {**changed, **dict.fromkeys(before.keys() - after.keys(), "-")}


def client(address: str, port: str = "-") -> dict[str, str]:
    """The change of the client's address."""
    return {"REMOTE_ADDR": address, "REMOTE_PORT": port}


HTTPS = {"REQUEST_SCHEME": "https", "HTTPS": "on"}
PUBLIC = {"HTTP_HOST": "a.test", "SERVER_NAME": "a.test", "SERVER_PORT": "80"}

X_FORWARDED = [
    ("FOR", "192.0.2.7", client("192.0.2.7")),
    ("FOR", "192.0.2.7:55", client("192.0.2.7", "55")),
    ("FOR", "[2001:DB8::1]:55", client("2001:db8::1", "55")),
    ("FOR", "2001:db8::1", client("2001:db8::1")),
    ("FOR", "192.0.2.7, ::ffff:10.0.0.1", client("192.0.2.7")),
    ("FOR", "6.6.6.6, 192.0.2.7", client("192.0.2.7")),
    ("FOR", "6.6.6.6, 192.0.2.7,10.0.0.1 , fd00::1", client("192.0.2.7")),
    ("FOR", "10.0.0.1, 10.0.0.2", client("10.0.0.1")),
    ("FOR", "10.0.0.7, forged, 10.0.0.2", client("10.0.0.2")),
    ("FOR", "192.0.2.7, unknown", {}),
    ("FOR", "", {}),
    ("FOR", "fe80::1%eth0", {}),
    ("FOR", "192.0.2.256", {}),
    ("PROTO", "https", HTTPS),
    ("PROTO", "HTTPS", HTTPS),
    ("PROTO", "http, https", HTTPS),
    ("PROTO", "https, http", {}),
    ("PROTO", "wss", {}),
    ("PROTO", "javascript", {}),
    ("HOST", "a.test", PUBLIC),
    ("HOST", "forged.test, a.test", PUBLIC),
    ("HOST", "a.test:81", {**PUBLIC, "HTTP_HOST": "a.test:81", "SERVER_PORT": "81"}),
    ("HOST", "a/b", {}),
    ("HOST", "a.test evil", {}),
    ("HOST", "", {}),
    ("PORT", "81", {"SERVER_PORT": "81", "HTTP_HOST": "inner:81"}),
    ("PORT", "80", {"SERVER_PORT": "80", "HTTP_HOST": "inner"}),
    ("PORT", "0", {}),
    ("PORT", "65536", {}),
    ("PORT", "x", {}),
    ("PORT", "\xb2", {}),
    ("PORT", "9" * 5000, {}),
    ("PREFIX", "/app", {"SCRIPT_NAME": "/app"}),
    ("PREFIX", "/app/", {"SCRIPT_NAME": "/app"}),
    ("PREFIX", "/a%20b/c", {"SCRIPT_NAME": "/a b/c"}),
    ("PREFIX", "/forged, /app", {"SCRIPT_NAME": "/app"}),
    ("PREFIX", "/", {}),
    ("PREFIX", "app", {}),
    ("PREFIX", "//app", {}),
    ("PREFIX", "/a/../b", {}),
    ("PREFIX", "/a/%2e%2e", {}),
    ("PREFIX", "/a%0d%0ab", {}),
    ("PREFIX", "/a?b", {}),
]


@pytest.mark.parametrize(("name", "value", "changes"), X_FORWARDED)
def test_a_trusted_proxy_sets(name: str, value: str, changes: dict[str, str]) -> None:
    assert applied(**{"X_FORWARDED_" + name: value}) == changes


@pytest.mark.parametrize(("name", "value", "changes"), X_FORWARDED)
@pytest.mark.parametrize("peer", ["192.0.2.99", "nonsense"])
def test_nobody_else_sets_anything(
    name: str, value: str, changes: dict[str, str], peer: str
) -> None:
    assert applied(peer=peer, **{"X_FORWARDED_" + name: value}) == {}


RFC_7239 = [
    ("for=192.0.2.7", client("192.0.2.7")),
    ('For="[2001:db8::1]:4711"', client("2001:db8::1", "4711")),
    (
        "for=192.0.2.7; proto=https;by=10.0.0.1 ;host=a.test",
        {**client("192.0.2.7"), **HTTPS, **PUBLIC, "SERVER_PORT": "443"},
    ),
    ("for=6.6.6.6;host=evil.test, for=192.0.2.7", client("192.0.2.7")),
    ("for=192.0.2.7;proto=https, for=10.0.0.1;proto=http", {**client("192.0.2.7"), **HTTPS}),
    ("for=10.0.0.3, for=10.0.0.1", client("10.0.0.3")),
    ("for=192.0.2.7, for=_hidden;proto=https", HTTPS),
    ("for=192.0.2.7, for=unknown", {}),
    ('for="192.0.2.7\\:5"', client("192.0.2.7", "5")),
    ("proto=https", HTTPS),
    ('for="6.6.6.6, for=192.0.2.7', client("192.0.2.7")),
    ("junk, for=192.0.2.7", client("192.0.2.7")),
    ("for=6.6.6.6;for=6.6.6.7", {}),
    ("for=192.0.2.7 proto=https", {}),
    ("for", {}),
    ("", {}),
    (";,=", {}),
]


@pytest.mark.parametrize(("value", "changes"), RFC_7239)
def test_the_forwarded_field(value: str, changes: dict[str, str]) -> None:
    assert applied(FORWARDED=value) == changes
    assert applied(FORWARDED=value, peer="192.0.2.99") == {}


def test_a_forwarded_field_that_the_proxy_passed_on_is_not_believed() -> None:
    assert applied(FORWARDED="for=6.6.6.6;host=evil.test", X_FORWARDED_FOR="192.0.2.7") == client(
        "192.0.2.7"
    )


def test_a_unix_peer_may_be_trusted() -> None:
    assert applied(peer="", X_FORWARDED_FOR="192.0.2.7") == client("192.0.2.7")


@given(st.text(st.characters(max_codepoint=255), max_size=60), st.sampled_from(X_FORWARDED))
def test_no_value_raises(value: str, case: tuple[str, str, dict[str, str]]) -> None:
    applied(FORWARDED=value)
    applied(**{"X_FORWARDED_" + case[0]: value})


@pytest.mark.parametrize(
    ("allowed", "address", "expected"),
    [
        (["127.0.0.1"], "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.2", False),
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "::1", False),
        (["::1"], "::1", True),
        (["unix"], "", True),
        (["127.0.0.1"], "", False),
        (["unix"], "127.0.0.1", False),
        (["*"], "", True),
        (["*"], "192.0.2.1", True),
        ([], "127.0.0.1", False),
        (["127.0.0.1"], "unknown", False),
    ],
)
def test_who_is_trusted(allowed: list[str], address: str, expected: bool) -> None:
    assert trusted_proxies(allowed)(address) is expected


def test_by_default_it_is_whoever_is_on_this_host() -> None:
    assert [LOOPBACK(address) for address in ("127.0.0.1", "::1", "", "10.0.0.1")] == [
        True, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["localhost", "300.0.0.1"])
def test_what_is_no_network_is_the_operators_mistake(name: str) -> None:
    with pytest.raises(ConfigError, match="unix"):
        trusted_proxies([name])


def test_the_codec_applies_it() -> None:
    data = get("/x", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Prefix: /app")
    settings = replace(SETTINGS, trusted=LOOPBACK)
    variables = only(data, settings, ("127.0.0.1", 5)).variables
    assert (variables["REMOTE_ADDR"], variables["SCRIPT_NAME"]) == ("192.0.2.7", "/app")
    assert variables["PATH_INFO"] == "/x"
    variables = only(data, settings, ("203.0.113.1", 5)).variables
    assert (variables["REMOTE_ADDR"], variables["SCRIPT_NAME"]) == ("203.0.113.1", "")
    assert variables["HTTP_X_FORWARDED_FOR"] == "192.0.2.7"
