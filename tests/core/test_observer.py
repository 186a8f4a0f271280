"""Who looks on: what observers are told of each request, and what the threads count."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.core.connection import Connection
from gateways.core.observer import Outcome
from gateways.core.seldom import Seldom
from gateways.protocols.base import Request
from tests.core.serving import LogLines, Serving, eventually, serving
from tests.protocols.vectors import abort, begin, params, request, stdin

VARIABLES = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/"}


class Book:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str]] = []
        self.ended: list[tuple[int, Outcome]] = []
        self.mismatched = 0
        self._running: dict[int, Request] = {}

    def begin(self, thread: int, connection: Connection, request: Request) -> None:
        self.begun.append((thread, request.variables.get("PATH_INFO", "")))
        self._running[thread] = request

    def end(self, thread: int, connection: Connection, request: Request, outcome: Outcome) -> None:
        self.mismatched += self._running.pop(thread, None) is not request
        self.ended.append((thread, outcome))


def told(outcome: Outcome) -> tuple[str, int, bool, bool]:
    return outcome.status, outcome.sent, outcome.aborted, outcome.failed


def whole(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"12345"]


def in_pieces(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("201 Created", [("Content-Type", "text/plain")])
    yield b"123"
    yield b"4567"


def raises(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ValueError("its own")


def raises_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"123"
    raise ValueError("its own")


def does_nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []


LARGE = {f"V{number}": "x" * 100 for number in range(50)}


@pytest.mark.parametrize(
    ("application", "variables", "status", "sent", "failed", "errors"),
    [
        (whole, {}, "200 OK", 5, False, 0),
        (whole, {"REQUEST_METHOD": "HEAD"}, "200 OK", 0, False, 0),
        (in_pieces, {}, "201 Created", 7, False, 0),
        (does_nothing, {}, "204 No Content", 0, False, 0),
        (raises, {}, "500 Internal Server Error", None, False, 1),
        (raises_late, {}, "200 OK", 3, True, 1),
        (whole, LARGE, "431 Request Header Fields Too Large", None, False, 0),
    ],
)
def test_what_became_of_a_request(
    tmp_path: Path,
    application: Any,
    variables: dict[str, str],
    status: str,
    sent: int | None,
    failed: bool,
    errors: int,
) -> None:
    book = Book()
    limits: dict[str, Any] = {"server": {"observers": [book]}, "max_variables_bytes": 2000}
    with serving(application, tmp_path, threads=2, **limits) as served, served.connect() as peer:
        peer.send(request(1, {**VARIABLES, **variables}, keep=False))
        assert peer.is_closed()
        eventually(lambda: book.ended, "the end")
        ((thread, outcome),) = book.ended
        assert [number for number, _ in book.begun] == [thread]
        assert thread in (1, 2)
        length = outcome.sent if sent is None else sent
        assert told(outcome) == (status, length, False, failed)
        assert (sent is None) == (outcome.sent > 100)  # a page of ours
        eventually(lambda: served.server.served == 1, "the count")
        assert (served.server.errors, served.server.sent) == (errors, outcome.sent)
        assert served.server.aborted == 0


def test_a_peer_that_leaves_is_told_of(tmp_path: Path) -> None:
    book = Book()
    entered, proceed = threading.Event(), threading.Event()

    def waits(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        entered.set()
        proceed.wait(10)
        return whole(environ, start_response)

    with serving(waits, tmp_path, server={"observers": [book]}) as served:
        with served.connect() as peer:
            peer.send(begin(1) + params(1, VARIABLES) + stdin(1))
            assert entered.wait(10)
            peer.send(abort(1))
        eventually(lambda: running(served) == [True], "the abort")
        proceed.set()
        eventually(lambda: served.server.aborted == 1, "the count")
        assert served.server.errors == 0
    assert [told(outcome)[2:] for _, outcome in book.ended] == [(True, False)]


def running(served: Serving) -> list[bool]:
    """Of each request that runs, whether it is aborted."""
    return [worker.request.aborted for worker in served.server._workers if worker.request]


def test_a_request_that_a_substitute_answers_is_told_of_once(tmp_path: Path) -> None:
    book = Book()
    held = threading.Lock()

    def sticks(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/":
            with held:
                pass
        return whole(environ, start_response)

    limits: dict[str, Any] = {"timeout_seconds": 0.5, "timeout_grace_seconds": 0.1}
    with (
        serving(sticks, tmp_path, threads=1, server={"observers": [book]}, **limits) as served,
        served.connect() as peer,
    ):
        with held:
            peer.send(request(1, VARIABLES))
            assert peer.reply().status == "504 Gateway Timeout"
            eventually(lambda: book.ended, "the end")
        peer.send(request(2, {**VARIABLES, "PATH_INFO": "/2"}))
        peer.replies(2)
        eventually(lambda: len(book.ended) == 2, "the next")
    assert [told(outcome)[0] for _, outcome in book.ended] == ["504 Gateway Timeout", "200 OK"]
    assert book.begun == [(1, "/"), (1, "/2")]
    assert book.mismatched == 0


def test_an_observer_that_fails_costs_no_request(tmp_path: Path) -> None:
    class Broken:
        def begin(self, thread: int, connection: Connection, request: Request) -> None:
            raise OSError("the disk is full")

        def end(
            self, thread: int, connection: Connection, request: Request, outcome: Outcome
        ) -> None:
            raise OSError("the disk is full")

    book = Book()
    with (
        LogLines() as lines,
        serving(whole, tmp_path, server={"observers": [Broken(), book]}) as served,
        served.connect() as peer,
    ):
        peer.send(request(1, VARIABLES))
        assert peer.reply().body == b"12345"
        eventually(lambda: book.ended, "the end")
    assert len([text for text in lines.texts(logging.ERROR) if "Broken" in text]) == 2


def test_a_warning_that_comes_by_the_thousand_is_logged_once_a_minute() -> None:
    now = 1000.0
    logger = logging.getLogger("gateways.test")
    with LogLines() as lines:
        seldom = Seldom(logger, lambda: now)
        for number in range(1000):
            seldom.warning("refused: %d", number)
        seldom.warning("another")
        now += 61
        seldom.warning("refused: %d", 1000)
        seldom.warning("refused: %d", 1001)
    assert lines.texts() == [
        "refused: 0",
        "another",
        "refused: 1000 (999 more like it were not logged in the last 61 seconds)",
    ]
