"""What uwsgi and SCGI have in common: every test here runs on both codecs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.errors import LimitExceeded, ProtocolError
from gateways.protocols.base import Codec, Phase
from gateways.protocols.encoders import encode_scgi_head, encode_uwsgi_head
from gateways.protocols.limits import RequestLimits
from gateways.protocols.scgi import Scgi
from gateways.protocols.uwsgi import Uwsgi

from .driver import body_of, bytewise, new_body
from .oneshot_driver import Kind, Run

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a", "SERVER_PROTOCOL": "HTTP/1.1"}
BODY = b"twelve bytes"
SMALL = RequestLimits(max_variables=12, max_variables_bytes=300, max_body_bytes=20)
EAGER = RequestLimits(body_memory_bytes=4)

Pairs = dict[str, str] | list[tuple[str, str]]


@dataclass
class Wire:
    """One of the protocols."""

    kind: Kind

    def head(self, variables: Pairs, length: int | str = 0) -> bytes:
        """A request's head."""
        items = list(variables.items()) if isinstance(variables, dict) else variables
        items = [("CONTENT_LENGTH", str(length)), *items]
        return encode_uwsgi_head(items) if self.kind is Uwsgi else encode_scgi_head(items)

    def post(self, body: bytes = BODY) -> bytes:
        """A request with a body."""
        return self.head(GET, len(body)) + body

    def run(self, *pieces: bytes, limits: RequestLimits | None = None) -> Run:
        """A codec that was fed the pieces."""
        return Run(self.kind, limits or RequestLimits()).feed(*pieces)


@pytest.fixture(params=[Uwsgi, Scgi], ids=["uwsgi", "scgi"])
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)


def vectors(wire: Wire) -> Iterator[bytes]:
    """Connections, each complete."""
    yield wire.head(GET)
    yield wire.post()
    yield wire.post() + b"surplus"
    yield wire.head(GET) + b"surplus"
    yield wire.post()[:-3]
    yield wire.head(GET, "-1") + BODY
    yield wire.head(GET, "") + BODY
    yield wire.head(GET, "x1") + BODY
    yield wire.head([("HTTP_COOKIE", "a=1"), ("HTTP_COOKIE", "b=2"), ("wsgi.input", "x")])
    yield wire.head({"HTTP_X": "a\nb"})
    yield wire.head({"": "x"})
    yield wire.head({"X": "v" * 1000}) + BODY  # more than SMALL allows
    yield wire.head({f"X{n}": "" for n in range(20)}) + BODY  # more than SMALL allows
    yield wire.post(b"x" * 21)  # more than SMALL allows
    yield b"no protocol at all"


@pytest.mark.parametrize("limits", [RequestLimits(), SMALL, EAGER], ids=["none", "small", "eager"])
def test_a_connection_is_the_same_however_it_is_cut(wire: Wire, limits: RequestLimits) -> None:
    for data in vectors(wire):
        expected = wire.run(data, limits=limits).outcome()
        assert wire.run(*bytewise(data), limits=limits).outcome() == expected, data
        for cut in range(1, len(data)):
            run = wire.run(data[:cut], data[cut:], limits=limits)
            assert run.outcome() == expected, (data, cut)


def test_it_is_a_codec(wire: Wire) -> None:
    codec: Codec = wire.kind(RequestLimits(), new_body)
    assert (codec.active, codec.queued, codec.requests_seen) == (0, 0, 0)
    assert (codec.closing, codec.multiplexes, codec.input_pending) == (False, False, False)
    assert codec.next_requests() == []
    codec.body_wanted()
    assert codec.output == []


def test_a_request_without_a_body(wire: Wire) -> None:
    run = wire.run(wire.head(GET))
    assert run.request.variables["PATH_INFO"] == "/a"
    assert run.request.content_length == 0
    assert run.request.body is None
    assert (run.codec.active, run.codec.requests_seen, run.codec.closing) == (1, 1, True)
    run.answer(b"x")
    assert run.codec.active == 0
    assert not run.codec.input_pending


@pytest.mark.parametrize("length", ["", "-1"])
def test_a_body_of_unknown_length_is_none(wire: Wire, length: str) -> None:
    request = wire.run(wire.head(GET, length) + BODY).request
    assert request.content_length == 0
    assert request.body is None
    assert "CONTENT_LENGTH" not in request.variables


def test_a_small_body_is_awaited_whole(wire: Wire) -> None:
    run = wire.run(wire.post()[:-1])
    assert run.ready == []
    assert run.codec.phase() is Phase.BODY
    run.feed(BODY[-1:])
    assert body_of(run.request).data == BODY
    assert run.codec.phase() is Phase.IDLE


def test_a_large_body_is_not(wire: Wire) -> None:
    run = wire.run(wire.head(GET, len(BODY)), BODY[:4], limits=EAGER)
    assert run.ready == []
    run.feed(BODY[4:5])
    body = body_of(run.request)
    assert body.data == BODY[:5]
    run.feed(BODY[5:] + b"surplus")
    assert len(run.ready) == 1
    assert body.data == BODY
    assert body.whole


