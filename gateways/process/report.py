"""What a worker tells of itself: its counters in the scoreboard, and its title in ``ps``.

Once a second while it works, and once when it has come to rest; a request costs nothing here.
"""

from __future__ import annotations

import os
import time

from gateways.core.server import Server
from gateways.process.member import Spec
from gateways.process.retirement import resident_bytes
from gateways.process.scoreboard import Counters
from gateways.process.titles import set_title

_INTERVAL_SECONDS = 1.0


class Report:
    """Of the worker in ``row`` of the scoreboard."""

    def __init__(self, spec: Spec, row: int, server: Server) -> None:
        self._board = spec.board
        self._row = row
        self._server = server
        self._applications = spec.applications
        self._threads = spec.config.threads
        self._started = time.monotonic()
        self._last = 0.0
        self._served = -1

    def tick(self, now: float, *, at_once: bool = False) -> float | None:
        """Write what has changed; after how many seconds to come again, None if nothing will."""
        server = self._server
        busy = self._board.busy(self._row)
        active = busy or server.served != self._served
        if not at_once and now - self._last < _INTERVAL_SECONDS:
            return self._last + _INTERVAL_SECONDS - now if active else None
        self._last = now
        self._served = server.served
        self._board.write_counters(
            self._row,
            Counters(
                os.getpid(),
                self._started,
                server.served,
                server.errors,
                server.sent,
                server.aborted,
                time.process_time(),
                resident_bytes(),
            ),
        )
        self._show(busy, now)
        return _INTERVAL_SECONDS if active else None

    def _show(self, busy: int, now: float) -> None:
        doing = self._doing(busy, now)
        set_title(f"gateways: worker {self._row + 1} [{self._applications}] {doing}")

    def _doing(self, busy: int, now: float) -> str:
        if self._server.draining:
            return f"leaving, {busy} busy"
        slots = [slot for slot in self._board.slots(self._row) if slot.busy]
        if not slots:
            return "idle"
        oldest = min(slots, key=lambda slot: slot.since)
        seconds = f" {now - oldest.since:.0f} s" if now - oldest.since >= 1 else ""
        path = oldest.path.partition("?")[0]
        return f"{busy}/{self._threads} busy, {oldest.method} {path}{seconds}"
