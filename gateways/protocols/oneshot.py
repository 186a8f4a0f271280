"""What uwsgi and SCGI have in common: one request per connection, a raw response until the close.

A subclass knows the head: how long it is, what is in it, and how that of the response looks. The
rest is here. Strategy: the pieces of a head are held until it is complete, and looked at only when
enough has come to learn more; a body goes to its sink as it comes, and is as long as
CONTENT_LENGTH says. A peer may close its sending side once it has sent its request: what is
complete stays valid, and only what is incomplete then is failed.
"""

from __future__ import annotations

import enum

from gateways.errors import LimitExceeded, ProtocolError
from gateways.protocols.base import Codec, FilePart, Headers, NewBody, Phase, Request
from gateways.protocols.limits import RequestLimits
from gateways.protocols.variables import content_length

# Up to here one copy is cheaper than handing the kernel two buffers.
_COPY_BELOW = 16384


class Receiving(enum.IntEnum):
    """How far the peer has come."""

    HEAD = enum.auto()
    BODY = enum.auto()
    COMPLETE = enum.auto()
    IGNORED = enum.auto()  # refused, ended or cut off: whatever comes is dropped


class Sending(enum.IntEnum):
    """How far we have come with the response."""

    NOTHING = enum.auto()
    HEAD = enum.auto()  # the head is set, and waits for the first bytes of the body
    BODY = enum.auto()  # the head has left
    ENDED = enum.auto()


# As plain numbers: a member of an enum costs a lookup in its class.
_HEAD, _BODY, _COMPLETE, _IGNORED = map(int, Receiving)
_NOTHING_SENT, _HEAD_SET, _BODY_SENT, _ENDED = map(int, Sending)


