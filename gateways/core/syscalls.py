"""The system calls of the request path, on descriptors that never block, and prctl.

The compiled build has the same functions from ``syscalls.pyx``: there they keep the GIL, which is
cheaper than to give it away for as long as a call takes that cannot block, and make fewer objects.
"""

from __future__ import annotations

import collections
import os
import select
import socket
import threading
from collections.abc import Callable

RECEIVE_BYTES = 65536
MOST_EVENTS = 32
MOST_VECTORS = 64

close = os.close


def new_lock() -> threading.Lock:
    """A lock that is never held for long."""
    return threading.Lock()  # gevent's, where it has patched this process


def when_held(wait: Callable[[], None] | None) -> None:
    """In the compiled build: what a thread calls, again and again, that finds a lock of these held.

    None: it waits in the kernel. Here the locks know by themselves how to wait.
    """


def accept(listening: socket.socket, number: int) -> tuple[int, object] | None:
    """A connection of the socket with descriptor ``number``, and its peer's address, "" for Unix.

    It never blocks, nor is it inherited. None where none waits.
    """
    try:
        # The private method spares a socket object per connection.
        fd, address = listening._accept()  # type: ignore[attr-defined]
    except BlockingIOError:
        return None
    os.set_blocking(fd, False)
    return fd, address


def receive(fd: int) -> bytes | None:
    """What has come, up to ``RECEIVE_BYTES``: ``b""`` at the end, None if nothing has."""
    try:
        return os.read(fd, RECEIVE_BYTES)
    except BlockingIOError:
        return None


def send(fd: int, data: bytes | memoryview) -> int:
    """Send as much of ``data`` as the peer takes now; how many bytes that was."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0


def send_vectors(fd: int, buffers: list[bytes | memoryview], count: int) -> int:
    """The same for the first ``count`` buffers, at most ``MOST_VECTORS``, in one call."""
    try:
        return os.writev(fd, buffers[:count])
    except BlockingIOError:
        return 0


def shutdown(fd: int, how: int) -> None:
    """End one direction of a connection, or both; raises OSError where it is gone."""
    sock = socket.socket(fileno=fd)
    try:
        sock.shutdown(how)
    finally:
        sock.detach()


def next_event(
    epoll: select.epoll,
    number: int,
    timeout: float,
    others: collections.deque[tuple[int, int]] | None,
) -> tuple[int, int] | None:
    """Wait up to ``timeout`` seconds (below 0: for ever) for an event: descriptor and events.

    ``number`` is the descriptor of ``epoll``. Other threads run meanwhile. If there is a deque
    for ``others``, what else has happened is added to it, up to ``MOST_EVENTS`` in all.
    """
    events = epoll.poll(timeout, 1 if others is None else MOST_EVENTS)
    if others is not None and len(events) > 1:
        others.extend(events[1:])
    return events[0] if events else None


def wait_for_one(fd: int, events: int, timeout: float) -> int:
    """Wait up to ``timeout`` seconds (below 0: for ever) for ``events`` of poll(2) on ``fd``.

    Returns those that have come, 0 if none has. Other threads run meanwhile.
    """
    poll = select.poll()
    poll.register(fd, events)
    found = poll.poll(None if timeout < 0 else timeout * 1000)
    return found[0][1] if found else 0


def rearm(epoll: select.epoll, number: int, fd: int, events: int) -> None:
    """Have ``epoll`` report ``fd``, which it knows, when one of ``events`` comes."""
    epoll.modify(fd, events)


def prctl(option: int, value: int | bytes) -> bool:
    """Linux: set an attribute of this process or thread; whether that was possible."""
    try:
        import ctypes  # which the compiled build does without
    except ImportError:
        return False
    zero = ctypes.c_ulong(0)
    argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
    return bool(ctypes.CDLL(None).prctl(option, argument, zero, zero, zero) == 0)
