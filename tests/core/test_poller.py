"""What a poller promises, and what one thread that waits alone in it is spared."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.config import Config
from gateways.core.listener import unix_listener
from gateways.core.poller import READ, READ_WRITE, WRITE, EpollPoller, Poller
from gateways.core.server import Server
from gateways.core.workers import Worker
from tests.core.serving import DEADLINE, POLLERS, Peer, serving
from tests.protocols.vectors import request

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    instance = POLLERS[request.param]()
    yield instance
    instance.close()


@pytest.fixture
def alone() -> Iterator[EpollPoller]:
    """One that a single thread waits in."""
    instance = EpollPoller()
    instance.share(False)
    yield instance
    instance.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


def drained(poller: Poller) -> list[tuple[int, int]]:
    """The events there are."""
    found = []
    while event := poller.wait(0.05):
        found.append(event)
    return found


def test_where_several_threads_wait_an_event_comes_once(poller: Poller, pairs: list[Pair]) -> None:
    ours, theirs = pairs[0]
    fd = ours.fileno()
    assert poller.arm(fd, READ, known=False) == 0
    theirs.send(b"x")
    assert drained(poller) == [(fd, READ)]
    assert poller.arm(fd, READ_WRITE, known=True) == 0
    assert drained(poller) == [(fd, READ_WRITE)]
    poller.forget(fd)


def test_where_one_thread_waits_what_is_armed_stays_so(
    alone: EpollPoller, pairs: list[Pair]
) -> None:
    ours, theirs = pairs[0]
    fd = ours.fileno()
    assert alone.arm(fd, READ, known=False) == READ
    assert alone.wait(0) is None
    theirs.send(b"x")
    assert [alone.wait(DEADLINE) for _ in range(3)] == [(fd, READ)] * 3
    assert alone.arm(fd, WRITE, known=True) == WRITE
    assert alone.wait(DEADLINE) == (fd, WRITE)
    assert alone.arm(fd, 0, known=True) == 0
    assert drained(alone) == []


def test_a_hang_up_is_no_endless_noise_where_nothing_was_asked_for(
    alone: EpollPoller, pairs: list[Pair]
) -> None:
    ours, theirs = pairs[0]
    alone.arm(ours.fileno(), READ, known=False)
    alone.arm(ours.fileno(), 0, known=True)
    theirs.close()
    assert len(drained(alone)) <= 1


def test_what_is_armed_by_one_thread_is_one_shot_as_soon_as_several_wait(
    alone: EpollPoller, pairs: list[Pair]
) -> None:
    ours, theirs = pairs[0]
    fd = ours.fileno()
    alone.arm(fd, READ, known=False)
    alone.share(True)
    assert alone.arm(fd, READ, known=True) == 0
    theirs.send(b"x")
    assert drained(alone) == [(fd, READ)]


def test_each_of_several_events_is_given_once(alone: EpollPoller, pairs: list[Pair]) -> None:
    alone.share(True)
    for ours, theirs in pairs:
        alone.arm(ours.fileno(), READ, known=False)
        theirs.send(b"x")
    alone.share(False)
    assert sorted(drained(alone)) == sorted((ours.fileno(), READ) for ours, _ in pairs)


def test_what_is_forgotten_is_reported_no_more_though_it_was_found(
    alone: EpollPoller, pairs: list[Pair]
) -> None:
    for ours, theirs in pairs:
        alone.arm(ours.fileno(), READ, known=False)
        theirs.send(b"x")
    first = alone.wait(DEADLINE)
    assert first is not None
    left = [ours.fileno() for ours, _ in pairs if ours.fileno() != first[0]]
    alone.forget(first[0])
    alone.forget(left[0])
    assert {alone.wait(DEADLINE) for _ in range(3)} == {(left[1], READ)}


def test_what_one_thread_has_found_the_others_come_for_when_they_may(
    alone: EpollPoller, pairs: list[Pair]
) -> None:
    alone.share(True)  # one-shot: the kernel will not say it again
    for ours, theirs in pairs:
        alone.arm(ours.fileno(), READ, known=False)
        theirs.send(b"x")
    alone.share(False)
    assert alone.wait(DEADLINE) is not None
    alone.share(True)  # the thread that has taken this one takes long over it
    began = time.monotonic()
    found = [alone.wait(DEADLINE) for _ in range(4)]
    assert [event is None for event in found] == [False, False, True, True]  # and two wakes
    assert time.monotonic() - began < DEADLINE


@pytest.mark.parametrize("name", POLLERS)
def test_bytes_that_come_while_a_request_runs_are_not_read_for_it(
    tmp_path: Path, name: str
) -> None:
    """Another thread polls all the same, say the successor of one that is stuck."""
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/twice":
            peer.send(request(2, {**GET, "PATH_INFO": "/next"}))
            for _ in range(3):
                other.step(0.05)
            seen.append(server.poller.wait(0.05))
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"done"]

    listener = unix_listener(str(tmp_path / "app.sock"), 8)
    server = Server(app, [listener], Config(threads=1), poller=POLLERS[name]())
    server.poller.share(False)
    sock = socket.socket(socket.AF_UNIX)
    try:
        worker, other = Worker(server, 0), Worker(server, 1)
        server.handlers[listener.socket.fileno()] = server._acceptors[0]
        server.poller.watch(listener.socket.fileno())
        sock.connect(str(tmp_path / "app.sock"))
        sock.settimeout(DEADLINE)
        peer = Peer(sock)
        for number, path in enumerate(("/first", "/twice")):
            peer.send(request(1, {**GET, "PATH_INFO": path}))
            while worker.served <= number:
                worker.step(DEADLINE)
        assert seen == ["/first", None, "/twice"]
        while worker.served < 3:
            worker.step(DEADLINE)
        assert seen[3:] == ["/next"]
        peer.replies(3)
    finally:
        sock.close()
        server.close()


def test_a_thread_that_waits_alone_registers_a_kept_connection_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed: list[int] = []

    class Counting(EpollPoller):
        def arm(self, fd: int, events: int, known: bool) -> int:
            armed.append(events)
            return super().arm(fd, events, known)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [threading.current_thread().name.encode()]

    monkeypatch.setitem(POLLERS, "epoll", Counting)
    with serving(app, tmp_path, threads=1) as served, served.connect() as peer:
        for number in range(1, 11):
            peer.send(request(1, GET))
            peer.replies(number)
        assert armed == [READ]
