"""The FastCGI codec against tables of wire vectors: what comes in, and what is answered.

FC-1 to FC-28 are the points of our checklist of the FastCGI 1.0 specification. Every vector in
``VECTORS`` must give the same result however it is cut; what the result is, is told by the tests
further down.
"""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.errors import ClientDisconnected, LimitExceeded, ProtocolError
from gateways.protocols.base import Phase
from gateways.protocols.fastcgi_state import FastCGISettings
from gateways.protocols.records import (
    FCGI_ABORT_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_DATA,
    FCGI_END_REQUEST,
    FCGI_GET_VALUES,
    FCGI_GET_VALUES_RESULT,
    FCGI_PARAMS,
    FCGI_STDERR,
    FCGI_STDIN,
    FCGI_STDOUT,
    FCGI_UNKNOWN_TYPE,
    pack_record,
)

from .driver import VALUES, Run, body_of, bytewise, data_of, id_of, run
from .vectors import (
    GET,
    Reply,
    abort,
    begin,
    filter_data,
    get_values,
    pairs,
    params,
    record,
    replies,
    request,
    split_records,
    stdin,
)

POST = {**GET, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "12"}
UNKNOWN_LENGTH = {**GET, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": ""}
BODY = b"twelve bytes"
LONG = bytes(range(250)) * 10  # more than is kept until it is complete
LONG_POST = {**POST, "CONTENT_LENGTH": str(len(LONG))}
END_OK = bytes(8)
UNKNOWN_ROLE = bytes((0, 0, 0, 0, 3, 0, 0, 0))
CANT_MPX_CONN = bytes((0, 0, 0, 0, 1, 0, 0, 0))
ALONE = FastCGISettings(values={**VALUES, "FCGI_MPXS_CONNS": "0"}, multiplex=False)


def padded(padding: int) -> bytes:
    """A request in which every record has that much padding."""
    return (
        record(FCGI_BEGIN_REQUEST, 1, begin(1)[8:], padding)
        + record(FCGI_PARAMS, 1, pairs(POST), padding)
        + record(FCGI_PARAMS, 1, b"", padding)
        + record(FCGI_STDIN, 1, BODY, padding)
        + record(FCGI_STDIN, 1, b"", padding)
    )


VECTORS = {
    "a GET": request(1, GET),
    "the connection is not kept": request(1, GET, keep=False),
    "the highest id": request(0xFFFF, GET),
    "a POST": request(1, POST, BODY),
    "a POST that sends more than it declared": request(1, POST, BODY + b"surplus"),
    "a POST that sends less than it declared": request(1, POST, BODY[:5]),
    "a POST that sends nothing": request(1, POST, b""),
    "a POST whose STDIN is never ended": begin(1) + params(1, POST) + stdin(1, BODY)[:-8],
    "a POST of unknown length": request(1, UNKNOWN_LENGTH, BODY),
    "a GET whose STDIN is never ended": begin(1) + params(1, GET),
    "no variables at all": request(1, {}),
    "pairs and lengths that straddle records": (
        begin(1) + params(1, {**GET, "LONG": "v" * 130}, cut=3) + stdin(1)
    ),
    "the body in records of one byte": begin(1) + params(1, POST) + stdin(1, BODY, cut=1),
    "STDIN that goes on after its end": request(1, POST, BODY) + stdin(1, b"more") + stdin(1),
    "padding of 255": padded(255),
    "padding of 1": padded(1),
    "an authorizer": request(1, GET, role=2),
    "a filter": request(1, POST, BODY, role=3) + filter_data(1, b"the data"),
    "a filter whose data comes first": (
        begin(1, role=3) + params(1, GET) + filter_data(1, b"the data") + stdin(1)
    ),
    "data for a responder": request(1, GET) + filter_data(1) + filter_data(1, b"x"),
    "an unknown role": request(1, GET, role=9),
    "an unknown role, and the connection is not kept": request(1, GET, role=9, keep=False),
    "an unknown role, then a good one": request(1, GET, role=9) + request(1, POST, BODY),
    "GET_VALUES": get_values("FCGI_MAX_CONNS", "FCGI_MPXS_CONNS"),
    "GET_VALUES in the middle of a request": (
        begin(1)
        + get_values("FCGI_MAX_REQS")
        + params(1, GET)[:-8]
        + get_values("FCGI_MAX_CONNS")
        + pack_record(FCGI_PARAMS, 1)
        + get_values("NONSENSE")
        + stdin(1)
    ),
    "unknown types": (
        record(77, 0, b"abc", 3) + begin(1) + record(200, 1) + params(1, GET) + record(0, 5, b"x")
    ),
    "answers that nobody asked for": (
        record(FCGI_GET_VALUES_RESULT, 0) + record(FCGI_UNKNOWN_TYPE, 0, bytes(8)) + request(1, GET)
    ),
    "stray records of ended requests": (
        stdin(3, b"late") + abort(3) + filter_data(3, b"x") + params(3, GET) + request(1, GET)
    ),
    "aborted before its variables": begin(1) + abort(1),
    "aborted within its variables": begin(1) + params(1, GET)[:-8] + abort(1),
    "aborted before its body": begin(1) + params(1, POST) + abort(1),
    "aborted within its body": begin(1) + params(1, POST) + stdin(1, BODY[:5])[:-8] + abort(1),
    "aborted while it runs": request(1, POST, BODY) + abort(1) + abort(1),
    "aborted within a body of unknown length": (
        begin(1) + params(1, UNKNOWN_LENGTH) + stdin(1, b"some")[:-8] + abort(1)
    ),
    "aborted before a body of unknown length": begin(1) + params(1, UNKNOWN_LENGTH) + abort(1),
    "an aborted filter": begin(1, role=3) + params(1, GET) + abort(1) + filter_data(1, b"x"),
    "a bad CONTENT_LENGTH": request(1, {**POST, "CONTENT_LENGTH": "x"}, BODY),
    "a long record": request(1, LONG_POST, LONG),
    "a long record with padding": (
        begin(1) + params(1, LONG_POST) + record(FCGI_STDIN, 1, LONG, 255) + stdin(1)
    ),
    "a long record of unknown length": request(1, UNKNOWN_LENGTH, LONG),
    "a long record of more than was declared": request(1, POST, LONG),
    "a long record of less than was declared": request(1, LONG_POST, LONG[:2000]),
    "a long record after the end": request(1, POST, BODY) + stdin(1, LONG),
    "a long record after an abort": begin(1) + params(1, LONG_POST) + abort(1) + stdin(1, LONG),
    "a long record of nobody": stdin(9, LONG) + request(1, GET),
    "a filter with a long record": request(1, LONG_POST, LONG, role=3) + filter_data(1, LONG),
    "long records of two requests": (
        begin(1)
        + begin(2)
        + params(1, LONG_POST)
        + params(2, LONG_POST)
        + record(FCGI_STDIN, 1, LONG[:1300], 7)
        + record(FCGI_STDIN, 2, LONG[:1200], 1)
        + stdin(1, LONG[1300:])
        + stdin(2, LONG[1200:])
    ),
    "interleaved requests": (
        begin(1) + begin(2) + params(2, POST) + params(1, POST) + stdin(1, BODY) + stdin(2, BODY)
    ),
}
NEXT = request(0x7777, {**POST, "REQUEST_URI": "/next"}, BODY)

vectors = pytest.mark.parametrize("data", VECTORS.values(), ids=VECTORS.keys())


@vectors
def test_a_vector_gives_the_same_byte_by_byte(data: bytes) -> None:  # FC-7
    assert run(bytewise(data)).outcome() == run([data]).outcome()


@vectors
def test_a_vector_gives_the_same_cut_at_every_position(data: bytes) -> None:  # FC-7
    whole = run([data]).outcome()
    for cut in range(1, len(data)):
        assert run([data[:cut], data[cut:]]).outcome() == whole, f"cut at {cut}"


@vectors
def test_a_vector_gives_the_same_with_the_next_request_behind_it(data: bytes) -> None:  # FC-7
    apart = run([data, NEXT]).outcome()
    for cut in (1, 7, 8, 9, 24, len(NEXT) - 1):
        assert run([data + NEXT[:cut], NEXT[cut:]]).outcome() == apart, f"cut at {cut}"
    assert run([data + NEXT]).outcome() == apart


@pytest.mark.parametrize("size", [1000, 1032, 1500])
def test_a_long_record_arrives_in_several_pieces(size: int) -> None:
    for name, data in VECTORS.items():
        if "long record" in name:
            for begun in (*range(1, 300, 7), 1100):
                cuts = [0, *range(begun, len(data), size), len(data)]
                pieces = [data[a:b] for a, b in itertools.pairwise(cuts)]
                assert run(pieces).outcome() == run([data]).outcome(), f"{name}, cut at {cuts}"


@pytest.mark.parametrize("cut", [0, 1200])
def test_a_long_record_before_the_variables_is_an_error_wherever_it_is_cut(cut: int) -> None:
    data = begin(1) + record(FCGI_STDIN, 1, LONG)
    with pytest.raises(ProtocolError, match="type 5 while request 1 is in state PARAMS"):
        run([data[:cut], data[cut:]])


@pytest.mark.parametrize("come", [1, 1100, len(LONG), len(LONG) + 2])
def test_the_rest_of_a_long_record_is_dropped_when_its_request_has_ended(come: int) -> None:
    made = Run()
    head = begin(1) + params(1, UNKNOWN_LENGTH) + stdin(1, BODY)[:-8]
    content = record(FCGI_STDIN, 1, LONG, 5)
    (first,) = made.feed(head)
    made.feed(content[: 8 + come])
    made.answer(first)
    assert made.codec.phase() is Phase.HEAD  # the connection is not idle in the midst of a record
    (after,) = made.feed(content[8 + come :] + request(3, POST, BODY))
    assert (id_of(after), body_of(after).data) == (3, BODY)
    assert made.codec.phase() is Phase.IDLE


def test_a_long_record_of_a_body_over_the_limit_is_refused_wherever_it_is_cut() -> None:
    limited = FastCGISettings(max_body_bytes=1500)
    data = request(1, UNKNOWN_LENGTH, LONG)
    for cut in range(1, len(data)):
        made = run([data[:cut], data[cut:]], limited)
        (only,) = made.ready
        error = body_of(only).error or only.refusal
        assert isinstance(error, LimitExceeded), f"cut at {cut}"
        assert error.status == 413


@pytest.mark.parametrize("size", [0, 1, 127, 128, 65527, 65528, 65535, 65536, 66000, 200_000])
def test_a_body_of_any_size_arrives_however_it_is_cut(size: int) -> None:  # FC-7, FC-22
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    data = request(1, {**POST, "CONTENT_LENGTH": str(size)}, body)
    whole = run([data])
    assert body_of(whole.ready[0]).data == body
    assert body_of(whole.ready[0]).whole
    assert run(bytewise(data)).outcome() == whole.outcome()


@pytest.mark.parametrize("size", [0, 127, 128, 40_000])
def test_a_variable_of_any_size_arrives_however_it_is_cut(size: int) -> None:  # FC-7, FC-23
    sent = {**GET, "HTTP_X": "v" * size}
    for cut in (None, 1, 7, 8184):
        made = run([begin(1) + params(1, sent, cut) + stdin(1)])
        assert made.ready[0].variables == {**sent, "FCGI_ROLE": "RESPONDER"}


PIECES = st.lists(st.one_of(st.integers(1, 40), st.integers(1000, 1400)), min_size=1, max_size=30)


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(VECTORS.values())), max_size=5), PIECES, st.randoms())
def test_random_traffic_gives_the_same_however_it_is_cut(
    parts: list[bytes], sizes: list[int], order: random.Random
) -> None:
    """Each vector gets ids of its own, as a web server that multiplexes would choose them."""
    queues = []
    for index, part in enumerate(parts):
        queues.append(
            [
                record(kind, request_id and request_id % 100 + 100 * (index + 1), content, 5)
                for kind, request_id, content in split_records(part)
            ]
        )
    data = b""
    while any(queues):
        data += order.choice([queue for queue in queues if queue]).pop(0)
    pieces = []
    position = 0
    while position < len(data):
        size = order.choice(sizes)
        pieces.append(data[position : position + size])
        position += size
    assert run(pieces).outcome() == run([data]).outcome()


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8))
def test_random_bytes_raise_nothing_but_protocol_errors(pieces: list[bytes]) -> None:
    feed_anything(pieces)


