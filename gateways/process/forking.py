"""Forking a process of our own: from the parent's signals and descriptors to the child's exit.

All signals are blocked across the fork, so that none of them finds the parent's handlers in the
child; the child unblocks them when it has installed its own (``child_signals``). What it was forked
for never returns into the parent's code: it ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable

from gateways.core import syscalls

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def fork_member(run: Callable[[], int], close_others: Callable[[], None]) -> int:
    """Fork; the child calls both, and leaves with what ``run`` returns. Returns its pid.

    ``run`` is expected to call ``unblock_signals``.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _leave(run, close_others)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return pid


def forget_handlers() -> None:
    """The parent's handlers would put into its queue what is meant for this process.

    SIGINT comes from a terminal to all of its processes, and is the supervisor's to act on. Unlike
    SIG_IGN, a handler is not inherited by the programs that the process runs.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, lambda number, frame: None)


def unblock_signals() -> None:
    """The child's handlers are in place."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _leave(run: Callable[[], int], close_others: Callable[[], None]) -> None:
    status = 70  # EX_SOFTWARE
    try:
        forget_handlers()
        close_others()
        status = run()
    except BaseException:  # noqa: BLE001  # it must not get out into the parent's code
        traceback.print_exc()
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        finally:
            os._exit(status)


def become_subreaper() -> bool:
    """Have orphans among our descendants become our children; False where that is not possible."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int, parent: int = 0) -> None:
    """Have the kernel send a signal when the parent dies, where it can; 0 calls it off.

    ``parent`` is the pid that it must have: it may have died before this call.
    """
    if _prctl(_PR_SET_PDEATHSIG, number) and parent and os.getppid() != parent:
        os.kill(os.getpid(), number)


def end_within(seconds: float) -> None:
    """Have the kernel end this process (SIGALRM) if it has not ended by then, whatever it does."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    return syscalls.prctl(option, value)
