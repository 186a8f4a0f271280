"""The HTTP/1.1 codec: bytes in, requests out, one after the other (responses: http_response.py).

RFC 9110 and RFC 9112. Strategy: what has come of a head is held until the head is complete, then
it is read at once (http_known.py, or else http_head.py); a body goes to its sink as it comes. What
follows a request that is in flight is held unread until that request has ended: so a request that
is pipelined costs nothing before its turn, and can never overtake. What cannot be understood
becomes a request with a ``refusal``, after which the connection closes, because nobody knows where
the next one begins.
"""

from __future__ import annotations

import re

from gateways.errors import ClientDisconnected, LimitExceeded, ProtocolError
from gateways.protocols import room
from gateways.protocols.base import NewBody, Phase, Request
from gateways.protocols.forwarded import FORWARDED, apply_forwarded
from gateways.protocols.http_head import (
    CRLF,
    Head,
    parse_fields,
    parse_request_line,
    require_httptools,
)
from gateways.protocols.http_known import read_known, remember
from gateways.protocols.http_request import (
    HTTPRequest,
    HTTPSettings,
    Sending,
    add_server,
    add_variables,
    peer_variables,
    server_variables,
)
from gateways.protocols.http_response import MAX_DRAIN, HTTPResponses

__all__ = ["HTTP", "HTTPSettings", "require_httptools"]

# What a client may pipeline behind a request that runs; what comes beyond it is dropped.
_MAX_HELD = 1 << 20

_BARE_LF = re.compile(rb"(?<!\r)\n")
_END_OF_HEAD = b"\r\n\r\n"
_ENDED = int(Sending.ENDED)