class OneShot(Codec):
    """The codec of one connection (see ``gateways.protocols.base.Codec``), but for the head."""

    def __init__(self, settings: RequestLimits, new_body: NewBody, address: object = None) -> None:
        self._open_oneshot(settings, new_body)

    def _open_oneshot(self, settings: RequestLimits, new_body: NewBody) -> None:
        self._open()  # ``closing`` turns True with the only request
        self._new_body = new_body
        self._settings = settings
        self._receiving = _HEAD
        self._sending = _NOTHING_SENT
        self._request: Request | None = None
        self._running = False  # it was handed out, and will be ended by the core
        self._held: list[bytes] = []  # the pieces of an incomplete head
        self._held_size = 0
        self._needed = 1  # bytes with which more can be learned of it
        self._body_left = 0
        self._received = 0  # bytes of the body
        self._response_head = b""

    # -- what a subclass knows -----------------------------------------------------------------

    def _head_size(self, data: bytes) -> int:
        """The size in bytes of the head that ``data`` begins with.

        Where ``data`` is too short to tell, how many bytes tell more. Raises ProtocolError.
        """
        raise NotImplementedError

    def _read_head(self, head: bytes) -> dict[str, str] | None:
        """The variables of a complete head; None where it was no request and is answered.

        Raises ProtocolError and LimitExceeded, which answer the request.
        """
        raise NotImplementedError

    def _head_lines(self, status: str, headers: Headers) -> list[bytes]:
        """The head of the response."""
        raise NotImplementedError

    # -- receiving -----------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> list[Request]:
        """Take bytes; return the request if it became ready (see ``Codec.receive_data``)."""
        if not data:
            self._peer_closed()
            return []
        if self._receiving == _BODY:
            return self._receive_body(data)
        if self._receiving != _HEAD:
            self.input_pending = True  # it sends more than it has announced
            return []
        if self._held:
            self._held.append(data)
            self._held_size += len(data)
            if self._held_size < self._needed:
                return []
            data = b"".join(self._held)
        self._needed = self._head_size(data)
        if len(data) < self._needed:
            self._held = [data]
            self._held_size = len(data)
            return []
        self._held = []
        if len(data) == self._needed:
            return self._begin(data, b"")
        return self._begin(data[: self._needed], data[self._needed :])

    def _begin(self, head: bytes, rest: bytes) -> list[Request]:
        """The head is complete; ``rest`` follows it."""
        self.closing = True
        self._receiving = _BODY
        request = Request.__new__(Request)  # a call of the type costs more where it is compiled
        request.set_up()
        try:
            variables = self._read_head(head)
            if variables is None:
                self._receiving = _IGNORED
                return []
            request.variables = variables
            length = content_length(variables) or 0  # nothing else tells where a body ends
            self._check_length(length)
        except ProtocolError as error:
            request.refusal = error
            self._receiving = _IGNORED
            length = 0
        self._request = request
        self.active = self.requests_seen = 1
        if request.refusal is not None:
            return self._run(request)
        request.content_length = length
        self._body_left = length
        if length:
            return self._receive_body(rest) if rest else []
        self._receiving = _COMPLETE
        self.input_pending = bool(rest)
        return self._run(request)

    def _check_length(self, length: int) -> None:
        limit = self._settings.max_body_bytes
        if limit and length > limit:
            raise LimitExceeded(
                f"the body has {length} bytes, --max-body allows {limit}",
                413,
            )

    def _receive_body(self, data: bytes) -> list[Request]:
        request = self._own(self._request)
        if request.body is None:
            request.body = self._new_body(request, request.content_length)
        if len(data) > self._body_left:
            data = data[: self._body_left]
            self.input_pending = True  # what is beyond the body is dropped
        self._body_left -= len(data)
        self._received += len(data)
        request.body.feed(data)
        if not self._body_left:
            self._receiving = _COMPLETE
        # A small body is awaited whole, so that a slow upload holds no thread.
        if self._body_left and self._received <= self._settings.body_memory_bytes:
            return []
        return self._run(request)

    def _run(self, request: Request) -> list[Request]:
        if self._running:
            return []
        self._running = True
        return [request]

    def _peer_closed(self) -> None:
        """The peer sends no more, but may well wait for what it has asked for (a half-close)."""
        self.closing = True
        self._held = []  # of a head: a health check that connects and leaves
        if self._receiving == _BODY:
            request = self._own(self._request)
            if request.body is not None:
                request.body.end()
            if not self._running:
                self._forget()
        if self._receiving != _COMPLETE:
            self._receiving = _IGNORED
        self.input_pending = False

    def phase(self) -> Phase:
        """What the peer still owes (see ``Codec.phase``)."""
        if self._receiving == _HEAD and self._held:
            return Phase.HEAD
        if self._receiving == _BODY and not self._running:
            return Phase.BODY
        return Phase.IDLE

    # -- sending -------------------------------------------------------------------------------

    def send_head(self, request: Request, status: str, headers: Headers) -> None:
        """Set the head; it leaves with the first body bytes or the end."""
        self._own(request)
        if self._sending != _NOTHING_SENT:
            raise RuntimeError("the head of this response was set already")
        self._response_head = b"".join(self._head_lines(status, headers))
        self._sending = _HEAD_SET

    def send_body(self, request: Request, chunk: bytes | FilePart) -> None:
        """Append a piece; without a head, ``chunk`` is raw output as it stands."""
        self._own(request)
        if self._sending == _HEAD_SET:
            if isinstance(chunk, bytes) and len(chunk) <= _COPY_BELOW:
                chunk = self._response_head + chunk
            else:
                self.output.append(self._response_head)
            self._response_head = b""
        self._sending = _BODY_SENT
        if chunk:
            self.output.append(chunk)

    def respond(self, request: Request, status: str, headers: Headers, body: bytes) -> None:
        """Give all of a response: where it is small, in one piece (see ``Codec.respond``)."""
        if self._sending != _NOTHING_SENT or len(body) > _COPY_BELOW:
            Codec.respond(self, request, status, headers, body)
            return
        self._own(request)
        pieces = self._head_lines(status, headers)
        pieces.append(body)
        self.output.append(b"".join(pieces))
        self._forget()

    def end(self, request: Request) -> None:
        """Complete the response: what is left to do is the connection's, the close."""
        self._own(request)
        if self._sending == _HEAD_SET:
            self.send_body(request, b"")
        self._forget()

    def abort(self, request: Request) -> None:
        """Close without more; who was promised a Content-Length can tell by it."""
        self._own(request)
        self._forget()

    def _forget(self) -> None:
        self._request = None
        self._sending = _ENDED
        self.active = 0
        if self._receiving != _COMPLETE:
            self._receiving = _IGNORED
            self.input_pending = True

    def _own(self, request: Request | None) -> Request:
        if request is None or request is not self._request:
            raise RuntimeError("this request is not in flight on this connection")
        return request
