"""``flup.server.fcgi``: FastCGI with threads."""

from __future__ import annotations

from typing import Any

from gateways import fcgi
from gateways.fcgi import (
    FCGI_AUTHORIZER,
    FCGI_FILTER,
    FCGI_RESPONDER,
    OutputStream,
    Request,
    __version__,
)
from gateways.flup.leniency import Lenient
from gateways.protocols.records import (
    FCGI_MAX_CONNS,
    FCGI_MAX_REQS,
    FCGI_MPXS_CONNS,
    FCGI_REQUEST_COMPLETE,
    FCGI_UNKNOWN_ROLE,
)
from gateways.wsgi.runner import Application

__all__ = [
    "FCGI_AUTHORIZER",
    "FCGI_FILTER",
    "FCGI_MAX_CONNS",
    "FCGI_MAX_REQS",
    "FCGI_MPXS_CONNS",
    "FCGI_REQUEST_COMPLETE",
    "FCGI_RESPONDER",
    "FCGI_UNKNOWN_ROLE",
    "BaseFCGIServer",
    "OutputStream",
    "Request",
    "WSGIServer",
    "__version__",
]


class WSGIServer(fcgi.WSGIServer):
    """``gateways.fcgi.WSGIServer`` for an application that flup could run."""

    def __init__(self, application: Application, *arguments: Any, **kw: Any) -> None:
        super().__init__(Lenient(application), *arguments, **kw)


BaseFCGIServer = WSGIServer  # of flup.server.fcgi_base
