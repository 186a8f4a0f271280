"""CGI for scripts: ``from gateways.cgi import CGIHandler; CGIHandler().run(app)``.

``CGIHandler`` stands in for the one of ``wsgiref.handlers``, ``WSGIServer`` for the one of
``flup.server.cgi``. Both also take a reference, ``run("myapp:app")``: it is imported after the
response has been made safe, so that a failed import is answered with a page. ``PersistentCGI``
relays the requests to a server process that stays.

A script pays for this import on every request, so it brings in nothing; what a request needs
comes when one is served.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would import typing
if TYPE_CHECKING:
    from typing import Any

    from gateways.persistent import PersistentCGI
    from gateways.wsgi.runner import Application

__all__ = ["CGIHandler", "PersistentCGI", "WSGIServer", "run_reference"]


class CGIHandler:
    """Serves the one request that a web server has started this process for.

    ``script_name`` is where the application is mounted ("" or "/prefix"; None: what the web
    server says). ``environ`` is added to the application's environ. ``debug`` shows tracebacks in
    the browser. ``nph`` is for scripts whose output the web server hands on without parsing it.
    """

    body_memory_bytes = 65536
    body_spool_bytes = 1024 * 1024 * 1024

    def __init__(
        self,
        *,
        script_name: str | None = None,
        debug: bool = False,
        trust_remote_user: bool = True,
        max_body_bytes: int = 0,
        environ: dict[str, Any] | None = None,
        nph: bool = False,
    ) -> None:
        if script_name and (script_name[0] != "/" or script_name[-1] == "/"):
            from gateways.config import Config

            Config(script_name=script_name)  # says what is wrong with it
        self.script_name = script_name
        self.debug = debug
        self.trust_remote_user = trust_remote_user
        self.max_body_bytes = max_body_bytes
        self.environ = environ
        self.nph = nph

    def run(self, application: Application | str) -> None:
        """Answer the request; returns when that is done, whatever the application did."""
        from gateways.core.cgi import how_to_run, is_cgi, serve_cgi

        if not is_cgi():
            raise SystemExit(how_to_run())
        serve_cgi(application, self, self.environ, nph=self.nph)


class WSGIServer:
    """``flup.server.cgi.WSGIServer``; the options are those of ``CGIHandler``."""

    def __init__(self, application: Application | str, **options: Any) -> None:
        self.application = application
        self._handler = CGIHandler(**options)

    def run(self) -> None:
        """Answer the request that this process was started for."""
        self._handler.run(self.application)


def run_reference(reference: str, **options: Any) -> None:
    """Serve one CGI request with the application that ``reference`` names.

    The options are those of ``CGIHandler``.
    """
    CGIHandler(**options).run(reference)


def __getattr__(name: str) -> Any:
    if name == "PersistentCGI":
        from gateways.persistent import PersistentCGI

        return PersistentCGI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
