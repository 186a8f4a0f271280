"""The process that finds out, before the program is replaced, whether the new one would serve."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable

from gateways.process.forking import fork_member
from gateways.process.handover import check_program

logger = logging.getLogger("gateways.supervisor")


class Upgrade:
    """At most one check at a time; ``close_others`` is for the forked process."""

    def __init__(self, close_others: Callable[[], None]) -> None:
        self._close_others = close_others
        self._pid = 0
        self._deadline = math.inf

    def start(self, timeout_seconds: float) -> None:
        """Begin to check; 0 seconds: however long it takes."""
        if self._pid:
            logger.warning("the new program is being checked already")
            return
        try:
            self._pid = fork_member(check_program, self._close_others)
        except OSError as error:
            logger.error("the new program cannot be checked: %s", error.strerror)
        self._deadline = time.monotonic() + timeout_seconds if timeout_seconds else math.inf

    def look(self, now: float) -> float | None:
        """End a check that takes too long; when to look again."""
        if not self._pid:
            return None
        if now >= self._deadline:
            logger.error("the check of the new program takes longer than --start-timeout")
            self._deadline = math.inf
            self.cancel()
        return self._deadline

    def is_good(self, pid: int, status: int) -> bool:
        """Whether it is this process that has ended, with good news."""
        if pid != self._pid:
            return False
        self._pid = 0
        if os.waitstatus_to_exitcode(status):
            logger.error("the new program is not started: its --check-config failed, see above")
            return False
        return True

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
