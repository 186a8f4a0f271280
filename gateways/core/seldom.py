"""Warnings that could come by the thousand: each is logged at most once a minute, with a count."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_APART_SECONDS = 60.0


class Seldom:
    """Logs warnings to ``logger``; those with the same format count as the same."""

    __slots__ = ("_clock", "_lock", "_logger", "_said")

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[str, tuple[float, int]] = {}  # when last, and how often not since then

    def warning(self, message: str, *arguments: object) -> None:
        """Log it, or count it where it was logged less than a minute ago."""
        now = self._clock()
        with self._lock:
            last, withheld = self._said.get(message, (0.0, 0))
            is_due = message not in self._said or now - last >= _APART_SECONDS
            self._said[message] = (now, 0) if is_due else (last, withheld + 1)
        if not is_due:
            return
        if withheld:
            message += " (%d more like it were not logged in the last %d seconds)"
            arguments = (*arguments, withheld, now - last)
        self._logger.warning(message, *arguments)
