"""A worker process, from the fork to its end.

It gives its privileges up, loads the application (unless its template has), says that it is ready
and is told to serve. It leaves when it is told to, when nobody is there any more to tell it, or
when it has had its time: then it asks to be replaced first.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time

from gateways.core.server import Server
from gateways.process import channel as words
from gateways.process.afterfork import ForkGuard
from gateways.process.channel import Channel, Message
from gateways.process.forking import die_with_parent, unblock_signals
from gateways.process.hooks import Process, run_hook, say_farewell
from gateways.process.loading import load
from gateways.process.logs import (
    make_access_log,
    reopen_logs,
)
from gateways.process.member import Spec
from gateways.process.probe import find_failure
from gateways.process.report import Report
from gateways.process.retirement import Retirement
from gateways.process.settling import (
    EXIT_LOAD,
    EXIT_SERVED,
    NotReady,
    let_go_of_terminal,
    make_ready,
    settle,
)
from gateways.process.signals import SignalQueue
from gateways.wsgi.runner import Application

logger = logging.getLogger("gateways.server")

# Those of the terminal's process group are the supervisor's to act on.
_SIGNALS = (
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR2,
)


def run_worker(
    spec: Spec, row: int, channel: Channel, application: Application | None = None
) -> int:
    """Be worker ``row`` of a generation; returns the exit status."""
    return Child(spec, row, channel).run(application)


_FAREWELL_SECONDS = 0.5


class Child:
    """A worker process, seen from inside."""

    def __init__(self, spec: Spec, row: int, channel: Channel) -> None:
        self._spec = spec
        self._channel = channel
        self._row = row
        self._process = Process(row + 1, spec.generation, os.getpid(), spec.config)
        self._signals = SignalQueue(_SIGNALS)
        self._leaving = ""  # the word that it was told, or what has the same meaning
        self._asked = False  # to be replaced
        self._told = ""  # the signal that says to ask for that, which counts once it serves
        self._early: list[Message] = []  # what came along with the word that was waited for
        self._server: Server | None = None
        self._guard = ForkGuard(self._signals, spec.listeners, self._close_lines)

    def run(self, application: Application | None) -> int:
        """From the fork to the exit status."""
        self._signals.install()
        self._guard.arm()
        unblock_signals()
        try:
            server = make_ready(lambda: self._prepare(application))
        except NotReady as failure:
            self._channel.send(words.FAILED, f"{failure.status}\n{failure}")
            return failure.status
        self._channel.send(words.READY)
        if self._wait_for(words.SERVE):
            let_go_of_terminal(self._spec.config)
            self._serve(server)
        elif self._channel.closed and self._is_orphan():
            self._clean_up()
        say_farewell(self._process)  # the process is left by os._exit, as a fork has to be
        return EXIT_SERVED

    def _prepare(self, application: Application | None) -> Server:
        spec = self._spec
        if spec.make_server is not None:
            server = spec.make_server(
                lambda: self._channel.send(words.END),
                recorder=spec.board.recorder(self._row),
                keeping=spec.keeping,
            )
            die_with_parent(0)
            return server
        if application is None:
            settle(spec.config, spec.privileges)
            # A process that hangs in an import could not notice that nobody waits for it.
            die_with_parent(signal.SIGKILL, spec.supervisor)
        run_hook(spec.config.hooks, "post_fork", self._process)
        self._guard.leave_if_forked()
        if application is None:
            application = load(spec.reference, spec.config.mounts, spec.privileges.inside)
            self._guard.leave_if_forked()
        access_log = make_access_log(spec.config)
        server = Server(
            application,
            spec.listeners,
            spec.config,
            environ={"wsgi.multiprocess": True},  # at a reload there are two of any one
            observers=[access_log] if access_log is not None else [],
            recorder=spec.board.recorder(self._row),
            keeping=spec.keeping,
        )
        failure = find_failure(application, server.builder, spec.config)
        self._guard.leave_if_forked()
        if failure:
            raise NotReady(EXIT_LOAD, failure)
        run_hook(spec.config.hooks, "on_ready", self._process)
        self._guard.leave_if_forked()
        die_with_parent(0)
        return server

    def _wait_for(self, word: str) -> bool:
        """Wait until told; False if it is anything else."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._signals, select.POLLIN)
        while not self._leaving:
            poll.poll()
            self._take_signals()
            messages = self._channel.receive()
            for position, message in enumerate(messages):
                if message.kind == word:
                    self._early = messages[position + 1 :]
                    return True
                self._take(message)
            if self._channel.closed:
                return False
        return False

    # -- serving -------------------------------------------------------------------------------

    def _serve(self, server: Server) -> None:
        self._server = self._guard.server = server
        retirement = Retirement(self._spec.config)
        report = Report(self._spec, self._row, server)
        try:
            server.start(logging.DEBUG)  # the supervisor says it
            for message in self._early:
                self._take(message)
            while not (server.stopped() or self._leaving == words.QUIT):
                now = time.monotonic()
                self._spec.board.write_beat(self._row, now)
                pauses = [server.tick(), report.tick(now), self._consider(retirement, now)]
                pause = min((pause for pause in pauses if pause is not None), default=None)
                server.clock.sleep(pause, self._signals.fileno(), *self._open_channel())
                self._guard.leave_if_forked()
                self._take_signals()
                for message in self._channel.receive():
                    self._take(message)
                if self._channel.closed and not server.draining:
                    self._be_the_last()
            report.tick(time.monotonic(), at_once=True)
        finally:
            self._close(server)

    def _close(self, server: Server) -> None:
        if self._leaving == words.QUIT:
            server.close("the worker was told to stop at once")
        else:
            server.close()

    def _close_lines(self) -> None:
        """Let go of what leads to the other processes."""
        self._channel.close()
        self._spec.keeping.close()

    def _open_channel(self) -> tuple[int, ...]:
        return () if self._channel.closed else (self._channel.fileno(),)

    def _consider(self, retirement: Retirement, now: float) -> float | None:
        """Ask to be replaced, once, if it is time."""
        server = self._server
        if self._asked or server is None or server.draining:
            return None
        reason = self._told or server.replacement_wanted or retirement.reason(server.served, now)
        if reason:
            self._asked = True
            self._channel.send(words.REPLACE, reason)
            return None
        then = retirement.next_look(now)
        return None if then is None else max(0.0, then - now)

    def _take_signals(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGTERM:
                if self._asked:
                    self._take(Message(words.RETIRE))
                self._told = "SIGTERM"
            elif number == signal.SIGQUIT:
                self._take(Message(words.QUIT))
            elif number == signal.SIGUSR1:
                reopen_logs()

    def _take(self, message: Message) -> None:
        """Do as the supervisor says."""
        if message.kind == words.REOPEN:
            reopen_logs()
        elif message.kind == words.LOOK and self._server is not None:
            self._server.look_again()
        elif message.kind in (words.RETIRE, words.LEAVE, words.STOP, words.QUIT):
            self._leaving = message.kind
            if self._server is not None and message.kind != words.QUIT:
                hand_on = self._spec.keeping.give if message.kind == words.RETIRE else None
                self._server.stop(message.kind == words.STOP, hand_on)
                self._channel.send(words.LEFT)

    def _be_the_last(self) -> None:
        """The supervisor has died: what it would have cleaned up falls to its workers."""
        logger.warning("the supervisor is gone; this worker finishes what it has and leaves")
        orphan = self._is_orphan()
        if orphan:
            self._own_files()
        self._take(Message(words.STOP))
        if orphan:
            self._clean_up()

    def _is_orphan(self) -> bool:
        """Whether the supervisor is dead. A line that has ended does not say that: its program may
        have been replaced, or this process may be a child of a worker's."""
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while os.getppid() == self._spec.supervisor:
            # A process that dies closes its descriptors first and gives up its children last.
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return os.getpid() == self._process.pid

    def _own_files(self) -> None:
        for listener in self._spec.listeners:
            listener.own()

    def _clean_up(self) -> None:
        self._own_files()
        for listener in self._spec.listeners:
            listener.close()
        for leftover in self._spec.leftovers:
            leftover()
