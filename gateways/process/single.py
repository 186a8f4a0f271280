"""A server in this very process, until a signal ends it.

SIGTERM and SIGINT stop it gracefully, a second one at once. SIGHUP and SIGUSR2 have it renewed: the
command becomes its own successor (``renewal.py``), a script's server leaves and tells its caller.
SIGUSR1 is libfcgi's and multiwatch's "finish and leave", or opens the logs anew, depending on who
started the process.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from gateways.core.server import Server
from gateways.process.afterfork import ForkGuard
from gateways.process.logs import reopen_logs
from gateways.process.notify import Notifier
from gateways.process.renewal import Renewal
from gateways.process.retirement import Retirement
from gateways.process.signals import SignalQueue

logger = logging.getLogger("gateways.server")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
RESTART_SIGNALS = (signal.SIGHUP, signal.SIGUSR2)


class SingleProcess:
    """Runs ``server`` in the calling thread; signals count only where that is the main thread."""

    def __init__(
        self,
        server: Server,
        *,
        stops_on_usr1: bool = True,
        retirement: Retirement | None = None,
        renewal: Renewal | None = None,
        notifier: Notifier | None = None,
        ready: Callable[[], None] | None = None,
        log_level: int = logging.INFO,
    ) -> None:
        """``ready`` is called when it serves; with a ``retirement`` it leaves in time.

        With a ``renewal`` it does not leave then, or when SIGHUP comes, but has that hold what its
        successor needs. ``log_level`` is for the line that says that it serves.
        """
        self.server = server
        self._stop_signals = (*STOP_SIGNALS, signal.SIGUSR1) if stops_on_usr1 else STOP_SIGNALS
        self._retirement = retirement
        self._renewal = renewal
        self._notifier = notifier or Notifier({})
        self._ready = ready
        self._log_level = log_level
        self._stop_asked = threading.Event()
        self._restarts = False
        self._renews = False
        self._leaves = False  # and is not to come back; goes before a renewal
        self._at_once = False

    def stop(self) -> None:
        """Stop gracefully; any thread may ask, any number of times."""
        self._stop_asked.set()
        self.server.clock.unpark()

    def run(self, asked: list[int] | None = None) -> bool:
        """Serve until stopped; True if it is to be started again, or to be renewed.

        ``asked`` are signals that came before.
        """
        server = self.server
        signals = SignalQueue((*STOP_SIGNALS, *RESTART_SIGNALS, signal.SIGUSR1))
        signals.install()
        renewal = self._renewal
        guard = ForkGuard(signals, (), renewal.let_go if renewal is not None else lambda: None)
        guard.server = server
        if self._retirement is not None:  # a script may be meant to fork its like
            guard.arm()
        try:
            server.start(self._log_level)
            while renewal is not None and renewal.taken:
                server.take_over(renewal.taken.pop())
            if self._ready is not None:
                self._ready()
            self._notifier.ready()
            for number in asked or []:
                self._take(number)
            while not (server.stopped() or self._at_once):
                pauses = [server.tick(), self._look(time.monotonic())]
                pause = min((pause for pause in pauses if pause is not None), default=None)
                server.clock.sleep(pause, signals.fileno())
                guard.leave_if_forked()
                for number in signals.take():
                    self._take(number)
                if self._stop_asked.is_set() and not self._leaves:
                    self._take(signal.SIGTERM)
        finally:
            if self._at_once:
                server.close("the process was told to stop at once")
            else:
                server.close()
            guard.disarm()
            signals.restore()
            # One that came too late for the loop ends what is to be renewed, all the same.
            self._leaves = self._leaves or signals.holds(self._stop_signals)
            if self._leaves or not self._renews:
                logger.info("stopped")
        return self._restarts or (self._renews and not self._leaves)

    def _take(self, number: int) -> None:
        """Do as a signal says."""
        restarts = number in RESTART_SIGNALS
        if self._at_once:
            return
        if number not in (*self._stop_signals, *RESTART_SIGNALS):
            reopen_logs()
        elif restarts and self._renewal is not None:
            self._renew(self._renewal, signal.Signals(number).name, asked=True)
        elif number == signal.SIGQUIT or (self._leaves and not restarts):
            logger.info("stopping at once")
            self._at_once = self._leaves = True
        else:
            logger.debug("%s: stopping", signal.Signals(number).name)
            if not self._leaves:
                logger.info("stopping")
            self._restarts = restarts
            self._leaves = True
            self._notifier.stopping()
            if self._renewal is not None:
                self._renewal.let_go()
            self.server.stop()

    def _renew(self, renewal: Renewal, why: str, *, asked: bool) -> None:
        """Have the successor accept what comes from now on; what runs here is finished first."""
        if self._renews or self._leaves:
            return
        self._renews = True
        logger.info("renewing this process: %s", why)
        if asked:
            self._notifier.reloading()
        renewal.hold()
        self.server.stop(drain_backlog=False, hand_on=renewal.keep)

    def _look(self, now: float) -> float | None:
        """Leave if it is time to, give the service manager a sign; when to come again."""
        times: list[float | None] = []
        if self._retirement is not None and not (self._leaves or self._renews):
            server = self.server
            reason = server.replacement_wanted or self._retirement.reason(server.served, now)
            if reason and self._renewal is not None:
                self._renew(self._renewal, reason, asked=False)
                return 0.0
            if reason:
                logger.info("this process has had its time: %s", reason)
                self._take(signal.SIGHUP)
                return 0.0
            times.append(self._retirement.next_look(now))
        times.append(self._notifier.watch(now))
        left = min((then for then in times if then is not None), default=None)
        return None if left is None else max(0.0, left - now)
