"""``flup.server.scgi_fork``: SCGI with worker processes, one request at a time in each."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from gateways.flup import scgi
from gateways.flup.prefork import fork_options
from gateways.flup.scgi import NoDefault, __version__
from gateways.wsgi.runner import Application

__all__ = ["NoDefault", "WSGIServer", "__version__"]


class WSGIServer(scgi.WSGIServer):
    """An SCGI server with the signature of ``flup.server.scgi_fork``'s.

    Further keywords as for ``gateways.flup.fcgi_fork``.
    """

    forks = True

    def __init__(
        self,
        application: Application,
        scriptName: str | type[NoDefault] | None = NoDefault,
        environ: dict[str, Any] | None = None,
        bindAddress: str | tuple[Any, ...] | None = ("localhost", 4000),
        umask: int | None = None,
        allowedServers: Iterable[str] | None = None,
        loggingLevel: int = logging.INFO,
        debug: bool = False,
        timeout: float | None = None,
        **kw: Any,
    ) -> None:
        super().__init__(
            application,
            scriptName,
            environ,
            bindAddress=bindAddress,
            umask=umask,
            allowedServers=allowedServers,
            loggingLevel=loggingLevel,
            debug=debug,
            **fork_options(timeout, kw),
        )
