"""The supervisor: a loop over signals, messages of its processes, and timers.

It holds the sockets, keeps the right number of workers, and never loads the application. What a
signal means is in one table; docs/signals.md is made from it.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import select
import signal
import time
from collections.abc import Callable

from gateways.config import Config, Workers, parse_workers
from gateways.core.stacklog import log_text, log_with_lines
from gateways.errors import ConfigError
from gateways.process import channel as words
from gateways.process.audience import Audience
from gateways.process.control import Client
from gateways.process.cpus import available_cpus
from gateways.process.ends import reap
from gateways.process.filewatch import FileWatch
from gateways.process.fleet import Fleet
from gateways.process.forking import become_subreaper, unblock_signals
from gateways.process.handover import adopt, hand_over
from gateways.process.hangs import LOOK_SECONDS as LOOK_FOR_HANGS_SECONDS
from gateways.process.hangs import find_hanging
from gateways.process.hooks import run_supervisor_hook
from gateways.process.logs import reopen_logs, set_up_logging
from gateways.process.member import Member, Plan, Spec, State
from gateways.process.privileges import Privileges
from gateways.process.scaling import LOOK_SECONDS, Scaling
from gateways.process.scoreboard import Scoreboard
from gateways.process.settling import settle
from gateways.process.signals import SignalQueue
from gateways.process.status import describe_fleet
from gateways.process.titles import set_title
from gateways.process.upgrade import Upgrade

logger = logging.getLogger("gateways.supervisor")

SIGNALS = {
    signal.SIGTERM: "stop gracefully; a second one, or SIGINT after it, stops at once",
    signal.SIGINT: "the same",
    signal.SIGQUIT: "stop at once",
    signal.SIGHUP: "reload: a new generation of workers, with the configuration read again",
    signal.SIGUSR1: "open the log files anew",
    signal.SIGUSR2: "replace the program itself, on the same sockets, and then reload",
    signal.SIGTTIN: "one worker more",
    signal.SIGTTOU: "one worker less",
    signal.SIGCHLD: "",
}


class Supervisor:
    """Runs a plan until a signal ends it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._signals = SignalQueue(SIGNALS)
        self._fleet = Fleet(self._close_in_child)
        bounds = self._bounds(plan.config)
        self._scaling = Scaling(bounds, plan.config.worker_idle_timeout_seconds)
        self._next_look = 0.0
        self._next_hang = 0.0
        self._generations = 0
        self._status = 0
        self._serving = False  # some generation has served
        self._reload_again = False
        self.restarts = False  # it was stopped by SIGHUP, where nothing can be reloaded
        self._audience = Audience(plan.notifier)
        self._files = FileWatch(plan.config, plan.directory, plan.config_files)
        self._upgrade = Upgrade(self._close_in_child)

    def run(self) -> int:
        """Start, serve and stop; returns the exit status."""
        self._signals.install()
        unblock_signals()  # the program that this one replaces has blocked them
        become_subreaper()
        listening = " ".join(str(listener) for listener in self.plan.listeners)
        set_title(f"gateways: supervisor [{self.plan.applications}] {listening}")
        try:
            self._files.start()
            if self.plan.before:
                self._generations = adopt(self._fleet, self.plan, self._rows(self.plan.config))
                self._serving = True
                self._reap()
            self._bring_up(self.plan.reference, self.plan.config, self._start_done)
            while self._fleet.members or not self._fleet.stopping:
                self._wait(self._turn(time.monotonic()))
        finally:
            self._files.close()
            self._close_sockets()
            if self.plan.control is not None:
                self.plan.control.close()
            self._signals.restore()
        return self._status

    def _turn(self, now: float) -> float | None:
        """Do what is due; after how many seconds there is more."""
        fleet = self._fleet
        fleet.maintain(now)
        times = [fleet.check_deadlines(now), self._audience.announce(now, fleet.has_left_behind())]
        if not fleet.stopping and self._serving:
            if self._scaling.looks():
                if now >= self._next_look:
                    self._next_look = now + LOOK_SECONDS
                    self._scale(now)
                if fleet.workers():
                    times.append(self._next_look)
            if self.plan.config.timeout_seconds:
                if now >= self._next_hang:
                    self._next_hang = now + LOOK_FOR_HANGS_SECONDS
                    for worker, reason in find_hanging(fleet.workers(State.SERVING), now):
                        worker.hangs = True
                        fleet.replace(worker, reason)
                times.append(self._next_hang)
            changed, then = self._files.look(now)
            if changed:
                self._reload(changed)
            times += [then, self.plan.notifier.watch(now), self._upgrade.look(now)]
        left = min((then for then in times if then is not None), default=math.inf)
        return None if left == math.inf else max(0.0, left - time.monotonic())

    def _wait(self, timeout: float | None) -> None:
        """Until something happens, and then see to it."""
        fleet = self._fleet
        channels = {m.channel.fileno(): m for m in fleet.members if not m.channel.closed}
        control = self.plan.control
        poll = select.poll()
        there = fleet.workers(State.STARTING, State.READY, State.SERVING)
        demand = self._scaling.looks() and not (fleet.target or there or fleet.stopping)
        asking = [*(each.socket for each in self.plan.listeners), self.plan.keeping.taking]
        listening = [sock.fileno() for sock in asking if demand]
        controlling = control.descriptors() if control is not None else []
        files = self._files.descriptors()
        for fd in (self._signals.fileno(), *channels, *controlling, *listening, *files):
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if timeout is None else timeout * 1000)}
        for fd in ready & channels.keys():
            self._hear(channels[fd])
        for fd in ready.intersection(controlling):
            if control is not None:
                for client, command in control.on_readable(fd):
                    self._command(client, command)
        if ready.intersection(listening) and not fleet.target:
            fleet.target = 1
        for number in self._signals.take():
            self._handle(number)

    def _hear(self, member: Member) -> None:
        """Take what a process says; one that is gone and never said who it is, has ended."""
        for message in member.channel.receive():
            self._fleet.on_message(member, message)
        if member.channel.closed and not member.pid and member in self._fleet.members:
            self._fleet.on_end(member, None)

    def _handle(self, number: int) -> None:
        if number != signal.SIGCHLD:
            logger.debug("%s", signal.Signals(number).name)
        stops = {signal.SIGTERM, signal.SIGINT, *[signal.SIGUSR1] * self.plan.stops_on_usr1}
        if number == signal.SIGCHLD:
            self._reap()
        elif number in stops:
            self._stop(words.QUIT if self._fleet.stopping else words.STOP)
        elif number in (signal.SIGHUP, signal.SIGUSR2) and self.plan.make_server is not None:
            self.restarts = self.restarts or not self._fleet.stopping
            self._stop(words.STOP)
        elif number == signal.SIGQUIT:
            self._stop(words.QUIT)
        elif number == signal.SIGHUP:
            self._reload("SIGHUP")
        elif number == signal.SIGUSR1:
            self._reopen()
        elif number == signal.SIGUSR2 and self._serving and not self._fleet.stopping:
            self._upgrade.start(self.plan.config.start_timeout_seconds)
        elif number == signal.SIGUSR2:
            logger.warning("SIGUSR2 comes at the wrong time: no generation serves")
        elif number == signal.SIGTTIN:
            self._change_target(+1)
        elif number == signal.SIGTTOU:
            self._change_target(-1)

    def _reap(self) -> None:
        fleet = self._fleet
        for member in [each for each in fleet.members if not each.pid]:
            self._hear(member)  # it may say who it is
        for pid, status in reap():
            if self._upgrade.is_good(pid, status) and not fleet.stopping:
                self._replace_program()
            for member in [member for member in fleet.members if member.pid == pid]:
                fleet.on_end(member, status)

    # -- generations ---------------------------------------------------------------------------

    def _bring_up(self, reference: str, config: Config, done: Callable[[Spec, str], None]) -> None:
        self._generations += 1
        try:
            board = Scoreboard(self._rows(config), config.threads)
        except OSError as error:
            raise ConfigError(f"no memory for the scoreboard: {error.strerror}") from error
        spec = Spec(
            generation=self._generations,
            reference=reference,
            config=config,
            privileges=Privileges.from_config(config),
            listeners=self.plan.listeners,
            board=board,
            keeping=self.plan.keeping,
            supervisor=os.getpid(),
            leftovers=self.plan.leftovers,
            make_server=self.plan.make_server,
        )
        count = self._aim(self._bounds(config))
        self._fleet.bring_up(spec, count, lambda problem: done(spec, problem))

    def _aim(self, bounds: Workers) -> int:
        """How many workers a generation begins with: as many as there are to be now."""
        return min(max(1, self._fleet.target, bounds.least), bounds.most)

    def _rows(self, config: Config) -> int:
        """As many workers as there may ever be at once: two generations, and some that leave."""
        return 2 * self._bounds(config).most + 8

    def _bounds(self, config: Config) -> Workers:
        bounds = parse_workers(config.workers, available_cpus())
        return bounds if bounds.most else Workers(1, 1)

    def _start_done(self, spec: Spec, problem: str) -> None:
        """The first generation serves, or does not."""
        if problem and not self._fleet.stopping:
            status, _, text = problem.partition("\n")
            if self.plan.before:
                self._generation_failed(text)
            else:
                self._status = int(status)
                self.plan.failed(self._status, text)
                self._stop(words.QUIT)
        elif not problem:
            self._generation_serves(spec)
            self.plan.started()
        self._reload_if_asked()

    def _reload_done(self, spec: Spec, problem: str) -> None:
        if problem and not self._fleet.stopping:
            self._generation_failed(problem.partition("\n")[2])
        elif not problem:
            self._generation_serves(spec)
        self._reload_if_asked()

    def _reload_if_asked(self) -> None:
        if self._reload_again and not self._fleet.stopping:
            self._reload_again = False
            self._audience.move_up()
            self._reload("asked for meanwhile")

    def _generation_serves(self, spec: Spec) -> None:
        self.plan.reference, self.plan.config = spec.reference, spec.config
        self._serving = True
        bounds = self._bounds(spec.config)
        self._fleet.target = self._aim(bounds)
        self._scaling = Scaling(bounds, spec.config.worker_idle_timeout_seconds)
        logger.info(
            "serving %s on %s with %s of %d threads%s",
            spec.applications,
            ", ".join(str(listener) for listener in self.plan.listeners),
            _count(self._fleet.target, "worker"),
            spec.config.threads,
            f" (generation {spec.generation})" if spec.generation > 1 else "",
        )
        self._audience.succeed(time.monotonic(), f"generation {spec.generation} serves")

    def _generation_failed(self, text: str) -> None:
        log_with_lines(
            logger, logging.ERROR, "generation %d does not come up", self._generations, lines=text
        )
        serving = len(self._fleet.workers(State.SERVING))
        logger.info("the generation before it goes on with %s", _count(serving, "worker"))
        if self._fleet.workers(State.SERVING):
            text += "\n\nThe generation before it goes on serving.\n"
        self.plan.notifier.ready()
        self._audience.fail(text)

    def _reload(self, why: str, client: Client | None = None) -> None:
        """Bring a new generation up; ``client`` is told how that went."""
        if self._fleet.stopping:
            return
        busy = self._fleet.reloading()
        if client is not None:
            self._audience.join(client, later=busy)
        if busy:
            self._reload_again = True
            return
        logger.info("reload: %s", why)
        self.plan.notifier.reloading()
        try:
            reference, config = self._read_configuration()
            prepare = functools.partial(settle, config, Privileges.from_config(config))
            stops = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
            given_up = functools.partial(self._signals.holds, stops)
            number = self._generations + 1
            run_supervisor_hook(config, "on_reload", number, prepare, given_up)
            self._bring_up(reference, config, self._reload_done)
        except ConfigError as error:
            log_text(logger, logging.ERROR, f"no reload: {error}")
            self.plan.notifier.ready()
            self._audience.fail(f"gateways: error: {error}")

    def _read_configuration(self) -> tuple[str, Config]:
        plan = self.plan
        self._audience.notes = []
        if plan.reconfigure is None:
            return plan.reference, plan.config
        reference, config = plan.reconfigure()
        for name in ("bind", "pidfile", "backlog"):
            if getattr(config, name) != getattr(plan.config, name):
                note = f"a changed --{name} needs a restart; it is ignored until then"
                logger.warning("%s", note)
                self._audience.notes.append(note)
        set_up_logging(config)
        return reference, config

    # -- what is asked for ---------------------------------------------------------------------

    def _command(self, client: Client, command: str) -> None:
        if command == "reload" and self._fleet.stopping:
            client.answer(ok=False, text="the server is stopping")
        elif command == "reload" and self.plan.make_server is not None:
            client.answer(ok=False, text="a script is not reloaded; SIGHUP ends it")
        elif command == "reload":
            self._reload("asked for by the command", client)
        elif command == "status":
            client.answer(ok=True, **describe_fleet(self._fleet, self.plan))
        else:
            client.answer(ok=False, text=f"no such command: {command}")

    def _stop(self, word: str) -> None:
        if not self._fleet.stopping:
            level = logging.INFO if self._serving else logging.DEBUG
            logger.log(level, "stopping%s", " at once" if word == words.QUIT else "")
            self._audience.fail("the server was stopped meanwhile")
            self.plan.notifier.stopping()
        elif word == words.QUIT:
            logger.info("asked again: stopping at once")
        self._fleet.stop(word)
        self._upgrade.cancel()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for listener in self.plan.listeners:
            listener.close()
        self.plan.keeping.close()

    def _reopen(self) -> None:
        reopen_logs()
        self._fleet.tell_all(words.REOPEN)

    def _change_target(self, by: int) -> None:
        most = self._rows(self.plan.config) // 2
        self._fleet.target = min(max(1, self._fleet.target + by), most)
        logger.info("%s from now on", _count(self._fleet.target, "worker"))

    def _scale(self, now: float) -> None:
        fleet = self._fleet
        serving = fleet.workers(State.SERVING)
        more = self._scaling.more(serving, fleet.target, bool(fleet.changes))
        if more:
            fleet.target += more
            logger.info("all threads are busy: %s from now on", _count(fleet.target, "worker"))
        idle = self._scaling.idle(serving, fleet.target, now)
        if idle is not None:
            fleet.target -= 1
            fleet.retire(idle, "it had nothing to do")
            logger.info("one had nothing to do: %s from now on", _count(fleet.target, "worker"))

    def _replace_program(self) -> None:
        """Become the new program, which has been found good."""
        self._reload_again = False  # it brings a new generation anyway
        while self._fleet.changes:
            self._fleet.fail(self._fleet.changes[0], "1\nthe program is replaced")
        self._files.close()
        hand_over(self._fleet, self.plan, self._generations)
        # We are still here: it could not be started.
        self._files.start()

    def _close_in_child(self) -> None:
        self._files.forget()
        if self.plan.control is not None:
            self.plan.control.forget()
        self._audience.forget()
        self._signals.forget()


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
