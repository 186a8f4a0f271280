"""One server process: wires listeners, poller, workers and deadlines, and starts and stops them.

A server owns no main loop: whoever runs it calls ``start``, then ``tick`` as often as it asks for,
then ``stop`` and ``tick`` until it says that it is done, then ``close``. So the same server runs
under signals, in a supervisor's child or in a thread of a test.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from gateways.config import Config
from gateways.core.acceptor import Acceptor
from gateways.core.access import AccessList
from gateways.core.capacity import possible_connections
from gateways.core.clock import TICK_SECONDS
from gateways.core.codecs import Codecs
from gateways.core.connection import Connection
from gateways.core.deadlines import SWEEP_SECONDS, sweep
from gateways.core.host import Host
from gateways.core.keeping import Adopter, HandOn, Keeping
from gateways.core.listener import Listener
from gateways.core.observer import Observer, tell_end
from gateways.core.poller import Poller
from gateways.core.reception import SPARED_SECONDS
from gateways.core.recorder import Recorder
from gateways.core.seldom import Seldom
from gateways.core.timeouts import RequestWatch
from gateways.core.workers import Worker
from gateways.protocols.base import Request
from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.runner import Application, request_name

logger = logging.getLogger("gateways.server")

_RESUME_SECONDS = 0.5


class Server(Host):
    """Serves ``application`` on ``listeners`` with the options of ``config``."""

    def __init__(
        self,
        application: Application,
        listeners: Sequence[Listener],
        config: Config,
        *,
        access: AccessList | None = None,
        environ: dict[str, Any] | None = None,
        poller: Poller | None = None,
        run_request: Callable[[Connection, Request], None] | None = None,
        observers: Sequence[Observer] = (),
        recorder: Recorder | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        """``environ`` is added to every environ; ``run_request`` stands in for running the
        application (both as flup's API has it). ``observers`` see every request,
        ``recorder`` notes which one each thread is running. From ``keeping`` it takes
        connections that other processes have kept."""
        builder = EnvironBuilder(
            script_name=config.script_name,
            trust_remote_user=config.trust_remote_user,
            multithread=config.threads > 1,
            extra=environ,
        )
        possible = possible_connections(config.max_connections)
        super().__init__(
            application, config, builder, possible, poller, run_request, observers, recorder
        )
        self.replacement_wanted = ""  # why another process should take this one's place
        self._hand_on: HandOn | None = None
        if access is None:
            addresses = os.environ.get("FCGI_WEB_SERVER_ADDRS")  # FastCGI 1.0, section 3.2
            access = AccessList.from_options(config.allow, addresses)
        roles = getattr(application, "fcgi_roles", None)
        prepare = builder.prepare if run_request is None else None
        codecs = Codecs(config, roles, self.max_connections, self.is_parting, prepare)
        acceptors = [
            Acceptor(self, listener, access, codecs.factory(listener)) for listener in listeners
        ]
        self._addresses = ", ".join(map(str, listeners))
        self._acceptors: list[Acceptor | Adopter] = [*acceptors]
        self._adopter = Adopter(keeping, acceptors)
        if keeping is not None:
            self._acceptors.append(self._adopter)
        self._workers: list[Worker] = []
        self._watch = RequestWatch[Worker](config, self.threads, self._give_up)
        self._pauses = Seldom(logger)
        self._alone: Worker | None = None
        self._accept_lock = threading.Lock()
        self._paused_since = 0.0
        self._served_before = 0
        self._swept = 0.0
        self._deadline = 0.0
        self._next_drain = 0.0

    # -- start and stop ------------------------------------------------------------------------

    def start(self, log_level: int = logging.INFO) -> None:
        """Start the workers and accept connections; ``log_level`` is for the line that says so."""
        for number in range(1, self.config.threads + 1):
            worker = Worker(self, number)
            try:
                worker.start()
            except RuntimeError as error:
                logger.warning(
                    "only %d of %d threads could be started (%s); serving with these. "
                    "Ask for fewer with --threads, or raise the limit of processes (ulimit -u)",
                    len(self._workers),
                    self.config.threads,
                    error,
                )
                break
            self._workers.append(worker)
        self.poller.share(len(self._workers) > 1)
        with self._accept_lock:  # the first listener may make us pause before the last is watched
            for acceptor in self._acceptors:
                self.handlers[acceptor.fileno()] = acceptor
                self.poller.watch(acceptor.fileno())
        threads = len(self._workers)
        logger.log(log_level, "serving on %s with %d threads", self._addresses, threads)

    def tick(self) -> float | None:
        """What must be done from time to time; returns after how many seconds to come again.

        None says that there is nothing to come again for until the clock is unparked.
        """
        # Parked first, looked second: a worker does it the other way round, so that a request
        # that starts meanwhile is seen here or sees that it must set the clock going.
        self.clock.parked = True
        now = self.clock.now
        tick = self.clock.tick
        served = 0
        busy = long_running = False
        for worker in self._workers:
            served += worker.served
            connection = worker.connection
            if connection is not None:
                busy = True
                if tick - worker.started > 1:
                    long_running = True
                    try:
                        connection.watch()
                    except OSError as error:  # its thread finds out by itself
                        logger.debug("%s: cannot be watched: %s", connection.peer, error)
        if busy and self._watch.is_needed:
            self._watch.look(self._workers, now)
        self.gate.tick(tick, served - self._served_before, long_running)
        self.poller.share(len(self._workers) > 1 and not self.gate.narrow)
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            sweep(self._snapshot(), now, self.config)
        if self.draining and now >= self._next_drain:
            self._drain(now)
        if self.paused and now - self._paused_since > _RESUME_SECONDS:
            self.resume_accepting()
        if not self._workers:
            self._work_alone()
            return 0.0
        if busy or served != self._served_before or self.draining:
            self._served_before = served
            self.clock.parked = False
            return TICK_SECONDS
        return SWEEP_SECONDS if self.connections or self.paused else None

    def stop(self, drain_backlog: bool = True, hand_on: HandOn | None = None) -> None:
        """Stop accepting; running requests may finish within ``graceful_timeout_seconds``.

        What waits in the backlog is served first, unless others accept from the same sockets.
        They can go on with kept connections too: ``hand_on`` gives them one.
        """
        if self.draining:
            return
        for acceptor in self._acceptors:
            self.poller.forget(acceptor.fileno())
            if drain_backlog:
                self._accept_backlog(acceptor)
            self.handlers.pop(acceptor.fileno(), None)
        self._hand_on = hand_on
        self.parting = hand_on is None
        self._deadline = self.clock.now + self.config.graceful_timeout_seconds
        self.draining = True
        for acceptor in self._acceptors:
            acceptor.close()
        self._drain(self.clock.now)

    def look_again(self) -> None:
        """Look at the shared sockets anew, because a process that accepted from them has left.

        The kernel wakes one process for a connection; where that was the one that has left, it did
        not come to accept it, and nobody else is woken before the next connection.
        """
        with self._accept_lock:
            if not (self.paused or self.draining):
                for acceptor in self._acceptors:
                    self.poller.forget(acceptor.fileno())
                    self.poller.watch(acceptor.fileno())

    def take_over(self, fd: int) -> None:
        """Serve a connection that another process of this program has handed on."""
        connection, requests = self._adopter.adopt(fd)
        if connection is not None:
            self.enqueue(connection, requests)

    def _drain(self, now: float) -> None:
        """Hand on or close kept connections; what is not idle now may be the next time."""
        if self._hand_on is not None:
            for connection in self._snapshot():
                if not connection.give_away(self._hand_on):
                    break  # the rest at the next tick
            return
        self._next_drain = now + SPARED_SECONDS / 4
        for connection in self._snapshot():
            connection.close_if_idle()

    def stopped(self) -> bool:
        """Whether all is done after ``stop``, or its time is over.

        A response may be complete, and its connection closed, before its application has ended.
        """
        if not self.draining:
            return False
        busy = any(worker.accepting or worker.connection for worker in self._workers)
        busy = busy or bool(self.connections)  # looked at second: one that is accepted is there
        return not busy or self.clock.now >= self._deadline

    def close(self, reason: str = "the time to stop was over") -> None:
        """End the workers and close what is left, at once; ``reason`` is for the log."""
        self.stopping = True
        self.gate.open()
        self.poller.wake_all()
        for worker in self._workers:
            request = worker.request
            if request is not None:
                logger.warning("still running when %s: %s", reason, request_name(request.variables))
        for connection in self._snapshot():
            connection.expire("the server stops")
        for acceptor in self._acceptors:
            acceptor.close()
        until = time.monotonic() + 1.0
        ended = [worker.join(max(0.0, until - time.monotonic())) for worker in self._workers]
        if all(ended):
            self.poller.close()
            self.clock.close()
        # Else a thread may still use them; the process is about to end anyway.

    @property
    def served(self) -> int:
        """Requests that have been answered, one way or another."""
        return sum(worker.served for worker in self._counting())

    @property
    def errors(self) -> int:
        """Of these, how many were answered 5xx or cut short."""
        return sum(worker.errors for worker in self._counting())

    @property
    def aborted(self) -> int:
        """Of these, how many did not find their peer any more."""
        return sum(worker.aborted for worker in self._counting())

    @property
    def sent(self) -> int:
        """Bytes of response bodies."""
        return sum(worker.sent for worker in self._counting())

    def _counting(self) -> list[Worker]:
        return [*self._workers, self._alone] if self._alone else self._workers

    # -- what connections, acceptors and workers ask for ---------------------------------------

    def _give_up(self, worker: Worker, reason: str) -> None:
        """Put a thread in the place of one that does not react to a time-out."""
        connection, request = worker.connection, worker.request
        if connection is not None and request is not None:
            worker.count(request)
            if self.recorder is not None:
                self.recorder.end(worker.number)
            if self.observers:
                tell_end(self.observers, worker.number, connection, request)
        self.replacement_wanted = reason
        self.gate.open()  # it may have been the leader
        successor = Worker(self, worker.number, worker)
        place = self._workers.index(worker)
        try:
            successor.start()
        except RuntimeError as error:
            del self._workers[place]
            logger.error("%s; no other thread could be started in its place: %s", reason, error)
            return
        self._workers[place] = successor
        logger.error(
            "%s; another thread took its place, but only a new process gets rid of it. "
            "Give the application's own waits a time-out",
            reason,
        )

    def pause_accepting(self, reason: str) -> None:
        """Leave new connections in the backlog for a while (see ``Host``)."""
        with self._accept_lock:
            if self.paused or self.draining:
                return
            self.paused = True
            self._paused_since = self.clock.now
            for acceptor in self._acceptors:
                self.poller.forget(acceptor.fileno())
        self._pauses.warning(reason)
        if self.clock.parked:
            self.clock.unpark()

    def resume_accepting(self) -> None:
        """Accept again, unless there are still too many connections (see ``Host``)."""
        with self._accept_lock:
            if not self.paused or self.draining:
                return
            if len(self.connections) >= self.max_connections:
                return
            self.paused = False
            for acceptor in self._acceptors:
                self.poller.watch(acceptor.fileno())

    def _accept_backlog(self, acceptor: Acceptor | Adopter) -> None:
        """Take in what the kernel has accepted for us already; closing would reset it."""
        poll = select.poll()
        poll.register(acceptor.fileno(), select.POLLIN)
        for _ in range(self.config.backlog + 1):  # the kernel holds one more than it is told
            if not poll.poll(0):
                return
            connection, requests = acceptor.accept()
            if connection is not None:  # else it may not connect, or has left
                self.enqueue(connection, requests)

    def _work_alone(self) -> None:
        """No thread could be started: serve in this one, for the length of a tick."""
        if self._alone is None:
            self._alone = Worker(self, 0)
        until = time.monotonic() + TICK_SECONDS
        while (left := until - time.monotonic()) > 0:
            self._alone.work(left)

    def _snapshot(self) -> list[Connection]:
        """The open connections; other threads may open and close some meanwhile."""
        while True:
            try:
                return list(self.connections)
            except RuntimeError:
                continue  # the set changed while it was copied
