"""The system calls of the request path, on the build that runs: the same from both."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.core import syscalls

PR_SET_DUMPABLE = 4
PR_SET_NAME = 15


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets that never block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("family", ["IPv4", "IPv6", "Unix", "a named Unix peer"])
def test_a_connection_is_accepted_with_its_peers_address(tmp_path: Path, family: str) -> None:
    kind = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}.get(family, socket.AF_UNIX)
    address = {"IPv4": ("127.0.0.1", 0), "IPv6": ("::1", 0)}.get(family, str(tmp_path / "s"))
    with socket.socket(kind) as listening, socket.socket(kind) as peer:
        listening.bind(address)
        listening.listen()
        listening.setblocking(False)
        assert syscalls.accept(listening, listening.fileno()) is None
        if family == "a named Unix peer":
            peer.bind(str(tmp_path / "peer"))
        peer.connect(listening.getsockname())
        accepted = syscalls.accept(listening, listening.fileno())
        assert accepted is not None
        fd, where = accepted
        try:
            if kind != socket.AF_UNIX:
                assert where == peer.getsockname()
            assert not os.get_blocking(fd)
            assert not os.get_inheritable(fd)
        finally:
            os.close(fd)


def test_vectors_are_sent_in_one_call_as_far_as_there_is_room(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    buffers: list[bytes | memoryview] = [b"ab", memoryview(b"-cd-")[1:3], b"", b"ef", b"not this"]
    assert syscalls.send_vectors(ours.fileno(), buffers, 4) == 6
    assert theirs.recv(100) == b"abcdef"
    most: list[bytes | memoryview] = [b"x" * 1000] * syscalls.MOST_VECTORS
    while sent := syscalls.send_vectors(ours.fileno(), most, len(most)):
        assert 0 < sent <= 64_000
    theirs.close()
    with pytest.raises(OSError, match=os.strerror(errno.EPIPE)):
        syscalls.send_vectors(ours.fileno(), buffers, 2)


def test_what_cannot_be_accepted_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        syscalls.accept(pair[0], pair[0].fileno())
    closed = socket.socket()
    closed.close()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        syscalls.accept(closed, closed.fileno())


def test_what_has_come_is_received_then_nothing_then_the_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    assert syscalls.receive(ours.fileno()) is None
    theirs.sendall(b"a" * 100_000)
    assert syscalls.receive(ours.fileno()) == b"a" * syscalls.RECEIVE_BYTES
    assert syscalls.receive(ours.fileno()) == b"a" * (100_000 - syscalls.RECEIVE_BYTES)
    theirs.close()
    assert syscalls.receive(ours.fileno()) == b""
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        syscalls.receive(-1)


def test_as_much_is_sent_as_the_peer_takes(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    assert syscalls.send(ours.fileno(), b"abc") == 3
    assert syscalls.send(ours.fileno(), memoryview(b"abcde")[1:3]) == 2
    assert theirs.recv(10) == b"abcbc"
    while syscalls.send(ours.fileno(), bytes(65536)):
        pass
    assert syscalls.send(ours.fileno(), b"x") == 0
    theirs.close()
    with pytest.raises(BrokenPipeError):
        syscalls.send(ours.fileno(), b"x")
    with pytest.raises(TypeError):
        syscalls.send(ours.fileno(), "text")  # type: ignore[arg-type]


def test_the_end_of_one_direction(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    syscalls.shutdown(ours.fileno(), socket.SHUT_WR)
    assert theirs.recv(1) == b""
    theirs.sendall(b"still")
    assert syscalls.receive(ours.fileno()) == b"still"
    gone = os.dup(ours.fileno())
    os.close(gone)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        syscalls.shutdown(gone, socket.SHUT_WR)


def test_events_come_once_until_they_are_asked_for_again(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    with select.epoll() as epoll:
        number = epoll.fileno()
        epoll.register(ours, select.EPOLLIN | select.EPOLLONESHOT)
        began = time.monotonic()
        assert syscalls.next_event(epoll, number, 0.05, None) is None
        assert time.monotonic() - began >= 0.05
        theirs.sendall(b"x")
        assert syscalls.next_event(epoll, number, -1, None) == (ours.fileno(), select.EPOLLIN)
        assert syscalls.next_event(epoll, number, 0, None) is None
        both = select.EPOLLIN | select.EPOLLOUT
        syscalls.rearm(epoll, number, ours.fileno(), both | select.EPOLLONESHOT)
        assert syscalls.next_event(epoll, number, 1, None) == (ours.fileno(), both)
        with pytest.raises(FileNotFoundError):
            syscalls.rearm(epoll, number, theirs.fileno(), select.EPOLLIN)


def test_one_descriptor_is_waited_for_until_it_is_ready_or_the_time_is_over(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    start = time.monotonic()
    assert syscalls.wait_for_one(ours.fileno(), select.POLLIN, 0.02) == 0
    assert time.monotonic() - start >= 0.02
    assert syscalls.wait_for_one(ours.fileno(), select.POLLIN | select.POLLOUT, -1) == (
        select.POLLOUT
    )
    other = threading.Timer(0.02, theirs.send, [b"x"])  # which needs the GIL meanwhile
    other.start()
    assert syscalls.wait_for_one(ours.fileno(), select.POLLIN, -1) == select.POLLIN
    other.join()
    theirs.close()
    assert syscalls.wait_for_one(ours.fileno(), select.POLLOUT, 0) & select.POLLHUP


def test_a_lock_is_held_by_one_thread_at_a_time() -> None:
    lock = syscalls.new_lock()
    free = True
    collisions = 0

    def work() -> None:
        nonlocal free, collisions
        for _ in range(200):
            with lock:
                collisions += not free
                free = False
                time.sleep(0)  # lets the others run
                free = True

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not collisions
    assert lock.acquire()
    lock.release()


@pytest.mark.skipif(sys.platform != "linux", reason="it is a call of Linux")
def test_attributes_of_a_process_are_numbers_and_texts() -> None:
    with open("/proc/thread-self/comm", encoding="ascii") as file:
        before = file.read().rstrip("\n")
    try:
        assert syscalls.prctl(PR_SET_NAME, b"another")
        with open("/proc/thread-self/comm", encoding="ascii") as file:
            assert file.read() == "another\n"
    finally:
        syscalls.prctl(PR_SET_NAME, before.encode())
    assert syscalls.prctl(PR_SET_DUMPABLE, 1)
    assert not syscalls.prctl(PR_SET_DUMPABLE, 17)


def test_a_child_makes_a_lock_its_own_that_a_thread_of_its_parent_held() -> None:
    lock = syscalls.new_lock()
    lock.acquire()
    lock._at_fork_reinit()  # type: ignore[attr-defined]
    assert lock.acquire()
    lock.release()
    with lock:
        pass
