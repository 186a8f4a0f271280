"""Responses on the wire: streams and their ends, aborts, and misuse by our own code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateways.protocols.base import Request
from gateways.protocols.fastcgi_state import FastCGISettings
from gateways.protocols.records import (
    FCGI_END_REQUEST,
    FCGI_STDERR,
    FCGI_STDOUT,
    FCGI_UNKNOWN_TYPE,
)

from .driver import Run
from .vectors import GET, Reply, replies, request, split_records

HEAD = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n"
HEADERS = [("Content-Type", "text/plain")]


def running(*, keep: bool = True) -> tuple[Run, Request]:
    """A codec with one request that runs."""
    made = Run()
    (ready,) = made.feed(request(1, GET, keep=keep))
    return made, ready


def pattern(size: int) -> bytes:
    """Bytes in which a lost or a swapped piece shows."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 65535, 65536, 200_000])
@pytest.mark.parametrize("chunks", [1, 3])
def test_a_body_of_any_size_is_right_and_closed(size: int, chunks: int) -> None:  # FC-12, FC-22
    made, ready = running()
    body = pattern(size)
    made.codec.send_head(ready, "200 OK", HEADERS)
    for _ in range(chunks):
        made.codec.send_body(ready, body)
    made.codec.end(ready)
    sent = made.collect()
    assert replies(sent) == {1: Reply(HEAD + body * chunks, b"", 0, 0, frozenset({FCGI_STDOUT}))}
    records = split_records(sent)
    assert all(content for _, _, content in records[:-2]), "an empty record would end the stream"
    assert [record[0] for record in records[-2:]] == [FCGI_STDOUT, FCGI_END_REQUEST]
    assert len(sent) % 8 == 0, "FC-8: padded to multiples of eight"


@pytest.mark.parametrize("errors", ["", "a line\n"])
@pytest.mark.parametrize("size", [0, 1, 7, 16341, 16342, 16384, 16385, 70_000])
def test_a_response_given_at_once_is_what_its_parts_would_be(size: int, errors: str) -> None:
    whole, ready = running()
    whole.codec.send_errors(ready, errors)
    whole.codec.respond(ready, "200 OK", HEADERS, pattern(size))
    apart, ready = running()
    apart.codec.send_errors(ready, errors)
    apart.codec.send_head(ready, "200 OK", HEADERS)
    if size:
        apart.codec.send_body(ready, pattern(size))
    apart.codec.end(ready)
    assert whole.collect() == apart.collect()
    assert whole.codec.active == 0


def test_a_response_is_not_given_at_once_where_it_has_a_head_already() -> None:
    made, ready = running()
    made.codec.send_head(ready, "200 OK", HEADERS)
    with pytest.raises(RuntimeError, match="set already"):
        made.codec.respond(ready, "200 OK", HEADERS, b"")


def test_the_head_waits_for_the_first_bytes_and_leaves_in_their_record() -> None:  # section 0.6
    made, ready = running()
    made.codec.send_head(ready, "200 OK", HEADERS)
    assert made.collect() == b""
    made.codec.send_body(ready, b"first")
    assert split_records(made.collect()) == [(FCGI_STDOUT, 1, HEAD + b"first")]
    made.codec.send_body(ready, b"second")
    assert split_records(made.collect()) == [(FCGI_STDOUT, 1, b"second")]


def test_the_head_of_a_large_first_chunk_leaves_with_it() -> None:
    made, ready = running()
    made.codec.send_head(ready, "200 OK", HEADERS)
    made.codec.send_body(ready, bytes(100_000))
    records = split_records(made.collect())
    assert records[0] == (FCGI_STDOUT, 1, HEAD)
    assert sum(len(content) for _, _, content in records) == len(HEAD) + 100_000


@pytest.mark.parametrize("body", [b"", b"x", bytes(70_000)])
def test_a_head_larger_than_a_record_is_split(body: bytes) -> None:  # FC-22
    made, ready = running()
    made.codec.send_head(ready, "200 OK", [("X-Long", "v" * 70_000)])
    if body:
        made.codec.send_body(ready, body)
    made.codec.end(ready)
    assert replies(made.collect())[1].stdout == (
        b"Status: 200 OK\r\nX-Long: " + b"v" * 70_000 + b"\r\n\r\n" + body
    )


