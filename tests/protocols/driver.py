"""Feeds a codec and writes down everything that it made of the bytes, so that runs compare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateways.protocols.base import Request
from gateways.protocols.fastcgi import FastCGI
from gateways.protocols.fastcgi_state import FastCGIRequest, FastCGISettings

VALUES = {"FCGI_MAX_CONNS": "16384", "FCGI_MAX_REQS": "1028", "FCGI_MPXS_CONNS": "1"}
ALL_ROLES = frozenset({1, 2, 3})
SETTINGS = FastCGISettings(values=VALUES, roles=ALL_ROLES)


@dataclass
class Sink:
    """A body that keeps everything: a ``BodySink`` as plain as it can be."""

    length: int | None
    data: bytes = b""
    end_seen: bool = False
    error: BaseException | None = None

    def feed(self, data: bytes) -> None:
        """Append, up to the declared length."""
        if self.error is None and not self.end_seen:
            self.data = (self.data + data)[: self.length]

    def end(self) -> None:
        """The stream has ended."""
        self.end_seen = True

    def fail(self, error: BaseException) -> None:
        """No more will come."""
        if self.error is None and not self.whole:
            self.error = error

    def close(self) -> None:
        """Nothing is held."""

    @property
    def whole(self) -> bool:
        """Whether a reader would come to the end of it."""
        return self.end_seen if self.length is None else len(self.data) == self.length

    @property
    def cut_short(self) -> bool:
        """Whether it ended before its declared length."""
        return self.end_seen and not self.whole


def new_body(request: Request, length: int | None) -> Sink:
    """A ``NewBody``."""
    return Sink(length)


def body_of(request: Request) -> Sink:
    """The body of a request; one that has none has an empty and complete one."""
    if request.body is None:
        return Sink(0)
    assert isinstance(request.body, Sink)
    return request.body


def data_of(request: Request) -> Sink:
    """The second input of a filter."""
    assert isinstance(request.data, Sink)
    return request.data


def id_of(request: Request) -> int:
    """The request id."""
    assert isinstance(request, FastCGIRequest)
    return request.id


@dataclass
class Run:
    """A codec, everything that it was ready to run and everything that it has sent."""

    settings: FastCGISettings = SETTINGS
    ready: list[Request] = field(default_factory=list)
    sent: bytes = b""

    def __post_init__(self) -> None:
        """Make the codec."""
        self.codec = FastCGI(self.settings, new_body)

    def feed(self, *pieces: bytes) -> list[Request]:
        """Feed the pieces one by one, but for empty ones; returns what they made ready."""
        ready = []
        for piece in filter(None, pieces):
            ready += self.codec.receive_data(piece)
            self.collect()
        self.ready += ready
        return ready

    def collect(self) -> bytes:
        """Take the output over, as a connection does; returns the new part."""
        output = b"".join(self.codec.output)
        self.codec.output = []
        self.sent += output
        return output

    def answer(self, request: Request, body: bytes = b"") -> bytes:
        """Answer 200; returns the bytes."""
        self.codec.send_head(request, "200 OK", [("Content-Type", "text/plain")])
        if body:
            self.codec.send_body(request, body)
        self.codec.end(request)
        return self.collect()

    def outcome(self) -> dict[str, object]:
        """Everything that must not depend on how the bytes were cut."""
        codec = self.codec
        return {
            "ready": [describe(request) for request in self.ready],
            "sent": self.sent,
            "active": codec.active,
            "seen": codec.requests_seen,
            "multiplexes": codec.multiplexes,
            "closing": codec.closing,
            "input_pending": codec.input_pending,
        }


def describe(request: Request) -> tuple[object, ...]:
    """A request as a value."""
    body = body_of(request)
    data = None if request.data is None else data_of(request)
    refusal = request.refusal
    return (
        id_of(request),
        request.variables,
        request.content_length,
        (body.data, body.whole, body.cut_short, str(body.error or "")),
        data and (data.data, data.whole, data.cut_short, str(data.error or "")),
        refusal and (type(refusal), str(refusal), refusal.status),
        request.aborted,
    )


def run(pieces: Iterable[bytes], settings: FastCGISettings = SETTINGS) -> Run:
    """A run that was fed ``pieces``."""
    made = Run(settings)
    made.feed(*pieces)
    return made


def bytewise(data: bytes) -> list[bytes]:
    """Each byte alone."""
    return [data[index : index + 1] for index in range(len(data))]
