"""FastCGI for scripts: ``from gateways.fcgi import WSGIServer; WSGIServer(app).run()``.

``WSGIServer`` has the signature, the attributes and the return value of ``flup.server.fcgi``'s, so
that a script needs no change but its import; what flup's documentation promised is what happens
here. ``authorizer`` makes a FastCGI authorizer of a function.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from gateways.core.cgi import is_cgi, serve_cgi
from gateways.core.connection import Connection
from gateways.core.listener import (
    Listener,
    describe_descriptor,
    listening_socket_on,
    reopen_standard_descriptors,
)
from gateways.errors import ClientDisconnected, ProtocolError
from gateways.protocols.base import Request as WireRequest
from gateways.protocols.fastcgi_state import ROLE_NAMES, FastCGIRequest
from gateways.protocols.records import (
    FCGI_AUTHORIZER,
    FCGI_FILTER,
    FCGI_KEEP_CONN,
    FCGI_REQUEST_COMPLETE,
    FCGI_RESPONDER,
)
from gateways.scripting import ScriptServer, orders
from gateways.version import __version__
from gateways.wsgi.body import EMPTY_BODY
from gateways.wsgi.channel import Channel
from gateways.wsgi.environ import Environ
from gateways.wsgi.errorlog import ErrorStream
from gateways.wsgi.pages import respond_with_error
from gateways.wsgi.runner import Application, StartResponse, request_name, run_application

__all__ = [
    "FCGI_AUTHORIZER",
    "FCGI_FILTER",
    "FCGI_RESPONDER",
    "WSGIServer",
    "__version__",
    "authorizer",
]

logger = logging.getLogger("gateways.server")

Verdict = tuple[str, list[tuple[str, str]], bytes]


class OutputStream:
    """The raw response of a request: CGI output, head and all. `str` is sent as latin-1."""

    def __init__(self, connection: Connection, request: WireRequest) -> None:
        self._connection = connection
        self._request = request
        self.dataWritten = False

    def write(self, data: bytes | str) -> None:
        """Send a piece."""
        if isinstance(data, str):
            data = data.encode("latin-1")
        if data:
            self.dataWritten = True
            self._connection.send_body(self._request, data)

    def writelines(self, pieces: Iterable[bytes | str]) -> None:
        """Send several pieces."""
        for piece in pieces:
            self.write(piece)

    def flush(self) -> None:
        """Nothing is held back."""


class Request:
    """What ``handler`` and ``error`` are given, with flup's attributes."""

    def __init__(self, server: WSGIServer, connection: Connection, request: FastCGIRequest) -> None:
        self.server = server
        self.params: Environ = request.variables
        self.stdin: Any = EMPTY_BODY if request.body is None else request.body
        self.stdout = OutputStream(connection, request)
        self.stderr = ErrorStream(connection, request)
        self.data: Any = EMPTY_BODY if request.data is None else request.data
        self.role = request.role
        self.flags = 0 if connection.codec.closing else FCGI_KEEP_CONN
        self.requestId = request.id
        self._connection = connection
        self._request = request

    @property
    def aborted(self) -> bool:
        """Whether the web server no longer wants the answer."""
        return self._request.aborted


