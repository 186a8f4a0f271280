"""The codec that becomes another one with the first bytes of its connection."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.errors import ProtocolError
from gateways.protocols.auto import Auto
from gateways.protocols.base import Codec, NewBody, Phase, Request
from gateways.protocols.encoders import encode_scgi_head, encode_uwsgi_head
from gateways.protocols.fastcgi import FastCGI
from gateways.protocols.fastcgi_state import FastCGISettings
from gateways.protocols.limits import RequestLimits
from gateways.protocols.scgi import Scgi
from gateways.protocols.uwsgi import PONG, Uwsgi

from .driver import body_of, bytewise, new_body
from .vectors import replies, request

POST = {"CONTENT_LENGTH": "5", "REQUEST_METHOD": "POST", "PATH_INFO": "/a", "SCGI": "1"}
BODY = b"hello"
LIMITS = RequestLimits()
ADDRESS = ("192.0.2.1", 4711)


class Made:
    """The factories of an ``Auto``, and what they were called with."""

    def __init__(self) -> None:
        self.addresses: list[object] = []
        self.codecs: list[Codec] = []
        self.factories = {"fcgi": self.fcgi, "uwsgi": self.uwsgi, "scgi": self.scgi}

    def _made(self, codec: Codec, address: object) -> Codec:
        self.codecs.append(codec)
        self.addresses.append(address)
        return codec

    def fcgi(self, new_body: NewBody, address: object) -> Codec:
        return self._made(FastCGI(FastCGISettings(), new_body), address)

    def uwsgi(self, new_body: NewBody, address: object) -> Codec:
        return self._made(Uwsgi(LIMITS, new_body), address)

    def scgi(self, new_body: NewBody, address: object) -> Codec:
        return self._made(Scgi(LIMITS, new_body), address)


def auto() -> Auto:
    return Auto(Made().factories, new_body, ADDRESS)


def feed(codec: Codec, *pieces: bytes) -> list[Request]:
    return [request for piece in pieces for request in codec.receive_data(piece)]


def take(codec: Codec) -> bytes:
    """The output, taken as a connection takes it."""
    out, codec.output = codec.output, []
    return b"".join(out)


REQUESTS = {
    "fcgi": request(1, POST, BODY, keep=False),
    "uwsgi": encode_uwsgi_head(POST.items()) + BODY,
    "scgi": encode_scgi_head(POST.items()) + BODY,
}


@pytest.mark.parametrize("name", REQUESTS)
def test_it_is_the_same_as_the_real_codec_however_it_is_cut(name: str) -> None:
    data = REQUESTS[name]
    real = Made().factories[name](new_body, None)
    (asked,) = feed(real, data)
    real.send_head(asked, "200 OK", [])
    real.send_body(asked, b"body")
    real.end(asked)
    expected = take(real)
    for pieces in ([data], bytewise(data), *([data[:cut], data[cut:]] for cut in range(1, 40))):
        made = Made()
        codec: Codec = Auto(made.factories, new_body, ADDRESS)
        (ready,) = feed(codec, *pieces)
        assert ready.variables == asked.variables
        assert body_of(ready).data == BODY
        assert made.addresses == [ADDRESS]
        assert (codec.active, codec.requests_seen, codec.closing) == (1, 1, True)
        codec.body_wanted()
        codec.send_head(ready, "200 OK", [])
        codec.send_body(ready, b"body")
        codec.end(ready)
        assert take(codec) == expected
        assert made.codecs[0].output == []
        assert codec.next_requests() == []
        assert (codec.active, codec.queued, codec.multiplexes) == (0, 0, False)
        assert codec.input_pending == real.input_pending


def test_before_it_knows_there_is_nothing() -> None:
    codec = auto()
    assert codec.phase() is Phase.IDLE
    for byte in bytewise(REQUESTS["scgi"][:10]):
        assert codec.receive_data(byte) == []
        assert codec.phase() is Phase.HEAD
    assert (codec.active, codec.requests_seen, codec.queued) == (0, 0, 0)
    assert (codec.multiplexes, codec.closing, codec.input_pending) == (False, False, False)
    assert take(codec) == b""


def test_two_connections_share_nothing() -> None:
    one, other = auto(), auto()
    one.output.append(b"x")
    one.closing = True
    assert other.output == []
    assert not other.closing


def test_the_phase_is_the_real_codecs() -> None:
    codec = auto()
    feed(codec, REQUESTS["uwsgi"][:-1])
    assert codec.phase() is Phase.BODY


def test_a_ping_is_answered() -> None:
    codec = auto()
    assert feed(codec, *bytewise(b"\x64\0\0\0")) == []
    assert take(codec) == PONG
    assert codec.closing


def test_errors_and_aborts_reach_the_real_codec() -> None:
    codec = auto()
    (asked,) = feed(codec, REQUESTS["fcgi"])
    codec.send_errors(asked, "text")
    codec.send_head(asked, "200 OK", [])
    codec.end(asked)
    assert replies(take(codec))[1].stderr == b"text"
    codec = auto()
    (asked,) = feed(codec, REQUESTS["uwsgi"])
    codec.abort(asked)
    assert codec.active == 0


@pytest.mark.parametrize("sent", [0, 1, 5])
def test_a_health_check_is_no_error(sent: int) -> None:
    codec = auto()
    feed(codec, REQUESTS["scgi"][:sent])
    assert codec.receive_data(b"") == []
    assert codec.receive_data(b"") == []
    assert codec.closing


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n", b"070:"])
def test_what_is_none_of_them_is_a_protocol_error(data: bytes) -> None:
    for pieces in ([data], bytewise(data)):
        with pytest.raises(ProtocolError, match="none of fcgi, scgi, uwsgi"):
            feed(auto(), *pieces)


def test_our_own_misuse_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="in flight"):
        auto().end(Request())


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=10))
@settings(max_examples=300, deadline=None)
def test_random_bytes_raise_nothing_but_protocol_errors(pieces: list[bytes]) -> None:
    try:
        feed(auto(), *pieces, b"")
    except ProtocolError:
        pass
