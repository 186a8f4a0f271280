"""One connection: what is answered on it. ``Reception`` is what comes, and who reads."""

from __future__ import annotations

import logging
from typing import Any

from gateways.core.host import Host
from gateways.core.openfile import IS_SUPPORTED, OpenFile
from gateways.core.poller import READ_WRITE, WRITE, wait_for
from gateways.core.reception import Reception
from gateways.errors import ClientDisconnected, RequestTimeout
from gateways.protocols.base import CodecFactory, FilePart, Headers, Request
from gateways.wsgi.pages import error_page
from gateways.wsgi.runner import Response

logger = logging.getLogger("gateways.connection")

# Of a file, how much is handed to the codec at once: much, for what each costs, in whole pages.
_LONGEST_PART = 16 * 15 * 4096
_LEAST_PART = 131072  # more than the queue would join; less is as well read and sent
_HELD_TEXTS = 1024  # writes to wsgi.errors that wait for the next bytes of the response


class Connection(Reception):
    """A transport connection and what runs on it; it is the runner's ``Channel``.

    A request that has ended is left alone: a thread that comes back to it late, after it was
    answered in its stead, finds that nobody wants the response any more.
    """

    __slots__ = ("_errors",)

    def __init__(
        self,
        server: Host,
        fd: int,
        address: object,
        new_codec: CodecFactory,
        protocol: str = "fcgi",
    ) -> None:
        """For the core itself there is ``new_connection``."""
        self._begin(server, fd, address, new_codec, protocol)
        self._errors: list[tuple[Request, str]] = []  # written to wsgi.errors, not handed on yet

    # -- the runner's Channel ------------------------------------------------------------------

    def note_running(self, request: Any, response: Response | None) -> None:
        """See ``Channel.note_running``."""
        own: Request = request
        own.response = response

    def send_head(self, request: Any, status: str, headers: Headers) -> None:
        """Set the head of the response (see ``Channel.send_head``)."""
        own: Request = request
        with self.lock:
            if not own.ended:
                own.status = status
                self.codec.send_head(own, status, headers)

    def send_body(self, request: Any, chunk: bytes | FilePart) -> None:
        """Send a piece of the body; blocks while too much of it is unsent."""
        own: Request = request
        self.lock.acquire()
        try:
            self._check(own)
            if self._errors:
                self._hand_on_errors()
            own.sent += len(chunk)
            self.codec.send_body(own, chunk)
            self._flush()
            if not self._queue.size:
                return
            if self._queue.size <= self._server.config.write_buffer_bytes:
                if self.armed:
                    self._arm(READ_WRITE)
                return
        finally:
            self.lock.release()
        self._wait_to_write(own, self._server.config.write_buffer_bytes)

    def send_file(self, request: Any, fd: int, offset: int, size: int) -> int:
        """Have the kernel send ``size`` bytes of a file, and wait until it has them all (see
        ``Channel.send_file``).
        """
        own: Request = request
        sent = 0
        if not IS_SUPPORTED:
            return sent
        file = OpenFile(fd)
        try:
            while size - sent >= _LEAST_PART:
                part = FilePart(file, offset + sent, min(size - sent, _LONGEST_PART))
                if not file.reaches(part.offset, part.size):
                    break
                self.send_body(own, part)
                sent += part.size
            self._wait_to_write(own, 0)
        except ClientDisconnected:
            if file.error is None:
                raise
            own.failed = True  # it was not the peer that left
            raise file.error from None
        return sent

    def finish(self, request: Any, chunk: bytes) -> None:
        """Send the last piece and end the response; what the peer does not take at once is left
        to the poller."""
        own: Request = request
        with self.lock:
            if own.ended:
                return
            if self._errors:
                self._hand_on_errors()
            if own.aborted or self.broken:
                own.aborted = True
                self.codec.abort(own)
            else:
                if chunk:
                    own.sent += len(chunk)
                    self.codec.send_body(own, chunk)
                self.codec.end(own)
            self._ended(own)

    def respond(self, request: Any, status: str, headers: Headers, chunk: bytes) -> None:
        """Send all of a response (see ``Channel.respond``)."""
        own: Request = request
        self.lock.acquire()
        try:
            if own.ended:
                return
            own.status = status
            if self._errors:
                self._hand_on_errors()
            if own.aborted or self.broken:
                self.codec.send_head(own, status, headers)
                own.aborted = True
                self.codec.abort(own)
            else:
                own.sent += len(chunk)
                self.codec.respond(own, status, headers, chunk)
            self._ended(own)
        finally:
            self.lock.release()

    def abort(self, request: Any) -> None:
        """End a response that cannot be completed."""
        own: Request = request
        with self.lock:
            if own.ended:
                return
            if self._errors:
                self._hand_on_errors()
            own.aborted = own.aborted or self.broken
            own.failed = own.failed or not own.aborted
            self.codec.abort(own)
            self._ended(own)

    def send_errors(self, request: Any, text: str) -> None:
        """Send text to the web server's error log, with the next bytes of the response."""
        # Without the lock: this thread may hold it, where the garbage collector runs a finalizer
        # of the application, or a log handler writes to wsgi.errors, in the midst of it.
        if not request.ended and len(self._errors) < _HELD_TEXTS:
            self._errors.append((request, text))

    def _hand_on_errors(self) -> None:
        """Give the codec what was written to wsgi.errors; it leaves with the bytes that follow."""
        errors, self._errors = self._errors, []
        for request, text in errors:
            if not request.ended and not request.aborted and not self.broken:
                self.codec.send_errors(request, text)

    def _ended(self, request: Request) -> None:
        request.ended = True
        self.running -= 1
        for sink in (request.body, request.data):
            if sink is not None:  # the descriptor is not this request's to read any more
                sink.fail(ClientDisconnected("the response ended before the request body"))
        if self.codec.output:
            self._flush()
        if self.codec.queued and not self.broken:
            requests = self.codec.next_requests()
            self.running += len(requests)
            self._server.enqueue(self, requests)
        self._settle()

    def _check(self, request: Request) -> None:
        if self.broken or request.aborted or request.ended:
            raise ClientDisconnected("the web server no longer wants the response")
        if request.overdue is not None and request.sent and self._server.config.timeout_streaming:
            raise request.overdue  # not before the first bytes: these take the head along

    def _wait_to_write(self, request: Request, limit: int) -> None:
        """Block until the peer has taken all but ``limit`` bytes; meanwhile read what it sends.

        Some web servers send all of a request before they read any of its response.
        """
        config = self._server.config
        timeout = config.write_timeout_seconds or None
        ready = 0  # what could be sent at once was sent
        while True:
            with self.lock:
                self._check(request)
                if ready:
                    self._flush()
                    self._check(request)
                if self._queue.size <= limit:
                    return
                own = self._begin_to_wait(self.codec.multiplexes, self._is_timed)
                events = WRITE if self.eof or self.codec.queued else READ_WRITE
            ready = wait_for(self._fd, events, timeout, own)
            with self.lock:
                self._end_of_wait(own)
                if request.ended:
                    continue
                if not ready:
                    logger.info("%s: took nothing for %g seconds; closing", self.peer, timeout)
                    self._break()
                elif ready & ~WRITE and not (self.eof or self.broken or self.codec.queued):
                    self._receive_here()

    # -- requests that nobody will end, or not in time ------------------------------------------

    def overdue(self, request: Request, error: RequestTimeout, streaming: bool) -> bool:
        """The request has run for too long; False where it may go on: its response has begun.

        Whatever the application answers from here on is replaced by 504, and a thread that waits
        for the peer gets ``error``; one that runs must be interrupted by other means.
        """
        with self.lock:
            if request.ended or (request.status and not streaming):
                return False
            request.overdue = error
            for sink in (request.body, request.data):
                if sink is not None:
                    sink.fail(error)
            self._wake_waiting()
            return True

    def answer_late(self, request: Request) -> bool:
        """Answer 504 in the stead of a thread that does not react, or cut its response short.

        The request is then ended and ``abandoned``. False if it has ended by itself, or its thread
        is about to react.
        """
        with self.lock:
            if request.ended:
                return False
            if self.running == 1 and (self.self_polling or self._waiting):
                # It waits on the descriptor, which the end of its request might close: it will
                # come back by itself.
                self._wake_waiting()
                return False
            request.abandoned = True
            self._end_overdue(request)
            return True

    def end_overdue(self, request: Request) -> None:
        """Answer 504, or cut the response short, if the request has not ended by itself."""
        with self.lock:
            if not request.ended:
                self._end_overdue(request)

    def _end_overdue(self, request: Request) -> None:
        if self._errors:
            self._hand_on_errors()
        if request.aborted or self.broken or request.status:
            request.aborted = request.aborted or self.broken
            request.failed = not request.aborted
            self.codec.abort(request)
        else:
            request.status, headers, body = error_page(504)
            self.codec.send_head(request, request.status, headers)
            if request.variables.get("REQUEST_METHOD") != "HEAD":
                request.sent = len(body)
                self.codec.send_body(request, body)
            self.codec.end(request)
        self._ended(request)

    def lose(self, request: Request) -> None:
        """Nobody will end ``request``: what ran it has failed."""
        with self.lock:
            if not request.ended:
                request.ended = True
                self.running -= 1
            self._give_up()


def new_connection(
    server: Host, fd: int, address: object, new_codec: CodecFactory, protocol: str
) -> Connection:
    """As ``Connection(...)``, but without what a call of a type costs in the compiled build."""
    connection = Connection.__new__(Connection)
    connection._begin(server, fd, address, new_codec, protocol)
    connection._errors = []
    return connection
