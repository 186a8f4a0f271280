"""uwsgi for scripts: ``from gateways.uwsgi import WSGIServer; WSGIServer(app).run()``.

The protocol of nginx's ``uwsgi_pass`` and Apache's ``ProxyPass uwsgi://``; the uWSGI server is not
needed for it.
"""

from __future__ import annotations

from typing import Any

from gateways.scripting import ScriptServer
from gateways.version import __version__
from gateways.wsgi.runner import Application

__all__ = ["WSGIServer", "__version__"]


class WSGIServer(ScriptServer):
    """A uwsgi server for one WSGI application; its arguments are those of ``gateways.fcgi``'s.

    ``environ`` is added to every request's environ. ``multithreaded=False`` runs one request at a
    time. ``bindAddress`` is a path (or ``unix:/path?mode=660&group=NAME``), ``(host, port)``
    (longer tuples mean IPv6) or None: the socket that systemd or another parent process passes.
    ``umask`` applies to the socket's file. ``debug`` shows tracebacks in the browser. Every field
    of ``gateways.config.Config`` is a keyword too: ``script_name=""``, ``threads=8``.
    """

    protocol = "uwsgi"

    def __init__(
        self,
        application: Application,
        environ: dict[str, Any] | None = None,
        multithreaded: bool = True,
        multiprocess: bool = False,
        bindAddress: str | tuple[Any, ...] | None = None,
        umask: int | None = None,
        debug: bool = False,
        **kw: Any,
    ) -> None:
        super().__init__(
            application, environ, multithreaded, multiprocess, bindAddress, umask, debug, {}, kw
        )
