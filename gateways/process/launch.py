"""From the operator's options to an exit status: in this very process, or under a supervisor.

What can be wrong is found in the order in which it is cheap to find: the options, files and users;
the sockets, which are bound before privileges are given up; the application.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from gateways.config import Config, Workers, parse_workers
from gateways.core.keeping import Keeping
from gateways.core.listener import Listener, open_listeners, reopen_standard_descriptors
from gateways.core.server import Server
from gateways.errors import ConfigError
from gateways.process.control import Control, control_path
from gateways.process.cpus import available_cpus
from gateways.process.daemon import Starter, daemonize, detach
from gateways.process.environment import check_environment
from gateways.process.forking import unblock_signals
from gateways.process.handover import take_over
from gateways.process.hooks import (
    Process,
    check_hooks,
    run_hook,
    run_supervisor_hook,
    say_farewell,
)
from gateways.process.loading import check_paths, load
from gateways.process.logs import capture_output, make_access_log, set_log_owner, set_up_logging
from gateways.process.member import Plan
from gateways.process.notify import Notifier
from gateways.process.pidfile import PidFile
from gateways.process.privileges import Privileges
from gateways.process.probe import find_failure
from gateways.process.renewal import Renewal
from gateways.process.retirement import Retirement
from gateways.process.settling import (
    EXIT_LOAD,
    EXIT_SERVED,
    EXIT_USAGE,
    NotReady,
    make_ready,
    settle,
)
from gateways.process.single import RESTART_SIGNALS, STOP_SIGNALS, SingleProcess
from gateways.process.supervisor import Supervisor
from gateways.process.watch import require_watchfiles
from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.mounts import describe

logger = logging.getLogger("gateways.supervisor")

Reconfigure = Callable[[], tuple[str, Config]]
Explain = Callable[[str], str]

_PATIENCE_SECONDS = 1.0  # with workers of a supervisor that was killed a moment ago
_PAUSE_SECONDS = 0.02
_SIGNALS = (*STOP_SIGNALS, *RESTART_SIGNALS, signal.SIGUSR1)


def launch(
    reference: str,
    config: Config,
    *,
    reconfigure: Reconfigure | None = None,
    config_files: Sequence[str] = (),
    explain: Explain = str,
) -> int:
    """Serve until told to stop; returns the exit status, after saying why if it is not 0.

    ``reconfigure`` reads the options anew, for a reload, from ``config_files`` too. ``explain``
    gets what is wrong with a start, to say in which source of the options.
    """
    # Before anything else is opened: a socket that became descriptor 2 would get our messages.
    reopen_standard_descriptors()
    before = take_over()
    starter = daemonize() if config.daemon and before is None else None
    launcher = Launcher(reference, config, starter, explain)
    handlers = _take_signals(launcher.asked)
    try:
        return launcher.run(before, reconfigure, config_files)
    except _Stopped as stopped:
        logger.info("%s: leaving at once", stopped)
        return EXIT_SERVED
    except ConfigError as error:
        launcher.fail(EXIT_USAGE, f"gateways: error: {error}")
        return EXIT_USAGE
    finally:
        for number in handlers:
            signal.signal(number, _pass_over)  # what is left takes no time
        launcher.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class _Stopped(BaseException):
    """A signal asks to stop what is just starting, or ending; the text is its name."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(signal.Signals(number).name)


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN, a handler is not inherited by the programs that the application runs."""


def _take_signals(asked: list[int]) -> dict[int, Any]:
    """Until a loop takes the signals over: none may end the process with its files left behind.

    Those that ask for a restart are put into ``asked``. Returns the handlers of before.
    """

    def remember(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    if not _is_main_thread():
        return {}
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        other = remember if number in RESTART_SIGNALS else _pass_over
        signal.signal(number, _stop if number in STOP_SIGNALS else other)
    return before


def check(reference: str, config: Config, explain: Explain = str) -> int:
    """Find what would keep ``launch`` from serving, without listening; returns the exit status."""
    try:
        set_up_logging(config)
        make_ready(lambda: _check(reference, config))
    except ConfigError as error:
        print(explain(f"gateways: error: {error}"), file=sys.stderr)
        return EXIT_USAGE
    except NotReady as failure:
        print(explain(str(failure)), file=sys.stderr)
        return failure.status
    return 0


def check_set_up(config: Config) -> None:
    """Raise ConfigError for what can be known to be wrong before anything is opened."""
    check_environment(config)
    check_paths(config)
    make_access_log(config)  # its format
    if config.reload:
        require_watchfiles()
    needs = [name for name in ("preload", "reload", "reload_on_touch") if getattr(config, name)]
    if needs and config.workers == "0":
        flag = needs[0].replace("_", "-")
        raise ConfigError(
            f"--{flag} needs a supervisor, and --workers 0 is without; give 1 or more"
        )


def _check(reference: str, config: Config) -> None:
    check_set_up(config)
    privileges = Privileges.from_config(config)
    settle(config, privileges)
    check_hooks(config.hooks)
    application = load(reference, config.mounts, privileges.inside)
    failure = find_failure(application, EnvironBuilder(script_name=config.script_name), config)
    if failure:
        raise NotReady(EXIT_LOAD, failure)


class Launcher:
    """One start. What it has opened is closed again, however it goes."""

    def __init__(
        self, reference: str, config: Config, starter: Starter | None, explain: Explain
    ) -> None:
        self._reference = reference
        self._config = config
        self._starter = starter
        self._explain = explain
        self._directory = os.getcwd()
        self._pidfile: PidFile | None = None
        self._listeners: list[Listener] = []
        self._control: Control | None = None
        self._renewal: Renewal | None = None
        self._notifier = Notifier(os.environ)
        self.asked: list[int] = []  # signals that came while the application was loaded

    def run(
        self,
        before: dict[str, Any] | None,
        reconfigure: Reconfigure | None,
        config_files: Sequence[str],
    ) -> int:
        """From the options to the exit status."""
        config = self._config
        set_up_logging(config)
        privileges = Privileges.from_config(config)
        check_set_up(config)
        if privileges.uid is not None:
            set_log_owner(privileges.uid)
        self._take_pidfile(before)
        self._listen(before)
        was_alone = before is not None and "alone" in before
        if not was_alone:  # it has been said
            privileges.warn_if_root()
        if before is None:
            prepare = functools.partial(settle, config, privileges)
            run_supervisor_hook(config, "on_start", 1, prepare)
        bounds = parse_workers(config.workers, available_cpus())
        if bounds.most == 0 or self._is_managed(bounds):
            return self._serve_here(privileges, before if was_alone else None)
        return self._supervise(None if was_alone else before, reconfigure, config_files)

    def _take_pidfile(self, before: dict[str, Any] | None) -> None:
        path = self._config.pidfile
        if not path:
            return
        if before is not None and before["pidfile"] is not None:
            self._pidfile = PidFile.adopt(path, before["pidfile"])
        else:
            self._pidfile = PidFile(path)
            self._pidfile.take()

    def _listen(self, before: dict[str, Any] | None) -> None:
        config = self._config
        if before is not None:
            self._listeners = [Listener.take_over(state) for state in before["listeners"]]
            return
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._listeners = open_listeners(
                    config.bind, config.backlog, protocol=config.protocol
                )
                return
            except ConfigError:
                # The workers of a supervisor that was killed let go of the address in no time.
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE_SECONDS)

    def _is_managed(self, bounds: Workers) -> bool:
        """Whether a FastCGI process manager wants exactly one process, which is this one."""
        config = self._config
        inherited = any(listener.address == "fd://0" for listener in self._listeners)
        needs_supervisor = config.preload or config.reload or config.reload_on_touch
        return inherited and bounds == (1, 1) and not needs_supervisor

    def _stops_on_usr1(self) -> bool:
        """What SIGUSR1 means to whoever started us."""
        if self._config.sigusr1 != "auto":
            return self._config.sigusr1 == "stop"
        inherited = any(listener.address == "fd://0" for listener in self._listeners)
        return inherited and "SUPERVISOR_ENABLED" not in os.environ

    # -- with a supervisor ---------------------------------------------------------------------

    def _supervise(
        self,
        before: dict[str, Any] | None,
        reconfigure: Reconfigure | None,
        config_files: Sequence[str],
    ) -> int:
        pidfile = self._pidfile
        keeping = Keeping.new() if before is None else Keeping.adopt(before["keeping"])
        control = None
        leftovers = []
        if pidfile is not None:
            control = self._control = Control(
                control_path(self._config.pidfile), None if before is None else before["control"]
            )
            leftovers = [control.remove_file, pidfile.remove_leftover]
        return Supervisor(
            Plan(
                reference=self._reference,
                config=self._config,
                listeners=self._listeners,
                directory=self._directory,
                notifier=self._notifier,
                keeping=keeping,
                pidfile=pidfile,
                control=control,
                leftovers=leftovers,
                reconfigure=reconfigure,
                config_files=config_files,
                stops_on_usr1=self._stops_on_usr1(),
                started=self._started,
                failed=self.fail,
                before=before,
            )
        ).run()

    # -- without -------------------------------------------------------------------------------

    def _serve_here(self, privileges: Privileges, before: dict[str, Any] | None) -> int:
        config = self._config
        renewal = self._renewal = Renewal(self._listeners, self._pidfile, before)
        process = Process(1, renewal.generation, os.getpid(), config)
        user = os.geteuid()
        if self._stops_on_usr1() and _is_main_thread():
            signal.signal(signal.SIGUSR1, _stop)  # who sends it once does not send it again
        unblock_signals()  # the image before this one has blocked them
        try:
            server = make_ready(lambda: self._make_server(privileges, process))
        except NotReady as failure:
            self.fail(failure.status, str(failure))
            return failure.status
        retirement = Retirement(config)
        # Who has given root up cannot start the command again as root, which may need it.
        is_final = privileges.chroot or os.geteuid() != user or not _is_main_thread()
        single = SingleProcess(
            server,
            stops_on_usr1=self._stops_on_usr1(),
            retirement=retirement,
            renewal=None if is_final else renewal,
            notifier=self._notifier,
            ready=self._serves,
            log_level=logging.DEBUG,  # that says it
        )
        restart = single.run(self.asked)
        if restart and not is_final:
            say_farewell(process)
            renewal.run()
        else:
            run_hook(config.hooks, "on_exit", process)
        if restart:
            logger.info("leaving, to be started again by whoever started this process")
        return 0

    def _make_server(self, privileges: Privileges, process: Process) -> Server:
        config = self._config
        settle(config, privileges)
        run_hook(config.hooks, "post_fork", process)
        application = load(self._reference, config.mounts, privileges.inside)
        access_log = make_access_log(config)
        observers = [access_log] if access_log else []
        # Whoever passed the socket may have started other processes on it.
        environ = {"wsgi.multiprocess": not config.bind}
        server = Server(application, self._listeners, config, environ=environ, observers=observers)
        failure = find_failure(application, server.builder, config)
        if failure:
            raise NotReady(EXIT_LOAD, failure)
        run_hook(config.hooks, "on_ready", process)
        return server

    # -- how it went ---------------------------------------------------------------------------

    def _serves(self) -> None:
        listening = ", ".join(str(listener) for listener in self._listeners)
        threads = self._config.threads
        text = "serving %s on %s with %d threads in this process"
        served = describe(self._reference, self._config.mounts)
        logger.info(text, served, listening, threads)
        self._started()

    def _started(self) -> None:
        if self._starter is not None:
            capture_output(self._config.error_log)
            detach(output=False)
            self._starter.ready()

    def fail(self, status: int, text: str) -> None:
        """Say why there is nothing that serves."""
        text = self._explain(text)
        if self._starter is not None:
            self._starter.failed(text, status)
        else:
            print(text.rstrip("\n"), file=sys.stderr)

    def close(self) -> None:
        """Close what was opened."""
        for listener in self._listeners:
            listener.close()
        if self._renewal is not None:
            self._renewal.let_go()
        if self._control is not None:
            self._control.close()
        if self._pidfile is not None:
            self._pidfile.remove()
