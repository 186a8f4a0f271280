"""SCGI for scripts: ``from gateways.scgi import WSGIServer; WSGIServer(app).run()``.

``WSGIServer`` has the signature, the attributes and the return value of ``flup.server.scgi``'s, so
that a script needs no change but its import.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from typing import Any

from gateways.errors import ConfigError
from gateways.scripting import ScriptServer, orders
from gateways.version import __version__
from gateways.wsgi.runner import Application

__all__ = ["NoDefault", "WSGIServer", "__version__"]

_DEFAULT_ADDRESS = ("localhost", 4000)


class NoDefault:
    """Stands for a ``scriptName`` that was not given, as in flup."""


class WSGIServer(ScriptServer):
    """An SCGI server for one WSGI application, with the signature of flup 1.0.3.

    ``environ`` is added to every request's environ. ``multithreaded=False`` runs one request at a
    time. ``bindAddress`` is a path (or ``unix:/path?mode=660&group=NAME``), ``(host, port)``
    (longer tuples mean IPv6) or None: the socket that systemd or another parent process passes.
    ``umask`` applies to the socket's file. ``allowedServers`` are the IP addresses that may connect
    over TCP; None is everybody. ``loggingLevel`` is set on the logger ``gateways``. ``debug`` shows
    tracebacks in the browser.

    ``scriptName`` is where the application is mounted; it is deprecated, as in flup: the field
    ``script_name`` of ``gateways.config.Config`` does the same. None leaves it to the web server.
    Of flup's further keywords ``maxThreads`` sets the number of threads; ``minSpare`` and
    ``maxSpare`` are accepted and have no effect. Every field of Config is a keyword too.
    """

    protocol = "scgi"

    def __init__(
        self,
        application: Application,
        scriptName: str | type[NoDefault] | None = NoDefault,
        environ: dict[str, Any] | None = None,
        multithreaded: bool = True,
        multiprocess: bool = False,
        bindAddress: str | tuple[Any, ...] | None = _DEFAULT_ADDRESS,
        umask: int | None = None,
        allowedServers: Iterable[str] | None = None,
        loggingLevel: int = logging.INFO,
        debug: bool = False,
        **kw: Any,
    ) -> None:
        self.scriptName = scriptName
        own: dict[str, Any] = {}
        if isinstance(scriptName, str):
            warnings.warn(
                "scriptName is deprecated: give script_name", DeprecationWarning, stacklevel=2
            )
            own["script_name"] = scriptName.rstrip("/")
        # flup asks only TCP peers for their address.
        bind = orders.options.get("bind", ())
        tcp = any(":" in each and "/" not in each for each in bind) if bind else None
        if allowedServers is not None and (isinstance(bindAddress, tuple) if tcp is None else tcp):
            own["allow"] = _allowed(allowedServers)
        self.loggingLevel = loggingLevel
        is_default = bindAddress == _DEFAULT_ADDRESS
        address = None if is_default and kw.get("bind") else bindAddress
        super().__init__(
            application, environ, multithreaded, multiprocess, address, umask, debug, own, kw
        )

    def run(self) -> bool:
        """Serve until a signal ends it (see ``ScriptServer.run``)."""
        logger = logging.getLogger("gateways")
        asked = logger.level == logging.NOTSET or self.loggingLevel != logging.INFO
        if asked and "log_level" not in orders.options:
            logger.setLevel(self.loggingLevel)  # the default does not undo an embedder's choice
        return super().run()


def _allowed(servers: Iterable[str]) -> tuple[str, ...]:
    """The addresses; a `str` may hold several, with commas between them."""
    texts = servers.split(",") if isinstance(servers, str) else servers
    allowed = tuple(text.strip() for text in texts if text.strip())
    if not allowed:
        raise ConfigError("allowedServers is empty: nobody could connect. None allows everybody")
    return allowed