RECORDS = st.builds(
    record,
    st.integers(0, 12),
    st.integers(0, 3),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [
                begin(1)[8:],
                begin(1, role=3)[8:],
                pairs(POST),
                pairs({**GET, "CONTENT_LENGTH": "-1"}),
                pairs({"FCGI_DATA_LENGTH": "9" * 5000}),
                b"",
            ]
        ),
    ),
    st.integers(0, 255),
)


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=12))
def test_random_records_raise_nothing_but_protocol_errors(pieces: list[bytes]) -> None:
    feed_anything(pieces)


def feed_anything(pieces: list[bytes]) -> None:
    """Feed until the connection is unusable; then close, and end what was ready, as the core."""
    made = Run()
    try:
        made.feed(*pieces)
    except ProtocolError:
        pass
    made.codec.receive_data(b"")
    for ready in made.ready:
        made.codec.end(ready)
    split_records(made.collect())


# -- requests ----------------------------------------------------------------------------------


def test_a_get_is_ready_when_its_variables_are_complete() -> None:  # section 0.1
    made = Run()
    assert made.feed(begin(1), params(1, GET)[:-8]) == []
    (ready,) = made.feed(pack_record(FCGI_PARAMS, 1))
    assert ready.variables == {**GET, "FCGI_ROLE": "RESPONDER"}  # FC-27
    assert ready.content_length is None
    assert made.answer(ready) != b""


