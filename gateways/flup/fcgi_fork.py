"""``flup.server.fcgi_fork``: FastCGI with worker processes, one request at a time in each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateways.flup import fcgi
from gateways.flup.fcgi import FCGI_AUTHORIZER, FCGI_FILTER, FCGI_RESPONDER, __version__
from gateways.flup.prefork import fork_options
from gateways.wsgi.runner import Application

__all__ = ["FCGI_AUTHORIZER", "FCGI_FILTER", "FCGI_RESPONDER", "WSGIServer", "__version__"]


class WSGIServer(fcgi.WSGIServer):
    """A FastCGI server with the signature of ``flup.server.fcgi_fork``'s.

    Further keywords: ``minSpare=1``, ``maxSpare=5``, ``maxChildren=50``, ``maxRequests=0``,
    ``sockTimeout=0`` (see ``prefork.fork_options``), and every field of ``gateways.config.Config``.
    """

    forks = True

    def __init__(
        self,
        application: Application,
        environ: dict[str, Any] | None = None,
        bindAddress: str | tuple[Any, ...] | None = None,
        umask: int | None = None,
        multiplexed: bool = False,
        debug: bool = False,
        roles: Iterable[int] = (FCGI_RESPONDER,),
        forceCGI: bool = False,
        timeout: float | None = None,
        **kw: Any,
    ) -> None:
        super().__init__(
            application,
            environ,
            bindAddress=bindAddress,
            umask=umask,
            multiplexed=multiplexed,
            debug=debug,
            roles=roles,
            forceCGI=forceCGI,
            **fork_options(timeout, kw),
        )
