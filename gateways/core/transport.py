"""A descriptor with its send queue: who watches it, sending, breaking, lingering and closing.

What runs on it is ``Connection``'s. Everything here happens under ``lock`` and never blocks, but
for ``wait_for``, which the caller is in without the lock.
"""

from __future__ import annotations

import logging
import os
import socket

from gateways.core.clock import Clock
from gateways.core.descriptors import borrowed
from gateways.core.poller import Poller, Waker
from gateways.core.sendqueue import new_queue
from gateways.core.syscalls import close, new_lock, shutdown
from gateways.protocols.base import Output
from gateways.protocols.detect import mismatch
from gateways.wsgi.channel import Channel

logger = logging.getLogger("gateways.connection")

# A peer that lingers may keep sending, but not for ever: so many linger timeouts at most.
_LINGER_ROUNDS = 12
_TURNED_AWAY_SECONDS = 5.0
# What the kernel takes of a long response over a Unix socket: twice its usual size, and the most
# that anybody may ask for unless net.core.wmem_max was raised.
_SEND_BUFFER_BYTES = 425984

_forked: list[int] = []  # not empty once this process has forked (a subprocess does not count)
os.register_at_fork(
    after_in_parent=lambda: _forked.extend([] if _forked else [1]),
    after_in_child=_forked.clear,  # as nearly all workers are: it has forked nobody
)


class Transport(Channel):
    """One connected, non-blocking socket; the base of ``Connection``."""

    __slots__ = (
        "_address",
        "_clock",
        "_fd",
        "_is_wide",
        "_known",
        "_poller",
        "_queue",
        "_reported",
        "_waiting",
        "armed",
        "broken",
        "closed",
        "eof",
        "linger_until",
        "lingering",
        "lock",
        "self_polling",
        "since",
    )

    def _open(self, fd: int, address: object, poller: Poller, clock: Clock) -> None:
        """In the place of ``__init__`` (see ``new_connection``)."""
        self._fd = fd
        self._address = address
        self._poller = poller
        self._clock = clock
        self._queue = new_queue()
        self._waiting: list[Waker] = []  # of threads that wait while the poller is the owner
        self._is_wide = False  # the kernel has been asked to take more at once
        self._known = False  # the poller has seen the descriptor before
        self._reported = 0  # the events that the poller reports even if we are not armed
        self.lock = new_lock()
        self.armed = 0  # the events for which the poller owns the descriptor
        self.self_polling = False  # the thread of the only request watches the descriptor itself
        self.eof = False  # the peer will send no more
        self.broken = False  # nothing can be sent any more
        self.closed = False
        self.lingering = False  # all is sent; what still comes is dropped
        self.linger_until = 0.0
        self.since = clock.now  # the last time that bytes moved

    @property
    def unsent(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._queue.size

    @property
    def peer(self) -> str:
        """The peer as log lines name it."""
        if isinstance(self._address, tuple):
            host, port = self._address[:2]
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return "a Unix peer"

    # -- who watches ---------------------------------------------------------------------------

    def _arm(self, events: int) -> None:
        """Make the poller the owner of the descriptor."""
        if self.armed & events != events:
            self.armed = events
            if self._reported != events or self._poller.is_shared:
                self._reported = self._poller.arm(self._fd, events, self._known)
                self._known = True

    def _disarm(self) -> None:
        """Have the poller leave the descriptor alone."""
        self.armed = 0
        self._reported = self._poller.arm(self._fd, 0, self._known)

    def _begin_to_wait(self, is_shared: bool, may_be_woken: bool) -> Waker | None:
        """Prepare to wait on the descriptor; returns what else to wait for.

        A thread never counts on another one to read for it: all of them may be waiting. If it is
        the only one on this connection, it takes the descriptor back from the poller; if there
        are others (``is_shared``), whoever reads first wakes the rest. ``may_be_woken`` says that
        somebody may want to end even the wait of the only one.
        """
        if self.armed and not is_shared:
            self._disarm()
        if not self.armed:
            self.self_polling = True
            if not may_be_woken:
                return None
        own = self._poller.waker()
        self._waiting.append(own)
        return own

    def _end_of_wait(self, own: Waker | None) -> None:
        # Where several wait the poller watches, so nobody else can have set this.
        self.self_polling = False
        if own in self._waiting:
            self._waiting.remove(own)

    def _wake_waiting(self) -> None:
        for waiting in self._waiting:
            waiting.wake()

    # -- sending and the end -------------------------------------------------------------------

    def _send(self, out: Output) -> None:
        """Send what is queued and ``out``, as far as the peer takes it."""
        if self.broken:
            return
        try:
            self._queue.send(self._fd, out)
            if self._queue.size and not self._is_wide and self._widen():
                self._queue.send(self._fd, [])
        except OSError as error:
            # The peer is gone: normal where it has what it wanted, so no more than a debug line.
            logger.debug("%s: %s", self.peer, error)
            self._break()
        self.since = self._clock.now

    def _widen(self) -> bool:
        """Have the kernel take more of a long response, so that who sends it is woken less often;
        whether it does. TCP sees to that by itself.
        """
        self._is_wide = True
        if isinstance(self._address, tuple):
            return False
        with borrowed(self._fd) as sock:
            try:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= _SEND_BUFFER_BYTES:
                    return False
                # Linux doubles what it is told, for its own overhead.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES // 2)
            except OSError as error:
                logger.debug("%s: the send buffer stays as it is: %s", self.peer, error)
                return False
        return True

    def _break(self) -> None:
        """Give the connection up; threads that wait on it wake and find it broken."""
        self.broken = True
        self.eof = True
        self._queue.clear()
        self._shutdown(socket.SHUT_RDWR)
        self._wake_waiting()

    def _linger(self, timeout: float) -> None:
        """End our direction, and give the peer time to end its own.

        Closing a socket with unread bytes resets it, and the peer would lose the response.
        """
        self.lingering = True
        self.since = self._clock.now
        self.linger_until = self.since + _LINGER_ROUNDS * timeout
        self._shutdown(socket.SHUT_WR)

    def _turn_away(self, data: bytes, protocol: str) -> bool:
        """Whether the peer speaks another protocol: it is told so, in that one."""
        found = mismatch(data, protocol)
        if found is None:
            return False
        remedy, answer = found
        logger.warning("%s: %s", self.peer, remedy)
        if answer:
            self._send([answer])
        if self._queue.size or not answer:
            self._break()
        elif not self.broken:
            self._linger(_TURNED_AWAY_SECONDS)
        return True

    def _shutdown(self, how: int) -> None:
        try:
            shutdown(self._fd, how)
        except OSError:
            pass  # it is gone already

    def _close(self) -> None:
        """Close the descriptor; nobody may wait on it any more."""
        self.closed = True
        if self._queue.size:
            self._queue.clear()  # it may hold files, and we may be garbage for long
        if self._known:
            self._poller.forget(self._fd)
        if _forked:  # a child may hold the descriptor too: the peer must see the end all the same
            self._shutdown(socket.SHUT_WR)
        close(self._fd)
