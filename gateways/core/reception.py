"""What a connection's peer sends: events, the codec, request bodies, and who reads.

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
from collections.abc import Callable

from gateways.core.host import Host
from gateways.core.poller import READ, READ_WRITE, WRITE, wait_for
from gateways.core.syscalls import receive
from gateways.core.transport import Transport
from gateways.errors import ClientDisconnected, ProtocolError
from gateways.protocols.base import Codec, CodecFactory, Phase, Request
from gateways.protocols.detect import FIRST_BYTES
from gateways.wsgi.body import Body

logger = logging.getLogger("gateways.connection")

# How long a stop spares a connection on which something went on just now: the web server may be
# sending its next request on it in this very moment, and would lose it.
SPARED_SECONDS = 1.0

_NOTHING: list[Request] = []


class Reception(Transport):
    """A connection without its answers; the base of ``Connection``."""

    __slots__ = (
        "_bodies",
        "_body",
        "_is_timed",
        "_plausible",
        "_protocol",
        "_server",
        "codec",
        "head_seen",
        "head_since",
        "running",
    )

    def _begin(
        self, server: Host, fd: int, address: object, new_codec: CodecFactory, protocol: str
    ) -> None:
        """In the place of ``__init__`` (see ``new_connection``)."""
        self._open(fd, address, server.poller, server.clock)
        self._server = server
        self._protocol = protocol
        # What the first byte may be, until it has come; None where the codec finds out.
        self._plausible = FIRST_BYTES.get(protocol)
        self._body: Body | None = None  # of the request begun last
        self._bodies = Bodies.__new__(Bodies)
        self._bodies.connection = self
        self.codec: Codec = new_codec(self._bodies, address)
        self._is_timed = server.is_timed
        self.running = 0  # requests handed out and not ended
        self.head_since = 0.0  # kept by the deadlines
        self.head_seen = 0

    # -- events --------------------------------------------------------------------------------

    def on_event(self, events: int) -> list[Request]:
        """The poller reports the descriptor; returns requests that are ready to run."""
        self.lock.acquire()  # on the request path cheaper than ``with``
        try:
            if not self.armed or self.closed:
                if self._reported and not self.closed:
                    self._disarm()  # we do not want to know now
                return _NOTHING  # else the event of an earlier owner of this descriptor
            self.armed = 0
            return self._bring_in(events)
        finally:
            self.lock.release()

    def on_accept(self) -> list[Request]:
        """Read at once: a web server has sent its request by the time it is accepted."""
        self.lock.acquire()
        try:
            return self._bring_in(READ)
        finally:
            self.lock.release()

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
            data = receive(self._fd)
        except OSError as error:
            logger.debug("%s: %s", self.peer, error)
            self.broken = True
            data = b""
        if data is None:
            return _NOTHING
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
            if codec.input_pending and not self.eof:
                self._close_gently()
            else:
                self._close()
        elif self.eof:
            self._close()
        else:
            self._arm(READ)

    def _may_close(self) -> bool:
        """Whether a kept connection that is idle now is to be closed by us."""
        server = self._server
        limit = server.max_requests_per_connection
        if limit and self.codec.requests_seen >= limit:
            return True
        # The codec tells the peer of it after a request. One that went on just now, and was told
        # nothing, may bring another one.
        return server.parting and self.codec.phase() is Phase.IDLE and not self._is_fresh()

    def _is_fresh(self) -> bool:
        return self._clock.now - self.since < SPARED_SECONDS

    def _new_body(self, length: int | None) -> Body:
        """A body that reads from this connection."""
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
                own = self._begin_to_wait(self.codec.multiplexes, self._is_timed)
                events = READ_WRITE if self._queue.size else READ
            ready = wait_for(self._fd, events, timeout, own)
            with self.lock:
                self._end_of_wait(own)

    def _flush(self) -> None:
        """Send what the codec owes the peer."""
        out = self.codec.output
        self.codec.output = []
        self._send(out)

    # -- the end -------------------------------------------------------------------------------

    def _break(self) -> None:
        """Give the connection up: requests in flight are aborted, their threads woken."""
        Transport._break(self)
        self.codec.receive_data(b"")
        self.codec.output.clear()

    def expire(self, reason: str) -> None:
        """A deadline has passed: close the connection, or break it where a request runs."""
        with self.lock:
            if not self.closed:
                logger.debug("%s: %s; closing the connection", self.peer, reason)
                self._give_up()

    def close_if_idle(self) -> None:
        """Close a kept connection on which nothing goes on; the server is stopping.

        One on which something went on just now may bring one more request; ask again.
        """
        with self.lock:
            if self.armed and not self._queue.size:
                if self._is_fresh() and not self.running:
                    return
                # All threads may be busy: what has come already is a request to be served.
                self.armed = 0
                self._server.enqueue(self, self._bring_in(READ))

    def give_away(self, hand_on: Callable[[int], bool]) -> bool:
        """Let another process go on with a kept connection on which nothing goes on.

        False where that does not take it now, so that there is no use in asking for the next one.
        """
        with self.lock:
            busy = self.running or self._queue.size or self.eof or self.lingering
            if not self.armed or busy or self.codec.phase() is not Phase.IDLE:
                return True
            # While nobody reads here: what comes from now on is the other's to read.
            if not hand_on(self._fd):
                return False
            self.armed = 0
            self.closed = True
            self._let_go()
            self._poller.forget(self._fd)
            os.close(self._fd)
            return True

    def _close_gently(self) -> None:
        """Everything is sent and nothing runs, but the peer still sends: linger, if that is on."""
        timeout = self._server.config.linger_timeout_seconds
        if not timeout:
            self._close()
            return
        if not self.lingering:
            self._linger(timeout)
        self._arm(READ)

    def _close(self) -> None:
        if not self.closed:
            self._let_go()
            Transport._close(self)

    def _let_go(self) -> None:
        """The connection is over: nothing holds it any more, but who still looks at it."""
        self._server.forget(self, self._fd)
        self._bodies.connection = None
        self._body = None


class Bodies:
    """Makes the bodies of one connection (a codec's ``NewBody``).

    A method of the connection would do, but then that and its codec would hold each other, and
    be left to the garbage collector.
    """

    __slots__ = ("connection",)

    connection: Reception | None  # until it is closed

    def __call__(self, request: Request, length: int | None) -> Body:
        """A body that reads from the connection."""
        connection = self.connection
        if connection is None:
            raise RuntimeError("a body of a connection that is closed")
        return connection._new_body(length)