def test_a_small_body_is_awaited_whole() -> None:
    made = Run()
    assert made.feed(begin(1), params(1, POST), stdin(1, BODY[:11])[:-8]) == []
    (ready,) = made.feed(pack_record(FCGI_STDIN, 1, BODY[11:]))
    assert body_of(ready).data == BODY


def test_a_body_larger_than_memory_is_not_awaited() -> None:
    made = Run(FastCGISettings(body_memory_bytes=10))
    assert made.feed(begin(1), params(1, POST), stdin(1, BODY[:10])[:-8]) == []
    (ready,) = made.feed(pack_record(FCGI_STDIN, 1, BODY[10:11]))
    assert not body_of(ready).whole
    made.feed(pack_record(FCGI_STDIN, 1, BODY[11:]))
    assert body_of(ready).data == BODY


def test_a_body_of_unknown_length_streams_from_the_start() -> None:  # section 0.7
    made = Run()
    (ready,) = made.feed(begin(1), params(1, UNKNOWN_LENGTH))
    assert not body_of(ready).whole
    made.feed(pack_record(FCGI_STDIN, 1, b"some"), pack_record(FCGI_STDIN, 1, b" more"))
    assert (body_of(ready).data, body_of(ready).whole) == (b"some more", False)
    made.feed(pack_record(FCGI_STDIN, 1))
    assert body_of(ready).whole


