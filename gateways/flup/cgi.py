"""``flup.server.cgi``: one CGI request; or, where ``gateways run --bind`` says so, a server."""

from __future__ import annotations

from gateways import cgi
from gateways.flup import fcgi
from gateways.flup.leniency import Lenient
from gateways.scripting import orders
from gateways.wsgi.runner import Application

__all__ = ["WSGIServer"]


class WSGIServer:
    """``flup.server.cgi.WSGIServer``."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def run(self) -> None:
        """Answer the request that this process was started for."""
        if "bind" in orders.options:
            fcgi.WSGIServer(self.application).run()
            return
        orders.obeyed = True
        options = {
            name: orders.options[name]
            for name in ("script_name", "debug", "trust_remote_user")
            if name in orders.options
        }
        cgi.WSGIServer(Lenient(self.application), **options).run()
