"""The part of a server that its connections and threads share, and that every request passes.

``Server`` adds what happens seldom. No lock guards what is here: a dict, a set and a deque take
single changes of any thread, and the rest is plain values.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Sequence
from typing import Any

from gateways.config import Config
from gateways.core.clock import Clock
from gateways.core.gate import Gate
from gateways.core.poller import Poller
from gateways.core.recorder import Recorder
from gateways.core.threads import threads_of_process
from gateways.errors import LimitExceeded
from gateways.protocols.base import Request
from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.runner import Application


class Host:
    """A server, as seen from below.

    ``handlers`` has who sees to an event, by descriptor; ``ready`` the requests that wait for a
    thread. ``draining``: it accepts no more; ``parting``: it closes connections when they are idle;
    ``stopping``: its threads leave. ``run_request``, if there is one, stands in for running the
    application. ``observers`` are those of ``core.observer``.
    """

    def __init__(
        self,
        application: Application,
        config: Config,
        builder: EnvironBuilder,
        max_connections: int,
        poller: Poller | None,
        run_request: Callable[[Any, Request], None] | None,
        observers: Sequence[Any],
        recorder: Recorder | None,
    ) -> None:
        self.application = application
        self.config = config
        self.debug = config.debug
        self.is_timed = config.timeout_seconds > 0
        self.max_requests_per_connection = config.max_requests_per_connection
        self.builder = builder
        self.max_connections = max_connections
        self.run_request = run_request
        self.observers = tuple(observers)
        self.recorder = recorder
        self.threads = threads_of_process()
        self.poller: Poller = poller or self.threads.new_poller()
        self.clock = Clock()
        self.gate = Gate(config.threads if self.threads.compete else 1)
        self.handlers: dict[int, Any] = {}
        self.connections: set[Any] = set()
        self.ready: collections.deque[tuple[Any, Request]] = collections.deque()
        self.draining = False
        self.parting = False
        self.stopping = False
        self.paused = False  # leaves new connections in the backlog for a while

    def is_parting(self) -> bool:
        """``parting``, for those who cannot know a server."""
        return self.parting

    def adopt(self, connection: Any, fd: int) -> bool:
        """Take a new connection in; False when there are now as many as are allowed."""
        if self.clock.parked:
            # It has stood still: by it the connection would be as old as the silence before it.
            self.clock.now = connection.since = time.monotonic()
        self.handlers[fd] = connection
        self.connections.add(connection)
        if self.clock.parked:
            self.clock.unpark()
        return len(self.connections) < self.max_connections

    def forget(self, connection: Any, fd: int) -> None:
        """Let a connection go that is about to be closed."""
        self.handlers.pop(fd, None)
        self.connections.discard(connection)
        if self.paused:
            self.resume_accepting()

    def enqueue(self, connection: Any, requests: list[Request]) -> None:
        """Have other threads run these requests; beyond the limit they are refused."""
        for request in requests:
            if len(self.ready) >= self.config.max_queued_requests and request.refusal is None:
                request.refusal = LimitExceeded(
                    f"{len(self.ready)} requests wait for a thread, "
                    f"as many as --max-queued-requests allows",
                    503,
                )
                self.ready.appendleft((connection, request))
            else:
                self.ready.append((connection, request))
            self.poller.wake()

    def pause_accepting(self, reason: str) -> None:
        """Accept no more until a connection is closed or some time has passed."""
        raise NotImplementedError

    def resume_accepting(self) -> None:
        """Accept again, if that is possible."""
        raise NotImplementedError
