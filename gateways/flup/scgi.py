"""``flup.server.scgi``: SCGI with threads."""

from __future__ import annotations

from typing import Any

from gateways import scgi
from gateways.flup.leniency import Lenient
from gateways.scgi import NoDefault, __version__
from gateways.wsgi.runner import Application

__all__ = ["BaseSCGIServer", "NoDefault", "WSGIServer", "__version__"]


class WSGIServer(scgi.WSGIServer):
    """``gateways.scgi.WSGIServer`` for an application that flup could run."""

    def __init__(self, application: Application, *arguments: Any, **kw: Any) -> None:
        super().__init__(Lenient(application), *arguments, **kw)


BaseSCGIServer = WSGIServer  # of flup.server.scgi_base
