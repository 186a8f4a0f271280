"""Limits: each is answered with its own status, names what was too big, and costs one request."""

from __future__ import annotations

import pytest

from gateways.errors import LimitExceeded
from gateways.protocols.base import Request
from gateways.protocols.fastcgi_state import FastCGISettings
from gateways.protocols.records import FCGI_PARAMS, FCGI_STDIN, pack_record

from .driver import Run, body_of, bytewise, id_of, run
from .vectors import GET, begin, pairs, params, replies, request, stdin

POST = {**GET, "REQUEST_METHOD": "POST"}
SMALL = FastCGISettings(max_variables_bytes=200, max_variables=10, max_body_bytes=10, max_active=2)


def refusal_of(request: Request) -> LimitExceeded:
    """The limit that the request exceeded."""
    assert isinstance(request.refusal, LimitExceeded)
    return request.refusal


@pytest.mark.parametrize("cut", [None, 1, 50])
def test_variables_that_are_too_large_are_refused_with_431(cut: int | None) -> None:
    made = Run(SMALL)
    sent = {**GET, "HTTP_COOKIE": "c" * 150, "HTTP_X": "x" * 60}
    (ready,) = made.feed(begin(1) + params(1, sent, cut) + stdin(1))
    assert refusal_of(ready).status == 431
    assert "--max-variables-bytes" in str(ready.refusal)
    assert "HTTP_COOKIE" in str(ready.refusal)
    assert "150" in str(ready.refusal)
    made.answer(ready)
    assert len(made.feed(request(1, GET))) == 1, "the connection goes on"


def test_variables_of_exactly_the_limit_are_taken() -> None:
    room = 200 - len(pairs({**GET, "HTTP_X": "x" * 128})) + 128
    (ready,) = run([request(1, {**GET, "HTTP_X": "x" * room})], SMALL).ready
    assert ready.refusal is None
    (ready,) = run([request(1, {**GET, "HTTP_X": "x" * (room + 1)})], SMALL).ready
    assert refusal_of(ready).status == 431


def test_variables_that_are_too_large_are_refused_before_they_end() -> None:
    made = Run(SMALL)
    record = pack_record(FCGI_PARAMS, 1, pairs({"HTTP_X": "x" * 300}))
    (ready,) = made.feed(begin(1) + record)
    assert refusal_of(ready).status == 431
    assert made.feed(record * 100 + pack_record(FCGI_PARAMS, 1) + stdin(1, b"body")) == []
    assert replies(made.answer(ready))[1].status == "200 OK", "it can be answered meanwhile"


def test_the_name_of_a_variable_that_is_too_large_cannot_forge_a_log_line() -> None:
    name = "HTTP_X\r\n" + "n" * 5000
    (ready,) = run([request(1, [(name, "v" * 6000)])], SMALL).ready
    assert "\n" not in str(ready.refusal)
    assert len(str(ready.refusal)) < 500


def test_too_many_variables_are_refused_with_431() -> None:
    made = Run(SMALL)
    (ready,) = made.feed(request(1, {f"N{n}": "" for n in range(11)}))
    assert refusal_of(ready).status == 431
    assert "--max-variables allows" in str(ready.refusal)
    (ready,) = Run(SMALL).feed(request(1, {f"N{n}": "" for n in range(10)}))
    assert ready.refusal is None


def test_zero_is_no_limit() -> None:
    settings = FastCGISettings(max_variables_bytes=0, max_variables=0, max_body_bytes=0)
    sent = {f"N{n}": "v" * 100 for n in range(2000)}
    made = run([begin(1), params(1, {**sent, "CONTENT_LENGTH": "300000"})], settings)
    made.feed(stdin(1, bytes(300_000)))
    (ready,) = made.ready
    assert (ready.refusal, len(body_of(ready).data)) == (None, 300_000)


def test_a_declared_body_that_is_too_large_is_refused_with_413_before_it_comes() -> None:
    made = Run(SMALL)
    (ready,) = made.feed(begin(1) + params(1, {**POST, "CONTENT_LENGTH": "11"}))
    assert refusal_of(ready).status == 413
    assert "--max-body allows 10" in str(ready.refusal)
    assert made.feed(stdin(1, bytes(11))) == []
    made.answer(ready)
    assert len(made.feed(request(1, GET))) == 1


def test_a_streamed_body_that_becomes_too_large_fails_in_its_readers_hands() -> None:
    made = Run(SMALL)
    (ready,) = made.feed(begin(1) + params(1, POST))
    made.feed(pack_record(FCGI_STDIN, 1, bytes(10)))
    assert body_of(ready).error is None
    made.feed(pack_record(FCGI_STDIN, 1, b"x"), pack_record(FCGI_STDIN, 1, b"y"))
    error = body_of(ready).error
    assert isinstance(error, LimitExceeded)
    assert error.status == 413
    assert len(body_of(ready).data) == 10
    made.answer(ready)
    assert made.codec.active == 0


@pytest.mark.parametrize("cut", [None, 1, 5])
def test_what_exceeds_the_declared_length_is_dropped_and_no_reason_to_refuse(
    cut: int | None,
) -> None:  # FC-7: the division into records means nothing
    sent = {**POST, "CONTENT_LENGTH": "5"}
    (ready,) = run([begin(1) + params(1, sent) + stdin(1, bytes(20), cut)], SMALL).ready
    assert ready.refusal is None
    assert (body_of(ready).data, body_of(ready).error) == (bytes(5), None)


def test_one_request_more_than_allowed_at_once_is_refused_with_503() -> None:  # section 0.6
    made = Run(SMALL)
    first, second = made.feed(request(1, GET), request(3, GET))
    (third,) = made.feed(request(5, {**POST, "CONTENT_LENGTH": "4"}, b"body"))
    assert (first.refusal, second.refusal) == (None, None)
    assert refusal_of(third).status == 503
    assert id_of(third) == 5
    assert replies(made.answer(third))[5].status == "200 OK", "a real answer on STDOUT"
    made.answer(first)
    (fourth,) = made.feed(request(7, GET))
    assert fourth.refusal is None


LIMITED = {
    "too many bytes": request(1, {**GET, "HTTP_X": "x" * 300}),
    "too many variables": request(1, {f"N{n}": "" for n in range(11)}),
    "too large a body": request(1, {**POST, "CONTENT_LENGTH": "11"}, bytes(11)),
    "too many requests": request(1, GET) + request(2, GET) + request(3, GET),
    "more than declared": request(1, {**POST, "CONTENT_LENGTH": "5"}, bytes(20)),
}


@pytest.mark.parametrize("data", LIMITED.values(), ids=LIMITED.keys())
def test_a_limit_is_the_same_however_the_bytes_are_cut(data: bytes) -> None:  # FC-7
    whole = run([data], SMALL).outcome()
    assert run(bytewise(data), SMALL).outcome() == whole
    for cut in range(1, len(data)):
        assert run([data[:cut], data[cut:]], SMALL).outcome() == whole, f"cut at {cut}"
