"""Kept connections that move house: from a process that retires to one that stays.

To close an idle one would be to lose what the peer is sending on it in that very moment. An idle
connection has no state but its descriptor, so that goes to another process, which finds there
whatever has come meanwhile.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from gateways.core.acceptor import Acceptor
from gateways.core.connection import Connection
from gateways.core.poller import WRITE, wait_for
from gateways.protocols.base import Request

_GIVE_SECONDS = 0.1  # the main thread waits so long at most, at each tick
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

HandOn = Callable[[int], bool]
"""Gives a descriptor to another process; False where that is not possible now."""


class Keeping:
    """Where processes that share their listening sockets leave connections for each other.

    It is a queue in the kernel, which all of them have inherited: whoever is free takes one, as
    from a listening socket.
    """

    def __init__(self, giving: socket.socket, taking: socket.socket) -> None:
        self.giving = giving
        self.taking = taking
        giving.setblocking(False)
        taking.setblocking(False)

    @classmethod
    def new(cls) -> Keeping:
        """One with nothing in it."""
        return cls(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))

    @classmethod
    def adopt(cls, descriptors: Sequence[int]) -> Keeping:
        """The one whose ``descriptors()`` were inherited."""
        giving, taking = descriptors
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return cls(socket.socket(fileno=giving), socket.socket(fileno=taking))

    def descriptors(self) -> list[int]:
        """What another program has to inherit."""
        return [self.giving.fileno(), self.taking.fileno()]

    def give(self, fd: int) -> bool:
        """Leave a connection for another process (a ``HandOn``)."""
        if not wait_for(self.giving.fileno(), WRITE, _GIVE_SECONDS):
            return False
        try:
            socket.send_fds(self.giving, [b"\0"], [fd])
        except OSError:
            return False  # another process was quicker, or too many are on their way
        return True

    def take(self) -> int:
        """A connection that another process has left; -1 if there is none."""
        try:
            _, descriptors, _, _ = socket.recv_fds(self.taking, 1, 1, _FLAGS)
        except OSError:
            return -1
        return descriptors[0] if descriptors else -1

    def close(self) -> None:
        """Close both ends in this process."""
        self.giving.close()
        self.taking.close()


class Adopter:
    """Serves kept connections of other processes: an ``Acceptor`` without a listening socket."""

    def __init__(self, keeping: Keeping | None, acceptors: Sequence[Acceptor]) -> None:
        self._keeping = keeping
        # Of the same address, or of all addresses on the same port; asked for while they are open.
        self._acceptors: dict[tuple[int, object], Acceptor] = {}
        for acceptor in reversed(acceptors):
            sock = acceptor.listener.socket
            name = sock.getsockname()
            self._acceptors[sock.family, _port(name)] = acceptor
            self._acceptors[sock.family, name] = acceptor

    def fileno(self) -> int:
        """Readable when there is one."""
        return -1 if self._keeping is None else self._keeping.taking.fileno()

    def accept(self) -> tuple[Connection | None, list[Request]]:
        """Take one in (see ``Acceptor.accept``)."""
        fd = -1 if self._keeping is None else self._keeping.take()
        return (None, []) if fd < 0 else self.adopt(fd)

    def adopt(self, fd: int) -> tuple[Connection | None, list[Request]]:
        """Serve this one as the acceptor would that has accepted it."""
        sock = socket.socket(fileno=fd)
        try:
            family, name, peer = sock.family, sock.getsockname(), sock.getpeername()
            alike = self._acceptors.get((family, _port(name)))
            acceptor = self._acceptors.get((family, name), alike)
        except OSError:
            acceptor = None  # the peer has left on the way
        finally:
            sock.detach()
        if acceptor is None:
            os.close(fd)
            return None, []
        return acceptor.take(fd, peer)

    def close(self) -> None:
        """Take no more."""
        if self._keeping is not None:
            self._keeping.taking.close()


def _port(name: object) -> object:
    return name[1] if isinstance(name, tuple) else name
