"""Requests to a target and their responses: ``Client`` keeps connections, ``Response`` streams."""

from __future__ import annotations

import codecs
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from gateways.client.cgi import Script
from gateways.client.connection import Channel, SocketChannel, connect
from gateways.client.decoders import CGIDecoder, Decoder, FastCGIDecoder, HTTPDecoder
from gateways.client.encoders import REQUEST_ID, encode
from gateways.client.errors import ClientError, ConnectionLost
from gateways.client.head import Head
from gateways.client.message import Body, BodyLike, Headers, Request, check_headers, make_target
from gateways.client.target import DEFAULT_HTTP_PORT, Target, parse_target
from gateways.client.trace import TraceLine, Tracer
from gateways.client.variables import build_variables
from gateways.protocols.base import Buffer

# RFC 9110, section 9.2.2: what may be sent again when nobody knows whether it was done.
_IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")
_MAX_IDLE = 16


class Response:
    """A response whose head is complete; its body is read as it is asked for.

    Iterate it for the pieces of the body as they come, or take ``body``, which is all of it.
    ``errors`` is the text for the error log that has come so far (FastCGI STDERR, a script's
    stderr), ``app_status`` the exit status of FCGI_END_REQUEST or of a script, once it is known.
    """

    def __init__(self, head: Head, decoder: Decoder, pieces: Iterator[bytes]) -> None:
        self.status = head.status
        self.reason = head.reason
        self.headers: Headers = head.headers
        self.raw_head = head.raw
        self._decoder = decoder
        self._pieces = pieces
        self._body: bytes | None = None
        self._errors_taken = 0

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first value of a header; its name in any case."""
        for other, value in self.headers:
            if other.lower() == name.lower():
                return value
        return default

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    @property
    def body(self) -> bytes:
        """All of the body that has not been iterated over. Raises ClientError if it is cut."""
        if self._body is None:
            self._body = b"".join(self._pieces)
        return self._body

    @property
    def errors(self) -> str:
        """Text for the error log, so far."""
        return "".join(self._decoder.errors)

    @property
    def app_status(self) -> int:
        """The exit status; 0 while it is not known."""
        return self._decoder.app_status

    @property
    def complete(self) -> bool:
        """Whether all of it has come."""
        return self._decoder.complete

    def take_errors(self) -> str:
        """The text for the error log that has come since the last call."""
        new = self._decoder.errors[self._errors_taken :]
        self._errors_taken += len(new)
        return "".join(new)

    def close(self) -> None:
        """Give up what has not come yet."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Client:
    """Sends requests to one target; safe to share between threads.

    ``keep`` asks the server to keep connections open (FastCGI and HTTP can), and uses them again.
    ``timeout`` is in seconds without progress. ``trace`` is called with each line of a description
    of what is sent and received.
    """

    def __init__(
        self,
        target: str | Target,
        *,
        keep: bool = True,
        timeout: float = 30.0,
        trace: TraceLine | None = None,
    ) -> None:
        self.target = parse_target(target) if isinstance(target, str) else target
        self.timeout = timeout
        self.connections_opened = 0
        self._keep = keep and self.target.scheme in ("fcgi", "http")
        self._trace = trace
        self._lock = threading.Lock()
        self._idle: list[SocketChannel] = []

    def request(
        self,
        path: str | None = None,
        *,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: BodyLike = b"",
        params: Mapping[str, str] | None = None,
        script_name: str = "",
        role: str = "responder",
    ) -> Response:
        """Send a request; returns when the head of the response is there.

        ``path`` is ``/path?query``. ``script_name`` is the part of it that becomes SCRIPT_NAME.
        ``params`` are CGI variables that override those made of the request. Raises ClientError,
        and ConfigError for a request that cannot be sent.
        """
        request = Request(
            method=method,
            target=make_target(path or self.target.path or "/"),
            headers=self._with_host(check_headers(headers)),
            params=params or {},
            script_name=script_name,
            role=role,
        )
        return self.send(request, Body(body))

    def send(self, request: Request, body: Body) -> Response:
        """Send a prepared request."""
        try:
            while True:
                channel = self._open(request, body)
                used = isinstance(channel, SocketChannel) and channel.used > 0
                try:
                    return self._exchange(channel, request, body)
                except ConnectionLost:
                    # A kept connection may be closed by the server while the request is under way.
                    again = used and not channel.received and body.untouched
                    if not again or request.method not in _IDEMPOTENT:
                        raise
        except BaseException:
            body.close()
            raise

    def _with_host(self, headers: Headers) -> Headers:
        if self.target.scheme != "http" or self.target.file:
            return headers
        if any(name.lower() == "host" for name, _ in headers):
            return headers
        host = f"[{self.target.host}]" if ":" in self.target.host else self.target.host
        port = "" if self.target.port == DEFAULT_HTTP_PORT else f":{self.target.port}"
        return [("Host", host + port), *headers]

    def _open(self, request: Request, body: Body) -> Channel:
        if self.target.scheme == "cgi":
            # The length must be known before the script starts.
            encode("cgi", request, body, keep=False)
            variables = build_variables(request, body.length)
            return Script(self.target, variables, self.timeout)
        while True:
            with self._lock:
                channel = self._idle.pop() if self._idle else None
                self.connections_opened += channel is None
            if channel is None:
                return connect(self.target, self.timeout)
            if channel.is_idle():
                return channel
            channel.close()

    def _exchange(self, channel: Channel, request: Request, body: Body) -> Response:
        pieces: Iterator[bytes] | None = None
        decoder = self._decoder(request)
        try:
            outgoing: Iterator[Buffer] = encode(self.target.scheme, request, body, keep=self._keep)
            tracer = None
            if self._trace is not None:
                tracer = Tracer(self.target.scheme, self._trace)
                outgoing = tracer.sending(outgoing)
            pieces = self._receive(channel, outgoing, decoder, body, tracer)
            next(pieces)  # it comes with the head
            if decoder.head is None:
                raise RuntimeError("a response without a head")
        except BaseException:
            if pieces is None:
                channel.close()
            raise
        return Response(decoder.head, decoder, pieces)

    def _decoder(self, request: Request) -> Decoder:
        scheme = self.target.scheme
        if scheme == "fcgi":
            return FastCGIDecoder(request.method, REQUEST_ID)
        if scheme == "http":
            return HTTPDecoder(request.method)
        return CGIDecoder(self.target.protocol, request.method, to_the_end=scheme == "cgi")

    def _receive(
        self,
        channel: Channel,
        outgoing: Iterator[Buffer],
        decoder: Decoder,
        body: Body,
        tracer: Tracer | None,
    ) -> Iterator[bytes]:
        """Pieces of the response's body; an empty one when the head is there."""
        text = codecs.getincrementaldecoder("utf-8")("replace")
        channel.on_errors = lambda data: decoder.errors.append(text.decode(data, not data))
        reuse = False
        announced = False
        incoming = channel.exchange(outgoing, self.timeout)
        try:
            for data in incoming:
                if not data:
                    decoder.app_status = channel.finish() or decoder.app_status
                if tracer is not None:
                    tracer.received(data)
                pieces = decoder.feed(data)
                if decoder.head is not None and not announced:
                    announced = True
                    yield b""
                yield from pieces
                if decoder.complete:
                    break
            reuse = self._keep and decoder.reusable and channel.all_sent
        except ClientError as error:
            error.errors = "".join(decoder.errors)
            raise
        finally:
            incoming.close()
            body.close()
            if reuse and isinstance(channel, SocketChannel):
                self._give_back(channel)
            else:
                channel.close()

    def _give_back(self, channel: SocketChannel) -> None:
        channel.used += 1
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(channel)
                return
        channel.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
