"""A codec for any protocol: the first bytes of a connection tell which one takes it over."""

from __future__ import annotations

from collections.abc import Mapping

from gateways.errors import ProtocolError
from gateways.protocols.base import (
    Codec,
    CodecFactory,
    FilePart,
    Headers,
    NewBody,
    Phase,
    Request,
)
from gateways.protocols.detect import Undecided, recognise


class Auto(Codec):
    """The codec of one connection (see ``gateways.protocols.base.Codec``).

    ``factories`` are the protocols that are allowed, and what makes their codecs. What the core
    reads here is taken over from the real codec after each call.
    """

    def __init__(
        self, factories: Mapping[str, CodecFactory], new_body: NewBody, address: object
    ) -> None:
        super().__init__()
        self._new_body = new_body
        self._address = address
        self._factories = factories
        self.codec: Codec | None = None  # once it is known
        self._held = b""  # what has come; a few bytes at most, as recognise() says

    def receive_data(self, data: bytes) -> list[Request]:
        """Take bytes; hand them on once it is known to whom (see ``Codec.receive_data``)."""
        if self.codec is None:
            if not data:
                self.closing = True
                return []
            self._held += data
            name = recognise(self._held, frozenset(self._factories))
            if isinstance(name, Undecided):
                return []
            if name is None:
                raise ProtocolError(
                    f"the connection begins with {self._held[:20]!r}, which is none of "
                    f"{', '.join(sorted(self._factories))}"
                )
            data, self._held = self._held, b""
            self.codec = self._factories[name](self._new_body, self._address)
        codec = self._real()
        try:
            return codec.receive_data(data)
        finally:
            self._take_over(codec)

    def phase(self) -> Phase:
        """What the peer still owes (see ``Codec.phase``)."""
        if self.codec is not None:
            return self.codec.phase()
        return Phase.HEAD if self._held else Phase.IDLE

    def send_head(self, request: Request, status: str, headers: Headers) -> None:
        """Set the head of the response."""
        codec = self._real()
        codec.send_head(request, status, headers)
        self._take_over(codec)

    def send_body(self, request: Request, chunk: bytes | FilePart) -> None:
        """Append a piece of the response body."""
        codec = self._real()
        codec.send_body(request, chunk)
        self._take_over(codec)

    def send_errors(self, request: Request, text: str) -> None:
        """Append text to the web server's error log."""
        codec = self._real()
        codec.send_errors(request, text)
        self._take_over(codec)

    def end(self, request: Request) -> None:
        """Complete the response."""
        codec = self._real()
        codec.end(request)
        self._take_over(codec)

    def respond(self, request: Request, status: str, headers: Headers, body: bytes) -> None:
        """Give all of a response."""
        codec = self._real()
        codec.respond(request, status, headers, body)
        self._take_over(codec)

    def abort(self, request: Request) -> None:
        """End a response that cannot be completed."""
        codec = self._real()
        codec.abort(request)
        self._take_over(codec)

    def body_wanted(self) -> None:
        """An application waits for more of a body."""
        codec = self._real()
        codec.body_wanted()
        self._take_over(codec)

    def next_requests(self) -> list[Request]:
        """Those that may run now."""
        codec = self._real()
        requests = codec.next_requests()
        self._take_over(codec)
        return requests

    def _real(self) -> Codec:
        codec = self.codec
        if codec is None:
            raise RuntimeError("no request is in flight on this connection")
        return codec

    def _take_over(self, codec: Codec) -> None:
        if codec.output:
            self.output += codec.output
            codec.output = []
        self.active = codec.active
        self.requests_seen = codec.requests_seen
        self.multiplexes = codec.multiplexes
        self.closing = codec.closing
        self.input_pending = codec.input_pending
        self.queued = codec.queued