@pytest.mark.parametrize(
    ("declared", "sent", "arrived", "cut_short"),
    [
        ("12", BODY, BODY, False),
        ("0012", BODY, BODY, False),
        ("5", BODY, BODY[:5], False),
        ("0", BODY, b"", False),
        ("13", BODY, BODY, True),
        ("12", b"", b"", True),
        ("", BODY, BODY, False),
        ("-1", BODY, BODY, False),
    ],
)
@pytest.mark.parametrize("cut", [None, 1, 5])
def test_a_body_is_what_was_sent_up_to_what_was_declared(
    declared: str, sent: bytes, arrived: bytes, cut_short: bool, cut: int | None
) -> None:  # FC-24
    made = run([begin(1), params(1, {**POST, "CONTENT_LENGTH": declared}), stdin(1, sent, cut)])
    (ready,) = made.ready
    body = body_of(ready)
    assert (body.data, body.cut_short, body.whole) == (arrived, cut_short, not cut_short)
    assert ready.refusal is None


def test_a_request_that_declares_no_body_costs_none() -> None:
    (ready,) = run([begin(1) + params(1, {**POST, "CONTENT_LENGTH": "0"}) + stdin(1, BODY)]).ready
    assert ready.body is None


def test_what_follows_the_end_of_a_stream_is_none_of_the_body() -> None:
    (ready,) = run([request(1, UNKNOWN_LENGTH, BODY), stdin(1, b"more")]).ready
    assert body_of(ready).data == BODY


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (["+5"], "CONTENT_LENGTH is '\\+5'"),
        (["x"], "CONTENT_LENGTH is 'x'"),
        (["-2"], "CONTENT_LENGTH is '-2'"),
        (["5", "6"], "two different CONTENT_LENGTH"),
    ],
)
def test_a_length_that_is_none_is_refused_with_400_and_the_connection_goes_on(
    lengths: list[str], message: str
) -> None:
    made = Run()
    variables = [*GET.items(), *(("CONTENT_LENGTH", length) for length in lengths)]
    (ready,) = made.feed(request(1, variables, BODY))
    assert ready.refusal is not None
    assert ready.refusal.status == 400
    with pytest.raises(ProtocolError, match=message):
        raise ready.refusal
    made.answer(ready)
    assert len(made.feed(request(1, GET))) == 1


def test_variables_that_run_past_their_end_are_refused_with_400() -> None:
    made = Run()
    (ready,) = made.feed(begin(1) + pack_record(FCGI_PARAMS, 1, b"\x09\x00ABC") + params(1, {}))
    assert ready.refusal is not None
    assert ready.refusal.status == 400


def test_a_second_request_under_the_same_id_is_a_request_of_its_own() -> None:  # FC-11
    made = Run()
    for path in ("/1", "/2", "/3"):
        (ready,) = made.feed(request(1, {**POST, "PATH_INFO": path}, BODY))
        assert ready.variables["PATH_INFO"] == path
        assert replies(made.answer(ready, path.encode()))[1].body == path.encode()
    assert made.codec.requests_seen == 3
    assert made.codec.active == 0
    assert not made.codec.multiplexes


def test_the_rest_of_a_body_that_was_answered_early_is_ignored() -> None:  # 0.4, FC-11
    made = Run(FastCGISettings(body_memory_bytes=1))
    (ready,) = made.feed(begin(1), params(1, POST), stdin(1, BODY[:4])[:-8])
    made.answer(ready)
    assert made.codec.input_pending, "so that the connection lingers if it is closed"
    assert made.feed(stdin(1, BODY[4:]), abort(1)) == []
    assert made.collect() == b""
    (after,) = made.feed(request(1, GET))
    assert (after.variables["PATH_INFO"], body_of(after).data) == ("/a", b"")


def test_nothing_is_pending_after_requests_that_came_whole() -> None:
    made = Run()
    for data in (request(1, GET), request(1, POST, BODY), request(1, {}, role=2)):
        made.answer(made.feed(data)[0])
    assert not made.codec.input_pending


def test_beginning_an_active_request_again_ends_the_connection() -> None:  # FC-11
    for active in (begin(1), begin(1) + params(1, POST), request(1, GET)):
        with pytest.raises(ProtocolError, match="request 1 was begun again"):
            Run().feed(active + begin(1))