def test_a_response_without_a_body_is_its_head_and_the_end() -> None:
    made, ready = running()
    made.codec.send_head(ready, "304 Not Modified", [])
    made.codec.end(ready)
    assert split_records(made.collect()) == [
        (FCGI_STDOUT, 1, b"Status: 304 Not Modified\r\n\r\n"),
        (FCGI_STDOUT, 1, b""),
        (FCGI_END_REQUEST, 1, bytes(8)),
    ]


@pytest.mark.parametrize("status", ["201 Created", "303 See Other", "308 Permanent Redirect"])
def test_a_status_with_a_location_comes_after_it(status: str) -> None:
    """To HAProxy a Location that comes after the status makes a 302 of it."""
    made, ready = running()
    made.codec.send_head(ready, status, [("Location", "/x")])
    made.codec.end(ready)
    expected = f"Location: /x\r\nStatus: {status}\r\n\r\n".encode()
    assert replies(made.collect())[1].stdout == expected


@pytest.mark.parametrize("head_first", [True, False])
def test_an_empty_chunk_is_never_an_empty_record(head_first: bool) -> None:  # W-11, FC-12
    made, ready = running()
    made.codec.send_head(ready, "200 OK", HEADERS)
    if head_first:
        made.codec.send_body(ready, b"x")
    for _ in range(3):
        made.codec.send_body(ready, b"")
    made.codec.send_body(ready, b"y")
    records = split_records(made.collect())
    assert all(content for _, _, content in records)
    assert b"".join(content for _, _, content in records).endswith(b"y")


def test_output_without_a_head_is_sent_as_it_stands() -> None:  # flup's low-level handlers
    made, ready = running()
    made.codec.send_body(ready, b"Status: 418 Teapot\r\n\r\nshort")
    made.codec.end(ready)
    reply = replies(made.collect())[1]
    assert (reply.status, reply.body) == ("418 Teapot", b"short")


@pytest.mark.parametrize("when", ["before the head", "within the body", "before the end"])
def test_the_error_stream_is_closed_if_it_was_used(when: str) -> None:  # FC-12
    made, ready = running()
    text = "Traceback\n" if when == "before the head" else "caf\xe9 \u20ac \udcff\n"
    if when == "before the head":
        made.codec.send_errors(ready, text)
    made.codec.send_head(ready, "200 OK", HEADERS)
    made.codec.send_body(ready, b"a")
    if when == "within the body":
        made.codec.send_errors(ready, text)
    made.codec.send_body(ready, b"b")
    if when == "before the end":
        made.codec.send_errors(ready, text)
    made.codec.end(ready)
    sent = made.collect()
    reply = replies(sent)[1]
    assert reply.closed == {FCGI_STDOUT, FCGI_STDERR}
    assert reply.stderr == text.encode("utf-8", "backslashreplace")
    assert reply.body == b"ab"
    assert split_records(sent)[-1][0] == FCGI_END_REQUEST


def test_the_error_stream_is_not_mentioned_if_it_was_not_used() -> None:  # FC-12
    made, ready = running()
    made.codec.send_errors(ready, "")
    assert FCGI_STDERR not in {kind for kind, _, _ in split_records(made.answer(ready, b"x"))}


def test_long_errors_are_split_in_records() -> None:  # FC-22
    made, ready = running()
    made.codec.send_body(ready, b"Status: 200 OK\r\n\r\n")
    made.codec.send_errors(ready, "\u20ac" * 60_000)
    made.codec.end(ready)
    assert replies(made.collect())[1].stderr == "\u20ac".encode() * 60_000


def test_a_lone_response_that_is_cut_short_closes_without_an_end() -> None:
    """No front end looks at the application status: a missing END_REQUEST is what they notice."""
    made, ready = running()
    made.codec.send_head(ready, "200 OK", HEADERS)
    made.codec.send_body(ready, b"half of")
    made.collect()
    made.codec.abort(ready)
    assert made.collect() == b""
    assert (made.codec.closing, made.codec.active) == (True, 0)