class HTTP(HTTPResponses):
    """The codec of one connection (see ``gateways.protocols.base.Codec``): the receiving half.

    ``peer_address`` is the peer's socket address.
    """

    def __init__(self, settings: HTTPSettings, new_body: NewBody, address: object = None) -> None:
        super().__init__(settings)
        self._new_body = new_body
        self._base = room.new_variables()  # its copies have the room that it has
        self._base["GATEWAY_INTERFACE"] = "CGI/1.1"
        self._base["SCRIPT_NAME"] = ""
        self._base["REQUEST_SCHEME"] = settings.scheme
        self._base.update(peer_variables(address))
        self._base.update(server_variables(settings))
        if settings.scheme == "https":
            self._base["HTTPS"] = "on"
        self._is_named = "SERVER_NAME" in self._base
        self._max_fields = settings.max_fields
        # A head of fewer bytes is within the limits.
        limits = (settings.max_request_line_bytes, settings.max_head_bytes)
        self._small_head = min(filter(None, limits), default=_MAX_HELD)
        self._held = bytearray()  # the part of a head that has come, or what waits for its turn
        self._searched = 0  # bytes of it in which no head ends
        self._empty_line_seen = False  # one may stand before a request
        self._deaf = False  # what still comes is dropped
        self._eof = False  # the peer sends no more
        self._drained = 0  # bytes of a body that nobody reads

    def receive_data(self, data: bytes) -> list[Request]:
        """Take bytes; return requests that became ready (see ``Codec.receive_data``)."""
        ready: list[Request] = []
        if not data:
            self._peer_closed()
            return ready
        if self._deaf or self._eof:
            self.input_pending = True
            return ready
        if self._current is not None and not self._current.is_complete():
            data = self._receive_body(self._current, data, ready)
        if data:
            if (
                not self._held
                and self._current is None
                and len(data) <= self._small_head
                and data.endswith(_END_OF_HEAD)
            ):
                own = self._new_request()
                if read_known(own, data, self._max_fields):
                    # A head and nothing else, as nearly always: nothing has to be held.
                    self._begin(own, b"", None, ready)
                    return ready
            self._held += data
            if self.active:
                self.queued = 1
                if len(self._held) > _MAX_HELD:
                    # Serve what is complete, then close.
                    self._eof = self.closing = self.input_pending = True
            else:
                self._advance(ready)
        return ready

    def next_requests(self) -> list[Request]:
        """Those that waited for the one that has ended."""
        ready: list[Request] = []
        self._advance(ready)
        return ready

    def phase(self) -> Phase:
        """What the peer still owes (see ``Codec.phase``)."""
        own = self._current
        if own is not None and not own.is_complete():
            # Where its application runs, the application's thread waits for it.
            return Phase.IDLE if self.active and own.running else Phase.BODY
        return Phase.HEAD if self._held and not self.active else Phase.IDLE

    # -- heads ---------------------------------------------------------------------------------

    def _advance(self, ready: list[Request]) -> None:
        """Begin the next request, if all of its head is there."""
        while self._held and not self.active and not self._deaf and self._current is None:
            try:
                size = self._find_head()
            except ProtocolError as error:
                self._begin(self._new_request(), b"", error, ready)
                break
            if not size:
                break
            head = bytes(memoryview(self._held)[:size])
            del self._held[:size]
            self._searched = 0
            self._begin(self._new_request(), head, None, ready)
            own = self._current
            if own is not None and self._held and not own.is_complete() and not self._deaf:
                body = bytes(self._held)
                self._held.clear()
                self._held += self._receive_body(own, body, ready)
        if self._eof and not self._deaf:
            self._end_of_input()
        self.queued = 1 if self._held and self.active else 0

    def _find_head(self) -> int:
        """The size of the head that what is held begins with, 0 while it is not complete.

        Only what is new is searched, so that a head that comes byte by byte costs no more.
        """
        held = self._held
        if held.startswith(CRLF) and not self._empty_line_seen:
            self._empty_line_seen = True  # RFC 9112, section 2.2: some clients send one too many
            del held[:2]
            self._searched = 0
        settings = self._settings
        start = max(0, self._searched - 3)
        end = held.find(_END_OF_HEAD, start)
        size = end + 4 if end >= 0 else 0
        if not size and _BARE_LF.search(held, start):
            raise ProtocolError("a line of the head ends in LF instead of CRLF")
        limit = settings.max_request_line_bytes
        if limit and max(len(held), size) > limit and held.find(CRLF, 0, limit + 2) < 0:
            raise LimitExceeded(f"the request line is longer than {limit} bytes", 414)
        limit = settings.max_head_bytes
        if limit and (size or len(held)) > limit:
            raise LimitExceeded(
                f"the head is larger than --max-variables-bytes allows ({limit})", 431
            )
        self._searched = len(held)
        return size

    def _new_request(self) -> HTTPRequest:
        own = HTTPRequest()
        own.variables = self._base.copy()
        return own

    def _begin(
        self, own: HTTPRequest, data: bytes, error: ProtocolError | None, ready: list[Request]
    ) -> None:
        """Begin a request with the head ``data``, "" where that is read, or with what is wrong."""
        self._current = own
        self._empty_line_seen = False
        self._drained = 0
        self.active += 1
        self.requests_seen += 1
        try:
            if error is not None:
                raise error
            if data and not read_known(own, data, self._max_fields):
                own.variables = self._base.copy()
                self._read_closely(own, data)
            self._complete_variables(own)
        except ProtocolError as problem:
            own.variables.setdefault("REQUEST_METHOD", "?")
            own.body_left = 0
            own.decoder = None
            self._refuse(own, problem, ready)
            return
        if not own.keep_alive:
            self.closing = True
        # A small body is awaited whole, so that a slow upload holds no thread; who waits to be
        # told to send it can only be told by an application that reads.
        if own.is_complete() or own.decoder is not None or own.expects_continue:
            self._run(own, ready)

    def _complete_variables(self, own: HTTPRequest) -> None:
        """What follows from those of the head. Raises ProtocolError."""
        variables = own.variables
        if not self._is_named:
            add_server(variables, self._settings.scheme)
        for name in FORWARDED:
            if name in variables:
                apply_forwarded(variables, self._settings.trusted)
                break
        if own.body_left:
            limit = self._settings.max_body_bytes
            if limit and own.body_left > limit:
                raise self._too_large(own.body_left)

    def _read_closely(self, own: HTTPRequest, data: bytes) -> None:
        """Read a head by the parser. Raises ProtocolError."""
        variables = own.variables
        end = data.index(CRLF)
        head: Head = parse_request_line(data[:end])
        own.minor = 1 if head.minor else 0
        own.is_head = head.method == "HEAD"
        variables["REQUEST_METHOD"] = head.method
        variables["SERVER_PROTOCOL"] = f"HTTP/1.{own.minor}"
        variables["PATH_INFO"] = head.target.partition("?")[0]  # for the log, until it is decoded
        fields = parse_fields(head, data[end + 2 :], self._max_fields)
        add_variables(variables, head)
        own.take_head(head)
        remember(fields)

    def _refuse(self, own: HTTPRequest, error: ProtocolError, ready: list[Request]) -> None:
        """Have the core answer with an error, and close: the rest has no meaning any more."""
        own.refusal = error
        own.keep_alive = False
        self._stop()
        self.input_pending = True
        self._run(own, ready)

    def _run(self, own: HTTPRequest, ready: list[Request]) -> None:
        own.running = True
        if not own.is_complete() and own.body is None:
            own.body = self._new_body(own, own.content_length)
        ready.append(own)

    # -- bodies --------------------------------------------------------------------------------

    def _receive_body(self, own: HTTPRequest, data: bytes, ready: list[Request]) -> bytes:
        """Take what belongs to the body; returns what follows it."""
        own.expects_continue = False  # it has not waited
        if own.decoder is not None:
            try:
                content, rest = own.decoder.feed(data)
            except ProtocolError as error:
                self._fail_body(own, error)
                return b""
            if own.decoder.ended:
                own.decoder = None
        else:
            content = data[: own.body_left] if len(data) > own.body_left else data
            rest = data[len(content) :]
            own.body_left -= len(content)
        if own.sending == _ENDED:
            self._drain(own, len(data) - len(rest))
            return b"" if self._deaf else rest
        own.received += len(content)
        limit = self._settings.max_body_bytes
        if own.content_length is None and limit and own.received > limit:
            self._fail_body(own, self._too_large(own.received))
            return b""
        if own.body is None:
            own.body = self._new_body(own, own.content_length)
        if content:
            own.body.feed(content)
        if own.is_complete() and own.content_length is None:
            own.body.end()
        if not own.running and (
            own.is_complete() or own.received > self._settings.body_memory_bytes
        ):
            self._run(own, ready)
        return rest

    def _drain(self, own: HTTPRequest, size: int) -> None:
        """Count what comes of a body after its response, to keep the connection if it is little."""
        self._drained += size
        if own.is_complete():
            self._current = None
            self.input_pending = False
        elif self._drained > MAX_DRAIN:
            self._stop()

    def _fail_body(self, own: HTTPRequest, error: ProtocolError) -> None:
        """The rest of a body is unusable, and with it everything after it."""
        own.keep_alive = False
        self._stop()
        self.input_pending = True
        if own.body is not None:
            own.body.fail(error)

    def _too_large(self, length: int) -> LimitExceeded:
        return LimitExceeded(
            f"the body has {length} bytes or more, "
            f"--max-body allows {self._settings.max_body_bytes}",
            413,
        )

    # -- the end -------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Close after what is in flight; drop everything else."""
        HTTPResponses._stop(self)
        if self._held:
            self.input_pending = True
            self._held.clear()
        self.queued = 0
        self._deaf = True

    def _peer_closed(self) -> None:
        """The peer sends no more, but may well wait for what it has asked for (a half-close)."""
        self._eof = True
        self.closing = True
        own = self._current
        if own is not None and not own.is_complete():
            reason = ClientDisconnected("the client closed the connection within its request")
            if own.body is not None:
                own.body.fail(reason)
            own.keep_alive = False
            if not own.running:
                self._current = None
                self.active -= 1
            self._stop()
        elif not self.active:
            self._stop()
        self.input_pending = False

    def _end_of_input(self) -> None:
        """What is held is all there is: fail the request that is not complete in it."""
        pending = self.input_pending
        own = self._current
        if own is None or not own.is_complete():
            self._peer_closed()
        self.input_pending = pending
