"""What the supervisor knows of its processes: generations, their workers and templates.

A generation is one state of the application's code and configuration. Its workers are forked from
the supervisor itself or, with ``preload``, from the generation's template, which has loaded the
application once; the supervisor never does, so a reload finds nothing stale in it.
"""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from gateways.config import Config
from gateways.core.keeping import Keeping
from gateways.core.listener import Listener
from gateways.core.server import Server
from gateways.core.slot import Slot
from gateways.process.channel import FORK, QUIT, Channel
from gateways.process.control import Control
from gateways.process.notify import Notifier
from gateways.process.pidfile import PidFile
from gateways.process.privileges import Privileges
from gateways.process.scoreboard import Scoreboard
from gateways.values import Value
from gateways.wsgi.mounts import describe

_AT_ONCE_SECONDS = 1.0


class Spec(Value, kw_only=True):
    """What the workers of a generation are made from."""

    generation: int
    reference: str
    config: Config
    privileges: Privileges
    listeners: Sequence[Listener]
    board: Scoreboard
    keeping: Keeping
    supervisor: int  # its pid
    leftovers: Sequence[Callable[[], None]] = ()  # each removes a file that the supervisor made
    make_server: Callable[..., Server] | None = None  # a script's, which has the application

    @property
    def applications(self) -> str:
        """What is served, for people."""
        return describe(self.reference, self.config.mounts)


class State(enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"  # loads the application
    READY = "ready"  # waits for its generation
    SERVING = "serving"
    LEAVING = "leaving"  # answers what it has, accepts no more


class Member:
    """A process of a generation, as the supervisor sees it."""

    def __init__(self, generation: Generation, channel: Channel, pid: int, now: float) -> None:
        self.generation = generation
        self.channel = channel
        self.pid = pid  # 0 until it is known
        self.state = State.STARTING
        self.since = now  # in this state
        self.deadline = 0.0  # when it is killed, 0.0: never
        self.killed = ""  # why it was, "" if it was not
        self.why = ""  # it leaves
        self.hangs = False  # as a whole, so it cannot be asked to leave
        self.shows_stacks = False  # it was told to write into the log where it hangs

    def become(self, state: State, now: float, deadline: float = 0.0) -> None:
        """Enter a state, which may have to end in time."""
        self.state = state
        self.since = now
        self.deadline = deadline

    def kill(self, number: int, reason: str) -> None:
        """Send a signal to a process that is not waited for any more."""
        self.killed = self.killed or reason
        self.deadline = time.monotonic() + _AT_ONCE_SECONDS
        self.channel.send(QUIT)
        template = self.generation.template
        # One without a pid hangs before the template has forked it, whose end closes its line, too.
        pid = self.pid or (template.pid if template is not None else 0)
        if pid:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # it is about to be reaped


class Worker(Member):
    """A process that serves, or will."""

    def __init__(
        self, generation: Generation, channel: Channel, pid: int, now: float, row: int
    ) -> None:
        super().__init__(generation, channel, pid, now)
        self.row = row
        self.asked = 0  # requests it had answered when it was last looked at
        self.idle_since = now
        self.accepts = True  # connections

    @property
    def number(self) -> int:
        """What people call it: from 1, unique among those that live."""
        return self.row + 1

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"

    def slots(self) -> list[Slot]:
        """What its threads do, or did last."""
        return self.generation.board.slots(self.row)

    def busy(self) -> int:
        """How many of its threads run a request."""
        return self.generation.board.busy(self.row)


class Template(Member):
    """The process from which the workers of a generation are forked."""

    def __str__(self) -> str:
        return f"the template (pid {self.pid})"

    def fork(self, row: int, theirs: Channel) -> None:
        """Have it fork a worker, which gets ``theirs``."""
        self.channel.send(FORK, str(row), descriptor=theirs.fileno())


class Generation:
    """One state of code and configuration."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.number = spec.generation
        self.config = spec.config
        self.board = spec.board
        self.template: Template | None = None
        self._rows = set(range(spec.board.rows))

    def take_row(self) -> int | None:
        """A free row of the scoreboard, the lowest; None if there is none."""
        if not self._rows:
            return None
        row = min(self._rows)
        self.take(row)
        return row

    def take(self, row: int) -> None:
        """Take this very row."""
        self._rows.discard(row)
        self.board.clear(row)

    def give_back(self, row: int) -> None:
        """The worker of that row is gone."""
        self._rows.add(row)


class Plan(Value, frozen=False, kw_only=True):
    """What a supervisor is to run."""

    reference: str
    config: Config
    listeners: Sequence[Listener]
    directory: str  # where it was started
    notifier: Notifier
    keeping: Keeping
    pidfile: PidFile | None = None
    control: Control | None = None
    leftovers: Sequence[Callable[[], None]] = ()
    reconfigure: Callable[[], tuple[str, Config]] | None = None
    config_files: Sequence[str] = ()  # which that reads, if they are there
    stops_on_usr1: bool = False
    started: Callable[[], None] = lambda: None  # told when the application serves
    failed: Callable[[int, str], None] = lambda status, text: None  # or that it will not
    before: dict[str, Any] | None = None  # the state of the program that this one replaces
    # Of a script that has loaded the application: what was forked from it cannot be reloaded.
    make_server: Callable[..., Server] | None = None

    @property
    def applications(self) -> str:
        """What is served, for people."""
        return describe(self.reference, self.config.mounts)
