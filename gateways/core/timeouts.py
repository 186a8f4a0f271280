"""Requests that run for too long: the main thread looks at each tick what every thread is at.

A request costs nothing for it: its clock starts at the first tick that finds it running. What
happens to one that is overdue, in this order: the stack of its thread is logged; then a thread that
waits for the peer gets ``RequestTimeout`` from there, and one that runs the application gets it
raised where it is; whatever it makes of that, 504 is answered. A thread that has not reacted when
the grace period is over is given up: 504 is answered in its stead, another thread takes its
place, and the server asks for a new process, because nobody can end a thread from outside.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from types import FrameType, FunctionType
from typing import Generic, Protocol, TypeVar

from gateways import errors
from gateways.config import Config
from gateways.core.connection import Connection
from gateways.core.stacklog import log_with_lines
from gateways.errors import RequestTimeout
from gateways.protocols.base import Request
from gateways.wsgi.mounts import Mounts
from gateways.wsgi.runner import Response, request_name, run_application

logger = logging.getLogger("gateways.timeouts")

_PACKAGE = os.path.dirname(errors.__file__) + os.sep
_THREADING = threading.__file__  # has the outermost frames of every thread
# The places where the application is called, and its iterable is asked for more.
_CALLERS = (
    getattr(run_application, "__code__", None),
    getattr(Response.send_iterable, "__code__", None),
    Mounts.__call__.__code__,
)
# Compiled functions have no frames: there a flag tells what the frames tell elsewhere.
_HAS_FRAMES = isinstance(run_application, FunctionType)
_OUTERMOST = threading.Thread.run.__code__


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
    """Looks after the requests of ``workers``; not needed where no time-out is configured.

    ``give_up`` is called with a worker whose request was answered in its stead, and why.
    """

    def __init__(self, config: Config, give_up: Callable[[W, str], None]) -> None:
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
        stack = stack_of(worker.ident)
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
            stack = stack_of(worker.ident)
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
            entry.raised = interrupt(worker.ident, request, self._streaming)
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


def stack_of(thread: int) -> str:
    """The stack of a thread as tracebacks show it, without our own outermost frames."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "  (the thread has ended)"
    summary = traceback.StackSummary.extract(traceback.walk_stack(frame))
    summary.reverse()
    outermost = 0
    while outermost < len(summary) - 1 and _is_below(summary[outermost].filename):
        outermost += 1
    return "".join(traceback.format_list(summary[outermost:])).rstrip()


def _is_below(filename: str) -> bool:
    return filename.startswith(_PACKAGE) or filename == _THREADING


# -- raising in another thread -----------------------------------------------------------------


class _Frames:
    """``-_Frames()`` is ``sys._current_frames()``, without a call (see ``interrupt``)."""

    __neg__ = staticmethod(sys._current_frames)


_FRAMES = _Frames()


def interrupt(thread: int, request: Request, streaming: bool = False) -> bool:
    """Raise RequestTimeout in a thread, if it is in the application's code; whether it was raised.

    The interpreter raises it when that thread next looks whether something is to be done, so it
    must be certain where the thread is: in our own code it would leave a codec or a lock halfway.
    While we hold the GIL the thread stands still, and it goes on, with the exception, from the very
    place where we saw it. CPython offers the GIL to others only after a call, at the start of a
    function and at the end of a loop's turn. So the frames are looked through at leisure first,
    and what follows is one straight line without any of these, up to the call that raises:
    it asks for the frames once more, by an operator, and compares. Nor may the garbage
    collector run in it, for it may run anything.

    The compiled build has no frames of ours, but a property of the response, written in C, to
    read in their stead: that is no call either.

    Without a GIL nothing of this holds, and nothing is raised.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    seen = sys._current_frames().get(thread)
    response = request.response
    if seen is None or response is None or not _is_in_application(seen, response):
        return False
    caller = seen.f_back
    instruction = seen.f_lasti
    set_exception, number, error = _raiser(thread)
    collects = gc.isenabled()
    gc.disable()
    try:
        found = (-_FRAMES)[thread]
        if (
            found is seen
            and found.f_lasti == instruction
            and found.f_back is caller
            and (_HAS_FRAMES or response.is_interruptible)
            and not request.ended
            and (streaming or not request.status)
        ):
            set_exception(number, error)
            return True
    except KeyError:
        pass  # the thread has ended
    finally:
        if collects:
            gc.enable()
    return False


def forget_interrupt(thread: int) -> None:
    """Take back what ``interrupt`` may have left for the calling ``thread``, its own."""
    import ctypes

    try:
        set_exception, number, _ = _raiser(thread)
        set_exception(number, ctypes.py_object())
    except RequestTimeout:
        pass  # it came first


def _raiser(thread: int) -> tuple[Callable[..., int], object, object]:
    """PyThreadState_SetAsyncExc and its arguments; it is called with the GIL held."""
    import ctypes  # it costs a few milliseconds, and most servers never need it

    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    return set_exception, ctypes.c_ulong(thread), ctypes.py_object(RequestTimeout)


def _is_in_application(frame: FrameType, response: Response) -> bool:
    """Whether the innermost frame is the application's, and it was called by the runner."""
    if frame.f_code.co_filename.startswith(_PACKAGE):
        return False
    if not _HAS_FRAMES:
        return frame.f_code is not _OUTERMOST and response.is_interruptible
    outer: FrameType | None = frame
    while outer is not None and not outer.f_code.co_filename.startswith(_PACKAGE):
        outer = outer.f_back
    return outer is not None and outer.f_code in _CALLERS