# -- records that are wrong --------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 2, 22, ord("G"), 255])
def test_another_version_ends_the_connection(version: int) -> None:  # FC-9
    with pytest.raises(ProtocolError, match=f"byte {version}"):
        Run().feed(record(FCGI_BEGIN_REQUEST, 1, bytes(8), version=version))
    with pytest.raises(ProtocolError, match=f"byte {version}"):
        Run().feed(request(1, GET) + record(FCGI_STDIN, 2, version=version))


def test_a_version_is_judged_before_the_record_is_complete() -> None:  # FC-9: a TLS or HTTP peer
    with pytest.raises(ProtocolError, match="does not speak FastCGI"):
        Run().feed(b"GET / HTTP/1.1\r\n")


def test_the_reserved_bytes_and_unknown_flags_are_ignored() -> None:  # FC-9, FC-15
    data = bytearray(request(1, GET))
    data[7] = 0xAA  # of the header
    data[10] = 0xFF  # flags
    data[11:16] = b"\xbb" * 5
    made = run([bytes(data)])
    assert len(made.ready) == 1
    assert not made.codec.closing


@pytest.mark.parametrize(
    "kind",
    [
        FCGI_BEGIN_REQUEST,
        FCGI_ABORT_REQUEST,
        FCGI_END_REQUEST,
        FCGI_PARAMS,
        FCGI_STDIN,
        FCGI_STDOUT,
        FCGI_STDERR,
        FCGI_DATA,
    ],
)
def test_a_request_record_with_id_0_ends_the_connection(kind: int) -> None:  # FC-10
    with pytest.raises(ProtocolError, match=f"type {kind} with request id 0"):
        Run().feed(record(kind, 0, bytes(8)))


@pytest.mark.parametrize("size", [0, 1, 7, 9, 16])
def test_a_begin_of_another_size_ends_the_connection(size: int) -> None:  # FC-13
    with pytest.raises(ProtocolError, match=f"of {size} bytes instead of 8"):
        Run().feed(record(FCGI_BEGIN_REQUEST, 1, (begin(1)[8:] * 2)[:size]))


@pytest.mark.parametrize(
    ("before", "kind", "state"),
    [
        (begin(1), FCGI_STDIN, "PARAMS"),
        (begin(1), FCGI_DATA, "PARAMS"),
        (begin(1), FCGI_STDOUT, "PARAMS"),
        (begin(1) + params(1, GET), FCGI_PARAMS, "STDIN"),
        (begin(1) + params(1, POST), FCGI_PARAMS, "STDIN"),
        (begin(1) + params(1, POST), FCGI_END_REQUEST, "STDIN"),
        (begin(1, role=3) + params(1, GET) + stdin(1), FCGI_PARAMS, "DATA"),
        (request(1, GET), FCGI_PARAMS, "COMPLETE"),
        (request(1, GET), FCGI_STDERR, "COMPLETE"),
        (request(1, GET) + abort(1), FCGI_STDOUT, "IGNORED"),
    ],
)
def test_a_record_that_its_state_does_not_know_ends_the_connection(
    before: bytes, kind: int, state: str
) -> None:
    with pytest.raises(ProtocolError, match=f"type {kind} while request 1 is in state {state}"):
        Run().feed(before + record(kind, 1))


# -- roles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [0, 4, 255, 65535])
@pytest.mark.parametrize("keep", [True, False])
def test_an_unknown_role_is_answered_and_the_connection_survives_if_kept(
    role: int, keep: bool
) -> None:  # FC-14
    made = Run()
    assert made.feed(request(1, POST, BODY, keep, role)) == []
    assert split_records(made.sent) == [(FCGI_END_REQUEST, 1, UNKNOWN_ROLE)]
    assert made.codec.closing is not keep
    assert made.codec.active == 0
    if keep:
        assert len(made.feed(request(1, POST, BODY))) == 1


@pytest.mark.parametrize(("role", "name"), [(1, "RESPONDER"), (2, "AUTHORIZER"), (3, "FILTER")])
def test_only_the_roles_that_are_served_run_and_they_are_named(role: int, name: str) -> None:
    made = Run(FastCGISettings(roles=frozenset({role})))
    for other in {1, 2, 3} - {role}:
        assert made.feed(request(1, GET, role=other)) == []  # FC-14
    assert len(split_records(made.sent)) == 2
    (ready,) = made.feed(request(1, GET, role=role))
    assert ready.variables["FCGI_ROLE"] == name  # FC-27


def test_the_role_is_not_what_a_variable_says() -> None:  # FC-27
    (ready,) = run([request(1, {**GET, "FCGI_ROLE": "AUTHORIZER"})]).ready
    assert ready.variables["FCGI_ROLE"] == "RESPONDER"


def test_an_authorizer_runs_without_paths_and_without_a_body() -> None:  # FC-25
    made = Run()
    (ready,) = made.feed(request(1, {"REQUEST_METHOD": "GET", "REQUEST_URI": "/x"}, role=2))
    assert body_of(ready).data == b""
    assert ready.data is None
    assert replies(made.answer(ready))[1].status == "200 OK"


