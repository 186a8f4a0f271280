"""What an application forks (os.fork, multiprocessing) is no second server.

The child of a serving process has its sockets, its signal handlers and the very stack of the
request in which it was forked. So the sockets are closed in the child, before anything else runs
there, and signals do again what they do in any program. A child that comes back from its request
ends then, instead of waiting for the next one; what it answers is dropped, as the parent answers.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from gateways.core.connection import Connection
from gateways.core.listener import Listener
from gateways.core.observer import Outcome
from gateways.core.server import Server
from gateways.process.signals import SignalQueue
from gateways.protocols.base import Request

logger = logging.getLogger("gateways.server")

_LONG_SECONDS = 3600.0


class ForkGuard:
    """What the children of this process are to let go of, between ``arm`` and ``disarm``."""

    def __init__(
        self,
        signals: SignalQueue,
        listeners: Sequence[Listener] = (),
        close_others: Callable[[], None] = lambda: None,
    ) -> None:
        self._signals = signals
        self._listeners = listeners
        self._close_others = close_others
        self._forked = 0  # the thread that has made a child of this process
        self.server: Server | None = None  # once there is one

    def arm(self) -> None:
        """From now on; of two in one process the last one counts."""
        global _armed  # as global as the process's descriptors
        _armed = self

    def disarm(self) -> None:
        """No longer."""
        global _armed
        if _armed is self:
            _armed = None

    def leave_if_forked(self) -> None:
        """End the process if it is a child that has come back from the application's code."""
        if self._forked:
            _leave(self._forked)

    def let_go(self) -> None:
        """In the child: be no server."""
        self._forked = threading.get_ident()
        _reset_handlers(self._signals)
        self._signals.forget()
        for listener in self._listeners:
            listener.close()
        self._close_others()
        if self.server is not None:
            _disconnect(self.server, self._forked)


_armed: ForkGuard | None = None


def _after_fork() -> None:
    global _armed
    guard, _armed = _armed, None  # its children have nothing to let go of
    if guard is not None:
        guard.let_go()


os.register_at_fork(after_in_child=_after_fork)


def _reset_handlers(signals: SignalQueue) -> None:
    """Take our handlers away; those of the application are its own affair."""
    for number in signal.valid_signals():
        if getattr(signal.getsignal(number), "__self__", None) is signals:
            is_interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)


def _disconnect(server: Server, thread: int) -> None:
    """Have nothing reach the peers, the poller of the parent or its scoreboard any more."""
    server.stopping = server.draining = True
    server.recorder = None
    server.observers = (_LastObserver(thread),)
    for handler in server.handlers.values():
        if not isinstance(handler, Connection):
            handler.close()
    connections = {fd: it for fd, it in server.handlers.items() if isinstance(it, Connection)}
    server.handlers.clear()
    server.poller.renew()
    _cut_off(connections)
    for connection in connections.values():
        # A thread that there is none of here may have held it.
        connection.lock._at_fork_reinit()  # type: ignore[attr-defined]


def _cut_off(descriptors: Iterable[int]) -> None:
    """Put a socket without a peer in the place of each: closing them would free their numbers
    for files of the application, which the rest of the response would be written to."""
    ours, theirs = socket.socketpair()
    theirs.close()
    for fd in descriptors:
        os.dup2(ours.fileno(), fd, inheritable=False)
    ours.close()


class _LastObserver:
    """Ends the process with the request in which it was forked."""

    def __init__(self, thread: int) -> None:
        self._forking = thread

    def begin(self, thread: int, connection: Connection, request: Request) -> None:
        """None begins."""

    def end(self, thread: int, connection: Connection, request: Request, outcome: Outcome) -> None:
        """The application has returned."""
        _leave(self._forking)


def _leave(thread: int) -> None:
    while threading.get_ident() != thread:
        # Greenlets are all forked: who has not asked for it, waits for the end of who has.
        time.sleep(_LONG_SECONDS)
    logger.warning(
        "a process that the application has forked came back from the application; it ends. "
        "End it with os._exit() there, or start programs with subprocess"
    )
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(0)
