"""``flup.server.fcgi_single``: FastCGI, one request at a time in one process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateways.flup import fcgi
from gateways.flup.fcgi import FCGI_AUTHORIZER, FCGI_FILTER, FCGI_RESPONDER, __version__
from gateways.wsgi.runner import Application

__all__ = ["FCGI_AUTHORIZER", "FCGI_FILTER", "FCGI_RESPONDER", "WSGIServer", "__version__"]


class WSGIServer(fcgi.WSGIServer):
    """A FastCGI server with the signature of ``flup.server.fcgi_single``'s."""

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
        **kw: Any,
    ) -> None:
        super().__init__(
            application,
            environ,
            multithreaded=False,
            bindAddress=bindAddress,
            umask=umask,
            multiplexed=multiplexed,
            debug=debug,
            roles=roles,
            forceCGI=forceCGI,
            **kw,
        )
