"""One connection: a descriptor, its codec and its send queue. The only place that reads or writes.

Who may do what. Every use of the codec, the queue and the descriptor happens under ``lock``, with
non-blocking calls, so any thread may bring in bytes or send some at any time without harm. Apart
from that, reading has an *owner*, so that no thread is woken for nothing:

- while ``armed``, the poller: whichever thread gets the event reads;
- else the one thread that runs the connection's only request. It reads when that request needs
  more of its body, and while it waits to write.

The poller becomes the owner before a request runs if the peer has shown that it multiplexes, and
``watch`` makes it the owner of a request that takes long, so that a peer that leaves is noticed.

The descriptor is closed by the last user: a connection that broke is shut down, which wakes the
threads that wait on it, and closed when no request is running on it any more.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from gateways.core.host import Host
from gateways.core.poller import READ, READ_WRITE, WRITE, wait_for
from gateways.core.transport import Transport
from gateways.errors import ClientDisconnected, ProtocolError
from gateways.protocols.base import Codec, CodecFactory, Headers, Phase, Request
from gateways.protocols.detect import FIRST_BYTES
from gateways.wsgi.body import Body

logger = logging.getLogger("gateways.connection")

_RECEIVE = 65536

_HELD_TEXTS = 1024  # writes to wsgi.errors that wait for the next bytes of the response

_NOTHING: list[Request] = []


class Connection(Transport):
    """A transport connection and what runs on it; it is the runner's ``Channel``."""

    __slots__ = (
        "_body",
        "_errors",
        "_plausible",
        "_protocol",
        "_server",
        "codec",
        "head_seen",
        "head_since",
        "running",
    )

    def __init__(
        self,
        server: Host,
        fd: int,
        address: object,
        new_codec: CodecFactory,
        protocol: str = "fcgi",
    ) -> None:
        super().__init__(fd, address, server.poller, server.clock)
        self._server = server
        self._protocol = protocol
        # What the first byte may be, until it has come; None where the codec finds out.
        self._plausible = FIRST_BYTES.get(protocol)
        self._body: Body | None = None  # of the request begun last
        self.codec: Codec = new_codec(self.new_body, address)
        self._errors: list[tuple[Request, str]] = []  # written to wsgi.errors, not handed on yet
        self.running = 0  # requests handed out and not ended
        self.head_since = 0.0  # kept by the deadlines
        self.head_seen = 0

    # -- events --------------------------------------------------------------------------------

    def on_event(self, events: int) -> list[Request]:
        """The poller reports the descriptor; returns requests that are ready to run."""
        with self.lock:
            if not self.armed or self.closed:
                return _NOTHING  # the event of an earlier owner of this descriptor
            self.armed = 0
            return self._bring_in(events)

    def on_accept(self) -> list[Request]:
        """Read at once: a web server has sent its request by the time it is accepted."""
        with self.lock:
            return self._bring_in(READ)

    def _bring_in(self, events: int) -> list[Request]:
        """Send and read, as far as it can be done now, and decide who watches from here on."""
        try:
            if self._queue.size:
                self._flush()
            requests = self._receive() if events & ~WRITE else _NOTHING
            self._settle()
        except Exception:
            self._give_up()
            raise
        if self._waiting:
            self._wake_waiting()
        return requests

    def _give_up(self) -> None:
        """Close, if need be when the last request has ended: nobody is left waiting."""
        self._break()
        self._settle()

    def watch(self) -> None:
        """Have the poller watch while a request runs for long, for a peer that leaves or aborts."""
        with self.lock:
            watched = self.armed or self.self_polling or self.closed or self.eof
            if self.running and not watched:
                events = 0 if self._too_much_unread() else READ
                if self._queue.size:
                    events |= WRITE
                if events:
                    self._arm(events)

    def _too_much_unread(self) -> bool:
        """Whether to stop reading, for back-pressure: an application does not read its body, or
        the next request waits for its turn already."""
        body = self._body
        if body is not None and body.unread > self._server.config.body_memory_bytes:
            return True
        return bool(self.codec.queued)

    # -- receiving, under the lock -------------------------------------------------------------

    def _receive(self) -> list[Request]:
        """Read once; returns requests that are ready to run, which the caller must see to."""
        try:
            data = os.read(self._fd, _RECEIVE)
        except BlockingIOError:
            return _NOTHING
        except OSError as error:
            logger.debug("%s: %s", self.peer, error)
            self.broken = True
            data = b""
        if not data:
            self.eof = True
        elif self.lingering:
            self.since = self._clock.now
            return _NOTHING
        self.since = self._clock.now
        if self._plausible and data:
            plausible, self._plausible = self._plausible, None
            if data[0] not in plausible and self._turn_away(data, self._protocol):
                return _NOTHING
        try:
            requests = self.codec.receive_data(data)
        except ProtocolError as error:
            if self.codec.requests_seen or not self._turn_away(data, self._protocol):
                logger.warning("%s: %s; closing the connection", self.peer, error)
                self._break()
            return _NOTHING
        if self.codec.output:
            self._flush()
        self.running += len(requests)
        return requests

    def _settle(self) -> None:
        """Decide who watches the descriptor now, or close it."""
        if self.closed:
            return
        if self.broken:
            if self.running == 0:
                self._close()
            return
        if self._queue.size:
            self._arm(WRITE if self.eof else READ_WRITE)
            return
        if self.lingering and not self.eof:
            self._arm(READ)
            return
        codec = self.codec
        if self.running:
            if codec.multiplexes and not self.eof:
                self._arm(READ)
            return  # else its thread owns the descriptor
        if codec.active == 0 and (codec.closing or self._may_close()):
            self._finish_connection()
        elif self.eof:
            self._close()
        else:
            self._arm(READ)

    def _may_close(self) -> bool:
        """Whether a kept connection that is idle now is to be closed by us."""
        server = self._server
        limit = server.config.max_requests_per_connection
        if limit and self.codec.requests_seen >= limit:
            return True
        return server.draining and self.codec.phase() is Phase.IDLE

    def new_body(self, request: Request, length: int | None) -> Body:
        """A body that reads from this connection (a codec's ``NewBody``)."""
        config = self._server.config
        self._body = Body(
            length,
            self.lock,
            self._wait_for_body,
            config.body_memory_bytes,
            config.body_spool_bytes,
        )
        return self._body

    def _receive_here(self) -> None:
        """Read in the thread of a running request, which waits for its body or to write."""
        requests = self._receive()
        if requests:
            self._server.enqueue(self, requests)
            if self.codec.multiplexes and not (self.eof or self.broken):
                self._arm(READ)
        if self._waiting:
            self._wake_waiting()

    def _wait_for_body(self, body: Body) -> None:
        """Bring in more of a body; called by its reader, without the lock.

        Fails the body when nothing has come for ``body_timeout_seconds``.
        """
        timeout = self._server.config.body_timeout_seconds or None
        ready = READ
        while True:
            with self.lock:
                if body.is_waited_for:
                    self.codec.body_wanted()
                if self._queue.size or self.codec.output:
                    self._flush()
                if body.is_waited_for and not (self.eof or self.broken):
                    self._receive_here()
                if not body.is_waited_for:
                    return
                if self.eof or self.broken:
                    body.fail(ClientDisconnected("the web server closed the connection"))
                    return
                if not ready:
                    message = f"no more of the request body came for {timeout:g} seconds"
                    body.fail(ClientDisconnected(message, 408))
                    return
                own = self._begin_to_wait(self.codec.multiplexes)
                events = READ_WRITE if self._queue.size else READ
            ready = wait_for(self._fd, events, timeout, own)
            with self.lock:
                self._end_of_wait(own)

    # -- sending: the runner's Channel ---------------------------------------------------------

    def send_head(self, request: Any, status: str, headers: Headers) -> None:
        """Set the head of the response (see ``Channel.send_head``)."""
        with self.lock:
            self.codec.send_head(request, status, headers)

    def send_body(self, request: Any, chunk: bytes) -> None:
        """Send a piece of the body; blocks while too much of it is unsent."""
        with self.lock:
            self._check(request)
            if self._errors:
                self._hand_on_errors()
            self.codec.send_body(request, chunk)
            self._flush()
            if self._queue.size <= self._server.config.write_buffer_bytes:
                if self._queue.size and self.armed:
                    self._arm(READ_WRITE)
                return
        self._wait_to_write(request)

    def finish(self, request: Any, chunk: bytes) -> None:
        """Send the last piece and end the response; what the peer does not take at once is left
        to the poller."""
        with self.lock:
            if self._errors:
                self._hand_on_errors()
            if request.aborted or self.broken:
                self.codec.abort(request)
            else:
                if chunk:
                    self.codec.send_body(request, chunk)
                self.codec.end(request)
            self._ended(request)

    def abort(self, request: Any) -> None:
        """End a response that cannot be completed."""
        with self.lock:
            if self._errors:
                self._hand_on_errors()
            self.codec.abort(request)
            self._ended(request)

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
        if self.broken or request.aborted:
            raise ClientDisconnected("the web server no longer wants the response")

    def _wait_to_write(self, request: Request) -> None:
        """Block until the peer has taken enough; meanwhile read what it sends.

        Some web servers send all of a request before they read any of its response.
        """
        config = self._server.config
        timeout = config.write_timeout_seconds or None
        while True:
            with self.lock:
                self._flush()
                self._check(request)
                if self._queue.size <= config.write_buffer_bytes:
                    return
                own = self._begin_to_wait(self.codec.multiplexes)
                events = WRITE if self.eof or self.codec.queued else READ_WRITE
            ready = wait_for(self._fd, events, timeout, own)
            with self.lock:
                self._end_of_wait(own)
                if not ready:
                    logger.info("%s: took nothing for %g seconds; closing", self.peer, timeout)
                    self._break()
                elif ready & ~WRITE and not (self.eof or self.broken or self.codec.queued):
                    self._receive_here()

    def _flush(self) -> None:
        """Send what the codec owes the peer."""
        out = self.codec.output
        self.codec.output = []
        self._send(out)

    # -- the end -------------------------------------------------------------------------------

    def _break(self) -> None:
        """Give the connection up: requests in flight are aborted, their threads woken."""
        super()._break()
        self.codec.receive_data(b"")
        self.codec.output.clear()

    def expire(self, reason: str) -> None:
        """A deadline has passed: close the connection, or break it where a request runs."""
        with self.lock:
            if not self.closed:
                logger.debug("%s: %s; closing the connection", self.peer, reason)
                self._give_up()

    def lose(self, request: Request) -> None:
        """Nobody will end ``request``: what ran it has failed."""
        with self.lock:
            if not request.ended:
                request.ended = True
                self.running -= 1
            self._give_up()

    def close_if_idle(self) -> None:
        """Close a kept connection on which nothing goes on; the server is stopping."""
        with self.lock:
            if self.armed and not self._queue.size:
                # All threads may be busy: what has come already is a request to be served.
                self.armed = 0
                self._server.enqueue(self, self._bring_in(READ))

    def _finish_connection(self) -> None:
        """Everything is sent and nothing runs: close, or linger while the peer still sends."""
        timeout = self._server.config.linger_timeout_seconds
        if self.codec.input_pending and not self.eof and timeout:
            if not self.lingering:
                self._linger(timeout)
            self._arm(READ)
        else:
            self._close()

    def _close(self) -> None:
        if not self.closed:
            self._server.forget(self, self._fd)
            super()._close()
