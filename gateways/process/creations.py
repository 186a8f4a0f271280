"""Where sockets, threads and locks are created: watched through the interpreter's profile hook.

Nothing is replaced, so that an application which wraps ``Thread.start`` or asks for the type of a
lock finds what it expects; nothing is kept alive either.
"""

from __future__ import annotations

import _thread
import gc
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

LOCKS = (type(_thread.allocate_lock()), type(threading.RLock()))

_PLAIN_LOCK = LOCKS[0]
_STANDARD = os.path.dirname(os.__file__) + os.sep
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_SOCKET = socket.socket.__init__.__code__
_START = threading.Thread.start.__code__
_RLOCK = getattr(threading.RLock, "__code__", None)  # a function; typeshed has the type
_WATCHED = frozenset({_SOCKET, _START, _RLOCK})
# A lock that was just made is the youngest object but a few; where the application has turned the
# collector off, to look for it would cost more with each object.
_YOUNGEST = 8
_MOST_YOUNG = 5000


class Creations:
    """Places, as "file:line", of what is created between ``watch`` and ``stop``."""

    def __init__(self) -> None:
        self._watching = False
        self._profile: Callable[[FrameType, str, Any], None] | None = None
        self._sockets: dict[int, str] = {}
        self._threads: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._created: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._acquired: dict[int, tuple[weakref.ref[Any], str]] = {}

    def watch(self) -> None:
        """Begin; where somebody else's profiler runs, no place will be known."""
        if sys.getprofile() is None and threading.getprofile() is None:
            self._watching = True
            self._profile = self._make_profile()
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)

    def stop(self) -> None:
        """End; threads that run by now forget us at their next call."""
        if not self._watching:
            return
        self._watching = False
        if threading.getprofile() is self._profile:
            threading.setprofile(None)
        if sys.getprofile() is self._profile:
            sys.setprofile(None)

    def socket(self, inode: int) -> str:
        """Where the socket of that inode was opened; "" if it was not seen."""
        return self._sockets.get(inode, "")

    def thread(self, thread: threading.Thread) -> str:
        """Where it was started; "" if it was not seen."""
        return _look_up(self._threads, thread)

    def lock(self, lock: object) -> tuple[str, str]:
        """Where it was created, and where it was last acquired; "" for what was not seen."""
        return _look_up(self._created, lock), _look_up(self._acquired, lock)

    def _make_profile(self) -> Callable[[FrameType, str, Any], None]:
        """The hook, a closure over what it needs: it runs for every call of an import."""
        watched, locks, allocate = _WATCHED, LOCKS, _thread.allocate_lock
        acquired = self._acquired

        def profile(frame: FrameType, event: str, arg: Any) -> None:
            if event == "return":
                if frame.f_code in watched:
                    self._returned(frame, arg)
            elif event == "c_return":
                if arg is allocate:
                    self._allocated(frame)
                elif type(lock := arg.__self__) in locks and arg.__name__ == "acquire":
                    acquired[id(lock)] = weakref.ref(lock), _place(frame)
            elif not self._watching:
                sys.setprofile(None)

        return profile

    def _returned(self, frame: FrameType, result: Any) -> None:
        if frame.f_code is _RLOCK:
            if result is not None:
                self._created[id(result)] = weakref.ref(result), _place(frame)
            return
        created: Any = frame.f_locals.get("self")
        if frame.f_code is _START:
            self._threads[id(created)] = weakref.ref(created), _place(frame)
            return
        try:
            inode = os.fstat(socket.socket.fileno(created)).st_ino
        except (OSError, TypeError, ValueError):
            return  # the call failed: there is no socket
        self._sockets.setdefault(inode, _place(frame))

    def _allocated(self, frame: FrameType) -> None:
        if gc.get_count()[0] > _MOST_YOUNG:
            return
        for candidate in reversed(gc.get_objects(0)[-_YOUNGEST:]):
            if type(candidate) is _PLAIN_LOCK:
                self._created[id(candidate)] = weakref.ref(candidate), _place(frame)
                return


def _look_up(known: dict[int, tuple[weakref.ref[Any], str]], wanted: object) -> str:
    reference, place = known.get(id(wanted), (None, ""))
    # Another object may have had that id before.
    return place if reference is not None and reference() is wanted else ""


def _place(frame: FrameType) -> str:
    """The first line outward that is the application's, or a package's of it."""
    outward: FrameType | None = frame
    while outward is not None:
        file = outward.f_code.co_filename
        if file.startswith(_OURS):
            break
        if not file.startswith("<") and (not file.startswith(_STANDARD) or "-packages" in file):
            return f"{file}:{outward.f_lineno}"
        outward = outward.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
