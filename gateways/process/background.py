"""The server behind ``PersistentCGI``: started by a request, ended when nobody asks any more.

One at a time is started, under a lock on a file beside its socket. It is a process of its own
session that has nothing open of the web server's, and nothing of the first request in its
environment. It retires when a file that it has loaded was changed: its socket is gone before the
request that found it out is handed back, so whoever has that request starts a new server.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from gateways.core.relay import LENGTH_VARIABLE
from gateways.process.filestate import State, look_at
from gateways.protocols.base import Request

if TYPE_CHECKING:
    from _socket import socket

    from gateways.core.connection import Connection
    from gateways.core.server import Server
    from gateways.process.single import SingleProcess

_LARGEST_LOG = 1024 * 1024
_READY = b"1"
# What a web server adds to the environment for one request; anything else is configuration.
_OF_A_REQUEST = (
    "AUTH_TYPE",
    "CONTENT_",
    "CONTEXT_",
    "DOCUMENT_",
    "GATEWAY_INTERFACE",
    "HTTP_",
    "HTTPS",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "QUERY_STRING",
    "REDIRECT_",
    "REMOTE_",
    "REQUEST_",
    "SCRIPT_",
    "SERVER_",
    "SSL_",
    "UNIQUE_ID",
)


class Order(Protocol):
    """What is to be served (``gateways.persistent.PersistentCGI``)."""

    app: str
    idle_timeout: float
    start_timeout: float
    options: dict[str, Any]

    @property
    def script(self) -> str: ...


def connect_or_start(
    order: Order, directory: str, connect: Callable[[], socket | None]
) -> socket | None:
    """A connection to a server that is started if there is none; None where that failed.

    Of requests that come together one starts it and the others wait; if it fails, it fails for all
    of them.
    """
    arrived = time.monotonic()
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(f"{directory}/lock", flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sock = connect()
        if sock is not None:
            return sock
        failed = os.pread(lock, 64, 0)
        if failed and float(failed) > arrived:
            return None
        if not _start(order, directory):
            os.ftruncate(lock, 0)
            os.pwrite(lock, repr(time.monotonic()).encode(), 0)
            return None
        return connect()
    finally:
        os.close(lock)


def _start(order: Order, directory: str) -> bool:
    """Start the server and wait until it serves; False if it does not come to that."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setsid()
            if not os.fork():
                _become_server(order, directory, writable)
        except BaseException:  # noqa: BLE001  # it must not get out into the script's own code
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)
    os.close(writable)
    os.waitpid(child, 0)
    poll = select.poll()
    poll.register(readable, select.POLLIN)
    started = bool(poll.poll(order.start_timeout * 1000)) and os.read(readable, 1) == _READY
    os.close(readable)
    return started


def _become_server(order: Order, directory: str, writable: int) -> None:
    log = f"{directory}/log"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    output = os.open(log, flags, 0o600)
    if os.fstat(output).st_size > _LARGEST_LOG:
        os.ftruncate(output, 0)
    null = os.open(os.devnull, os.O_RDWR)
    ready = fcntl.fcntl(writable, fcntl.F_DUPFD_CLOEXEC, 10)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, ready)
    os.closerange(ready + 1, os.sysconf("SC_OPEN_MAX") if not _close_all(ready) else ready + 1)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # the streams of the process
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    for name in list(os.environ):
        if name.startswith(_OF_A_REQUEST):
            del os.environ[name]
    sys.argv[1:] = []
    serve(order, directory, lambda: _tell(ready))


def _close_all(ready: int) -> bool:
    """Close what is open above ``ready``, where the system tells what that is."""
    try:
        open_now = [int(name) for name in os.listdir("/proc/self/fd")]
    except (OSError, ValueError):
        return False
    for fd in open_now:
        if fd > ready:
            try:
                os.close(fd)
            except OSError:
                pass  # that of the listing itself
    return True


def _tell(ready: int) -> None:
    os.write(ready, _READY)
    os.close(ready)