def test_what_is_beyond_the_body_is_dropped_and_lingered_for(wire: Wire) -> None:
    for data in (wire.post() + b"\r\n", wire.head(GET) + b"\r\n"):
        run = wire.run(data)
        run.answer()
        assert run.codec.input_pending
        assert run.codec.requests_seen == 1
    run = wire.run(wire.post(), b"\r\n")
    assert len(run.ready) == 1
    assert run.codec.input_pending


def test_a_response_that_ends_before_the_body_leaves_input_behind(wire: Wire) -> None:
    run = wire.run(wire.post()[:-1], limits=EAGER)
    run.answer(b"no")
    assert run.codec.input_pending
    assert run.feed(BODY).ready == [run.request]


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 9])
def test_a_health_check_that_connects_and_leaves_is_no_error(wire: Wire, cut: int) -> None:
    run = wire.run(wire.head(GET)[:cut]).eof()
    assert run.ready == []
    assert run.error is None
    assert run.sent == b""
    assert run.codec.closing
    assert (run.codec.active, run.codec.requests_seen) == (0, 0)


def test_a_complete_request_stays_valid_when_the_peer_stops_sending(wire: Wire) -> None:
    for data in (wire.head(GET), wire.post()):
        run = wire.run(data).eof()
        assert not run.request.aborted
        assert not body_of(run.request).cut_short
        assert run.codec.active == 1
        assert run.answer(b"hello").endswith(b"\r\n\r\nhello")
        assert not run.codec.input_pending


def test_a_running_request_learns_that_its_body_was_cut_short(wire: Wire) -> None:
    run = wire.run(wire.post()[:-1], limits=EAGER).eof().eof()
    assert body_of(run.request).cut_short
    assert run.codec.active == 1
    run.answer()
    assert run.codec.active == 0


def test_a_request_that_does_not_run_yet_is_forgotten(wire: Wire) -> None:
    run = wire.run(wire.post()[:-1]).eof()
    assert run.ready == []
    assert run.codec.active == 0
    assert not run.codec.input_pending
    run.feed(BODY)
    assert run.ready == []


@pytest.mark.parametrize(
    ("variables", "length", "body", "status", "said"),
    [
        (GET | {"HTTP_LONG": "v" * 400}, 0, b"", 431, "'HTTP_LONG' with"),
        ({f"X{n}": "" for n in range(20)}, 0, b"", 431, "--max-variables allows 12"),
        (GET, 21, b"", 413, "--max-body allows 20"),
        (GET, "1x", b"", 400, "CONTENT_LENGTH is '1x'"),
        (GET | {"HTTP_X": "a\r\nb"}, 0, b"", 400, "HTTP_X holds a NUL or a line break"),
        ([("CONTENT_LENGTH", "5")], 7, b"", 400, "two different CONTENT_LENGTH"),
        ({"": "x"}, 0, b"", 400, "empty name"),
    ],
)
def test_a_bad_request_is_refused_not_dropped(
    wire: Wire, variables: Pairs, length: int | str, body: bytes, status: int, said: str
) -> None:
    run = wire.run(wire.head(variables, length) + b"the body", limits=SMALL)
    refusal = run.request.refusal
    assert refusal is not None
    assert refusal.status == status
    assert said in str(refusal)
    assert isinstance(refusal, LimitExceeded) == (status in (431, 413))
    run.feed(b"more of the body")
    assert b"200 OK" in run.answer()
    assert run.codec.closing
    assert run.codec.input_pending, "what it still sends must not reset the connection"


def test_no_limits(wire: Wire) -> None:
    limits = RequestLimits(max_variables=0, max_variables_bytes=0, max_body_bytes=0)
    variables = {f"HTTP_X{n}": "v" for n in range(3000)}
    request = wire.run(wire.head(variables), limits=limits).request
    assert request.refusal is None
    assert len(request.variables) == 3001


def test_the_head_of_the_response_leaves_with_the_first_bytes(wire: Wire) -> None:
    run = wire.run(wire.head(GET))
    run.codec.send_head(run.request, "200 OK", [])
    assert run.codec.output == []
    run.codec.send_body(run.request, b"a")
    assert len(run.codec.output) == 1
    assert run.collect().endswith(b"200 OK\r\n\r\na")
    run.codec.send_body(run.request, b"b" * 20000)
    assert run.collect() == b"b" * 20000


def test_a_large_first_chunk_is_not_copied(wire: Wire) -> None:
    run = wire.run(wire.head(GET))
    chunk = b"b" * 20000
    run.codec.send_head(run.request, "200 OK", [])
    run.codec.send_body(run.request, chunk)
    assert run.codec.output[1] is chunk


