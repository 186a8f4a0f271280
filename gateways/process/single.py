"""A server in this very process, until a signal ends it.

SIGTERM, SIGINT and SIGUSR1 (libfcgi's and multiwatch's "finish and leave") stop it gracefully, a
second one at once; so does SIGHUP, which asks the caller to start again.
"""

from __future__ import annotations

import logging
import signal
import threading

from gateways.core.server import Server
from gateways.process.signals import SignalQueue

logger = logging.getLogger("gateways.server")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
RESTART_SIGNALS = (signal.SIGHUP,)


class SingleProcess:
    """Runs ``server`` in the calling thread; signals count only where that is the main thread."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._stop_asked = threading.Event()

    def stop(self) -> None:
        """Stop gracefully; any thread may ask, any number of times."""
        self._stop_asked.set()
        self.server.clock.unpark()

    def run(self) -> bool:
        """Serve until stopped; True if SIGHUP asked for a restart, else False."""
        server = self.server
        signals = SignalQueue((*STOP_SIGNALS, *RESTART_SIGNALS))
        signals.install()
        restart = False
        try:
            server.start()
            stopping = at_once = False
            while not (server.stopped() or at_once):
                server.clock.sleep(server.tick(), signals.fileno())
                asked = signals.take()
                if self._stop_asked.is_set() and not stopping:
                    asked.append(signal.SIGTERM)
                for number in asked:
                    if stopping and number not in RESTART_SIGNALS:
                        at_once = True
                        break
                    logger.debug("%s: stopping", signal.Signals(number).name)
                    restart = number in RESTART_SIGNALS
                    stopping = True
                    server.stop()
        finally:
            server.close()
            signals.restore()
        return restart
