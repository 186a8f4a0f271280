"""A server that stops: which connections it closes, and when."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gateways.core import reception
from gateways.core.acceptor import Acceptor
from tests.core.serving import DEADLINE, POLLERS, Serving, eventually, serving
from tests.protocols.vectors import begin, params, request, stdin

VARIABLES = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/"}

pollers = pytest.mark.parametrize("poller", POLLERS)


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def stop(served: Serving) -> float:
    """Have it stop; when that was."""
    asked = time.monotonic()
    served.process.stop()
    eventually(lambda: served.server.draining, "the stop")
    return asked


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are spared for as long as a slow machine may need to use them."""
    monkeypatch.setattr(reception, "SPARED_SECONDS", DEADLINE)


@pollers
@pytest.mark.usefixtures("patient")
def test_a_kept_connection_that_was_just_used_may_bring_one_more_request(
    tmp_path: Path, poller: str
) -> None:
    with serving(hello, tmp_path, poller=poller) as served, served.connect() as peer:
        peer.send(request(1, VARIABLES))
        peer.reply()
        stop(served)
        peer.send(request(2, VARIABLES))
        assert peer.replies(2)[2].body == b"hello"
        assert peer.is_closed()
        eventually(served.server.stopped, "the end")


@pytest.mark.usefixtures("patient")
def test_over_http_it_is_told_that_this_was_the_last(tmp_path: Path) -> None:
    ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(hello, tmp_path, protocol="http") as served, served.connect() as peer:
        told = []
        for number in range(2):
            peer.send(ask)
            response = http.client.HTTPResponse(peer.sock)
            response.begin()
            response.read()
            told.append(response.getheader("Connection"))
            if not number:
                stop(served)
        assert told == [None, "close"]
        assert peer.is_closed()


@pytest.mark.parametrize("used", [True, False])
def test_one_that_brings_nothing_more_holds_the_stop_up_for_a_second(
    tmp_path: Path, used: bool
) -> None:
    patience: dict[str, Any] = {"graceful_timeout_seconds": DEADLINE}
    with serving(hello, tmp_path, **patience) as served, served.connect() as peer:
        if used:
            peer.send(request(1, VARIABLES))
            peer.reply()
        eventually(lambda: served.connections() == 1, "the connection")
        asked = stop(served)
        assert peer.is_closed()
        eventually(served.server.stopped, "the end")
        assert time.monotonic() - asked < DEADLINE / 2  # not for the graceful timeout


@pytest.mark.usefixtures("patient")
def test_one_that_has_been_idle_is_closed_at_once(tmp_path: Path) -> None:
    with serving(hello, tmp_path, idle_timeout_seconds=0) as served, served.connect() as peer:
        peer.send(request(1, VARIABLES))
        peer.reply()
        eventually(lambda: served.server.served == 1, "the end of the request")
        (connection,) = served.server.connections
        connection.since -= 2 * DEADLINE
        asked = stop(served)
        assert peer.is_closed()
        assert time.monotonic() - asked < DEADLINE / 2


@pollers
@pytest.mark.parametrize("drain_backlog", [True, False])
def test_who_leaves_a_shared_socket_leaves_its_backlog_to_the_others(
    tmp_path: Path, poller: str, drain_backlog: bool
) -> None:
    entered, proceed = threading.Event(), threading.Event()

    def waits(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        entered.set()
        proceed.wait(DEADLINE)
        return hello(environ, start_response)

    last = request(1, VARIABLES, keep=False)
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(serving(waits, tmp_path, poller=poller, threads=1))
        busy = stack.enter_context(served.connect())
        busy.send(last)
        assert entered.wait(DEADLINE)  # the only thread: nobody accepts
        (acceptor,) = served.server._acceptors
        assert isinstance(acceptor, Acceptor)
        another = stack.enter_context(acceptor.listener.socket.dup())  # as another process has it
        peer = stack.enter_context(served.connect())
        peer.send(last)
        served.server.stop(drain_backlog)
        proceed.set()
        assert busy.reply().body == b"hello"
        if drain_backlog:
            assert peer.reply().body == b"hello"
        else:
            connection = stack.enter_context(another.accept()[0])
            assert connection.recv(1000) == last


def test_a_request_that_has_begun_to_arrive_is_served(tmp_path: Path) -> None:
    with serving(hello, tmp_path) as served, served.connect() as peer:
        peer.send(begin(1))
        eventually(lambda: served.connections() == 1, "the connection")
        stop(served)
        peer.send(params(1, VARIABLES) + stdin(1))
        assert peer.reply().body == b"hello"
        assert peer.is_closed()
