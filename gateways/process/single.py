"""A server in this very process, until a signal ends it.

SIGTERM and SIGINT stop it gracefully, a second one at once; so do SIGHUP and SIGUSR2, which ask the
caller to start again. SIGUSR1 is libfcgi's and multiwatch's "finish and leave", or opens the logs
anew, depending on who started the process.
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
        notifier: Notifier | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """``ready`` is called when it serves; with a ``retirement`` it leaves when it is time."""
        self.server = server
        self._stops_on_usr1 = stops_on_usr1
        self._retirement = retirement
        self._notifier = notifier or Notifier({})
        self._ready = ready
        self._stop_asked = threading.Event()

    def stop(self) -> None:
        """Stop gracefully; any thread may ask, any number of times."""
        self._stop_asked.set()
        self.server.clock.unpark()

    def run(self) -> bool:
        """Serve until stopped; True if SIGHUP asked for a restart, else False."""
        server = self.server
        signals = SignalQueue((*STOP_SIGNALS, *RESTART_SIGNALS, signal.SIGUSR1))
        signals.install()
        guard = ForkGuard(signals)
        guard.server = server
        if self._retirement is not None:  # a script may be meant to fork its like
            guard.arm()
        restart = at_once = False
        try:
            server.start()
            self._ready()
            self._notifier.ready()
            stopping = False
            while not (server.stopped() or at_once):
                pauses = [server.tick(), self._look(time.monotonic())]
                pause = min((pause for pause in pauses if pause is not None), default=None)
                server.clock.sleep(pause, signals.fileno())
                guard.leave_if_forked()
                asked = signals.take()
                if self._stop_asked.is_set() and not stopping:
                    asked.append(signal.SIGTERM)
                for number in asked:
                    if number == signal.SIGUSR1 and not self._stops_on_usr1:
                        reopen_logs()
                        continue
                    if number == signal.SIGQUIT or (stopping and number not in RESTART_SIGNALS):
                        logger.info("stopping at once")
                        at_once = True
                        break
                    logger.debug("%s: stopping", signal.Signals(number).name)
                    if not stopping:
                        logger.info("stopping")
                    restart = number in RESTART_SIGNALS
                    stopping = True
                    self._notifier.stopping()
                    server.stop()
        finally:
            if at_once:
                server.close("the process was told to stop at once")
            else:
                server.close()
            guard.disarm()
            signals.restore()
            logger.info("stopped")
        return restart

    def _look(self, now: float) -> float | None:
        """Leave if it is time to, give the service manager a sign; when to come again."""
        times: list[float | None] = []
        if self._retirement is not None and not self._stop_asked.is_set():
            server = self.server
            reason = server.replacement_wanted or self._retirement.reason(server.served, now)
            if reason:
                logger.info(
                    "leaving, for whoever started this process to start it again: %s", reason
                )
                self._stop_asked.set()
                return 0.0
            times.append(self._retirement.next_look(now))
        times.append(self._notifier.watch(now))
        left = min((then for then in times if then is not None), default=None)
        return None if left is None else max(0.0, left - now)