@pytest.mark.parametrize("first", ["stdin", "data"])
def test_a_filter_gets_both_of_its_inputs(first: str) -> None:  # FC-26
    variables = {**POST, "FCGI_DATA_LAST_MOD": "0", "FCGI_DATA_LENGTH": "8"}
    made = Run()
    inputs = [stdin(1, BODY, cut=5), filter_data(1, b"the data", cut=3)]
    made.feed(begin(1, role=3), params(1, variables), *(inputs[:: 1 if first == "stdin" else -1]))
    (ready,) = made.ready
    assert body_of(ready).data == BODY
    assert (data_of(ready).data, data_of(ready).whole) == (b"the data", True)
    made.answer(ready)
    assert not made.codec.input_pending


def test_a_filter_reads_its_data_while_it_runs() -> None:  # FC-20: STDIN first, DATA as it comes
    made = Run()
    assert made.feed(begin(1, role=3), params(1, POST)) == []
    (ready,) = made.feed(stdin(1, BODY))
    assert not data_of(ready).end_seen
    made.feed(filter_data(1, b"late"))
    assert (data_of(ready).data, data_of(ready).end_seen) == (b"late", True)


@pytest.mark.parametrize("declared", ["", "x", "-1", "+4", "9" * 5000])
def test_a_filters_data_of_no_known_length_ends_with_its_stream(declared: str) -> None:  # FC-26
    made = run([request(1, {**GET, "FCGI_DATA_LENGTH": declared}, role=3), filter_data(1, b"all")])
    assert (data_of(made.ready[0]).data, data_of(made.ready[0]).whole) == (b"all", True)


def test_data_for_a_responder_is_dropped() -> None:  # FC-26: flup's client sends an empty one
    made = Run()
    (ready,) = made.feed(begin(1) + params(1, GET) + filter_data(1, b"x") + stdin(1))
    assert ready.data is None
    assert body_of(ready).data == b""


# -- management records ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (["FCGI_MAX_CONNS"], ["FCGI_MAX_CONNS"]),
        (["FCGI_MAX_REQS", "FCGI_MPXS_CONNS"], ["FCGI_MAX_REQS", "FCGI_MPXS_CONNS"]),
        (["FCGI_MPXS_CONNS", "FCGI_MAX_REQS", "FCGI_MAX_CONNS"], list(VALUES)),
        (["X", "FCGI_MAX_CONNS", "fcgi_max_reqs"], ["FCGI_MAX_CONNS"]),
        (["NONSENSE"], []),
        ([], []),
    ],
)
def test_get_values_is_answered_by_exactly_one_record(
    asked: list[str], answered: list[str]
) -> None:  # FC-18
    made = run([get_values(*asked)])
    ((kind, request_id, content),) = split_records(made.sent)
    assert (kind, request_id) == (FCGI_GET_VALUES_RESULT, 0)
    assert len(content) == len(pairs([(name, VALUES[name]) for name in answered]))
    assert dict(decode(content)) == {name: VALUES[name] for name in answered}
    assert (made.codec.closing, made.codec.active) == (False, 0)


def decode(content: bytes) -> list[tuple[str, str]]:
    """Short pairs, decoded without the code under test."""
    found = []
    while content:
        name, value, content = content[0], content[1], content[2:]
        found.append((content[:name].decode(), content[name : name + value].decode()))
        content = content[name + value :]
    return found


@pytest.mark.parametrize("split", range(6))
def test_get_values_is_answered_at_any_time(split: int) -> None:  # FC-18
    parts = [begin(1), params(1, POST)[:-8], pack_record(FCGI_PARAMS, 1)]
    parts += [stdin(1, BODY)[:-8], stdin(1)]
    parts.insert(split, get_values("FCGI_MAX_CONNS"))
    made = run([b"".join(parts)])
    ((kind, _, content),) = split_records(made.sent)
    assert (kind, decode(content)) == (FCGI_GET_VALUES_RESULT, [("FCGI_MAX_CONNS", "16384")])
    assert body_of(made.ready[0]).data == BODY


def test_who_asks_whether_we_multiplex_may_multiplex() -> None:  # FC-18
    assert not run([get_values("FCGI_MAX_CONNS")]).codec.multiplexes
    assert run([get_values("FCGI_MPXS_CONNS")]).codec.multiplexes
    assert not run([get_values("FCGI_MPXS_CONNS")], ALONE).codec.multiplexes


@pytest.mark.parametrize("kind", [0, 12, 99, 255])
@pytest.mark.parametrize("request_id", [0, 1, 2, 0xFFFF])
@pytest.mark.parametrize("before", [b"", begin(1), request(1, GET)])
def test_an_unknown_type_is_answered_with_id_0(kind: int, request_id: int, before: bytes) -> None:
    made = run([before, record(kind, request_id, b"whatever", 5)])  # FC-19
    assert split_records(made.sent) == [(FCGI_UNKNOWN_TYPE, 0, bytes((kind, *bytes(7))))]
    assert made.codec.active == bool(before)


