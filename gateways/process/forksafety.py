"""What an application opened at import, before its workers are forked from that process.

A socket is then shared by all workers, a thread runs in none of them, and a lock that was held is
never released there. All three fail late and look like something else, so they are listed at once,
with the line that is to be changed.
"""

from __future__ import annotations

import collections
import gc
import os
import stat
import sys
import threading
import time
import warnings
from types import TracebackType

from gateways.core.descriptors import describe_descriptor
from gateways.process.creations import LOCKS, Creations

_REMEDY = (
    "Open them in each worker: in the hook post_fork, or when they are first used. "
    "Or leave out --preload."
)
# The kernel may list a thread for a moment after Python has joined it.
_FAREWELL_SECONDS = 0.25


class ForkSafety:
    """``with ForkSafety() as safety:`` around the import, then ``safety.report()``."""

    def __init__(self) -> None:
        self._creations = Creations()
        self._sockets: dict[int, int] = {}
        self._threads: set[threading.Thread] = set()
        self._tasks: set[int] = set()
        self._held: list[object] = []

    def __enter__(self) -> ForkSafety:
        self._sockets = _open_sockets()
        self._threads = set(threading.enumerate())
        self._tasks = _tasks()
        self._held = _held_locks()
        self._creations.watch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._creations.stop()

    def report(self) -> str:
        """One warning, in several lines, about what is still there; "" if nothing is."""
        found = [*self._report_sockets(), *self._report_threads(), *self._report_locks()]
        if not found:
            return ""
        lines = [
            f"  {what}" if times == 1 else f"  {times} times: {what}"
            for what, times in collections.Counter(found).items()
        ]
        head = "The application opened at import what workers forked from it cannot use (--preload)"
        return "\n".join([f"{head}:", *lines, _REMEDY])

    def _report_sockets(self) -> list[str]:
        inherited = set(self._sockets.values())
        found = []
        for fd, inode in sorted(_open_sockets().items()):
            if inode in inherited:
                continue
            place = self._creations.socket(inode)
            by = f"opened at {place}" if place else "opened by an extension module"
            found.append(f"{describe_descriptor(fd)}, {by}: all workers would share it")
        return found

    def _report_threads(self) -> list[str]:
        threads = [one for one in threading.enumerate() if one not in self._threads]
        found = []
        for thread in threads:
            place = self._creations.thread(thread)
            by = f", started at {place}" if place else ""
            found.append(f"the thread {thread.name!r}{by}: it would run in no worker")
        natives = self._native_threads()
        if natives:
            many = "1 thread" if natives == 1 else f"{natives} threads"
            found.append(f"{many} of an extension module: running in no worker")
        return found

    def _native_threads(self) -> int:
        """How many threads there are that ``threading`` knows nothing of."""
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while True:
            known = {thread.native_id for thread in threading.enumerate()}
            unknown = _tasks() - self._tasks - known
            if not unknown or time.monotonic() > deadline:
                return len(unknown)
            time.sleep(0.005)

    def _report_locks(self) -> list[str]:
        found = []
        for lock in _held_locks():
            if any(lock is other for other in self._held):
                continue
            created, acquired = self._creations.lock(lock)
            places = [
                *([f"created at {created}"] if created else []),
                *([f"acquired at {acquired}"] if acquired else []),
            ]
            which = " and ".join(places) or _owner(lock)
            found.append(f"a lock that is held, {which}: no worker could release it")
        return found


def prepare_fork() -> None:
    """Make forking from here cheap, and silence a warning that the report says better."""
    # Python 3.12 and later warn at each fork of a process with threads. Only our own forks are
    # meant: the application may still be warned of its.
    warnings.filterwarnings(
        "ignore",
        message=r"This process .* is multi-threaded, use of fork",
        category=DeprecationWarning,
        module=r"gateways\.process\.",
    )
    gc.collect()
    gc.freeze()  # a collection in a worker writes to each object that it looks at: no page shared


def _open_sockets() -> dict[int, int]:
    """Descriptor to inode, of all sockets."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = list(range(1024))
    found = {}
    for fd in numbers:
        try:
            status = os.fstat(fd)
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode):
            found[fd] = status.st_ino
    return found


def _tasks() -> set[int]:
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:
        return set()


def _held_locks() -> list[object]:
    """Locks that are held, without those that a waiting or living thread is made of."""
    objects = gc.get_objects()
    machinery = {id(getattr(one, "_tstate_lock", None)) for one in threading.enumerate()}
    for each in objects:
        if type(each) is threading.Condition:
            machinery.update(id(waiter) for waiter in list(each._waiters))  # type: ignore[attr-defined]
    # An RLock says only in its repr, before Python 3.14, whether it is held.
    return [
        each
        for each in objects
        if type(each) in LOCKS and id(each) not in machinery and repr(each).startswith("<locked")
    ]


def _owner(lock: object) -> str:
    for name, module in list(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is lock:
                return f"{name}.{attribute}"
    return "created by an extension module or in a call that was not seen"