def test_a_response_without_a_body_has_its_head(wire: Wire) -> None:
    assert wire.run(wire.head(GET)).answer().endswith(b"200 OK\r\nContent-Type: text/plain\r\n\r\n")


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 70_000])
def test_a_response_given_at_once_is_what_its_parts_would_be(wire: Wire, size: int) -> None:
    headers = [("Content-Type", "text/plain"), ("Location", "/elsewhere")]
    whole = wire.run(wire.post()[:-1], limits=EAGER)  # the peer owes a byte, which is lingered for
    whole.codec.respond(whole.request, "302 Found", headers, b"x" * size)
    apart = wire.run(wire.post()[:-1], limits=EAGER)
    apart.codec.send_head(apart.request, "302 Found", headers)
    if size:
        apart.codec.send_body(apart.request, b"x" * size)
    apart.codec.end(apart.request)
    assert len(whole.codec.output) == (1 if size <= 16384 else 2)
    assert whole.collect() == apart.collect()
    states = [
        (run.codec.active, run.codec.input_pending, run.codec.closing) for run in (whole, apart)
    ]
    assert states == [(0, True, True)] * 2


def test_nothing_is_added_about_the_connection(wire: Wire) -> None:
    head = wire.run(wire.head(GET)).answer(b"a", b"b").lower()
    assert b"transfer-encoding" not in head
    assert b"connection" not in head
    assert head.endswith(b"\r\n\r\nab")


def test_an_aborted_response_just_ends(wire: Wire) -> None:
    run = wire.run(wire.head(GET))
    run.codec.send_head(run.request, "200 OK", [])
    run.codec.abort(run.request)
    assert run.collect() == b""
    assert run.codec.active == 0
    assert run.codec.closing


def test_errors_have_nowhere_to_go(wire: Wire) -> None:
    run = wire.run(wire.head(GET))
    run.codec.send_errors(run.request, "text")
    assert run.collect() == b""


def test_our_own_misuse_is_a_runtime_error(wire: Wire) -> None:
    run = wire.run(wire.head(GET))
    stranger = wire.run(wire.head(GET)).request
    with pytest.raises(RuntimeError, match="not in flight"):
        run.codec.send_head(stranger, "200 OK", [])
    run.codec.send_head(run.request, "200 OK", [])
    with pytest.raises(RuntimeError, match="was set already"):
        run.codec.send_head(run.request, "200 OK", [])
    with pytest.raises(RuntimeError, match="was set already"):
        run.codec.respond(run.request, "200 OK", [], b"")
    run.codec.end(run.request)
    with pytest.raises(RuntimeError, match="not in flight"):
        run.codec.respond(run.request, "200 OK", [], b"")
    for method in (run.codec.end, run.codec.abort):
        with pytest.raises(RuntimeError, match="not in flight"):
            method(run.request)


def test_the_phase_follows_the_peer(wire: Wire) -> None:
    run = wire.run()
    assert run.codec.phase() is Phase.IDLE
    assert run.feed(wire.head(GET)[:2]).codec.phase() is Phase.HEAD
    assert run.feed(wire.head(GET)[2:]).codec.phase() is Phase.IDLE


@pytest.mark.parametrize("kind", [Uwsgi, Scgi])
def test_input_byte_by_byte_takes_linear_time(kind: type[Uwsgi | Scgi]) -> None:
    """Of a head, only what begins it is looked at more than once."""
    looked_at = 0

    class Counting(kind):  # type: ignore[valid-type, misc]
        def _head_size(self, data: bytes) -> int:
            nonlocal looked_at
            looked_at += len(data)
            size: int = super()._head_size(data)
            return size

    encode = encode_uwsgi_head if kind is Uwsgi else encode_scgi_head
    data = encode({**GET, "HTTP_LONG": "v" * 20000}.items())
    Run(Counting).feed(*bytewise(data))
    assert len(data) <= looked_at < len(data) + 100


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.booleans())
@settings(max_examples=300, deadline=None)
def test_random_bytes_raise_nothing_but_protocol_errors(pieces: list[bytes], eof: bool) -> None:
    for kind in (Uwsgi, Scgi):
        codec = kind(SMALL, new_body)
        ready = []
        try:
            for piece in pieces:
                ready += codec.receive_data(piece)
        except ProtocolError:
            continue
        if eof:
            ready += codec.receive_data(b"")
        for request in ready:
            codec.send_head(request, "200 OK", [])
            codec.end(request)
        assert codec.active == 0 or not ready


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_random_heads_are_refused_or_run(noise: bytes) -> None:
    for kind, head in (
        (Uwsgi, b"\0" + len(noise).to_bytes(2, "little") + b"\0" + noise),
        (Scgi, b"%d:%b," % (len(noise), noise)),
    ):
        run = Run(kind).feed(head)
        assert run.error is None
        assert len(run.ready) + (run.codec.phase() is Phase.BODY) == 1
