"""Feeds the HTTP codec, answers what it hands out, and notes what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateways.protocols.base import Headers, Request
from gateways.protocols.http import HTTP, HTTPSettings

from .driver import Sink, new_body

SETTINGS = HTTPSettings(server_address=("192.0.2.1", 8000), server="")
PEER = ("203.0.113.9", 4711)


@dataclass
class Run:
    """A codec and everything that it was ready to run and has sent."""

    settings: HTTPSettings = SETTINGS
    peer: object = PEER
    ready: list[Request] = field(default_factory=list)
    sent: bytes = b""

    def __post_init__(self) -> None:
        """Make the codec."""
        self.codec = HTTP(self.settings, new_body, self.peer)

    def feed(self, *pieces: bytes) -> list[Request]:
        """Feed the pieces; returns what they made ready."""
        ready = []
        for piece in pieces:
            ready += self.codec.receive_data(piece)
        self.ready += ready
        return ready

    def collect(self) -> bytes:
        """Take the output over; returns the new part."""
        output = b"".join(self.codec.output)
        self.codec.output = []
        self.sent += output
        return output

    def answer(
        self,
        request: Request,
        *chunks: bytes,
        status: str = "200 OK",
        headers: Headers | None = None,
    ) -> bytes:
        """Answer; returns the bytes. What may run next goes to ``ready``, as with a connection."""
        self.codec.send_head(request, status, headers or [])
        for chunk in chunks:
            self.codec.send_body(request, chunk)
        self.codec.end(request)
        return self.ended()

    def ended(self) -> bytes:
        """What a connection does after an end."""
        output = self.collect()
        if self.codec.queued:
            self.ready += self.codec.next_requests()
        return output

    def answer_all(self) -> list[Request]:
        """Answer what is ready, once its body is there, and what becomes ready by that."""
        answered = 0
        while answered < len(self.ready):
            request = self.ready[answered]
            if request.body is not None and not sink(request).whole and not sink(request).error:
                break
            self.answer(request, b"ok")
            answered += 1
        done, self.ready = self.ready[:answered], self.ready[answered:]
        return done


def sink(request: Request) -> Sink:
    """The body of a request; one that has none has an empty and complete one."""
    if request.body is None:
        return Sink(0)
    assert isinstance(request.body, Sink)
    return request.body


def describe(request: Request) -> tuple[Any, ...]:
    """A request as a value that must not depend on how its bytes were cut."""
    if request.refusal is not None:
        return (request.refusal.status,)
    body = sink(request)
    data = None if body.error else body.data
    return (request.variables, request.content_length, data, body.whole, bool(body.error))


def outcome(pieces: Iterable[bytes], settings: HTTPSettings = SETTINGS) -> Any:
    """What came of the pieces, answered as soon as possible."""
    run = Run(settings)
    answered = []
    for piece in pieces:
        run.feed(piece)
        answered += run.answer_all()
    return (
        [describe(request) for request in [*answered, *run.ready]],
        run.sent,
        run.codec.active,
        run.codec.requests_seen,
        run.codec.closing,
    )


def only(data: bytes, settings: HTTPSettings = SETTINGS, peer: object = PEER) -> Request:
    """The one request of ``data``."""
    (request,) = Run(settings, peer).feed(data)
    return request


def get(target: str = "/", *fields: str, version: str = "1.1", method: str = "GET") -> bytes:
    """A request without a body."""
    lines = [f"{method} {target} HTTP/{version}", "Host: example.test", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body: bytes, *fields: str, target: str = "/", version: str = "1.1") -> bytes:
    """A request with Content-Length."""
    head = get(target, f"Content-Length: {len(body)}", *fields, version=version, method="POST")
    return head + body


def chunked(*chunks: bytes, trailers: bytes = b"", fields: tuple[str, ...] = ()) -> bytes:
    """A request whose body has these chunks."""
    head = get("/", "Transfer-Encoding: chunked", *fields, method="POST")
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + b"0\r\n" + trailers + b"\r\n"
