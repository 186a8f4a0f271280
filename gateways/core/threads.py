"""What the threads of a server are: how they wait, are looked at and interrupted.

They are threads of the system, unless gevent has patched this process: then everything that calls
itself a thread is a greenlet (``greenlets.py``), ours as well as the application's.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType, FunctionType

from gateways import errors
from gateways.core.poller import Poller, new_poller
from gateways.errors import RequestTimeout
from gateways.protocols.base import Request
from gateways.wsgi.mounts import Mounts
from gateways.wsgi.runner import Response, run_application

PACKAGE = os.path.dirname(errors.__file__) + os.sep
# The places where the application is called, and its iterable is asked for more.
_CALLERS = (
    getattr(run_application, "__code__", None),
    getattr(Response.send_iterable, "__code__", None),
    Mounts.__call__.__code__,
)
# Compiled functions have no frames: there a flag tells what the frames tell elsewhere.
_HAS_FRAMES = isinstance(run_application, FunctionType)
_OUTERMOST = threading.Thread.run.__code__


class Threads:
    """Threads of the system. They are identified by numbers, those of ``threading.get_ident``."""

    compete = True  # for the GIL: they may run whenever another one waits for the system

    def new_poller(self) -> Poller:
        """What they wait in for events."""
        return new_poller()

    def new_thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        """One more of them."""
        return threading.Thread(target=target, name=name, daemon=True)

    def frame_of(self, thread: int) -> FrameType | None:
        """What the thread is at, innermost; None if it has ended."""
        return _frames().get(thread)

    def interrupt(self, thread: int, request: Request, streaming: bool = False) -> bool:
        """Raise RequestTimeout in the thread, if it is in the application's code and may still be
        answered; whether it was raised."""
        return interrupt(thread, request, streaming)

    def forget_interrupt(self, thread: int) -> None:
        """Take back what ``interrupt`` may have left for the calling ``thread``, its own."""
        forget_interrupt(thread)


def threads_of_process() -> Threads:
    """What threads are in this process."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return Threads()
    from gateways.core.greenlets import Greenlets

    return Greenlets()


def _frames() -> dict[int, FrameType]:
    """What all threads are at, innermost.

    Without the garbage collector: the interpreter holds a lock in there that the end of a
    ``threading.local`` takes as well, so the process would stand still (CPython before 3.11.12).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if collects:
            gc.enable()


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
    seen = _frames().get(thread)
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
    if frame.f_code.co_filename.startswith(PACKAGE):
        return False
    if not _HAS_FRAMES:
        return frame.f_code is not _OUTERMOST and response.is_interruptible
    outer: FrameType | None = frame
    while outer is not None and not outer.f_code.co_filename.startswith(PACKAGE):
        outer = outer.f_back
    return outer is not None and outer.f_code in _CALLERS
