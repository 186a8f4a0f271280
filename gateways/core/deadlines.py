"""Deadlines of connections: one sweep a second over all of them, and no cost for a request.

A connection notes when bytes last moved (``since``, on the coarse clock). What it waits for is
worked out here, from what its codec says, only when the sweep comes by: so a deadline can be up to
a second late. A thread that waits for its own peer keeps its own deadline; the sweep leaves a
connection with a running request alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateways.config import Config
from gateways.core.connection import Connection
from gateways.protocols.base import Phase

SWEEP_SECONDS = 1.0


def sweep(connections: Iterable[Connection], now: float, config: Config) -> None:
    """Close the connections whose peers have kept us waiting for too long."""
    for connection in connections:
        reason = _expired(connection, now, config)
        if reason:
            connection.expire(reason)


def _expired(connection: Connection, now: float, config: Config) -> str:
    """Why to close a connection, "" if there is no reason."""
    quiet = now - connection.since
    if connection.unsent:
        return _late(quiet, config.write_timeout_seconds, "takes no more of its response")
    if connection.running:
        return ""
    if connection.lingering:
        if now > connection.linger_until:
            return "sends without end after its response"
        return _late(quiet, config.linger_timeout_seconds, "neither sends nor closes")
    phase = connection.codec.phase()
    if phase is Phase.HEAD:
        # The whole head must come in time, so it is counted from when it was first seen here,
        # and a head that is complete by the next sweep is a new one.
        seen = connection.codec.requests_seen
        if connection.head_since == 0.0 or connection.head_seen != seen:
            connection.head_since = now
            connection.head_seen = seen
        waited = now - connection.head_since
        return _late(waited, config.header_timeout_seconds, "has not sent all variables")
    connection.head_since = 0.0
    if phase is Phase.BODY:
        return _late(quiet, config.body_timeout_seconds, "sends no more of a request body")
    return _late(quiet, config.idle_timeout_seconds, "is idle")


def _late(waited: float, limit: float, what: str) -> str:
    if limit and waited > limit:
        return f"the peer {what} ({limit:g} seconds)"
    return ""
