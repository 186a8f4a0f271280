"""HTTP responses: framing, the fields that are ours, and whether the connection is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateways.protocols.base import Headers, Phase, Request
from gateways.values import replace

from .http_driver import SETTINGS, Run, chunked, get, post

LENGTH_2 = [("Content-Length", "2")]


def reply(
    data: bytes, *chunks: bytes, status: str = "200 OK", headers: Headers | None = None
) -> bytes:
    """The bytes of the response to the only request of ``data``."""
    run = Run()
    (request,) = run.feed(data)
    return run.answer(request, *chunks, status=status, headers=headers)


@pytest.mark.parametrize(
    ("data", "status", "headers", "chunks", "expected"),
    [
        (get(), "200 OK", LENGTH_2, [b"ok"], b"200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (get(), "200 OK", LENGTH_2, [b"o", b"k"], b"200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (
            get(),
            "200 OK",
            [],
            [b"some", b"more than that"],
            b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"4\r\nsome\r\ne\r\nmore than that\r\n0\r\n\r\n",
        ),
        (get(), "200 OK", [], [], b"200 OK\r\nContent-Length: 0\r\n\r\n"),
        (
            get(),
            "404 ",
            [("A", "\xe9"), ("A", "b")],
            [],
            b"404 \r\nA: \xe9\r\nA: b\r\nContent-Length: 0\r\n\r\n",
        ),
        (get(method="HEAD"), "200 OK", LENGTH_2, [], b"200 OK\r\nContent-Length: 2\r\n\r\n"),
        (get(method="HEAD"), "200 OK", LENGTH_2, [b"ok"], b"200 OK\r\nContent-Length: 2\r\n\r\n"),
        (get(method="HEAD"), "200 OK", [], [b"ok", b"ok"], b"200 OK\r\n\r\n"),
        (get(), "204 No Content", [], [b"no"], b"204 No Content\r\n\r\n"),
        (get(), "204 No Content", LENGTH_2, [], b"204 No Content\r\n\r\n"),
        (get(), "304 No", LENGTH_2, [b"no"], b"304 No\r\nContent-Length: 2\r\n\r\n"),
        (get(), "304 Not Modified", [], [], b"304 Not Modified\r\n\r\n"),
        (get(), "205 Reset", LENGTH_2, [b"no"], b"205 Reset\r\nContent-Length: 0\r\n\r\n"),
        (
            get("/", "Connection: close"),
            "200 OK",
            LENGTH_2,
            [b"ok"],
            b"200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        ),
        (
            get(version="1.0"),
            "200 OK",
            [],
            [b"so", b"me"],
            b"200 OK\r\nConnection: close\r\n\r\nsome",
        ),
        (
            get("/", "Connection: keep-alive", version="1.0"),
            "200 OK",
            [],
            [b"some"],
            b"200 OK\r\nConnection: close\r\n\r\nsome",
        ),
        (
            get("/", "Connection: keep-alive", version="1.0"),
            "200 OK",
            LENGTH_2,
            [b"ok"],
            b"200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        ),
    ],
)  # fmt: skip
def test_a_response(
    data: bytes, status: str, headers: Headers, chunks: list[bytes], expected: bytes
) -> None:
    assert reply(data, *chunks, status=status, headers=headers) == b"HTTP/1.1 " + expected


def test_date_and_server_are_ours_unless_they_are_the_applications() -> None:
    settings = replace(SETTINGS, date=lambda: "Sat, 01 Jan", server="ours")
    run = Run(settings)
    (request,) = run.feed(get() + get())
    assert b"\r\nDate: Sat, 01 Jan\r\nServer: ours\r\n" in run.answer(request, b"x")
    given = [("date", "then"), ("SERVER", "theirs")]
    sent = run.answer(run.ready[1], b"x", headers=given)
    assert sent.lower().count(b"date:") == sent.lower().count(b"server:") == 1


@pytest.mark.parametrize("headers", [[], [("Content-Length", "100000")]])
def test_a_small_response_is_one_buffer_and_a_large_one_is_not_copied(headers: Headers) -> None:
    run = Run()
    (request,) = run.feed(get())
    large = b"x" * 100000
    run.codec.send_head(request, "200 OK", headers)
    assert run.codec.output == []
    run.codec.send_body(request, large)
    assert any(buffer is large for buffer in run.codec.output)
    run = Run()
    (request,) = run.feed(get())
    run.codec.send_head(request, "200 OK", headers)
    run.codec.send_body(request, b"small")
    assert len(run.codec.output) == 1


def test_a_stream_leaves_chunk_by_chunk() -> None:
    run = Run()
    (request,) = run.feed(get())
    run.codec.send_head(request, "200 OK", [])
    run.codec.send_body(request, b"one")
    assert run.collect().endswith(b"\r\n\r\n3\r\none\r\n")
    run.codec.send_body(request, b"two")
    assert run.collect() == b"3\r\ntwo\r\n"
    run.codec.end(request)
    assert run.collect() == b"0\r\n\r\n"


@pytest.mark.parametrize("begun", [False, True])
def test_an_abort_closes_without_the_last_chunk(begun: bool) -> None:
    run = Run()
    (request,) = run.feed(get() + get("/never"))
    run.codec.send_head(request, "200 OK", [])
    if begun:
        run.codec.send_body(request, b"some")
    run.codec.abort(request)
    sent = run.ended()
    assert sent.endswith(b"4\r\nsome\r\n") if begun else sent == b""
    assert (run.codec.closing, run.codec.active, run.codec.queued) == (True, 0, 0)
    assert len(run.ready) == 1


# -- a body that nobody reads ------------------------------------------------------------------

PENDING: dict[str, tuple[bytes, bytes, bool]] = {
    "a little is left": (post(b"x" * 70000), b"x" * 3000, True),
    "much is left": (post(b"x" * 170000), b"x" * 100000, False),
    "chunks are left": (chunked(b"x" * 5000), b"x" * 3000 + b"\r\n0\r\n\r\n", True),
    "it waits to be told to send": (
        get("/", "Expect: 100-continue", "Content-Length: 4", method="POST") + b"1234",
        b"1234",
        False,
    ),
}
pending = pytest.mark.parametrize(("data", "rest", "kept"), PENDING.values(), ids=PENDING.keys())


@pending
@pytest.mark.parametrize("headers", [LENGTH_2, []], ids=["with a length", "chunked"])
def test_a_response_before_the_body_has_come(
    headers: Headers, data: bytes, rest: bytes, kept: bool
) -> None:
    run = Run()
    (request,) = run.feed(data.removesuffix(rest))
    sent = run.answer(request, b"ok", headers=headers)
    assert run.codec.input_pending
    assert run.codec.closing is not kept
    assert run.codec.active == 0
    if headers:  # else the head had left before it was clear that nobody reads
        assert (b"Connection: close" in sent) is not kept
    run.feed(rest + get("/next"))
    assert len(run.ready) == 1 + kept
    if kept:
        assert not run.codec.input_pending
        assert run.ready[1].variables["PATH_INFO"] == "/next"


def test_what_is_drained_is_bounded() -> None:
    run = Run()
    (request,) = run.feed(chunked(b"x")[:-5])
    run.answer(request, b"ok")
    assert run.codec.phase() is Phase.BODY
    for _ in range(32):
        run.feed(b"400\r\n" + b"x" * 1024 + b"\r\n")
    assert not run.codec.closing
    for _ in range(64):
        run.feed(b"400\r\n" + b"x" * 1024 + b"\r\n")
    assert run.codec.closing
    assert run.codec.input_pending


def test_a_connection_ends_with_its_last_request() -> None:
    run = Run(replace(SETTINGS, max_requests=2))
    (request,) = run.feed(get("/1") + get("/2") + get("/3"))
    assert b"close" not in run.answer(request, b"ok")
    assert b"Connection: close" in run.answer(run.ready[1], b"ok")
    assert len(run.ready) == 2
    assert run.codec.closing


def test_a_connection_ends_when_the_server_stops() -> None:
    stopping: list[bool] = []
    run = Run(replace(SETTINGS, draining=lambda: bool(stopping)))
    (request,) = run.feed(get("/1") + get("/2"))
    assert b"close" not in run.answer(request, b"ok")
    stopping.append(True)
    assert b"Connection: close" in run.answer(run.ready[1], b"ok")
    assert run.codec.closing


@pytest.mark.parametrize(
    "misuse",
    [
        lambda run, request: run.codec.end(request),
        lambda run, request: run.codec.send_body(request, b"x"),
        lambda run, request: run.codec.send_head(Request(), "200 OK", []),
        lambda run, request: [run.answer(request), run.codec.end(request)],
        lambda run, request: [run.codec.send_head(request, "200 OK", []) for _ in "12"],
    ],
)
def test_misuse_is_our_own_fault(misuse: Callable[[Run, Request], object]) -> None:
    run = Run()
    (request,) = run.feed(get())
    with pytest.raises(RuntimeError):
        misuse(run, request)
