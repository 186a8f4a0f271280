"""Kept connections that are handed from one server to another on the same socket."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.config import Config
from gateways.core.acceptor import Acceptor
from gateways.core.keeping import Keeping
from gateways.core.listener import Listener
from gateways.core.poller import EpollPoller, Event
from gateways.core.server import Server
from gateways.process.single import SingleProcess
from tests.core.serving import DEADLINE, POLLERS, Peer, Serving, eventually, serving
from tests.protocols.vectors import begin, params, request, stdin

VARIABLES = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/"}
HTTP = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def ask(peer: Peer, protocol: str, number: int) -> None:
    """Send a request, the ``number``th on this connection."""
    peer.send(HTTP if protocol == "http" else request(number, VARIABLES))


def answer(peer: Peer, protocol: str, number: int) -> bytes:
    """The body of the answer to that."""
    if protocol != "http":
        return peer.replies(number)[number].body
    response = http.client.HTTPResponse(peer.sock)
    response.begin()
    return response.read()


def listening(served: Serving) -> Listener:
    """The server's socket, as another process has it."""
    (acceptor,) = served.server._acceptors
    assert isinstance(acceptor, Acceptor)
    listener = Listener(acceptor.listener.socket.dup(), "inherited")
    listener.protocol = acceptor.listener.protocol
    return listener


def leave(served: Serving, keeping: Keeping) -> None:
    """Have the server stop, and others go on with its connections."""
    served.server.stop(drain_backlog=False, hand_on=keeping.give)
    served.server.clock.unpark()  # its own thread would not sleep now


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Let it serve until the block ends."""
    process = SingleProcess(server)
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        yield server
    finally:
        process.stop()
        thread.join(DEADLINE)


@pytest.fixture
def keeping() -> Iterator[Keeping]:
    """A queue between the two."""
    queue = Keeping.new()
    yield queue
    queue.close()


class Gated:
    """An application that answers when it may."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.proceed = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.entered.set()
        self.proceed.wait(DEADLINE)
        return hello(environ, start_response)


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "unix"])
@pytest.mark.parametrize("protocol", ["fcgi", "http"])
@pytest.mark.parametrize("state", ["new", "idle", "busy"])
@pytest.mark.parametrize("early", [True, False], ids=["request on its way", "request afterwards"])
def test_it_goes_on_in_another_process(
    tmp_path: Path, poller: str, tcp: bool, protocol: str, state: str, early: bool, keeping: Keeping
) -> None:
    gated = Gated()
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(
            serving(gated, tmp_path, poller=poller, tcp=tcp, protocol=protocol)
        )
        other = Server(hello, [listening(served)], Config(), keeping=keeping)
        peer = stack.enter_context(served.connect())
        number = 1
        if state == "new":
            eventually(lambda: served.connections() == 1, "the connection")
        else:
            ask(peer, protocol, 1)
            assert gated.entered.wait(DEADLINE)
            number = 2
        if state == "idle":
            gated.proceed.set()
            assert answer(peer, protocol, 1) == b"hello"
        leave(served, keeping)
        if state == "busy":
            gated.proceed.set()
            assert answer(peer, protocol, 1) == b"hello"
        eventually(served.server.stopped, "the end of the first")
        if early:
            ask(peer, protocol, number)
        stack.enter_context(running(other))
        if not early:
            ask(peer, protocol, number)
        assert answer(peer, protocol, number) == b"hello"
        peer.sock.close()
        eventually(lambda: other.served == 1, "the count")


def test_a_request_that_has_begun_to_arrive_is_served_first(
    tmp_path: Path, keeping: Keeping
) -> None:
    gated = Gated()
    gated.proceed.set()
    with serving(gated, tmp_path) as served, served.connect() as peer:
        peer.send(begin(1))
        eventually(lambda: served.connections() == 1, "the connection")
        leave(served, keeping)
        peer.send(params(1, VARIABLES) + stdin(1))
        assert peer.reply().body == b"hello"
        eventually(served.server.stopped, "the end")
        assert peer.sock.fileno() >= 0
        os.close(keeping.take())  # it is there
        assert peer.is_closed()


def test_more_than_the_queue_holds_wait_until_some_are_taken(
    tmp_path: Path, keeping: Keeping
) -> None:
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(serving(hello, tmp_path))
        other = Server(hello, [listening(served)], Config(), keeping=keeping)
        peers = [stack.enter_context(served.connect()) for _ in range(500)]
        eventually(lambda: served.connections() == 500, "the connections")
        stack.enter_context(running(other))
        leave(served, keeping)
        eventually(served.server.stopped, "the end of the first")
        for peer in peers:
            peer.send(request(1, VARIABLES))
        assert {peer.reply().body for peer in peers} == {b"hello"}


