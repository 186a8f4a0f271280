"""What the servers for scripts have in common (``gateways.fcgi``, ``gateways.uwsgi``, ...).

Each of them is a ``WSGIServer`` with the arguments that its users know, for one protocol. From
these arguments to listeners, options and a running process: that is here.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gateways.config import Config, parse_workers
from gateways.core.accesslog import make_access_log
from gateways.core.connection import Connection
from gateways.core.descriptors import reopen_standard_descriptors
from gateways.core.listener import Listener, open_listeners, tcp_listener, unix_listener
from gateways.core.server import Server
from gateways.core.threads import threads_of_process
from gateways.errors import ConfigError
from gateways.process.cpus import available_cpus
from gateways.process.logs import set_log_owner
from gateways.process.notify import Notifier
from gateways.process.pidfile import PidFile
from gateways.process.privileges import Privileges
from gateways.process.retirement import Retirement
from gateways.process.single import SingleProcess
from gateways.protocols.base import Request
from gateways.values import fields
from gateways.wsgi.runner import Application

# Arguments of flup's thread pool that have nothing to set here.
_IGNORED = ("minSpare", "maxSpare", "maxThreads", "jobClass", "jobArgs")
_MOST_THREADS = 256
# Fields of Config about how an application is loaded, or a process begun: too late for a script.
_TOO_LATE = frozenset(
    {"chdir", "checks", "clear_env", "daemon", "env", "env_files", "mounts", "preload"}
    | {"pythonpath", "reload", "reload_on_touch", "venv"}
)

_Self = TypeVar("_Self", bound="ScriptServer")


class Orders:
    """What ``gateways run`` was told: these Config fields count more than what a script says."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.on_serving: Callable[[], None] = lambda: None  # called when the script begins to
        self.on_ready: Callable[[], None] = lambda: None  # and when the application is reached
        self.obeyed = False  # it has begun


orders = Orders()


