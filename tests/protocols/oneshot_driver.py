"""Feeds a uwsgi or SCGI codec and writes down everything that it made of the bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateways.errors import ProtocolError
from gateways.protocols.base import Headers, NewBody, Request
from gateways.protocols.limits import RequestLimits
from gateways.protocols.oneshot import OneShot

from .driver import body_of, new_body

Kind = Callable[[RequestLimits, NewBody], OneShot]
LIMITS = RequestLimits()


@dataclass
class Run:
    """A codec and everything that it was ready to run, has sent and has raised."""

    kind: Kind
    limits: RequestLimits = LIMITS
    ready: list[Request] = field(default_factory=list)
    sent: bytes = b""
    error: ProtocolError | None = None

    def __post_init__(self) -> None:
        """Make the codec."""
        self.codec = self.kind(self.limits, new_body)

    def feed(self, *pieces: bytes) -> Run:
        """Feed the pieces one by one, but for empty ones, until one of them raises."""
        for piece in filter(None, pieces):
            if self.error is None:
                try:
                    self.ready += self.codec.receive_data(piece)
                except ProtocolError as error:
                    self.error = error
                self.collect()
        return self

    def eof(self) -> Run:
        """The peer closes its sending side."""
        self.ready += self.codec.receive_data(b"")
        return self

    @property
    def request(self) -> Request:
        """The only request."""
        (request,) = self.ready
        return request

    def collect(self) -> bytes:
        """Take the output over, as a connection does; returns the new part."""
        output = b"".join(self.codec.output)
        self.codec.output = []
        self.sent += output
        return output

    def answer(self, *chunks: bytes, headers: Headers | None = None) -> bytes:
        """Answer 200; returns the bytes."""
        self.codec.send_head(self.request, "200 OK", headers or [("Content-Type", "text/plain")])
        for chunk in chunks:
            self.codec.send_body(self.request, chunk)
        self.codec.end(self.request)
        return self.collect()

    def outcome(self) -> dict[str, object]:
        """Everything that must not depend on how the bytes were cut."""
        return {
            "ready": [describe(request) for request in self.ready],
            "sent": self.sent,
            "error": str(self.error or "").partition(":")[0],  # behind it stands what has come
            "active": self.codec.active,
            "seen": self.codec.requests_seen,
            "closing": self.codec.closing,
        }


def describe(request: Request) -> tuple[object, ...]:
    """A request as a value."""
    body = body_of(request)
    refusal = request.refusal
    return (
        request.variables,
        request.content_length,
        (body.data, body.whole, body.cut_short),
        refusal and (type(refusal), str(refusal), refusal.status),
        request.aborted,
    )
