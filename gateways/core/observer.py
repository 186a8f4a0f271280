"""Who looks on while requests run: the access log, the scoreboard, whatever counts.

Observers are called by the thread that runs the request, so they must be quick and may be called by
several threads at once. Without observers nothing is called, and nothing is made for them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from gateways.core.connection import Connection
from gateways.protocols.base import Request

logger = logging.getLogger("gateways.observer")


class Outcome:
    """What became of a request.

    ``status`` is the status line ("200 OK"), "" where no head was made; ``sent`` counts the bytes
    of the body that were handed to the peer's connection. ``aborted``: the peer left before the
    end. ``failed``: the response had to be cut short, by an error or by a time-out.
    """

    __slots__ = ("aborted", "failed", "sent", "status")

    def __init__(
        self, status: str = "", sent: int = 0, aborted: bool = False, failed: bool = False
    ) -> None:
        self.status = status
        self.sent = sent
        self.aborted = aborted
        self.failed = failed


class Observer(Protocol):
    """Sees each request begin and end, the refused ones too, in pairs for one ``thread`` number.

    ``thread`` counts the worker threads from 1 (0: the main thread, where no other could be
    started). ``end`` is called by the main thread where a worker thread did not react to its
    time-out; its number goes on with the thread that takes its place.
    """

    def begin(self, thread: int, connection: Connection, request: Request) -> None:
        """The thread begins to run the request."""

    def end(self, thread: int, connection: Connection, request: Request, outcome: Outcome) -> None:
        """The thread is done with it; the application may have changed ``request.variables``."""


def tell_begin(
    observers: Sequence[Observer], thread: int, connection: Connection, request: Request
) -> None:
    """Call ``begin`` of each; one that fails does not cost the request."""
    for observer in observers:
        try:
            observer.begin(thread, connection, request)
        except Exception:
            logger.exception("%r failed at the beginning of a request", observer)


def tell_end(
    observers: Sequence[Observer], thread: int, connection: Connection, request: Request
) -> None:
    """Call ``end`` of each; one that fails does not cost the request."""
    # A connection that we cut marks its requests as aborted; the peer did not leave then.
    aborted = request.aborted and not request.failed
    outcome = Outcome(request.status, request.sent, aborted, request.failed)
    for observer in observers:
        try:
            observer.end(thread, connection, request, outcome)
        except Exception:
            logger.exception("%r failed at the end of a request", observer)
