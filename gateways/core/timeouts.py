"""Requests that run for too long: the main thread looks at each tick what every thread is at.

A request costs nothing for it: its clock starts at the first tick that finds it running. What
happens to one that is overdue, in this order: the stack of its thread is logged; then a thread that
waits for the peer gets ``RequestTimeout`` from there, and one that runs the application gets it
raised where it is; whatever it makes of that, 504 is answered. A thread that has not reacted when
the grace period is over is given up: 504 is answered in its stead, another thread takes its
place, and the server asks for a new process, because nobody can end a thread from outside.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Generic, Protocol, TypeVar

from gateways.config import Config
from gateways.core.connection import Connection
from gateways.core.stacklog import log_with_lines
from gateways.core.threads import PACKAGE, Threads
from gateways.errors import RequestTimeout
from gateways.protocols.base import Request
from gateways.wsgi.runner import request_name

logger = logging.getLogger("gateways.timeouts")

_THREADING = threading.__file__  # has the outermost frames of every thread


class WatchedWorker(Protocol):
    """What is watched: a thread, and what it is busy with."""

    name: str
    connection: Connection | None
    request: Request | None

    @property
    def ident(self) -> int:
        """The thread, as the interpreter identifies it; 0 before it runs."""


W = TypeVar("W", bound=WatchedWorker)


class _Watched:
    """A request that one thread has been running for a tick or longer."""

    __slots__ = ("logged", "overdue_since", "raised", "request", "since")

    def __init__(self, request: Request, since: float) -> None:
        self.request = request
        self.since = since
        self.logged = False  # as slow
        self.overdue_since = 0.0
        self.raised = False


class RequestWatch(Generic[W]):
    """Looks after the requests of workers, which are ``threads``; not needed where no time-out is
    configured.

    ``give_up`` is called with a worker whose request was answered in its stead, and why.
    """

    def __init__(self, config: Config, threads: Threads, give_up: Callable[[W, str], None]) -> None:
        self._threads = threads
        self._timeout = config.timeout_seconds
        self._streaming = config.timeout_streaming
        self._grace = config.timeout_grace_seconds
        self._slow = config.slow_log_seconds
        self._give_up = give_up
        self._watched: dict[W, _Watched] = {}

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._timeout or self._slow)

    def look(self, workers: Iterable[W], now: float) -> None:
        """Deal with the requests that have run for too long by ``now``."""
        watched = {}
        for worker in list(workers):
            request, connection = worker.request, worker.connection
            if request is None or connection is None:
                continue
            entry = self._watched.get(worker)
            if entry is None or entry.request is not request:
                entry = _Watched(request, now)
            watched[worker] = entry
            elapsed = now - entry.since
            if self._slow and not entry.logged and elapsed >= self._slow:
                entry.logged = True
                self._log_slow(worker, connection, request, elapsed)
            if self._timeout and elapsed >= self._timeout and not request.ended:
                self._end(worker, connection, entry, now)
        self._watched = watched

    def _log_slow(
        self, worker: WatchedWorker, connection: Connection, request: Request, elapsed: float
    ) -> None:
        stack = stack_of(self._threads.frame_of(worker.ident))
        if worker.request is request:  # else it has just ended, and the stack is of another
            log_with_lines(
                logger,
                logging.WARNING,
                "slow: %s has been running for %.1f seconds in %s; its stack, innermost last",
                _described(connection, request),
                elapsed,
                worker.name,
                lines=stack,
            )

    def _end(self, worker: W, connection: Connection, entry: _Watched, now: float) -> None:
        request = entry.request
        if request.status and not self._streaming:
            return  # its response has begun; in the nick of time, if it was overdue already
        if not entry.overdue_since:
            stack = stack_of(self._threads.frame_of(worker.ident))
            error = RequestTimeout(f"no response had begun after {self._timeout:g} seconds")
            if request.status:
                error = RequestTimeout(f"not complete after {self._timeout:g} seconds")
            if not connection.overdue(request, error, self._streaming):
                return
            entry.overdue_since = now
            log_with_lines(
                logger,
                logging.ERROR,
                "timed out: %s has been running for %.1f seconds in %s, longer than --timeout "
                "allows; %s. Its stack, innermost last",
                _described(connection, request),
                now - entry.since,
                worker.name,
                "its response is cut short" if request.status else "answering 504",
                lines=stack,
            )
        if not entry.raised:
            entry.raised = self._threads.interrupt(worker.ident, request, self._streaming)
        waited = now - entry.overdue_since
        if waited >= self._grace and self._answer_late(connection, request):
            self._give_up(
                worker,
                f"{worker.name} did not react within {waited:.1f} seconds to the time-out of "
                f"{request_name(request.variables)}",
            )

    def _answer_late(self, connection: Connection, request: Request) -> bool:
        try:
            return connection.answer_late(request)
        except OSError as error:  # of the poller, after the answer: this thread must go on
            logger.debug("%s: %s", connection.peer, error)
            return request.abandoned


def _described(connection: Connection, request: Request) -> str:
    client = request.variables.get("REMOTE_ADDR") or connection.peer
    return f"{request_name(request.variables)} from {client}"


def stack_of(frame: FrameType | None) -> str:
    """The stack of a thread as tracebacks show it, without our own outermost frames."""
    if frame is None:
        return "  (the thread has ended)"
    summary = traceback.StackSummary.extract(traceback.walk_stack(frame))
    summary.reverse()
    outermost = 0
    while outermost < len(summary) - 1 and _is_below(summary[outermost].filename):
        outermost += 1
    return "".join(traceback.format_list(summary[outermost:])).rstrip()


def _is_below(filename: str) -> bool:
    return filename.startswith(PACKAGE) or filename == _THREADING
