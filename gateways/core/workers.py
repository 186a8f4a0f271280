"""The worker threads: leaders and followers on the shared poller (hops 1 and 6 of a request).

A worker waits for one event, brings in the bytes, runs the request that they complete and sends
its answer, all in the same thread. Only what it cannot run itself, because one read completed
several requests, goes to the ready list, and a follower is woken for each.
"""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from gateways.core.acceptor import Acceptor
from gateways.core.clock import Clock
from gateways.core.connection import Connection
from gateways.core.gate import Gate
from gateways.core.poller import Poller
from gateways.protocols.base import Request
from gateways.wsgi.runner import request_name, respond_with_error

logger = logging.getLogger("gateways.worker")


class WorkerHost(Protocol):
    """What a worker needs of its server."""

    poller: Poller
    clock: Clock
    gate: Gate
    stopping: bool
    handlers: dict[int, Connection | Acceptor]
    ready: collections.deque[tuple[Connection, Request]]
    run_request: Callable[[Connection, Request], None]

    def enqueue(self, connection: Connection, requests: list[Request]) -> None:
        """Have other threads run these."""


class Worker:
    """One thread of a server; ``connection`` and ``request`` are what it is busy with."""

    __slots__ = ("_server", "_thread", "connection", "request", "served", "started")

    def __init__(self, server: WorkerHost, number: int) -> None:
        self._server = server
        self._thread = threading.Thread(
            target=self._run, name=f"gateways-worker-{number}", daemon=True
        )
        self.connection: Connection | None = None
        self.request: Request | None = None
        self.started = 0  # the tick at which the request began to run
        self.served = 0

    def start(self) -> None:
        """Start the thread; raises RuntimeError where the system has no more."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; False if it has not after ``timeout`` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._server.stopping:
            self.work(None)

    def work(self, timeout: float | None) -> None:
        """One ``step``; an error in it costs its connection, never its thread."""
        try:
            self.step(timeout)
        except BaseException:  # whatever it is, it must not cost the thread
            logger.exception("an error of the gateway itself; the connection is given up")
            if self.connection is not None and self.request is not None:
                self.connection.lose(self.request)
                for sink in (self.request.body, self.request.data):
                    if sink is not None:
                        sink.close()
            self.connection = self.request = None

    def step(self, timeout: float | None) -> None:
        """Wait up to ``timeout`` seconds for something to do, and do it."""
        server = self._server
        if server.ready:
            try:
                connection, request = server.ready.popleft()
            except IndexError:
                return  # another thread was quicker
            self._serve(connection, request)
            return
        if server.gate.narrow:
            server.gate.enter()
        event = server.poller.wait(timeout)
        if event is None:
            return
        handler = server.handlers.get(event[0])
        if handler is None:
            return  # it was closed by another thread in the meantime
        if isinstance(handler, Connection):
            accepted: Connection | None = handler
            requests = handler.on_event(event[1])
        else:
            accepted, requests = handler.accept()
        if accepted is not None and requests:
            if len(requests) > 1:
                server.enqueue(accepted, requests[1:])
            self._serve(accepted, requests[0])

    def _serve(self, connection: Connection, request: Request) -> None:
        """Run one request to its end."""
        server = self._server
        self.connection = connection
        self.request = request
        self.started = server.clock.tick
        if server.clock.parked:
            server.clock.unpark()
        if request.refusal is not None or request.aborted:
            self._refuse(connection, request)
        else:
            server.run_request(connection, request)
        if request.body is not None:
            request.body.close()
        if request.data is not None:
            request.data.close()
        self.served += 1
        self.connection = self.request = None

    def _refuse(self, connection: Connection, request: Request) -> None:
        """Answer without the application."""
        error = request.refusal
        if error is None or request.aborted:
            connection.finish(request, b"")
            return
        name = request_name(request.variables)
        logger.warning("%s: %s: answered %d: %s", connection.peer, name, error.status, error)
        respond_with_error(connection, request, error.status)
