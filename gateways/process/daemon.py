"""Into the background, with the command that was typed left in front until there is a result.

The command forks and waits on a pipe. Its child starts a session, and the child of that one, which
leads none and so never gets a terminal, is the server. It says "ready" or what failed; the end of
the pipe without a word means that it died. Until then it keeps the terminal for its messages.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_READY = b"ready"
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DIED = "gateways: error: the server ended before it was ready; see the messages above, or its log"


class Starter:
    """The server's line to the command that waits; for one word, and then it is gone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # A worker that outlives its supervisor would keep the command waiting.
        os.register_at_fork(after_in_child=self.close)

    def ready(self) -> None:
        """It serves: the command ends with status 0."""
        self._send(_READY)

    def failed(self, text: str, status: int) -> None:
        """It does not: the command prints ``text`` on standard error and ends with ``status``."""
        self._send(b"%d\n" % status + text.encode(errors="surrogateescape"))

    def close(self) -> None:
        """Say nothing; without a word from somebody else the command reports a death."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _send(self, word: bytes) -> None:
        if self._fd < 0:
            return
        try:
            while word:
                word = word[os.write(self._fd, word) :]
        except BrokenPipeError:
            pass  # whoever killed the command does not want to know
        self.close()


def daemonize() -> Starter:
    """Return in the background; the calling process waits for the Starter's word, and ends.

    To be called while there is one thread, and before locks are taken: they would not come along.
    """
    _flush()
    reader, writer = os.pipe()
    # Whoever interrupts the command before it knows the server's pid must not be told "done".
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        _wait(reader)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(writer, b"%d\n" % os.getpid())
    return Starter(writer)


def detach(*, output: bool = True) -> None:
    """Let go of the terminal: descriptor 0, and with ``output`` 1 and 2, become /dev/null.

    Every process that was forked before has the terminal too, and must do the same.
    """
    _flush()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2) if output else (0,):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # closed, or its reader is gone: what was in it can go nowhere


def _wait(reader: int) -> NoReturn:
    """Wait for the word, and end this process with it."""
    with open(reader, "rb") as file:
        try:
            pid = int(file.readline() or b"0")
            if pid:
                _pass_signals_on(pid)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            word = file.read()
        except KeyboardInterrupt:
            os._exit(128 + signal.SIGINT)
    if word == _READY:
        os._exit(0)
    status, _, text = word.partition(b"\n")
    told = status.isdigit()
    message = text if told else _DIED.encode()
    if message:
        message += b"" if message.endswith(b"\n") else b"\n"
        try:
            os.write(2, message)
        except OSError:
            pass  # there is nobody to read it; the status still says it
    os._exit(int(status) if told else 1)


def _pass_signals_on(pid: int) -> None:
    """Who interrupts the command means the server, which cannot hear the terminal any more."""

    def stop(number: int, frame: FrameType | None) -> None:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        os._exit(128 + number)

    for number in _PASSED_ON:
        signal.signal(number, stop)
