"""The workers: how they are started, replaced and ended. There is one mechanism for all of it.

A ``Change`` has successors and predecessors. The successors are forked; when all of them are ready
they are told to serve, and only then the predecessors to retire. If one of them fails first, the
others are ended and the predecessors stay. A start is a change without predecessors, a reload one
of whole generations, a worker that has had its time or has died one of one worker.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable

from gateways.core.stacklog import log_with_lines
from gateways.process import channel as words
from gateways.process.change import Change, Done
from gateways.process.channel import Channel, Message
from gateways.process.ends import describe_end
from gateways.process.forking import fork_member
from gateways.process.member import Generation, Member, Spec, State, Template, Worker
from gateways.process.patience import Patience
from gateways.process.settling import EXIT_LOAD

logger = logging.getLogger("gateways.supervisor")

_MARGIN_SECONDS = 2.0  # beyond the graceful timeout, which the worker keeps itself


class Fleet:
    """All processes of a supervisor; ``close_others`` closes what a forked one must not keep."""

    def __init__(self, close_others: Callable[[], None]) -> None:
        self._close_others = close_others
        self.members: list[Member] = []  # templates and workers that live
        self.changes: list[Change] = []
        self.generation: Generation | None = None  # the one that serves
        self.target = 0  # how many workers there should be
        self.stopping = False
        self._patience = Patience()

    # -- who there is --------------------------------------------------------------------------

    def workers(self, *states: State) -> list[Worker]:
        """The workers in these states, or all."""
        return [
            member
            for member in self.members
            if isinstance(member, Worker) and (not states or member.state in states)
        ]

    def has_left_behind(self) -> bool:
        """Whether workers that were told to leave may still accept connections."""
        return any(worker.accepts for worker in self.workers(State.LEAVING))

    def reloading(self) -> bool:
        """Whether a generation is about to come up."""
        return any(change.is_reload for change in self.changes)

    # -- changes -------------------------------------------------------------------------------

    def bring_up(self, spec: Spec, count: int, done: Done) -> None:
        """Start ``count`` workers of a new generation, in place of all that serve then."""
        change = Change(Generation(spec), count, done)
        change.is_reload = True
        self._begin(change)

    def replace(self, worker: Worker, reason: str) -> None:
        """Start a successor for a worker, which retires when that is ready."""
        if worker.state is State.SERVING and not worker.why:
            level = logging.ERROR if worker.hangs else logging.INFO
            logger.log(level, "%s: %s; its successor is started first", worker, reason)
            worker.why = reason
            self.maintain(time.monotonic())

    def retire(self, worker: Worker, reason: str) -> None:
        """Have a worker answer what it has and leave; the others go on."""
        worker.why = reason
        logger.debug("%s retires: %s", worker, reason)
        self.let_leave(worker)
        worker.channel.send(words.RETIRE if self.workers(State.SERVING) else words.LEAVE)

    def maintain(self, now: float) -> None:
        """Start what is missing and who is to be replaced, unless starts keep failing."""
        generation = self.generation
        if generation is None or self.stopping or now < self._patience.until:
            return
        if not self.changes:
            staying = [worker for worker in self.workers(State.SERVING) if not worker.why]
            for worker in staying[self.target :]:
                self.retire(worker, "there are to be fewer")
        for _ in range(self.target - self._strength()):
            self._begin(Change(generation, 1, self._replaced))
        for worker in self.workers(State.SERVING):
            if worker.why and not self._has_successor(worker) and now >= self._patience.until:
                change = Change(generation, 1, self._replaced)
                change.predecessors = [worker]
                self._begin(change)

    def _strength(self) -> int:
        """Workers that serve, or will without another one leaving for it."""
        serving = len(self.workers(State.SERVING))
        for change in self.changes:
            if not change.is_reload:
                coming = change.missing + len(change.successors)
                serving += max(0, coming - len(change.predecessors))
        return serving

    def _has_successor(self, worker: Worker) -> bool:
        return any(worker in change.predecessors for change in self.changes)

    def _is_short(self) -> bool:
        """Whether ``maintain`` has something to do, when it may."""
        serving = self.workers(State.SERVING)
        waiting = any(worker.why and not self._has_successor(worker) for worker in serving)
        return waiting or self._strength() < self.target

    def _replaced(self, problem: str) -> None:
        """A worker was started in the course of things, or could not be."""
        if problem and not self.stopping:
            self._patience.on_failure(time.monotonic())
            wait = max(0.0, self._patience.until - time.monotonic())
            log_with_lines(
                logger,
                logging.ERROR,
                "a worker could not be started (again in %.1f s)",
                wait,
                lines=problem.partition("\n")[2],
            )

    def _begin(self, change: Change) -> None:
        self.changes.append(change)
        self.advance(change)

    def advance(self, change: Change) -> None:
        """Do what can be done for a change by now."""
        generation = change.generation
        if change.missing and generation.config.preload:
            problem = "" if generation.template is not None else self._start_template(generation)
            if problem:
                self.fail(change, problem)
                return
            if generation.template is None or generation.template.state is State.STARTING:
                return
        while change.missing:
            problem = self._start_worker(change)
            if problem:
                self.fail(change, problem)
                return
        if change.is_ready():
            self._complete(change)

    def _complete(self, change: Change) -> None:
        self.changes.remove(change)
        now = time.monotonic()
        if change.is_reload:
            self.generation = change.generation
            self._patience.forget()
            for other in [c for c in self.changes if c.generation is not change.generation]:
                self.fail(other, "")
            change.predecessors = [
                worker
                for worker in self.workers(State.SERVING)
                if worker.generation is not change.generation
            ]
        for worker in change.successors:
            worker.become(State.SERVING, now)
            worker.idle_since = now
            worker.channel.send(words.SERVE)
        for worker in change.predecessors:
            if worker.hangs:
                self.let_leave(worker)
                self._end_with_stacks(worker, worker.why)
            else:
                self.retire(worker, worker.why or "a new generation serves")
        change.done("")
        self._drop_templates()

    def fail(self, change: Change, problem: str) -> None:
        """Give a change up: its successors end, its predecessors stay."""
        if change in self.changes:
            self.changes.remove(change)
            for worker in change.successors:
                if worker in self.members:  # else it is its end that we are told of
                    worker.kill(signal.SIGKILL, "given up")
            if change.is_reload and change.generation.template is not None:
                change.generation.template.kill(signal.SIGKILL, "given up")
            change.done(problem)
            self._drop_templates()

    # -- processes -----------------------------------------------------------------------------

    def _start_worker(self, change: Change) -> str:
        """Fork one; what went wrong, or "" ."""
        generation = change.generation
        row = generation.take_row()
        if row is None:
            return "1\ntoo many workers have not ended yet"
        from gateways.process.child import run_worker

        spec = generation.spec
        try:
            ours, theirs = Channel.pair()
            with contextlib.closing(theirs):
                pid = 0
                if generation.template is not None:
                    generation.template.fork(row, theirs)
                else:
                    pid = fork_member(lambda: run_worker(spec, row, theirs), self._in_child(ours))
        except OSError as error:
            generation.give_back(row)
            return f"1\nno process could be started: {error.strerror}"
        worker = Worker(generation, ours, pid, time.monotonic(), row)
        self._set_start_deadline(worker)
        self.members.append(worker)
        change.successors.append(worker)
        change.missing -= 1
        return ""

    def _start_template(self, generation: Generation) -> str:
        from gateways.process.template import run_template

        spec = generation.spec
        try:
            ours, theirs = Channel.pair()
            with contextlib.closing(theirs):
                pid = fork_member(lambda: run_template(spec, theirs), self._in_child(ours))
        except OSError as error:
            return f"1\nno process could be started: {error.strerror}"
        generation.template = Template(generation, ours, pid, time.monotonic())
        self._set_start_deadline(generation.template)
        self.members.append(generation.template)
        return ""

    def _set_start_deadline(self, member: Member) -> None:
        timeout = member.generation.config.start_timeout_seconds
        member.deadline = member.since + timeout if timeout else 0.0

    def _in_child(self, ours: Channel) -> Callable[[], None]:
        def close() -> None:
            ours.close()
            for member in self.members:
                member.channel.close()
            self._close_others()

        return close

    def _end_with_stacks(self, member: Member, reason: str) -> None:
        """Have a process that hangs show where, which faulthandler does on SIGABRT, and end.

        One after the other: in the log, what two write at the same time is mixed letter by letter.
        """
        for other in self.members:
            if other.shows_stacks:
                member.deadline = other.deadline
                return
        logger.error("%s: %s; the stacks of its threads follow", member, reason)
        member.shows_stacks = True
        member.kill(signal.SIGABRT, reason)

    def let_leave(self, worker: Worker) -> None:
        """The worker is leaving; see that it does in time."""
        graceful = worker.generation.config.graceful_timeout_seconds
        now = time.monotonic()
        worker.become(State.LEAVING, now, now + graceful + _MARGIN_SECONDS)

    # -- what happens --------------------------------------------------------------------------

    def on_message(self, member: Member, message: Message) -> None:
        """A process said something."""
        now = time.monotonic()
        if message.kind == words.HELLO:
            member.pid = int(message.text)
        elif message.kind == words.READY and member.state is State.STARTING:
            member.become(State.READY, now)
            for change in [c for c in self.changes if self._concerns(c, member)]:
                self.advance(change)
        elif message.kind == words.FAILED:
            self._failed(member, message.text)
        elif message.kind == words.REPLACE and isinstance(member, Worker):
            self.replace(member, message.text)
        elif message.kind == words.END:
            signal.raise_signal(signal.SIGTERM)
        elif message.kind == words.LEFT and isinstance(member, Worker):
            member.accepts = False
            self.tell_all(words.LOOK, State.SERVING)

    def on_end(self, member: Member, status: int | None) -> None:
        """A process has ended; ``status`` as of ``os.waitpid``, None if it is not known."""
        for message in member.channel.receive():
            if message.kind in (words.HELLO, words.FAILED):
                self.on_message(member, message)
        self.members.remove(member)
        member.channel.close()
        how = member.killed or describe_end(status)
        if isinstance(member, Worker):
            self._worker_ended(member, how)
            member.generation.give_back(member.row)
        elif member.generation.template is member:
            member.generation.template = None
            if member.state is State.STARTING:
                text = f"{EXIT_LOAD}\ngateways: error: the application was not preloaded: {how}"
                self._failed(member, text)
            elif self.generation is member.generation and not self.stopping:
                logger.error("%s has ended (%s); the next worker brings a new one", member, how)

    def _worker_ended(self, worker: Worker, how: str) -> None:
        state = worker.state
        for change in self.changes:
            if worker in change.predecessors:
                change.predecessors.remove(worker)
        if state in (State.STARTING, State.READY):
            text = f"{EXIT_LOAD}\ngateways: error: {worker} ended before it could serve: {how}"
            self._failed(worker, text)
        elif state is State.SERVING and not self.stopping:
            self.tell_all(words.LOOK, State.SERVING)
            now = time.monotonic()
            self._patience.on_death(now, now - worker.since)
            running = [slot.describe(now) for slot in worker.slots() if slot.busy]
            logger.error(
                "%s has ended unexpectedly: %s%s",
                worker,
                how,
                f"; it was answering {', '.join(running)}" if running else "",
            )
        elif worker.killed and not (self.stopping or worker.hangs):
            logger.warning("%s was killed: %s", worker, how)

    def _failed(self, member: Member, problem: str) -> None:
        """A process could not be made ready."""
        for change in [c for c in self.changes if self._concerns(c, member)]:
            self.fail(change, problem)

    @staticmethod
    def _concerns(change: Change, member: Member) -> bool:
        if isinstance(member, Template):
            return member.generation is change.generation and bool(change.missing)
        return member in change.successors

    def check_deadlines(self, now: float) -> float | None:
        """End whoever is late; returns when the next one will be."""
        for member in [m for m in self.members if m.deadline and m.deadline <= now]:
            if member.killed:
                member.kill(signal.SIGKILL, "")
            elif member.state is State.STARTING:
                limit = member.generation.config.start_timeout_seconds
                self._end_with_stacks(
                    member, f"not ready after {limit:g} seconds (--start-timeout)"
                )
            elif member.hangs:
                self._end_with_stacks(member, member.why)
            else:
                logger.warning(
                    "%s has not ended %.0f s after it was told to; it is killed",
                    member,
                    now - member.since,
                )
                member.kill(signal.SIGKILL, "it did not leave in time")
        times = [m.deadline for m in self.members if m.deadline]
        if self.generation is not None and not self.stopping and self._is_short():
            times.append(self._patience.until)
        return min(times, default=None)

    # -- the end -------------------------------------------------------------------------------

    def stop(self, word: str) -> None:
        """Have all processes end: ``STOP`` or ``QUIT``."""
        self.stopping = True
        for change in list(self.changes):
            self.fail(change, "the supervisor stops")
        for member in self.members:
            if word == words.QUIT:
                member.kill(signal.SIGQUIT, "at once")
            elif isinstance(member, Worker) and not member.killed:
                self.let_leave(member)
                member.channel.send(word)
        self._drop_templates()

    def _drop_templates(self) -> None:
        """A template ends with its channel, when no worker will be forked from it any more."""
        wanted = {change.generation for change in self.changes}
        if not self.stopping and self.generation is not None:
            wanted.add(self.generation)
        for member in self.members:
            if isinstance(member, Template) and member.generation not in wanted:
                member.killed = member.killed or "not needed any more"
                member.kill(signal.SIGTERM, "")

    def tell_all(self, word: str, *states: State) -> None:
        """Send a message to every process, or to those in these states."""
        for member in self.members:
            if not states or member.state in states:
                member.channel.send(word)
