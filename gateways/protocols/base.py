"""The contract between a codec and the core: everything that either may rely on is here.

A codec translates one wire format for one transport connection. It is given bytes and collects
the bytes that are owed to the peer in ``output``; it never does I/O and never blocks, and it is
not thread-safe: the connection holds a lock around every call. The core never looks inside a
request's private state, and a codec never learns what the application does.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Protocol

from gateways.errors import ProtocolError

Buffer = bytes | memoryview
Headers = list[tuple[str, str]]


class FilePart:
    """A piece of a response body that is still in a file: ``size`` bytes from ``offset``.

    A codec frames it without seeing it; ``file`` is the core's, which has the kernel send it.
    """

    __slots__ = ("file", "offset", "size")

    def __init__(self, file: Any, offset: int, size: int) -> None:
        self.file = file
        self.offset = offset
        self.size = size

    def __len__(self) -> int:
        return self.size

    def part(self, start: int, end: int) -> FilePart:
        """What lies between two positions in it, as a slice of bytes would."""
        return FilePart(self.file, self.offset + start, min(end, self.size) - start)


Output = list[Any]
"""Of bytes, memoryviews and, where a file is sent, FileParts."""


class Phase(enum.IntEnum):
    """What a connection waits for, as far as its codec can tell; deadlines depend on it."""

    IDLE = 0  # between requests: nothing of a next one has been seen
    HEAD = 1  # a request has begun, its variables are not complete
    BODY = 2  # the variables are complete, but too little of the body has come to run it


class BodySink(Protocol):
    """Where a codec puts the body of a request: written by the codec, read by the application."""

    def feed(self, data: bytes) -> None:
        """Append the next piece; what lies beyond the declared length is dropped."""

    def end(self) -> None:
        """The peer's stream has ended; if it was cut short, its reader gets an error."""

    def fail(self, error: BaseException) -> None:
        """No more will come: a reader that needs more gets ``error``."""

    def close(self) -> None:
        """The request has ended: give back what is held of its body."""


class Request:
    """One request in flight: what the core needs to run it, whatever protocol brought it.

    ``variables`` are the CGI variables, latin-1 ``str``; the environ builder completes this very
    dict. ``content_length`` is None where the peer did not say. ``refusal`` is set where the
    request must be answered with an error instead of being run. ``aborted`` turns True when the
    peer no longer wants the answer, ``ended`` when the core has answered it.

    What the core keeps of the answer: ``status`` is its status line, "" before the head is handed
    to the codec; ``sent`` counts the bytes of its body; ``failed`` says that it was cut short.
    ``overdue`` is set when the request has run for too long: then the application's own answer is
    not wanted any more. ``abandoned``: it was answered in the stead of a thread that did not react.
    ``response`` is the runner's, while it runs the application.
    """

    __slots__ = (
        "abandoned",
        "aborted",
        "body",
        "content_length",
        "data",
        "ended",
        "failed",
        "overdue",
        "refusal",
        "response",
        "sent",
        "status",
        "variables",
    )

    def __init__(self) -> None:
        self.set_up()

    def set_up(self) -> None:
        """``__init__`` for subclasses, to be called as C."""
        self.variables: dict[str, str] = {}
        self.content_length: int | None = None
        self.body: BodySink | None = None  # None: it has no body
        self.data: BodySink | None = None  # the second input of a FastCGI filter
        self.refusal: ProtocolError | None = None
        self.aborted = False
        self.ended = False
        self.status = ""
        self.sent = 0
        self.failed = False
        self.overdue: BaseException | None = None
        self.abandoned = False
        self.response: Any = None


NewBody = Callable[[Request, int | None], BodySink]
"""Makes the body of a request; its second argument is the length in bytes, None if unknown."""


class Codec:
    """The base of all codecs; one instance per transport connection.

    ``output`` holds the bytes owed to the peer, in order; the connection takes the list away and
    sends it. ``active`` counts requests begun and not yet ended by ``end`` or ``abort``,
    ``requests_seen`` all that were begun since the connection was opened. ``multiplexes``: the peer
    has shown that it may put a second request beside a running one. ``closing``: the connection
    must be closed once ``active`` is 0 and ``output`` is sent. ``input_pending``: the peer may
    still be sending what belongs to an ended request: linger before the close. ``queued`` counts
    requests that have come and may not run before an earlier one has ended.

    Those of the wire protocols are made of their settings, what makes a body, and the peer's
    address: ``functools.partial`` makes a ``CodecFactory`` of them that costs no frame.
    """

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        """``__init__`` for subclasses, to be called as C."""
        self.output: Output = []
        self.active = 0
        self.requests_seen = 0
        self.multiplexes = False
        self.closing = False
        self.input_pending = False
        self.queued = 0

    def receive_data(self, data: bytes) -> list[Request]:
        """Take bytes from the peer; return the requests that became ready to run.

        ``b""`` says that the peer has closed: requests in flight are marked aborted.
        Raises ProtocolError where the connection itself cannot go on.
        """
        raise NotImplementedError

    def send_head(self, request: Request, status: str, headers: Headers) -> None:
        """Set the head of the response; it leaves with the first body bytes or with the end."""
        raise NotImplementedError

    def send_body(self, request: Request, chunk: bytes | FilePart) -> None:
        """Append a non-empty piece of the response body; a large one is not copied."""
        raise NotImplementedError

    def send_errors(self, request: Request, text: str) -> None:
        """Append text to the web server's error log, where the protocol has a way to."""

    def end(self, request: Request) -> None:
        """Complete the response."""
        raise NotImplementedError

    def respond(self, request: Request, status: str, headers: Headers, body: bytes) -> None:
        """Give all of a response: what ``send_head``, ``send_body`` and ``end`` do together."""
        self.send_head(request, status, headers)
        if body:
            self.send_body(request, body)
        self.end(request)

    def abort(self, request: Request) -> None:
        """End a response that cannot be completed, so that the peer can tell, where it can."""
        raise NotImplementedError

    def body_wanted(self) -> None:
        """An application waits for more of a body; HTTP owes the peer a 100 (Continue) then."""

    def next_requests(self) -> list[Request]:
        """Those of them that may run now; asked after an ``end`` where ``queued`` is not 0."""
        return []

    def phase(self) -> Phase:
        """What the peer still owes; asked rarely, by the deadlines."""
        raise NotImplementedError


CodecFactory = Callable[[NewBody, object], Codec]
"""Makes the codec of a new connection; its second argument is the peer's socket address."""
