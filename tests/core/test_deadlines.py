"""Peers that keep us waiting, and how long they may."""

from __future__ import annotations

import functools
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from gateways.core.connection import Connection
from gateways.protocols.fastcgi import FastCGI
from gateways.protocols.fastcgi_state import FastCGISettings
from tests.core.serving import POLLERS, LogLines, eventually, serving
from tests.protocols.vectors import begin, params, request, stdin

SWEEP_SECONDS = 0.1

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}
POST = {**GET, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "100"}


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def reads(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]


SITUATIONS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a kept connection is idle": (request(1, GET), {"idle_timeout_seconds": 0.1}),
    "nothing was ever asked": (b"", {"idle_timeout_seconds": 0.1}),
    "half a record": (begin(1)[:5], {"header_timeout_seconds": 0.1}),
    "half of the variables": (begin(1) + params(1, GET)[:20], {"header_timeout_seconds": 0.1}),
    "half of a small body": (
        begin(1) + params(1, POST) + stdin(1, b"half")[:-8],
        {"body_timeout_seconds": 0.1},
    ),
}


@pytest.fixture(autouse=True)
def frequent_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a second is made for need not be waited for."""
    monkeypatch.setattr("gateways.core.server.SWEEP_SECONDS", SWEEP_SECONDS)


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_peer_that_keeps_us_waiting_is_closed(
    tmp_path: Path, situation: str, poller: str
) -> None:
    data, options = SITUATIONS[situation]
    with LogLines() as log, serving(hello, tmp_path, poller=poller, **options) as served:
        with served.connect() as peer:
            peer.send(data)
            assert peer.is_closed()
        eventually(lambda: served.connections() == 0)
    assert any("(0.1 seconds)" in text for text in log.texts())
    assert log.texts(30) == []


@pytest.mark.parametrize("situation", SITUATIONS)
def test_other_deadlines_leave_it_alone(tmp_path: Path, situation: str) -> None:
    data, options = SITUATIONS[situation]
    others = {"idle_timeout_seconds", "header_timeout_seconds", "body_timeout_seconds"} - {*options}
    limits: dict[str, Any] = dict.fromkeys(others, 0.001)
    kept: dict[str, Any] = dict.fromkeys(options, 0)
    with serving(hello, tmp_path, **limits, **kept) as served, served.connect() as peer:
        peer.send(data)
        eventually(lambda: served.server._swept > peer_since(served) + 3 * SWEEP_SECONDS)
        assert served.connections() == 1


def peer_since(served: Any) -> float:
    """When bytes last moved on the only connection."""
    eventually(lambda: served.connections() == 1)
    (connection,) = served.server.connections
    return float(connection.since)


@pytest.mark.parametrize("poller", POLLERS)
def test_a_streaming_body_that_stops_fails_its_reader(tmp_path: Path, poller: str) -> None:
    variables = {**GET, "REQUEST_METHOD": "POST"}
    with serving(reads, tmp_path, poller=poller, body_timeout_seconds=0.1) as served:
        with served.connect() as peer:
            peer.send(begin(1) + params(1, variables) + stdin(1, b"half")[:-8])
            assert peer.reply().stdout.startswith(b"Status: 408 ")


@pytest.mark.parametrize("finished", [True, False])
def test_a_peer_that_takes_nothing_is_given_up(tmp_path: Path, finished: bool) -> None:
    closed = []

    class Chunks:
        def __iter__(self) -> Any:
            return iter([bytes(10_000_000)] if finished else [bytes(65536)] * 1000)

        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "10000000")] if finished else [])
        return Chunks()

    with serving(app, tmp_path, write_timeout_seconds=0.1) as served, served.connect() as peer:
        peer.send(request(1, GET))
        eventually(lambda: served.connections() == 0 and closed)


@pytest.mark.parametrize("kept", [1, 3])
def test_a_connection_is_closed_after_its_number_of_requests(tmp_path: Path, kept: int) -> None:
    with serving(hello, tmp_path, max_requests_per_connection=kept) as served:
        with served.connect() as peer:
            for number in range(1, kept + 1):
                peer.send(request(number, GET))
                peer.replies(number)
            assert peer.is_closed()


@pytest.mark.parametrize("poller", POLLERS)
def test_after_a_long_silence_the_first_connection_is_as_young_as_any(
    tmp_path: Path, poller: str
) -> None:
    limits: dict[str, Any] = {"idle_timeout_seconds": 5, "header_timeout_seconds": 5}
    with serving(hello, tmp_path, poller=poller, **limits) as served:
        for _ in range(10):
            eventually(lambda: served.server.clock.parked and not served.connections())
            served.server.clock.now -= 1000  # what a parked clock looks like after such a time
            with served.connect() as peer:
                peer.send(request(1, GET))
                assert peer.reply().body == b"hello"


def test_the_age_of_a_connection_counts_from_now_on_though_the_clock_was_parked(
    tmp_path: Path,
) -> None:
    with serving(hello, tmp_path) as served:
        server = served.server
        eventually(lambda: server.clock.parked)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            server.clock.now -= 1000
            new_codec = functools.partial(FastCGI, FastCGISettings())
            connection = Connection(server, theirs.fileno(), "", new_codec)
            server.adopt(connection, theirs.fileno())
            assert time.monotonic() - connection.since < 10
            server.forget(connection, theirs.fileno())
