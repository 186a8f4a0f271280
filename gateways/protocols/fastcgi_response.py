"""The sending half of the FastCGI codec: what the core says of responses becomes records.

Nothing here depends on how far the peer has come, but for one thing: who ends a response before
its request is complete leaves input behind, which the connection has to know.
"""

from __future__ import annotations

from gateways.protocols import framing
from gateways.protocols.base import Codec, FilePart, Headers, Request
from gateways.protocols.fastcgi_state import FastCGIRequest, FastCGISettings, Receiving, Sending
from gateways.protocols.head import status_head, status_head_lines
from gateways.protocols.records import (
    COPY_BELOW,
    FCGI_STDERR,
    FCGI_STDOUT,
    pack_both,
    pack_file,
    pack_lines,
    pack_record,
    pack_stream,
    pack_trailer,
    pack_unknown_type,
)

_HELD_ERRORS = 65536

# As plain numbers: a member of an enum costs a lookup in its class.
_NOTHING, _HEAD, _BODY = map(int, Sending)
_COMPLETE = int(Receiving.COMPLETE)


class FastCGIResponses(Codec):
    """The responses of one connection (see ``gateways.protocols.base.Codec``)."""

    def __init__(self, settings: FastCGISettings) -> None:
        self._open_responses(settings)

    def _open_responses(self, settings: FastCGISettings) -> None:
        self._open()
        self._settings = settings
        self._requests: dict[int, FastCGIRequest] = {}

    def send_head(self, request: Request, status: str, headers: Headers) -> None:
        """Set the head; it leaves with the first body bytes or the end."""
        own = self._own(request)
        if own.sending != _NOTHING:
            raise RuntimeError("the head of this response was set already")
        own.head = status_head(status, headers)
        own.sending = _HEAD

    def _send_held_errors(self, own: FastCGIRequest) -> None:
        held, own.errors_held = own.errors_held, b""
        own.errors_sent = True
        pack_lines(FCGI_STDERR, own.id, held, self.output)

    def send_body(self, request: Request, chunk: bytes | FilePart) -> None:
        """Append STDOUT records; without a head, ``chunk`` is CGI output as it stands."""
        own = self._own(request)
        if own.sending == _HEAD:
            head, own.head = own.head, b""
            own.sending = _BODY
            if (
                isinstance(chunk, bytes)
                and len(head) + len(chunk) <= COPY_BELOW
                and not own.errors_held
            ):
                pack_both(FCGI_STDOUT, own.id, head, chunk, self.output)
                return
            pack_stream(FCGI_STDOUT, own.id, head, self.output)
        own.sending = _BODY
        if own.errors_held:
            self._send_held_errors(own)
        if isinstance(chunk, FilePart):
            pack_file(FCGI_STDOUT, own.id, chunk, self.output)
        else:
            pack_stream(FCGI_STDOUT, own.id, chunk, self.output)

    def send_errors(self, request: Request, text: str) -> None:
        """Append STDERR records; the text is sent as UTF-8.

        Before the head they are held: nginx reads them into the buffer of the response head, and
        answers 502 when that is full. What is more than fits into the hold is left to our own log.
        """
        own = self._own(request)
        if text:
            own.errors_held += text.encode("utf-8", "backslashreplace")
            if own.sending == _BODY:
                self._send_held_errors(own)
            elif len(own.errors_held) > _HELD_ERRORS:
                own.errors_held = own.errors_held[:_HELD_ERRORS]

    def respond(self, request: Request, status: str, headers: Headers, body: bytes) -> None:
        """Give all of a response: where it is small, in one piece (see ``Codec.respond``)."""
        own = self._own(request)
        if own.sending == _NOTHING and not own.errors_held and len(body) <= COPY_BELOW:
            head = status_head_lines(status, headers)
            end = pack_trailer(own.id, 0)
            packed = framing.pack_pieces(FCGI_STDOUT, own.id, head, body, end, COPY_BELOW)
            if packed is not None:
                self.output.append(packed)
                self._ended(own)
                return
        Codec.respond(self, request, status, headers, body)

    def end(self, request: Request) -> None:
        """Close the streams and send FCGI_END_REQUEST."""
        self._end(self._own(request), 0)

    def abort(self, request: Request) -> None:
        """End a response that is cut short.

        No front end looks at the application status; most of them notice a connection that is
        closed without FCGI_END_REQUEST. So that is what a request gets that is alone on its
        connection; beside others it gets a status that is not 0.
        """
        own = self._own(request)
        if own.aborted or self.active > 1:
            self._end(own, 0 if own.aborted else 1)
        else:
            self._forget(own)
            self.closing = True

    def _end(self, own: FastCGIRequest, app_status: int) -> None:
        if own.sending == _HEAD:
            self.send_body(own, b"")
        if own.errors_held:
            self._send_held_errors(own)
        if own.errors_sent:
            self.output.append(pack_record(FCGI_STDERR, own.id))
        self.output.append(pack_trailer(own.id, app_status))
        self._ended(own)

    def _ended(self, own: FastCGIRequest) -> None:
        """The response was given, to its end."""
        self._forget(own)
        if not (self.active or self.closing) and self._settings.draining():
            # The protocol has no word for "do not send another one here", and one that is on its
            # way when we close is lost. nginx keeps no connection on which anything follows this.
            self.output.append(pack_unknown_type(0))
            self.closing = True

    def _forget(self, own: FastCGIRequest) -> None:
        del self._requests[own.id]
        own.codec = None
        self.active -= 1
        if own.receiving != _COMPLETE:
            self.input_pending = True

    def _own(self, request: Request) -> FastCGIRequest:
        own = request if isinstance(request, FastCGIRequest) else None
        if own is None or own.codec is not self:
            raise RuntimeError("this request is not in flight on this connection")
        return own