def test_a_response_that_is_cut_short_beside_others_ends_with_a_status() -> None:
    made, ready = running()
    (other,) = made.feed(request(2, GET))
    made.codec.send_head(ready, "200 OK", HEADERS)
    made.codec.send_body(ready, b"half of")
    made.codec.abort(ready)
    reply = replies(made.collect())[1]
    assert (reply.body, reply.app_status, reply.protocol_status) == (b"half of", 1, 0)
    assert not made.codec.closing
    assert replies(made.answer(other, b"well"))[2].body == b"well"


@pytest.mark.parametrize("method", ["end", "abort"])
def test_what_has_ended_cannot_be_answered_again(method: str) -> None:
    made, ready = running()
    getattr(made.codec, method)(ready)
    made.collect()
    for misuse in misuses(made, ready):
        with pytest.raises(RuntimeError, match="not in flight"):
            misuse()
    assert made.collect() == b""


def test_a_request_of_another_connection_cannot_be_answered() -> None:
    made, _ = running()
    _, stranger = running()
    for misuse in [*misuses(made, stranger), *misuses(made, Request())]:
        with pytest.raises(RuntimeError, match="not in flight"):
            misuse()


def misuses(made: Run, ready: Request) -> list[Callable[[], None]]:
    """Each way to use a request."""
    codec = made.codec
    return [
        lambda: codec.send_head(ready, "200 OK", []),
        lambda: codec.send_body(ready, b"x"),
        lambda: codec.send_errors(ready, "x"),
        lambda: codec.end(ready),
        lambda: codec.abort(ready),
    ]


def test_the_head_is_set_once() -> None:
    made, ready = running()
    made.codec.send_head(ready, "200 OK", [])
    with pytest.raises(RuntimeError, match="set already"):
        made.codec.send_head(ready, "500 Internal Server Error", [])
    made.codec.send_body(ready, b"x")
    with pytest.raises(RuntimeError, match="set already"):
        made.codec.send_head(ready, "500 Internal Server Error", [])


def test_errors_wait_for_the_head_which_nginx_must_see_first() -> None:
    made, ready = running()
    made.codec.send_errors(ready, "one\n")
    made.codec.send_head(ready, "200 OK", [])
    made.codec.send_errors(ready, "two\n")
    made.codec.send_body(ready, b"body")
    kinds = [(kind, content) for kind, _, content in split_records(made.collect())]
    assert kinds == [(6, b"Status: 200 OK\r\n\r\n"), (7, b"one\ntwo\n"), (6, b"body")]


def test_errors_that_wait_are_bounded() -> None:
    made, ready = running()
    made.codec.send_errors(ready, "x" * 1_000_000)
    made.codec.send_head(ready, "200 OK", [])
    made.codec.end(ready)
    assert replies(made.collect())[1].stderr == b"x" * 65536


def test_errors_are_cut_at_line_ends_for_logs_that_cut_records() -> None:
    made, ready = running()
    made.codec.send_body(ready, b"\r\n")
    lines = "".join(f"line {number}\n" for number in range(1000))
    made.codec.send_errors(ready, lines)
    records = [content for kind, _, content in split_records(made.collect()) if kind == 7]
    assert b"".join(records) == lines.encode()
    assert all(len(content) <= 1500 and content.endswith(b"\n") for content in records)


@pytest.mark.parametrize("draining", [False, True])
def test_a_draining_server_makes_a_kept_connection_unfit_for_another_request(
    draining: bool,
) -> None:
    made = Run(FastCGISettings(draining=lambda: draining))
    made.feed(request(1, GET), request(2, GET))
    made.answer(made.ready[0])
    assert not made.codec.closing, "another request still runs on it"
    after = split_records(made.answer(made.ready[1]))[-1][0]
    assert after == (FCGI_UNKNOWN_TYPE if draining else FCGI_END_REQUEST)
    assert made.codec.closing is draining
