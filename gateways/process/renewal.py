"""A process that serves alone becomes its own successor: the same command, by exec in its place.

Its process id and its sockets stay, so whoever started it sees nothing, and what waits in the
backlog meanwhile is served by the new image. That starts as any start does: it loads the
application, and leaves with an exit status where it cannot.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

from gateways.core.descriptors import inheritable_descriptors
from gateways.core.listener import Listener
from gateways.process.handover import leap
from gateways.process.pidfile import PidFile

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Renewal:
    """What the new image takes along. To be made before the application can change anything."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        pidfile: PidFile | None,
        before: dict[str, Any] | None,
    ) -> None:
        """``before`` is what this image has taken along itself, if it is not the first one."""
        self._listeners = listeners
        self._pidfile = pidfile
        self._environ = dict(os.environ)
        self._directory = before["directory"] if before else _logical_directory()
        self._passed = before["passed"] if before else inheritable_descriptors()
        self.generation: int = before["generation"] + 1 if before else 1
        self._held: list[Listener] = []
        self.connections: list[int] = []  # descriptors of idle ones that are handed on
        self.taken: list[int] = list(before["connections"]) if before else []  # to be served here
        for descriptor in self.taken:
            os.set_inheritable(descriptor, False)

    def hold(self) -> None:
        """Keep the addresses: the server is about to close its listeners."""
        self._held = [listener.hold() for listener in self._listeners]

    def keep(self, fd: int) -> bool:
        """Take a connection along (a ``core.keeping.HandOn``)."""
        try:
            self.connections.append(os.dup(fd))
        except OSError:
            return False  # there are too many; each that is taken makes room for another one
        return True

    def let_go(self) -> None:
        """There will be no successor; or this is a child that the application has forked."""
        for listener in self._held:
            listener.close()
        self._held = []
        while self.connections:
            os.close(self.connections.pop())

    def run(self) -> None:
        """Become the new image, after ``hold``; returns only where that fails, after saying so."""
        state = {
            "alone": True,
            "generation": self.generation,
            "listeners": [listener.hand_over() for listener in self._held],
            "connections": self.connections,
            "directory": self._directory,
            "passed": self._passed,
            "pidfile": None if self._pidfile is None else self._pidfile.fileno(),
        }
        ours = [*(listener.socket.fileno() for listener in self._held), *self.connections]
        if self._pidfile is not None:
            ours.append(self._pidfile.fileno())
        # The application is done with what it has opened, and timers outlive an exec.
        for descriptor in inheritable_descriptors():
            if descriptor not in self._passed:
                os.set_inheritable(descriptor, False)
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        leap(state, ours, self._directory, self._environ)


def _logical_directory() -> str:
    """The working directory, by the name that the shell has for it: of a symbolic link that a
    deployment points elsewhere, the renewed process is to see where it points then."""
    directory = os.getcwd()
    named = os.environ.get("PWD", "")
    try:
        if os.path.isabs(named) and os.path.samefile(named, directory):
            return named
    except OSError:
        pass  # a name of long ago
    return directory
