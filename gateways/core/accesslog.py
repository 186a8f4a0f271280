"""The access log: an observer of requests that writes one record for each.

A format is taken apart once, when the server starts: into what is read from the variables when a
request begins (the application may change them) and what is known when it ends. A request pays
for what its format names and for nothing else.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateways.config import Config
from gateways.core.accessformat import Known, Line, parse_format, readable

if TYPE_CHECKING:
    from gateways.core.connection import Connection
    from gateways.core.observer import Outcome
    from gateways.protocols.base import Request

LOGGER_NAME = "gateways.access"

CLIENT_LEFT = 499  # nginx's number for it; there is no official one
NO_RESPONSE = 500

logger = logging.getLogger(LOGGER_NAME)


class _Running:
    """A request that a thread is busy with."""

    __slots__ = ("at", "cpu", "ident", "since", "values")

    def __init__(self, values: list[str | None]) -> None:
        self.values = values
        self.at = time.time()
        self.since = time.monotonic()
        self.cpu = 0.0
        self.ident = 0


class AccessLog:
    """Writes the access log in ``line``; ``threads`` are the server's (see ``Observer``)."""

    def __init__(self, line: Line, threads: int, *, trust_remote_user: bool = True) -> None:
        self._line = line
        self._trust_remote_user = trust_remote_user
        self._read = [(field.name, field.read) for field in line.fields if field.read is not None]
        self._find = [(field.name, field.find) for field in line.fields if field.find is not None]
        self._texts = frozenset(field.name for field in line.fields if field.is_text)
        self._cpu = any(field.name == "cpu_time" for field in line.fields)
        self._running: list[_Running | None] = [None] * (threads + 1)

    def begin(self, thread: int, connection: Connection, request: Request) -> None:
        """A request is about to run in this thread."""
        variables = request.variables
        running = self._running[thread] = _Running([read(variables) for _, read in self._read])
        if self._cpu:
            running.ident = threading.get_ident()
            running.cpu = time.thread_time()

    def end(self, thread: int, connection: Connection, request: Request, outcome: Outcome) -> None:
        """It has ended: write its record."""
        running, self._running[thread] = self._running[thread], None
        if running is None or not logger.isEnabledFor(logging.INFO):
            return
        cpu = 0.0
        if self._cpu:  # the main thread ends it where its own thread did not react to a time-out
            own = running.ident == threading.get_ident()
            cpu = time.thread_time() - running.cpu if own else float("nan")
        known = Known(
            at=running.at,
            seconds=time.monotonic() - running.since,
            cpu_seconds=cpu,
            status=_status(outcome),
            sent=outcome.sent,
            thread=thread,
        )
        self._write(running.values, known)

    def _write(self, values: list[str | None], known: Known) -> None:
        raw: dict[str, Any] = {}
        for (name, _), value in zip(self._read, values, strict=True):
            raw[name] = value
        if not self._trust_remote_user and "user" in raw:
            raw["user"] = None
        for name, find in self._find:
            raw[name] = find(known)
        fields = {
            name: readable(value) if value is not None and name in self._texts else value
            for name, value in raw.items()
        }
        text = _as_json(fields) if self._line.template is None else self._line.fill(raw)
        # Not logger.info(): that looks for the line of code that calls it.
        record = logger.makeRecord(LOGGER_NAME, logging.INFO, "", 0, text, (), None)
        record.access = fields
        logger.handle(record)


def make_access_log(config: Config) -> AccessLog | None:
    """The access log that ``config`` asks for: by a file, or by a logger in its table ``logging``.

    Raises ConfigError for a format that cannot be used.
    """
    line = parse_format(config.access_format)  # checked even where nobody wants it yet
    loggers = config.logging.get("loggers", {})
    wanted = config.access_log or (isinstance(loggers, Mapping) and LOGGER_NAME in loggers)
    if not wanted:
        return None
    return AccessLog(line, config.threads, trust_remote_user=config.trust_remote_user)


def _status(outcome: Outcome) -> int:
    if outcome.aborted:
        return CLIENT_LEFT
    code = outcome.status[:3]
    return int(code) if code.isdigit() else NO_RESPONSE


def _as_json(fields: dict[str, Any]) -> str:
    """One object; pure ASCII, so that no character can be taken for the end of the line."""
    cpu = fields["cpu_time"]
    if math.isnan(cpu):
        fields = {**fields, "cpu_time": None}  # JSON knows no nan
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)
