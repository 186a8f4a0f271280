"""A ``Channel`` that keeps what it is told, bodies and files for applications to meet, and a run.

The channel holds its user to the contract as a codec does: whatever a web server could make no
sense of is an AssertionError at once, not a strange recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gateways.errors import ClientDisconnected
from gateways.wsgi.channel import Channel
from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.headers import Headers
from gateways.wsgi.pages import ErrorResponder
from gateways.wsgi.runner import Application, run_application

GET = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/page",
    "QUERY_STRING": "",
    "SERVER_NAME": "example.test",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
}


class FakeChannel(Channel):
    """Records what it is told, in order; the peer leaves after ``leaves_after`` body pieces.

    ``events`` holds ("head", status, headers), ("body", bytes), ("finish", bytes), ("abort",) and
    ("errors", text). Errors that are told after the end are in ``late``.
    """

    def __init__(self, leaves_after: int | None = None) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.request = object()
        self.ended = False
        self.late: list[str] = []
        self._leaves_after = leaves_after

    def send_head(self, request: Any, status: str, headers: Headers) -> None:
        """Set the head, once, before any body; it is encoded here, as a codec would."""
        self._check(request)
        assert not self.of("head"), "the head is set twice"
        for text in (status, *(part for header in headers for part in header)):
            text.encode("latin-1")
        self.events.append(("head", status, list(headers)))

    def send_body(self, request: Any, chunk: bytes) -> None:
        """Take a piece, or be gone."""
        self._check(request)
        assert self.of("head"), "a body before its head"
        assert isinstance(chunk, bytes)
        assert chunk, "an empty piece would end the stream"
        if self._leaves_after is not None and len(self.of("body")) >= self._leaves_after:
            raise ClientDisconnected("the peer has left")
        self.events.append(("body", chunk))

    def finish(self, request: Any, chunk: bytes) -> None:
        """The end, with the last piece."""
        self._check(request)
        assert self.of("head"), "an end without a head"
        assert isinstance(chunk, bytes)
        self.ended = True
        self.events.append(("finish", chunk))

    def abort(self, request: Any) -> None:
        """The visible end of a response that was cut short."""
        self._check(request)
        self.ended = True
        self.events.append(("abort",))

    def send_errors(self, request: Any, text: str) -> None:
        """The web server's error log; unlike the rest it may be told after the end."""
        assert request is self.request
        assert isinstance(text, str)
        if self.ended:
            self.late.append(text)
        else:
            self.events.append(("errors", text))

    def _check(self, request: Any) -> None:
        assert request is self.request, "not the token that was given"
        assert not self.ended, "the response has ended already"

    # -- what it amounts to --------------------------------------------------------------------

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        """The events of one kind."""
        return [event for event in self.events if event[0] == kind]

    @property
    def kinds(self) -> list[str]:
        """The events without their content."""
        return [event[0] for event in self.events]

    @property
    def status(self) -> str:
        """The status of the response."""
        return str(self.of("head")[0][1])

    @property
    def headers(self) -> Headers:
        """The headers of the response."""
        return list(self.of("head")[0][2])

    @property
    def body(self) -> bytes:
        """All of the body."""
        return b"".join(event[1] for event in self.events if event[0] in ("body", "finish"))

    @property
    def aborted(self) -> bool:
        """Whether the response was ended as one that is cut short."""
        return bool(self.of("abort"))

    @property
    def errors(self) -> str:
        """All that reached the web server's error log."""
        return "".join(event[1] for event in self.of("errors"))


def answer(
    application: Application,
    *,
    method: str = "GET",
    body: object = None,
    channel: FakeChannel | None = None,
    debug: bool = False,
    respond: ErrorResponder | None = None,
    builder: EnvironBuilder | None = None,
    variables: Mapping[str, str] | None = None,
) -> FakeChannel:
    """Run one request through ``application``; returns the channel when it is over."""
    fake = channel or FakeChannel()
    way: Channel = fake
    run_application(
        application,
        builder or EnvironBuilder(),
        way,
        fake.request,
        {**GET, "REQUEST_METHOD": method, **(variables or {})},
        body,
        debug,
        respond,
    )
    return fake


def app(
    returned: object = (),
    headers: object = (),
    status: object = "200 OK",
) -> Application:
    """An application that says what it is told to; a callable is called for what to return."""
    given = list(headers) if isinstance(headers, tuple) else headers

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response(status, given)
        return returned() if callable(returned) else returned

    return application


class Counted:
    """An iterable that counts its ``close`` calls; its iterator is another object, with its own.

    ``chunks`` are yielded one by one; an exception among them is raised.
    """

    def __init__(
        self, chunks: Iterable[object] = (), error_in_close: BaseException | None = None
    ) -> None:
        self.chunks = list(chunks)
        self.closed = 0
        self.iterator_closed = 0
        self.taken = 0
        self._error_in_close = error_in_close

    def __iter__(self) -> CountedIterator:
        return CountedIterator(self)

    def close(self) -> None:
        """Count, and fail if told to."""
        self.closed += 1
        if self._error_in_close is not None:
            raise self._error_in_close


class CountedIterator:
    """What ``iter`` makes of ``Counted``."""

    def __init__(self, parent: Counted) -> None:
        self._parent = parent
        self._left: Iterator[object] = iter(parent.chunks)

    def __iter__(self) -> CountedIterator:
        return self

    def __next__(self) -> Any:
        chunk = next(self._left)
        self._parent.taken += 1
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def close(self) -> None:
        """PEP 3333: this is not the object whose ``close`` counts."""
        self._parent.iterator_closed += 1


class FailingBody:
    """A ``wsgi.input`` whose reads fail."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        """Fail."""
        raise self._error