class Held(Keeping):
    """One that keeps a thread waiting between taking a connection and serving it."""

    def __init__(self, giving: socket.socket, taking: socket.socket) -> None:
        super().__init__(giving, taking)
        self.taken, self.proceed = threading.Event(), threading.Event()

    def take(self) -> int:
        fd = super().take()
        self.taken.set()
        self.proceed.wait(DEADLINE)
        return fd


def test_one_that_is_just_being_taken_is_not_lost_with_its_new_server(
    tmp_path: Path, keeping: Keeping
) -> None:
    held = Held.new()
    assert isinstance(held, Held)
    with serving(hello, tmp_path, server={"keeping": held}) as served:
        peer = served.connect()
        eventually(lambda: served.connections() == 1, "the connection")
        (connection,) = served.server.connections
        eventually(lambda: connection.armed, "the connection, idle")
        connection.give_away(held.give)
        assert held.taken.wait(DEADLINE)
        leave(served, keeping)
        assert not served.server.stopped()
        held.proceed.set()
        eventually(served.server.stopped, "the end")
        os.close(keeping.take())
        peer.sock.close()
    held.close()


def test_where_nobody_takes_one_the_others_are_not_offered_in_vain(tmp_path: Path) -> None:
    """To offer one may take a moment, for which the main thread can do nothing else."""
    offered: list[int] = []

    def refuse(fd: int) -> bool:
        offered.append(fd)
        return False

    with serving(hello, tmp_path) as served:
        peers = [served.connect() for _ in range(5)]
        eventually(lambda: [c.armed for c in served.server.connections] == [1] * 5, "the peers")
        for connection in served.server.connections:
            assert not connection.give_away(refuse)
        offered.clear()
        served.server._hand_on = refuse
        served.server._drain(0.0)
        assert len(offered) == 1
        served.server._hand_on = None
        for peer in peers:
            peer.sock.close()


class Forgetful(EpollPoller):
    """What it is woken for is left undone, as by a process that leaves in that very moment."""

    def __init__(self) -> None:
        super().__init__()
        self.watches, self.woken, self.proceed = (threading.Event() for _ in range(3))

    def watch(self, fd: int) -> None:
        super().watch(fd)
        self.watches.set()

    def wait(self, timeout: float | None) -> Event | None:
        event = super().wait(timeout)
        if event is not None:
            self.woken.set()
            self.proceed.wait(DEADLINE)
        return None


def ask_somebody(served: Serving, woken: threading.Event) -> Peer:
    """Who has asked, when somebody was woken or has answered."""
    peer = served.connect()
    peer.send(request(1, VARIABLES, keep=False))
    eventually(lambda: woken.is_set() or select.select([peer.sock], [], [], 0)[0], "somebody")
    return peer


def test_what_a_process_was_woken_for_that_has_left_is_found_by_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving = Forgetful()
    monkeypatch.setitem(POLLERS, "forgetful", lambda: leaving)
    with serving(hello, tmp_path, threads=1, poller="forgetful") as served:
        assert leaving.watches.wait(DEADLINE)  # who comes first is woken first, where it waits
        other = Server(hello, [listening(served)], Config())
        with running(other):
            eventually(lambda: other.handlers, "the other one")
            peer = ask_somebody(served, leaving.woken)
            while not leaving.woken.is_set():  # it did not wait yet, and the other one was woken
                peer.sock.close()
                peer = ask_somebody(served, leaving.woken)
            other.look_again()
            assert peer.reply().body == b"hello"
            peer.sock.close()
        served.process.stop()
        leaving.proceed.set()


@pytest.mark.parametrize("gone", ["the peer", "the address"])
def test_what_nobody_can_serve_is_closed(tmp_path: Path, keeping: Keeping, gone: str) -> None:
    ours, theirs = socket.socketpair()
    with serving(hello, tmp_path, tcp=True, server={"keeping": keeping}) as served:
        if gone == "the peer":
            theirs.close()
        assert keeping.give(ours.fileno())
        ours.close()
        if gone == "the address":
            theirs.settimeout(DEADLINE)
            assert theirs.recv(1) == b""
            theirs.close()
        with served.connect() as peer:
            peer.send(request(1, VARIABLES))
            assert peer.reply().body == b"hello"
        eventually(lambda: not served.connections(), "the end of both")
