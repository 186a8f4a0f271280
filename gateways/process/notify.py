"""What systemd wants to hear from a service of Type=notify (sd_notify(3), sd_watchdog_enabled(3)).

Each message is one datagram to the socket that NOTIFY_SOCKET names. Without it nothing is sent. A
manager that does not listen is no reason to stop serving: it is logged once.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

logger = logging.getLogger("gateways.process")

_TIMEOUT_SECONDS = 1.0  # for a queue that is full; a READY=1 that got lost would cost the start


class Notifier:
    """The line to the service manager that ``environ`` names, if any."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_seconds = _watchdog_seconds(environ) if address else 0.0
        self._complained = False
        self._next_sign = 0.0

    def ready(self) -> None:
        """It serves; also said when a reload has ended, however it ended."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins (Type=notify-reload needs the time to know which one ended)."""
        self._send(
            f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )

    def stopping(self) -> None:
        """It is about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def main_pid(self, pid: int) -> None:
        """Which process is the service, where it is not the one that was started."""
        self._send(f"MAINPID={pid}")

    def watch(self, now: float) -> float | None:
        """Say that it is alive, if that is due; when to come again, None if nobody watches."""
        interval = self.watchdog_interval()
        if not interval:
            return None
        if now >= self._next_sign:
            self._send("WATCHDOG=1")
            self._next_sign = now + interval
        return self._next_sign

    def watchdog_interval(self) -> float:
        """Half of the time after which systemd kills a silent service; 0.0: it does not look."""
        return self._watchdog_seconds / 2

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_TIMEOUT_SECONDS)
                sock.connect(self._address)
                sock.send(text.encode(errors="replace"))
        except (OSError, ValueError) as error:
            if not self._complained:
                self._complained = True
                logger.warning(
                    "cannot tell the service manager %r: %s; NOTIFY_SOCKET is %s",
                    text.partition("\n")[0],
                    error,
                    self._address.replace("\0", "@"),
                )


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    pid, microseconds = environ.get("WATCHDOG_PID", ""), environ.get("WATCHDOG_USEC", "")
    if (pid and pid != str(os.getpid())) or not (microseconds.isascii() and microseconds.isdigit()):
        return 0.0  # meant for another process, or not at all
    return int(microseconds) / 1e6
