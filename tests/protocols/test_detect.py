"""Which protocol the first bytes of a connection are, and what to say where it is the wrong one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.protocols.detect import UNDECIDED, Undecided, mismatch, recognise
from gateways.protocols.encoders import encode_scgi_head, encode_uwsgi_head

from .vectors import begin, get_values, replies, request

ALL = frozenset({"fcgi", "uwsgi", "scgi", "http"})
GET = [("CONTENT_LENGTH", "0"), ("REQUEST_METHOD", "GET"), ("SCGI", "1")]

KNOWN = {
    "FastCGI": ("fcgi", request(1, dict(GET))),
    "FastCGI, the highest id": ("fcgi", begin(0xFFFF)),
    "FastCGI, an unknown role": ("fcgi", begin(1, role=9)),
    "FastCGI, GET_VALUES first": ("fcgi", get_values("FCGI_MPXS_CONNS")),
    "uwsgi": ("uwsgi", encode_uwsgi_head(GET)),
    "uwsgi, as nginx begins": ("uwsgi", encode_uwsgi_head([("QUERY_STRING", ""), *GET])),
    "uwsgi, modifier 30": ("uwsgi", encode_uwsgi_head(GET, 30)),
    "uwsgi, a lower-case name": ("uwsgi", encode_uwsgi_head([("x", "y")])),
    "uwsgi, a ping": ("uwsgi", b"\x64\0\0\0"),
    "SCGI": ("scgi", encode_scgi_head(GET)),
    "SCGI, large": ("scgi", encode_scgi_head([*GET, ("HTTP_X", "v" * 50000)])),
    "HTTP": ("http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HTTP, a method that begins like a ping": ("http", b"delete / HTTP/1.1\r\n"),
    "HTTP, a method of an extension": ("http", b"M-SEARCH * HTTP/1.1\r\n"),
    "HTTP, behind an empty line": ("http", b"\r\nGET / HTTP/1.1\r\n"),
    "HTTP/2": ("http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}
known = pytest.mark.parametrize(("name", "data"), KNOWN.values(), ids=KNOWN)

TLS = bytes.fromhex("16 03 01 02 00 01 00 01 fc 03 03")
GARBAGE = {
    "TLS": TLS,
    "SSH": b"SSH-2.0-OpenSSH\r\n",
    "FastCGI 2": b"\2" + begin(1)[1:],
    "a FastCGI record that begins nothing": b"\1\5" + begin(1)[2:],
    "FastCGI, request id 0": begin(0),
    "FastCGI, BEGIN_REQUEST of 9 bytes": b"\1\1\0\1\0\x09\0\0",
    "FastCGI, GET_VALUES with an id": b"\1\x09\0\1\0\0\0\0",
    "uwsgi, eval": encode_uwsgi_head(GET, 22),
    "uwsgi, no variables": b"\0\0\0\0\0\0\0",
    "uwsgi, a first name that is empty": b"\0\x10\0\0\0\0A",
    "uwsgi, a first name beyond the packet": b"\0\x08\0\0\x05\0ABCDE",
    "uwsgi, a first name that is no word": b"\0\x10\0\0\1\0=",
    "a pong": b"\x64\0\0\1",
    "SCGI, another first header": encode_scgi_head(GET[1:]),
    "SCGI, a leading zero": b"070:CONTENT_LENGTH\0",
    "SCGI, a length without end": b"12345678901",
    "HTTP, a method without end": b"A" * 33,
    "HTTP, a blank first": b" GET / HTTP/1.1",
    "a zero byte within a method": b"GE\0",
    "zeros": bytes(20),
    "ones": b"\xff" * 20,
}


@known
def test_a_protocol_is_recognised(name: str, data: bytes) -> None:
    assert recognise(data, ALL) == name


@known
def test_a_protocol_is_recognised_when_its_bytes_come_one_at_a_time(name: str, data: bytes) -> None:
    verdicts = [recognise(data[:end], ALL) for end in range(min(len(data), 60) + 1)]
    undecided = list(itertools.takewhile(lambda verdict: verdict is UNDECIDED, verdicts))
    assert verdicts == undecided + [name] * (len(verdicts) - len(undecided))
    assert 1 < len(undecided) <= 33


@known
def test_a_protocol_that_is_not_allowed_is_not_recognised(name: str, data: bytes) -> None:
    assert recognise(data, ALL - {name}) is None
    assert recognise(data, frozenset({name})) == name


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_none_of_them_and_stays_so(data: bytes) -> None:
    verdicts = [recognise(data[:end], ALL) for end in range(len(data) + 1)]
    assert verdicts[-1] is None
    assert verdicts == sorted(verdicts, key=lambda verdict: verdict is None)
    assert not any(isinstance(verdict, str) for verdict in verdicts)


@given(st.binary(max_size=50))
@settings(max_examples=500, deadline=None)
def test_a_verdict_never_changes(data: bytes) -> None:
    verdicts = [recognise(data[:end], ALL) for end in range(len(data) + 1)]
    decided = list(itertools.dropwhile(lambda verdict: isinstance(verdict, Undecided), verdicts))
    assert len(set(decided)) <= 1
    assert len(verdicts) - len(decided) <= 33


# -- the wrong protocol ------------------------------------------------------------------------

WORDS = {
    "fcgi": ("FastCGI", "fastcgi_pass", "fcgi://"),
    "uwsgi": ("uwsgi", "uwsgi_pass", "uwsgi://"),
    "scgi": ("SCGI", "scgi_pass", "scgi://"),
    "http": ("HTTP", "proxy_pass", "http://"),
}


@known
@pytest.mark.parametrize("expected", sorted(ALL))
def test_the_wrong_protocol_is_told_the_remedy(name: str, data: bytes, expected: str) -> None:
    found = mismatch(data, expected)
    if name == expected:
        assert found is None
        return
    assert found is not None
    seen, speaks = WORDS[name], WORDS[expected]
    text, _ = found
    assert text.startswith(
        f"this is {seen[0]}, the socket speaks {speaks[0]}: use {speaks[1]}, not {seen[1]}"
    )
    assert f"{speaks[2]}, not {seen[2]}" in text


def answer_to(name: str, expected: str) -> bytes:
    found = mismatch(KNOWN[name][1], expected)
    assert found is not None
    return found[1]


def test_the_answer_is_in_the_peers_own_protocol() -> None:
    assert answer_to("HTTP", "fcgi").startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in answer_to("HTTP", "fcgi")
    assert answer_to("uwsgi", "http").startswith(b"HTTP/1.0 502 Bad Gateway\r\n")
    assert answer_to("SCGI", "fcgi").startswith(b"Status: 502 Bad Gateway\r\n")
    assert answer_to("uwsgi, a ping", "fcgi") == b""
    for name in ("HTTP", "uwsgi", "SCGI"):
        answer = answer_to(name, "fcgi" if name != "fcgi" else "http")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert body


@pytest.mark.parametrize("request_id", [1, 7, 0xFFFF])
def test_the_answer_in_fastcgi_has_the_id_of_the_request(request_id: int) -> None:
    found = mismatch(request(request_id, dict(GET)), "http")
    assert found is not None
    answers = replies(found[1])
    assert list(answers) == [request_id]
    assert answers[request_id].stdout.startswith(b"Status: 502 Bad Gateway\r\n")
    assert answers[request_id].protocol_status == 0


def test_a_question_for_values_has_no_request_to_answer() -> None:
    assert answer_to("FastCGI, GET_VALUES first", "uwsgi") == b""


@pytest.mark.parametrize("expected", [*sorted(ALL), "auto", "auto[fcgi]"])
def test_tls_and_the_proxy_protocol_are_named(expected: str) -> None:
    found = mismatch(TLS, expected)
    assert found is not None
    assert found[0].startswith("this is TLS")
    assert found[1] == b""
    for data in (b"PROXY TCP4 192.0.2.1 ", b"\r\n\r\n\0\r\nQUIT\n\x21"):
        found = mismatch(data, expected)
        assert found is not None
        assert found[0].startswith("this is the PROXY protocol")
        assert found[1] == b""


@pytest.mark.parametrize("length", [10, 0x0103 - 5])
def test_eval_is_not_taken_for_tls(length: int) -> None:
    data = encode_uwsgi_head([("A", "v" * length)], 22)
    assert mismatch(data, "uwsgi") is None


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"G", "HTTP"),
        (b"PROPFIND", "HTTP"),
        (b"\1\1", "FastCGI"),
        (b"70:", "SCGI"),
        (b"\0", "uwsgi"),
    ],
)
def test_a_few_bytes_are_enough_for_a_guess(data: bytes, seen: str) -> None:
    found = mismatch(data, "fcgi" if seen != "FastCGI" else "http")
    assert found is not None
    assert found[0].startswith(f"this is {seen},")


@pytest.mark.parametrize("data", [b"", b"d", b"\xff\xff\xff", b"\x05\1\0"])
def test_what_nobody_knows_has_no_remedy(data: bytes) -> None:
    assert mismatch(data, "fcgi") is None


def test_what_auto_does_not_allow_is_named() -> None:
    found = mismatch(KNOWN["HTTP"][1], "auto[fcgi,uwsgi]")
    assert found is not None
    assert found[0] == "this is HTTP, the socket takes auto[fcgi,uwsgi] only: bind http: too"
    assert found[1].startswith(b"HTTP/1.1 400")


@given(st.binary(max_size=50), st.sampled_from(sorted(ALL)))
@settings(max_examples=300, deadline=None)
def test_a_guess_never_fails(data: bytes, expected: str) -> None:
    mismatch(data, expected)
