"""Fewer threads than were asked for, down to none."""

from __future__ import annotations

import io
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gateways.core.gate import NARROW_ABOVE, Gate
from gateways.core.workers import Worker
from tests.core.serving import DEADLINE, POLLERS, LogLines, eventually, serving
from tests.protocols.vectors import request

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("possible", [0, 2])
def test_it_serves_with_the_threads_that_could_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poller: str, possible: int
) -> None:
    started: list[Worker] = []

    class Limited(Worker):
        def start(self) -> None:
            if len(started) == possible:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    monkeypatch.setattr("gateways.core.server.Worker", Limited)
    with LogLines() as log, serving(hello, tmp_path, poller=poller, threads=4) as served:
        for _ in range(20):
            with served.connect() as peer:
                peer.send(request(1, GET, keep=False))
                assert peer.reply().body == b"hello"
    assert any(f"only {possible} of 4 threads" in text for text in log.texts(30))


@pytest.mark.parametrize("poller", POLLERS)
def test_an_idle_server_sleeps(tmp_path: Path, poller: str) -> None:
    with serving(hello, tmp_path, poller=poller) as served:
        with served.connect() as peer:
            peer.send(request(1, GET))
            peer.replies()
        eventually(lambda: served.connections() == 0 and served.server.clock.parked)
        tick = served.server.clock.tick
        before = time.process_time()
        threading.Event().wait(0.5)  # nothing to wait for: that nothing happens is the promise
        assert served.server.clock.tick <= tick + 1
        assert time.process_time() - before < 0.2


def test_while_requests_are_short_one_thread_polls() -> None:
    gate = Gate(2)
    passed = threading.Semaphore(0)

    def pass_through() -> None:
        gate.enter()
        passed.release()

    gate.tick(1, NARROW_ABOVE, False)
    gate.enter()  # this thread leads now, and passes as often as it likes
    gate.enter()
    follower = threading.Thread(target=pass_through)
    follower.start()
    assert not passed.acquire(timeout=0.05)
    gate.tick(2, NARROW_ABOVE, True)  # a long request opens it
    assert passed.acquire(timeout=DEADLINE)
    follower.join()
    gate.tick(3, NARROW_ABOVE, False)  # and it stays open for a while
    gate.enter()
    other = threading.Thread(target=pass_through)
    other.start()
    assert passed.acquire(timeout=DEADLINE)
    other.join()


def test_a_slow_request_among_many_quick_ones_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateways.core.gate.NARROW_ABOVE", 3)
    release = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/slow":
            release.wait(DEADLINE)
        return [b"done"]

    with serving(app, tmp_path, threads=2) as served:
        gate = served.server.gate
        with served.connect() as quick, served.connect() as slow:
            number = 0
            while not gate.narrow:
                number += 1
                quick.send(request(1, GET))
                quick.replies(number)
            slow.send(request(1, {**GET, "PATH_INFO": "/slow"}))
            for _ in range(100):
                number += 1
                quick.send(request(1, GET))
                quick.replies(number)
            release.set()
            assert slow.reply().body == b"done"


@pytest.mark.parametrize("poller", POLLERS)
def test_each_wake_wakes_one_thread(poller: str) -> None:
    instance = POLLERS[poller]()
    try:
        for _ in range(3):
            instance.wake()
        start = time.monotonic()
        assert [instance.wait(DEADLINE) for _ in range(3)] == [None] * 3
        assert time.monotonic() - start < DEADLINE
        assert instance.wait(0) is None
    finally:
        instance.close()


def test_a_request_whose_application_spoils_its_environ_is_answered(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["PATH_INFO"] = environ["REQUEST_METHOD"] = None
        raise ValueError("spoilt")

    with serving(app, tmp_path, threads=1) as served:
        for _ in range(3):
            with served.connect() as peer:
                peer.send(request(1, GET, keep=False))
                assert peer.reply().status == "500 Internal Server Error"
        eventually(lambda: served.connections() == 0)


def test_a_request_that_nobody_ends_costs_its_connection_alone(tmp_path: Path) -> None:
    def broken(connection: Any, request: Any) -> None:
        raise SystemExit("an overridden handler")

    with serving(hello, tmp_path, threads=1, server={"run_request": broken}) as served:
        for _ in range(3):
            with served.connect() as peer:
                peer.send(request(1, GET))
                assert peer.is_closed()
        eventually(lambda: served.connections() == 0)


def test_a_log_handler_that_writes_to_wsgi_errors_is_no_endless_loop(tmp_path: Path) -> None:
    streams: list[Any] = [io.StringIO()]  # for what the server says before

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            streams[-1].write(record.getMessage() + "\n")

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        streams.append(environ["wsgi.errors"])
        environ["wsgi.errors"].write("said\n")
        return hello(environ, start_response)

    handler = Handler()
    logging.getLogger("gateways").addHandler(handler)
    try:
        with serving(app, tmp_path) as served, served.connect() as peer:
            peer.send(request(1, GET))
            reply = peer.reply()
    finally:
        logging.getLogger("gateways").removeHandler(handler)
    assert reply.body == b"hello"
    assert b"said\n" in reply.stderr