def test_a_management_record_with_an_id_is_an_unknown_type() -> None:  # FC-19
    made = run([request(1, GET), record(FCGI_GET_VALUES, 1, pairs({"FCGI_MAX_CONNS": ""}))])
    assert split_records(made.sent) == [(FCGI_UNKNOWN_TYPE, 0, bytes((9, *bytes(7))))]


@pytest.mark.parametrize("kind", [FCGI_GET_VALUES_RESULT, FCGI_UNKNOWN_TYPE])
def test_an_answer_that_nobody_asked_for_is_ignored(kind: int) -> None:
    made = run([record(kind, 0, b"\x01\x01av"), request(1, GET)])
    assert made.sent == b""
    assert len(made.ready) == 1


# -- aborts and closed connections -------------------------------------------------------------

NOT_YET_READY = {
    "begun": begin(1),
    "in its variables": begin(1) + params(1, POST)[:20],
    "before its body": begin(1) + params(1, POST),
    "in its body": begin(1) + params(1, POST) + stdin(1, BODY[:5])[:-8],
    "a filter in its body": begin(1, role=3) + params(1, POST) + filter_data(1, b"x"),
}
RUNNING = {
    "without a body": request(1, GET),
    "with its body": request(1, POST, BODY),
    "with half of a streamed body": (
        begin(1) + params(1, UNKNOWN_LENGTH) + stdin(1, BODY[:5])[:-8]
    ),
    "with a streamed body that has not begun": begin(1) + params(1, UNKNOWN_LENGTH),
    "a filter before its data": request(1, POST, BODY, role=3),
    "refused": request(1, {"CONTENT_LENGTH": "x"}),
}


@pytest.mark.parametrize(
    "data", [NOT_YET_READY[key] for key in NOT_YET_READY if "variables" not in key]
)
def test_a_request_that_is_aborted_before_it_ran_is_ended_by_the_codec(data: bytes) -> None:
    made = run([data, abort(1)])  # FC-16
    assert split_records(made.sent) == [(FCGI_END_REQUEST, 1, END_OK)]
    assert (made.ready, made.codec.active, made.codec.closing) == ([], 0, False)
    assert len(made.feed(stdin(1, BODY), request(1, GET))) == 1, "the id is free again"


@pytest.mark.parametrize("data", RUNNING.values(), ids=RUNNING.keys())
def test_a_running_request_that_is_aborted_learns_of_it_and_is_ended_by_the_core(
    data: bytes,
) -> None:  # FC-16
    made = run([data, abort(1)])
    (ready,) = made.ready
    assert ready.aborted
    assert made.sent == b""
    body = body_of(ready)
    assert body.whole or isinstance(body.error, ClientDisconnected)
    if ready.data is not None:
        assert isinstance(data_of(ready).error, ClientDisconnected)
    made.codec.abort(ready)
    assert replies(made.collect()) == {1: Reply(b"", b"", 0, 0, frozenset({FCGI_STDOUT}))}
    assert (made.codec.active, made.codec.closing) == (0, False), "FC-15: the peer keeps it open"
    assert len(made.feed(request(1, GET))) == 1


def test_an_abort_after_the_end_is_ignored() -> None:  # FC-16
    made = Run()
    made.answer(made.feed(request(1, GET))[0])
    made.feed(abort(1), abort(2))
    assert made.collect() == b""
    assert made.codec.active == 0


def test_a_response_that_was_begun_when_the_abort_came_ends_as_one() -> None:  # FC-16
    made = Run()
    (ready,) = made.feed(request(1, GET))
    made.codec.send_head(ready, "200 OK", [])
    made.codec.send_body(ready, b"begun")
    made.feed(abort(1))
    made.codec.abort(ready)
    reply = replies(made.sent + made.collect())[1]
    assert (reply.body, reply.app_status, reply.protocol_status) == (b"begun", 0, 0)


@pytest.mark.parametrize("data", [b"", *NOT_YET_READY.values()], ids=["idle", *NOT_YET_READY])
def test_a_peer_that_closes_takes_what_has_not_run_with_it(data: bytes) -> None:  # FC-17
    made = run([data])
    assert made.codec.receive_data(b"") == []
    assert made.collect() == b""
    assert (made.codec.active, made.codec.closing, made.codec.input_pending) == (0, True, False)


@pytest.mark.parametrize("data", RUNNING.values(), ids=RUNNING.keys())
def test_a_peer_that_closes_aborts_what_runs(data: bytes) -> None:  # FC-17
    made = run([data])
    (ready,) = made.ready
    made.codec.receive_data(b"")
    assert ready.aborted
    assert body_of(ready).whole or isinstance(body_of(ready).error, ClientDisconnected)
    made.codec.end(ready)
    assert (made.codec.active, made.codec.closing) == (0, True)


