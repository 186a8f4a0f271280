"""The sending half of the HTTP codec: framing of responses, and whether the connection is kept.

Responses leave in order because only one request of a connection is in flight. The head is held
until the first body bytes or the end, since it must say whether the connection will be closed,
and that depends on how much of the request's body is still to come.
"""

from __future__ import annotations

from gateways.protocols.base import Codec, FilePart, Headers, Request
from gateways.protocols.http_request import NO_FIELDS, HTTPRequest, HTTPSettings, Sending

_SMALL = 16384  # bytes that are copied, to leave in one piece
# How much of a body that nobody read is taken in to keep a connection; beyond that it is closed.
MAX_DRAIN = 65536

_BODYLESS = frozenset({"204", "205", "304"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# As plain numbers: a member of an enum costs a lookup in its class.
_NOTHING, _HEAD, _BODY, _ENDED = map(int, Sending)


class HTTPResponses(Codec):
    """The responses of one connection (see ``gateways.protocols.base.Codec``)."""

    def __init__(self, settings: HTTPSettings) -> None:
        self._open()
        self._settings = settings
        self._server = f"Server: {settings.server}\r\n" if settings.server else ""
        self._current: HTTPRequest | None = None  # in flight, or ended with its body still coming

    def send_head(self, request: Request, status: str, headers: Headers) -> None:
        """Set the head; it leaves with the first body bytes or the end."""
        own = self._own(request)
        if own.sending != _NOTHING:
            raise RuntimeError("the head of this response was set already")
        own.status = status
        own.fields = headers
        own.code = code = status[:3]
        own.is_bodyless_response = own.is_head or code in _BODYLESS
        own.sending = _HEAD

    def send_body(self, request: Request, chunk: bytes | FilePart) -> None:
        """Append a piece; what a response that has no body is given is dropped."""
        own = self._own(request)
        if own.sending == _NOTHING:
            raise RuntimeError("a body without a head")
        if own.is_bodyless_response:
            return  # the end sends the head, if it is not sent
        head = b"" if own.sending == _BODY else self._head(own, len(chunk), is_last=False)
        self._append(head, chunk, own.is_chunked_response)

    def body_wanted(self) -> None:
        """Tell a client that waits to be told so to send its body (RFC 9110, section 10.1.1)."""
        own = self._current
        if own is None or not own.expects_continue:
            return
        if own.sending == _NOTHING or own.sending == _HEAD:
            own.expects_continue = False
            self.output.append(_CONTINUE)

    def end(self, request: Request) -> None:
        """Complete the response."""
        own = self._own(request)
        if own.sending == _NOTHING:
            raise RuntimeError("the end of a response without a head")
        if own.sending == _HEAD:
            self.output.append(self._head(own, 0, is_last=True))
        elif own.is_chunked_response:
            self.output.append(b"0\r\n\r\n")
        if not own.keep_alive or not self._can_drain(own):
            self._stop()
        self._forget(own)

    def abort(self, request: Request) -> None:
        """Close without the end, by which the client knows that something is missing."""
        own = self._own(request)
        self._stop()
        self._forget(own)

    def _stop(self) -> None:
        """Close when the response is sent; what still comes is dropped."""
        self.closing = True

    def _forget(self, own: HTTPRequest) -> None:
        own.sending = _ENDED
        self.active -= 1
        if own.is_complete():
            self._current = None
        else:
            self.input_pending = True

    def _can_drain(self, own: HTTPRequest) -> bool:
        """Whether what the peer still owes of the request is little, or at least not known to be
        much; a client that waits for 100 (Continue) may rightly send none of it."""
        return own.is_complete() or not (own.expects_continue or own.body_left > MAX_DRAIN)

    def _head(self, own: HTTPRequest, size: int, *, is_last: bool) -> bytes:
        """The head's bytes; ``size`` is that of the piece of body that goes with it."""
        head = ["HTTP/1.1 ", own.status, "\r\n"]
        code = own.code
        bodyless = own.is_bodyless_response
        is_empty = bodyless and (code == "204" or code == "205")  # by its status
        length = ""
        has_date = has_server = False
        for name, value in own.fields:
            letters = len(name)
            if letters == 14 or letters == 4 or letters == 6:  # the others are none of those below
                lower = name.lower()
                if lower == "content-length":
                    length = value
                    if is_empty:
                        continue
                elif lower == "date":
                    has_date = True
                elif lower == "server":
                    has_server = True
            head.append(f"{name}: {value}\r\n")
        if not has_date and (date := self._settings.date()):
            head.append(f"Date: {date}\r\n")
        if not has_server:
            head.append(self._server)
        if bodyless:
            if code == "205":
                head.append("Content-Length: 0\r\n")
        elif not length:
            if is_last:
                head.append("Content-Length: 0\r\n")
            elif own.minor:
                own.is_chunked_response = True
                head.append("Transfer-Encoding: chunked\r\n")
            else:
                own.keep_alive = False  # the close is the end of the body
        if own.keep_alive and not own.is_complete():
            # The rest of the body still counts only where nobody will read it.
            is_all = is_last or length == str(size)
            own.keep_alive = self._can_drain(own) if is_all else not own.expects_continue
        if own.keep_alive:
            limit = self._settings.max_requests
            own.keep_alive = not (
                (limit and self.requests_seen >= limit) or self._settings.draining()
            )
        if not own.keep_alive:
            head.append("Connection: close\r\n")
        elif not own.minor:
            head.append("Connection: keep-alive\r\n")
        own.sending = _BODY
        own.fields = NO_FIELDS
        head.append("\r\n")
        return "".join(head).encode("latin-1")

    def _append(self, head: bytes, chunk: bytes | FilePart, is_chunked: bool) -> None:
        end = b""
        if is_chunked:
            head += b"%x\r\n" % len(chunk)
            end = b"\r\n"
        if isinstance(chunk, bytes) and len(chunk) < _SMALL:
            self.output.append(head + chunk + end if end else head + chunk)
            return
        if head:
            self.output.append(head)
        self.output.append(chunk)
        if end:
            self.output.append(end)

    def _own(self, request: Request) -> HTTPRequest:
        own = self._current
        if own is None or own is not request or own.sending == _ENDED:
            raise RuntimeError("this request is not in flight on this connection")
        return own