class ScriptServer:
    """A server for one WSGI application; subclasses have the signatures.

    ``own`` are the Config fields that a subclass's own arguments set, ``kw`` the further keywords
    of its caller, which count more.
    """

    protocol = "fcgi"  # what is spoken where nothing else is said
    forks = False  # worker processes are a part of what the script asks for

    def __init__(
        self,
        application: Application,
        environ: dict[str, Any] | None,
        multithreaded: bool,
        multiprocess: bool,
        bind_address: str | tuple[Any, ...] | None,
        umask: int | None,
        debug: bool,
        own: dict[str, Any],
        kw: dict[str, Any],
    ) -> None:
        if bind_address is not None and not isinstance(bind_address, (str, tuple)):
            raise ConfigError(f"bindAddress is a path, (host, port) or None, not {bind_address!r}")
        self.application = application
        self.environ = {} if environ is None else environ
        self.multithreaded = multithreaded
        self.multiprocess = multiprocess
        self.debug = debug
        self._bind_address = None if "bind" in orders.options else bind_address
        self._umask = umask
        self._config = self._make_config({"debug": debug, "protocol": self.protocol, **own}, kw)
        self._stop: Callable[[], None] | None = None  # while it serves
        self._server: Server | None = None

    def _make_config(self, own: dict[str, Any], kw: dict[str, Any]) -> Config:
        known = {field.name for field in fields(Config)}
        options = {name: value for name, value in kw.items() if name in known}
        unknown = sorted(set(kw) - known - set(_IGNORED))
        if unknown:
            raise TypeError(f"WSGIServer has no argument {', '.join(unknown)}")
        late = sorted(_TOO_LATE & options.keys())
        if late:
            raise ConfigError(
                f"WSGIServer({late[0]}=…) does nothing in a script, which has loaded its "
                "application by itself; `gateways fcgi SCRIPT` can do that"
            )
        if "threads" not in options and "maxThreads" in kw:
            options["threads"] = max(1, min(int(kw["maxThreads"]), _MOST_THREADS))
        if not self.multithreaded:
            options["threads"] = 1
        config = Config(**{**own, **options, **orders.options})
        if config.worker_class == "gevent" and threads_of_process().compete:
            raise ConfigError(
                "worker_class='gevent' needs a script that begins with "
                "'from gevent import monkey; monkey.patch_all()'; it is too late for that here"
            )
        return config

    def run(self) -> bool:
        """Serve until a signal ends it; True if that was SIGHUP, which asks for a restart.

        SIGTERM, SIGINT and SIGUSR1 let running requests finish. Handlers of these signals are
        restored before it returns.
        """
        reopen_standard_descriptors()
        return self._serve(self._listeners())

    def _serve(
        self,
        listeners: list[Listener],
        run_request: Callable[[Connection, Request], None] | None = None,
    ) -> bool:
        orders.obeyed = True
        orders.on_serving()
        config = self._config
        pidfile = None
        try:
            privileges = Privileges.from_config(config)
            if privileges.uid is not None:
                set_log_owner(privileges.uid)
            if config.pidfile:
                pidfile = PidFile(config.pidfile)
                pidfile.take()
            if self._is_supervised():
                return self._serve_forked(listeners, run_request, privileges, pidfile)
            privileges.apply()
            server = self._make_server(listeners, run_request, self.multiprocess)
            process = SingleProcess(
                server,
                stops_on_usr1=config.sigusr1 != "reopen",
                retirement=Retirement(config) if _wears_out(config) else None,
                notifier=Notifier(os.environ),
                ready=orders.on_ready,
            )
            self._stop = process.stop
            return process.run()
        finally:
            self._stop = None
            for listener in listeners:
                listener.close()
            if pidfile is not None:
                pidfile.remove()

    def _is_supervised(self) -> bool:
        """Whether there are to be worker processes."""
        bounds = parse_workers(self._config.workers, available_cpus())
        return bounds.most > 1 or (bounds.most == 1 and (self.forks or _wears_out(self._config)))

    def _serve_forked(
        self,
        listeners: list[Listener],
        run_request: Callable[[Connection, Request], None] | None,
        privileges: Privileges,
        pidfile: PidFile | None,
    ) -> bool:
        from gateways.process.forked import serve_forked

        def make(stop_all: Callable[[], None], **settings: Any) -> Server:
            self._stop = stop_all
            privileges.apply()
            return self._make_server(listeners, run_request, True, **settings)

        supervisor = os.getpid()
        self._stop = lambda: os.kill(supervisor, signal.SIGTERM)
        name = sys.argv[0] or "a script"
        return serve_forked(
            make, listeners, self._config, name, pidfile=pidfile, started=orders.on_ready
        )

    def _make_server(
        self,
        listeners: Sequence[Listener],
        run_request: Callable[[Connection, Request], None] | None,
        multiprocess: bool,
        **settings: Any,
    ) -> Server:
        """A server in this process, which may be a worker with ``settings`` of its supervisor's."""
        access_log = make_access_log(self._config)
        self._server = Server(
            self.application,
            listeners,
            self._config,
            environ={**self.environ, "wsgi.multiprocess": multiprocess},
            run_request=run_request,
            observers=[] if access_log is None else [access_log],
            **settings,
        )
        return self._server

    def stop(self) -> None:
        """Have ``run`` finish what is running and return.

        Any thread may call it, and where there are worker processes any of these: all of them
        finish then.
        """
        stop = self._stop
        if stop is not None:
            stop()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _listeners(self) -> list[Listener]:
        """Where to listen: as told, else what the parent process passed."""
        return self._addressed_listeners() or self._open(())

    def _addressed_listeners(self) -> list[Listener]:
        """Listeners on the addresses that were given; none if none was."""
        address = self._bind_address
        config = self._config
        if address is None:
            return self._open(config.bind) if config.bind else []
        if isinstance(address, str) and address.startswith("unix:"):
            return self._open((address,))  # with its mode, user and group
        if isinstance(address, str):
            listener = unix_listener(address, config.backlog, umask=self._umask)
        else:
            listener = tcp_listener(address[0], int(address[1]), config.backlog)
        listener.protocol = config.protocol
        return [listener]

    def _open(self, addresses: tuple[str, ...]) -> list[Listener]:
        return open_listeners(addresses, self._config.backlog, protocol=self._config.protocol)


def _wears_out(config: Config) -> bool:
    """Whether a process that serves is to be replaced some day."""
    return bool(config.max_requests or config.max_rss_bytes or config.max_lifetime_seconds)