def test_a_peer_that_closes_a_multiplexed_connection_aborts_all_requests() -> None:  # FC-17
    made = run([request(1, GET), request(2, GET), begin(3), begin(4), params(4, UNKNOWN_LENGTH)])
    made.codec.receive_data(b"")
    assert [id_of(ready) for ready in made.ready] == [1, 2, 4]
    assert all(ready.aborted for ready in made.ready)
    assert made.codec.active == 3, "the core ends those that it was given"


# -- many requests on one connection -----------------------------------------------------------


def test_a_second_request_is_refused_where_multiplexing_is_off() -> None:  # FC-21
    made = Run(ALONE)
    (first,) = made.feed(request(1, GET))
    assert made.feed(request(2, POST, BODY)) == []
    assert split_records(made.sent) == [(FCGI_END_REQUEST, 2, CANT_MPX_CONN)]
    assert not made.codec.multiplexes
    assert replies(made.answer(first, b"first"))[1].body == b"first"
    (second,) = made.feed(request(2, POST, BODY))
    assert body_of(second).data == BODY


def test_what_follows_a_request_that_was_refused_for_multiplexing_is_lingered_for() -> None:
    made = Run(ALONE)
    (first,) = made.feed(request(1, GET, keep=False))
    made.feed(begin(2, keep=False))
    made.answer(first)
    assert made.codec.closing
    assert made.codec.input_pending


def test_two_requests_at_once_show_that_the_peer_multiplexes() -> None:
    made = Run()
    made.feed(request(1, GET))
    assert not made.codec.multiplexes
    made.feed(begin(3))
    assert (made.codec.multiplexes, made.codec.active) == (True, 2)


def test_two_hundred_requests_in_records_of_one_byte_get_their_own_answers() -> None:  # FC-7
    order = random.Random(2)
    queues = []
    for number in range(200):
        request_id = 1 + 2 * number
        body = f"body of {number}".encode()
        sent = {**POST, "CONTENT_LENGTH": str(len(body)), "PATH_INFO": f"/{number}"}
        wire = begin(request_id) + params(request_id, sent, cut=1) + stdin(request_id, body, cut=1)
        queues.append(
            [record(kind, owner, content) for kind, owner, content in split_records(wire)]
        )
    made = Run()
    waiting = []
    while queues:
        queue = order.choice(queues)
        waiting += made.feed(queue.pop(0))
        if not queue:
            queues.remove(queue)
    assert len(waiting) == 200
    assert made.codec.active == 200
    order.shuffle(waiting)
    heads = []
    for ready in waiting:
        made.codec.send_head(ready, "200 OK", [("X-Path", ready.variables["PATH_INFO"])])
        made.codec.send_body(ready, body_of(ready).data[:4])
        heads.append(ready)
    order.shuffle(heads)
    for ready in heads:
        made.codec.send_body(ready, body_of(ready).data[4:])
        made.codec.end(ready)
    answered = replies(made.collect())
    assert len(answered) == 200
    for number in range(200):
        assert answered[1 + 2 * number].stdout == (
            f"Status: 200 OK\r\nX-Path: /{number}\r\n\r\nbody of {number}".encode()
        )
    assert (made.codec.active, made.codec.requests_seen, made.codec.closing) == (0, 200, False)


@pytest.mark.parametrize("keep", [True, False])
def test_the_connection_is_closed_by_us_only_if_the_peer_does_not_keep_it(keep: bool) -> None:
    made = Run()  # FC-15
    (ready,) = made.feed(request(1, GET, keep=keep))
    made.answer(ready)
    assert made.codec.closing is not keep


# -- what the deadlines ask --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "phase"),
    [
        (b"", Phase.IDLE),
        (b"\x01", Phase.HEAD),
        (begin(1)[:15], Phase.HEAD),
        (begin(1), Phase.HEAD),
        (begin(1) + params(1, GET)[:-8], Phase.HEAD),
        (begin(1) + params(1, POST), Phase.BODY),
        (begin(1) + params(1, POST) + stdin(1, BODY)[:12], Phase.BODY),
        (begin(1) + params(1, POST) + stdin(1, BODY[:3])[:-8], Phase.BODY),
        (request(1, POST, BODY), Phase.IDLE),
        (request(1, GET) + b"\x01", Phase.IDLE),
        (request(1, GET) + begin(2), Phase.HEAD),
        (request(1, GET) + begin(2) + params(2, POST), Phase.BODY),
        (begin(1) + params(1, POST) + begin(2), Phase.HEAD),
        (begin(1) + params(1, POST) + abort(1), Phase.IDLE),
    ],
)
def test_the_phase_is_what_the_peer_still_owes(data: bytes, phase: Phase) -> None:  # FC-28
    made = Run()
    made.feed(data)
    assert made.codec.phase() is phase


def test_a_connection_is_idle_again_after_the_answer() -> None:  # FC-28
    made = Run()
    made.answer(made.feed(request(1, POST, BODY))[0])
    assert made.codec.phase() is Phase.IDLE