class WSGIServer(ScriptServer):
    """A FastCGI server for one WSGI application, with the signature of flup 1.0.3.

    ``environ`` is added to every request's environ. ``multithreaded=False`` runs one request at a
    time. ``bindAddress`` is a path (or ``unix:/path?mode=660&group=NAME``), ``(host, port)``
    (longer tuples mean IPv6) or None: the listening socket on descriptor 0, which is how web
    servers start scripts. ``umask`` applies to the socket's file. ``multiplexed`` allows several
    requests at once on one connection. ``debug`` shows tracebacks in the browser. ``roles`` are
    the FastCGI roles to serve. ``forceCGI``, or ``FCGI_FORCE_CGI=Y`` in the environment, serves
    one CGI request.

    Of flup's further keywords ``maxThreads`` sets the number of threads; ``minSpare`` and
    ``maxSpare`` are accepted and have no effect, for the threads are there from the start. Every
    field of ``gateways.config.Config`` is a keyword too: ``script_name=""``, ``threads=8``.
    """

    # flup has these for subclasses to set. Buffers are sized by Config, so they have no effect.
    request_class = Request
    maxwrite = 8192
    inputStreamShrinkThreshold = 102400 - 8192

    def __init__(
        self,
        application: Application,
        environ: dict[str, Any] | None = None,
        multithreaded: bool = True,
        multiprocess: bool = False,
        bindAddress: str | tuple[Any, ...] | None = None,
        umask: int | None = None,
        multiplexed: bool = False,
        debug: bool = False,
        roles: Iterable[int] = (FCGI_RESPONDER,),
        forceCGI: bool = False,
        **kw: Any,
    ) -> None:
        self.multiplexed = multiplexed
        self.roles = tuple(roles)
        self.forceCGI = forceCGI
        # Of a number that is no role Config says that it is none.
        names = tuple(ROLE_NAMES.get(role, str(role)).lower() for role in self.roles)
        own = {"multiplex": multiplexed, "roles": names}
        super().__init__(
            application,
            environ,
            multithreaded,
            multiprocess,
            bindAddress,
            umask,
            debug,
            own,
            kw,
        )

    def run(self) -> bool:
        """Serve until a signal ends it; True if that was SIGHUP, which asks for a restart.

        SIGTERM, SIGINT and SIGUSR1 let running requests finish. Handlers of these signals are
        restored before it returns. Under CGI it serves one request and exits with status 0.
        """
        reopen_standard_descriptors()
        listeners = self._listeners()
        if not listeners:
            orders.obeyed = True
            serve_cgi(self.application, self._config, self.environ, self._respond)
            sys.exit(0)
        own = type(self)
        handles = own.handler is not WSGIServer.handler or own.error is not WSGIServer.error
        return self._serve(listeners, self._run_request if handles else None)

    def _listeners(self) -> list[Listener]:
        """Where to listen; empty if this is one CGI request."""
        addressed = self._addressed_listeners()
        if addressed:
            return addressed
        forced = self.forceCGI or os.environ.get("FCGI_FORCE_CGI", "").lower().startswith("y")
        if not forced and (listening_socket_on(0) or "LISTEN_FDS" in os.environ):
            return self._open(())
        if forced or is_cgi():
            return []
        raise SystemExit(_how_to_run())

    # -- what subclasses may override ----------------------------------------------------------

    def handler(self, req: Request) -> tuple[int, int]:
        """Answer one request; returns protocol status and application status.

        This runs the WSGI application. An override may write CGI output to ``req.stdout``, or
        change ``req.params`` and call this.
        """
        server = self._server
        if server is None:
            raise RuntimeError("handler() was called before run()")
        run_application(
            self.application,
            server.builder,
            req._connection,
            req._request,
            req.params,
            None if req.stdin is EMPTY_BODY else req.stdin,
            self.debug,
            self._respond,
        )
        return FCGI_REQUEST_COMPLETE, 0

    def error(self, req: Request) -> None:
        """Write an error page to ``req.stdout``, head and all, for an application that failed.

        May and should be overridden; ``sys.exc_info()`` tells what went wrong.
        """
        is_head = req.params.get("REQUEST_METHOD") == "HEAD"
        detail = _traceback() if self.debug else ""
        respond_with_error(req._connection, req._request, 500, is_head, detail)

    def _run_request(self, connection: Connection, request: WireRequest) -> None:
        """Run a request through ``handler``, whatever it does."""
        if not isinstance(request, FastCGIRequest):
            raise RuntimeError("not a FastCGI request")
        req = self.request_class(self, connection, request)
        try:
            self.handler(req)
        except (ClientDisconnected, ProtocolError) as error:
            logger.debug("%s: %s", request_name(request.variables), error)
            if not (request.ended or req.stdout.dataWritten):
                respond_with_error(connection, request, error.status)
        except BaseException:  # noqa: BLE001  # sys.exit() ends a request, not its worker
            req.stderr.write(f"handler() failed\n{_traceback()}")
            self._answer_failure(req)
        finally:
            if not request.ended:
                req.stderr.flush()
                connection.finish(request, b"")

    def _answer_failure(self, req: Request) -> None:
        """Answer a failed request with ``error``, or with our page where that fails too.

        Where bytes of another answer have left, it is cut short, as an incomplete one must be.
        """
        connection, request = req._connection, req._request
        complete = False
        if not (request.ended or req.stdout.dataWritten):
            try:
                self.error(req)
                complete = True
            except BaseException:  # noqa: BLE001  # as for the application's own
                req.stderr.write(f"error() failed\n{_traceback()}")
            if not (request.ended or req.stdout.dataWritten):
                respond_with_error(connection, request, 500)
        if not request.ended:
            req.stderr.flush()
            if complete:
                connection.finish(request, b"")
            else:
                connection.abort(request)

    def _respond(
        self, channel: Channel, request: Any, code: int, is_head: bool = False, detail: str = ""
    ) -> None:
        """The error page: an overridden ``error`` makes that of a failed application."""
        overridden = type(self).error is not WSGIServer.error
        if code != 500 or not overridden or not isinstance(channel, Connection):
            respond_with_error(channel, request, code, is_head, detail)
            return
        self._answer_failure(self.request_class(self, channel, request))


class Authorizer:
    """A WSGI application that answers a FastCGI authorizer's question (section 6.3)."""

    fcgi_roles = ("authorizer",)

    def __init__(self, check: Callable[[Environ], Verdict | None]) -> None:
        self._check = check

    def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        status, headers, body = self._check(environ) or ("200 OK", [], b"")
        start_response(status, headers)
        return [body]


def authorizer(check: Callable[[Environ], Verdict | None]) -> Authorizer:
    """Make a FastCGI authorizer of ``check``, to be served like any application.

    ``check(environ)`` returns None to let the request pass, or ``(status, headers, body)``: a
    status of 200 lets it pass too, and the web server adds each ``Variable-NAME`` header to the
    request's variables as ``NAME``; any other status is the complete answer to the visitor.
    """
    return Authorizer(check)


def _traceback() -> str:
    import traceback

    return traceback.format_exc()


def _how_to_run() -> str:
    """What to tell somebody who started a script by hand."""
    script = sys.argv[0] or "script.fcgi"
    return (
        f"{script}: nothing to serve on. Descriptor 0 is {describe_descriptor(0)}, not a "
        "listening socket, and the environment has no CGI variables: no web server has started "
        "this script.\n"
        "The script itself ran without an error. To serve it by hand:\n"
        f"    spawn-fcgi -n -s /tmp/app.sock {script}\n"
        f"    gateways run --bind /tmp/app.sock {script}\n"
        "or give it an address: WSGIServer(app, bindAddress='/tmp/app.sock').run()"
    )
