"""The state of a FastCGI request: everything that decides what a record may do to it.

``RECEIVING`` is the whole receiving direction: a lookup of (state, record type), where a missing
key is the protocol error. What the specification says to ignore is in the table too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from gateways.protocols.base import Request
from gateways.protocols.limits import RequestLimits
from gateways.protocols.records import (
    FCGI_ABORT_REQUEST,
    FCGI_AUTHORIZER,
    FCGI_DATA,
    FCGI_FILTER,
    FCGI_PARAMS,
    FCGI_RESPONDER,
    FCGI_STDIN,
)

ROLE_NAMES = {FCGI_RESPONDER: "RESPONDER", FCGI_AUTHORIZER: "AUTHORIZER", FCGI_FILTER: "FILTER"}


class Receiving(enum.IntEnum):
    """How far the peer has come with one request."""

    PARAMS = 0  # begun; the variables are still coming
    STDIN = 1  # the variables are complete, STDIN is open
    DATA = 2  # a filter's STDIN has ended, DATA is open
    COMPLETE = 3  # every stream has ended
    IGNORED = 4  # refused, aborted or over a limit: whatever comes is dropped


class Sending(enum.IntEnum):
    """How far we have come with its response."""

    NOTHING = 0
    HEAD = 1  # the head is set, and waits for the first bytes of the body
    BODY = 2  # the head has left


_PARAMS = int(Receiving.PARAMS)
_NOTHING = int(Sending.NOTHING)

RECEIVING: dict[tuple[int, int], int] = {
    (Receiving.PARAMS, FCGI_PARAMS): Receiving.PARAMS,  # an empty one ends the stream
    (Receiving.PARAMS, FCGI_ABORT_REQUEST): Receiving.IGNORED,
    (Receiving.STDIN, FCGI_STDIN): Receiving.STDIN,  # an empty one ends the stream
    (Receiving.STDIN, FCGI_DATA): Receiving.STDIN,  # flup's client sends an empty one to responders
    (Receiving.STDIN, FCGI_ABORT_REQUEST): Receiving.IGNORED,
    (Receiving.DATA, FCGI_DATA): Receiving.DATA,  # an empty one ends the stream
    (Receiving.DATA, FCGI_STDIN): Receiving.DATA,
    (Receiving.DATA, FCGI_ABORT_REQUEST): Receiving.IGNORED,
    (Receiving.COMPLETE, FCGI_STDIN): Receiving.COMPLETE,  # stray records after the end
    (Receiving.COMPLETE, FCGI_DATA): Receiving.COMPLETE,
    (Receiving.COMPLETE, FCGI_ABORT_REQUEST): Receiving.IGNORED,
    (Receiving.IGNORED, FCGI_PARAMS): Receiving.IGNORED,
    (Receiving.IGNORED, FCGI_STDIN): Receiving.IGNORED,
    (Receiving.IGNORED, FCGI_DATA): Receiving.IGNORED,
    (Receiving.IGNORED, FCGI_ABORT_REQUEST): Receiving.IGNORED,
}


def _never() -> bool:
    return False


# The same table with the index ``state << 8 | record type``, and ``NEVER`` for a missing key.
NEVER = 255
NEXT = bytes(RECEIVING.get((state, kind), NEVER) for state in Receiving for kind in range(256))


class FastCGISettings(RequestLimits):
    """What all FastCGI connections of a server have in common.

    ``values`` answers FCGI_GET_VALUES. ``roles`` are the role numbers that are served.
    ``max_active`` bounds the requests in flight on one connection; one more is answered 503.
    ``draining`` says whether connections are to be closed when they are idle.
    """

    __slots__ = ("draining", "max_active", "multiplex", "roles", "values")

    def __init__(
        self,
        *,
        values: dict[str, str] | None = None,
        roles: frozenset[int] = frozenset({FCGI_RESPONDER}),
        multiplex: bool = True,
        max_active: int = 1024,
        draining: Callable[[], bool] = _never,
        **limits: Any,
    ) -> None:
        super().__init__(**limits)
        self.values = values or {}
        self.roles = roles
        self.multiplex = multiplex
        self.max_active = max_active
        self.draining = draining


class FastCGIRequest(Request):
    """A request with what only this codec needs to know of it."""

    __slots__ = (
        "codec",
        "data_ended",
        "errors_held",
        "errors_sent",
        "head",
        "id",
        "params",
        "params_size",
        "received",
        "receiving",
        "role",
        "running",
        "sending",
    )

    def __init__(self) -> None:
        self.set_up()

    def set_up(self) -> None:
        """See ``Request.set_up``."""
        Request.set_up(self)
        self.codec: object = None  # on whose connection it is in flight
        self.id = 0
        self.role = 0
        self.receiving = _PARAMS  # one of ``Receiving``
        self.sending = _NOTHING  # one of ``Sending``
        self.params: list[bytes] = []
        self.params_size = 0
        self.received = 0  # bytes of STDIN
        self.data_ended = False
        self.running = False  # it was handed out, and will be ended by the core
        self.head = b""
        self.errors_held = b""  # STDERR that waits for the head
        self.errors_sent = False


def new_request(codec: object, request_id: int, role: int) -> FastCGIRequest:
    """A request that has begun. In the compiled build a call of its type would cost more."""
    request = FastCGIRequest.__new__(FastCGIRequest)
    request.set_up()
    request.codec = codec
    request.id = request_id
    request.role = role
    return request
