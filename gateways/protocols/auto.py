"""A codec for any protocol: the first bytes of a connection tell which one takes it over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar, overload

from gateways.errors import ProtocolError
from gateways.protocols.base import Buffer, Codec, CodecFactory, Headers, NewBody, Phase, Request
from gateways.protocols.detect import Undecided, recognise

_T = TypeVar("_T")


class _Delegated(Generic[_T]):
    """An attribute of the real codec; before there is one, of ``Auto`` itself."""

    def __init__(self, before: Callable[[], _T]) -> None:
        self._before = before

    def __set_name__(self, owner: type[Auto], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, auto: None, owner: type[Auto]) -> _Delegated[_T]: ...

    @overload
    def __get__(self, auto: Auto, owner: type[Auto]) -> _T: ...

    def __get__(self, auto: Auto | None, owner: type[Auto]) -> _Delegated[_T] | _T:
        if auto is None:
            return self
        if auto.codec is None:
            value: _T = auto.__dict__.setdefault(self._name, self._before())
        else:
            value = getattr(auto.codec, self._name)
        return value

    def __set__(self, auto: Auto, value: _T) -> None:
        if auto.codec is None:
            auto.__dict__[self._name] = value
        else:
            setattr(auto.codec, self._name, value)


class Auto:
    """The codec of one connection (see ``gateways.protocols.base.Codec``).

    ``factories`` are the protocols that are allowed, and what makes their codecs.
    """

    output: _Delegated[list[Buffer]] = _Delegated(list)
    active = _Delegated(int)
    requests_seen = _Delegated(int)
    multiplexes = _Delegated(bool)
    closing = _Delegated(bool)
    input_pending = _Delegated(bool)
    queued = _Delegated(int)

    def __init__(
        self, new_body: NewBody, address: object, factories: Mapping[str, CodecFactory]
    ) -> None:
        self._new_body = new_body
        self._address = address
        self._factories = factories
        self.codec: Codec | None = None  # once it is known
        self._held = b""  # what has come; a few bytes at most, as recognise() says

    def receive_data(self, data: bytes) -> list[Request]:
        """Take bytes; hand them on once it is known to whom (see ``Codec.receive_data``)."""
        if self.codec is not None:
            return self.codec.receive_data(data)
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
        held, self._held = self._held, b""
        self.codec = self._factories[name](self._new_body, self._address)
        return self.codec.receive_data(held)

    def phase(self) -> Phase:
        """What the peer still owes (see ``Codec.phase``)."""
        if self.codec is not None:
            return self.codec.phase()
        return Phase.HEAD if self._held else Phase.IDLE

    def send_head(self, request: Request, status: str, headers: Headers) -> None:
        """Set the head of the response."""
        self._real().send_head(request, status, headers)

    def send_body(self, request: Request, chunk: bytes) -> None:
        """Append a piece of the response body."""
        self._real().send_body(request, chunk)

    def send_errors(self, request: Request, text: str) -> None:
        """Append text to the web server's error log."""
        self._real().send_errors(request, text)

    def end(self, request: Request) -> None:
        """Complete the response."""
        self._real().end(request)

    def abort(self, request: Request) -> None:
        """End a response that cannot be completed."""
        self._real().abort(request)

    def body_wanted(self) -> None:
        """An application waits for more of a body."""
        self._real().body_wanted()

    def next_requests(self) -> list[Request]:
        """Those that may run now."""
        return self._real().next_requests()

    def _real(self) -> Codec:
        if self.codec is None:
            raise RuntimeError("no request is in flight on this connection")
        return self.codec