def serve(order: Order, directory: str, ready: Callable[[], None]) -> None:
    """Serve until nobody asks any more, or a file was changed."""
    _set_up_logging()
    from gateways.config import Config
    from gateways.core.listener import Listener
    from gateways.core.server import Server
    from gateways.core.unixsocket import bind_unix
    from gateways.errors import ConfigError
    from gateways.process.single import SingleProcess
    from gateways.wsgi.loading import explain_failure, load_application

    path = f"{directory}/socket"
    try:
        ours = {"max_variables_bytes": 1024 * 1024, "allow": (f"user:{os.geteuid()}",)}
        config = Config(**{**ours, **order.options})
        signature = Signature(order.script)
        application = load_application(order.app)
    except ConfigError as error:
        print(explain_failure(error), file=sys.stderr)
        return
    sock, identity = bind_unix(path, config.backlog, 0o600, -1, -1, None)
    listener = Listener(sock, f"unix:{path}", path, identity)
    background = Background(path, identity, signature)
    os.environ.pop("FCGI_WEB_SERVER_ADDRS", None)
    server = Server(application, [listener], config, run_request=background.run_request)
    process = SingleProcess(server)
    background.attach(server, process)
    threading.Thread(
        target=background.end_when_idle, args=(order.idle_timeout,), daemon=True
    ).start()
    signature.update()
    ready()
    process.run()
    atexit._run_exitfuncs()  # the process is left by os._exit, as a fork has to be


def _set_up_logging() -> None:
    """Our log to standard error. The root logger is the application's: Flask sets up none if it
    finds one, and its tracebacks would not reach the web server's error log."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s [%(process)d] %(levelname)s %(message)s"))
    logger = logging.getLogger("gateways")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)


class Signature:
    """The files that a process has loaded, and what they were like then."""

    def __init__(self, script: str) -> None:
        self._files: dict[str, State | None] = {script: look_at(script)}
        self._modules = 0
        # What comes with the interpreter changes with the interpreter.
        self._own = os.path.dirname(os.__file__) + os.sep

    def update(self) -> None:
        """Take in what has been imported since."""
        if len(sys.modules) == self._modules:
            return
        modules = list(sys.modules.values())
        self._modules = len(modules)
        for module in modules:
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and path not in self._files and self._counts(path):
                self._files[path] = look_at(path)

    def _counts(self, path: str) -> bool:
        return not path.startswith(self._own) or "-packages" in path

    def has_changed(self) -> bool:
        """Whether one of the files is not what it was."""
        return any(look_at(path) != known for path, known in list(self._files.items()))


class Background:
    """Takes requests from relays, until it retires."""

    def __init__(self, path: str, identity: tuple[int, int], signature: Signature) -> None:
        self._path = path
        self._identity = identity
        self._signature = signature
        self._lock = threading.Lock()
        self._retired = False
        self._running = 0
        self._last = time.monotonic()
        self._server: Server | None = None
        self._process: SingleProcess | None = None

    def attach(self, server: Server, process: SingleProcess) -> None:
        """Say what is served, and by which process."""
        self._server = server
        self._process = process

    def run_request(self, connection: Connection, request: Request) -> None:
        """Run a request; or hand it back, by closing its connection unanswered."""
        from gateways.process.acknowledged import Acknowledged
        from gateways.wsgi.runner import run_application

        server = self._server
        with self._lock:
            if not self._retired and self._signature.has_changed():
                self._retire()
            self._running += 1
        try:
            if self._retired or server is None:
                connection.abort(request)
                return
            length = request.variables.pop(LENGTH_VARIABLE, None)
            if length is not None:
                request.variables["CONTENT_LENGTH"] = length
            channel = Acknowledged(connection)
            if channel.acknowledge(request):
                run_application(
                    server.application,
                    server.builder,
                    channel,
                    request,
                    request.variables,
                    request.body,
                    server.config.debug,
                )
            elif not request.ended:
                connection.abort(request)
            self._signature.update()
        finally:
            with self._lock:
                self._running -= 1
                self._last = time.monotonic()

    def end_when_idle(self, timeout: float) -> None:
        """Stop the process when nothing has been asked for that long."""
        wakeup = threading.Event()
        while True:
            with self._lock:
                left = timeout if self._running else self._last + timeout - time.monotonic()
            if left <= 0:
                break
            wakeup.wait(left)
        if self._process is not None:
            self._process.stop()

    def _retire(self) -> None:
        """No new requests: the place is free for a successor, and what runs may finish."""
        self._retired = True
        from gateways.core.unixsocket import remove

        remove(self._path, self._identity)
        if self._process is not None:
            self._process.stop()
