"""How processes end: waiting for them, and telling it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable


def describe_end(status: int | None) -> str:
    """``exit status 1``, ``SIGSEGV``."""
    if status is None:
        return "its end of the line was closed"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def reap() -> Iterable[tuple[int, int]]:
    """The processes that have ended, with their status."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status
