"""The worker threads: leaders and followers on the shared poller (hops 1 and 6 of a request).

A worker waits for one event, brings in the bytes, runs the request that they complete and sends
its answer, all in the same thread. Only what it cannot run itself, because one read completed
several requests, goes to the ready list, and a follower is woken for each.
"""

from __future__ import annotations

import logging
from typing import Any

from gateways.core.connection import Connection
from gateways.core.host import Host
from gateways.core.observer import tell_begin, tell_end
from gateways.errors import RequestTimeout
from gateways.protocols.base import Request
from gateways.wsgi.pages import respond_with_error
from gateways.wsgi.runner import request_name, run_application

logger = logging.getLogger("gateways.worker")


class Worker:
    """One thread of a server; ``connection`` and ``request`` are what it is busy with.

    It counts the requests that it has ``served``, and of these the ``errors`` (answered 5xx or cut
    short) and the ``aborted`` (the peer left), and the bytes of bodies that were ``sent``. A
    worker that takes the place of a ``predecessor`` goes on counting where that stood.
    """

    __slots__ = (
        "_server",
        "_thread",
        "aborted",
        "accepting",
        "connection",
        "errors",
        "name",
        "number",
        "request",
        "sent",
        "served",
        "started",
    )

    def __init__(self, server: Host, number: int, predecessor: Worker | None = None) -> None:
        self._server = server
        self.number = number
        self.name = f"gateways-worker-{number}"
        self._thread = server.threads.new_thread(self._run, self.name)
        self.connection: Connection | None = None
        self.request: Request | None = None
        self.accepting = False  # it may have a connection that the server does not know yet
        self.started = 0  # the tick at which the request began to run
        self.served: int = predecessor.served if predecessor else 0
        self.errors: int = predecessor.errors if predecessor else 0
        self.aborted: int = predecessor.aborted if predecessor else 0
        self.sent: int = predecessor.sent if predecessor else 0

    @property
    def ident(self) -> int:
        """The thread, as the interpreter identifies it; 0 before it runs."""
        return self._thread.ident or 0

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
            request = self.request
            if request is not None:  # it was abandoned, and so was this thread
                logger.warning(
                    "%s has come back from %s, which was answered in its stead; it ends",
                    self.name,
                    request_name(request.variables),
                )
                return

    def work(self, timeout: float | None) -> None:
        """One ``step``; an error in it costs its connection, never its thread."""
        try:
            self.step(timeout)
        except BaseException:  # whatever it is, it must not cost the thread
            logger.exception("an error of the gateway itself; the connection is given up")
            connection, request = self.connection, self.request
            if connection is not None and request is not None:
                try:
                    if not request.abandoned:
                        connection.lose(request)
                    self._done(connection, request)
                except Exception:
                    logger.exception("another one, while the first was seen to")
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
            connection = handler
            requests = connection.on_event(event[1])
            accepted: Connection | None = connection
        else:
            # A stop sees the one, or this thread sees the other.
            self.accepting = True
            try:
                if server.draining:
                    return
                accepted, requests = handler.accept()
            finally:
                self.accepting = False
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
        if server.recorder is not None:
            server.recorder.begin(self.number, request.variables, server.clock.now)
        if server.observers:
            tell_begin(server.observers, self.number, connection, request)
        if request.refusal is not None or request.aborted:
            self._refuse(connection, request)
        else:
            try:
                if server.run_request is not None:
                    server.run_request(connection, request)
                else:
                    if request.data is not None:
                        environ: dict[str, Any] = request.variables
                        environ["gateways.data"] = request.data
                    run_application(
                        server.application,
                        server.builder,
                        connection,
                        request,
                        request.variables,
                        request.body,
                        server.debug,
                    )
            except RequestTimeout:  # a handler of its own read the body, and did without the runner
                connection.end_overdue(request)
            if request.overdue is not None:
                server.threads.forget_interrupt(self.ident)
        self._done(connection, request)

    def _done(self, connection: Connection, request: Request) -> None:
        """The request has ended, one way or another: count it and give back what it held."""
        if request.body is not None:
            request.body.close()
        if request.data is not None:
            request.data.close()
        if request.abandoned:
            return  # it was counted in our stead
        self.count(request)
        server = self._server
        if server.recorder is not None:
            server.recorder.end(self.number)
        if server.observers:
            tell_end(server.observers, self.number, connection, request)
        self.connection = self.request = None

    def count(self, request: Request) -> None:
        """Take an ended request into the counters."""
        self.served += 1
        self.sent += request.sent
        if request.failed or (request.status and request.status[0] == "5"):
            self.errors += 1
        elif request.aborted:
            self.aborted += 1

    def _refuse(self, connection: Connection, request: Request) -> None:
        """Answer without the application."""
        error = request.refusal
        if error is None or request.aborted:
            connection.finish(request, b"")
            return
        name = request_name(request.variables)
        logger.warning("%s: %s: answered %d: %s", connection.peer, name, error.status, error)
        respond_with_error(connection, request, error.status)
