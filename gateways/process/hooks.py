"""The operator's own functions, called at the turning points of the server's life.

post_fork, on_ready and on_exit run in the worker. on_start and on_reload belong to the supervisor,
which never imports code of the application: they run in a process forked for that one call.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Mapping

from gateways.config import Config
from gateways.core.stacklog import log_text
from gateways.errors import ConfigError
from gateways.process.forking import die_with_parent, end_within, fork_member, unblock_signals
from gateways.values import Value
from gateways.wsgi.loading import explain_failure

logger = logging.getLogger("gateways.process")

_FAREWELL_SECONDS = 2.0  # beyond the graceful timeout
_DONE = b"="
_FAILED = b"!"
_GLANCE_SECONDS = 0.1  # how often somebody who waits for a hook looks up


class HookFailed(ConfigError):
    """A hook could not be called, or raised; the text, of several lines, has the traceback."""


class Process(Value):
    """What a hook is told. ``worker`` is 0, and ``pid`` the supervisor's, where there is none."""

    worker: int
    generation: int
    pid: int
    config: Config


def run_hook(hooks: Mapping[str, str], name: str, process: Process) -> None:
    """Call the hook ``name`` in this process, if there is one. Raises HookFailed.

    What on_exit raises is logged: there is nothing left that it could end.
    """
    reference = hooks.get(name)
    if reference is None:
        return
    try:
        _call(f"{name} = '{reference}'", reference, process)
    except HookFailed as error:
        if name != "on_exit":
            raise
        log_text(logger, logging.ERROR, str(error))


def say_farewell(process: Process) -> None:
    """Run on_exit and what is registered with atexit: the process ends by other ways than an exit.

    Nobody else may be there to end it where that hangs, so the kernel does in time.
    """
    end_within(process.config.graceful_timeout_seconds + _FAREWELL_SECONDS)
    run_hook(process.config.hooks, "on_exit", process)
    atexit._run_exitfuncs()


def run_supervisor_hook(
    config: Config,
    name: str,
    generation: int,
    prepare: Callable[[], None] = lambda: None,
    given_up: Callable[[], bool] = lambda: False,
) -> None:
    """Call the hook ``name`` in a process of its own, after ``prepare``, and wait for its end.

    For no longer than a worker may take to start, and not beyond the moment at which ``given_up``
    says so. Raises HookFailed.
    """
    reference = config.hooks.get(name)
    if reference is None:
        return
    label = f"{name} = '{reference}'"
    process = Process(0, generation, os.getpid(), config)
    reader, writer = os.pipe()

    def run() -> int:
        die_with_parent(signal.SIGKILL)  # it holds what the workers know the supervisor by
        unblock_signals()
        try:
            prepare()
            _call(label, reference, process)
            _write(writer, _DONE)
        except ConfigError as error:
            _write(writer, _FAILED + str(error).encode(errors="replace"))
        return 0

    try:
        pid = fork_member(run, lambda: os.close(reader))
    finally:
        os.close(writer)
    try:
        with open(reader, "rb", buffering=0) as file:
            told = _read(file.fileno(), config.start_timeout_seconds, given_up)
    except BaseException:  # a signal, where it stops what waits here
        os.kill(pid, signal.SIGKILL)
        _reap(pid)
        raise
    if told is None:
        os.kill(pid, signal.SIGKILL)
    how = _reap(pid)
    if told is None and given_up():
        raise HookFailed(f"{label} was ended: the server stops")
    if told is None:
        raise HookFailed(
            f"{label} took longer than {config.start_timeout_seconds:g} s and was ended; "
            "--start-timeout allows more"
        )
    if told.startswith(_FAILED):
        raise HookFailed(told[len(_FAILED) :].decode(errors="replace"))
    if told != _DONE:
        raise HookFailed(f"{label}: its process {how} before the function returned")


def check_hooks(hooks: Mapping[str, str]) -> None:
    """Find every function, without calling it. Raises HookFailed."""
    for name, reference in hooks.items():
        _call(f"{name} = '{reference}'", reference, None)


def _call(label: str, reference: str, process: Process | None) -> None:
    """Find the function and, with a ``process``, call it."""
    module_name, _, path = reference.partition(":")
    try:
        function: object = importlib.import_module(module_name)
        for part in path.split("."):
            function = getattr(function, part)
        if not callable(function):
            raise TypeError(f"that is no function, but {type(function).__name__}")
        if process is not None:
            function(process)
    except (Exception, SystemExit) as error:
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next  # without this frame
        raise HookFailed(f"{label} failed\n\n{explain_failure(error).rstrip()}") from error


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _read(fd: int, timeout: float, given_up: Callable[[], bool]) -> bytes | None:
    """All that is told; None if that does not come in time (0: for ever), or is given up."""
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    data = b""
    while True:
        left = max(0.0, deadline - time.monotonic()) if timeout else _GLANCE_SECONDS
        if not poll.poll(min(left, _GLANCE_SECONDS) * 1000):
            if given_up() or left == 0:
                return None
            continue
        more = os.read(fd, 65536)
        data += more
        if not more or data == _DONE:  # no end: the function has started something that stays
            return data


def _reap(pid: int) -> str:
    """Wait for the child; how it ended."""
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return "ended"  # whoever waits for every child was quicker
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"left with {status}"
