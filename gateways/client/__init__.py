"""A client for FastCGI, uwsgi, SCGI, CGI and HTTP: the web server's side, as a small library.

>>> response = request("fcgi:/tmp/app.sock", "/path?query")  # doctest: +SKIP
>>> response.status, response.body  # doctest: +SKIP

``Client`` keeps connections; ``WSGIApplication`` is a WSGI application that forwards to a target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateways.client.application import WSGIApplication
from gateways.client.errors import ClientError, ClientTimeout, ConnectError, ConnectionLost
from gateways.client.exchange import Client, Response
from gateways.client.message import BodyLike
from gateways.client.target import Target, parse_target

__all__ = [
    "Client",
    "ClientError",
    "ClientTimeout",
    "ConnectError",
    "ConnectionLost",
    "Response",
    "Target",
    "WSGIApplication",
    "parse_target",
    "request",
]


def request(
    target: str | Target,
    path: str | None = None,
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: BodyLike = b"",
    params: Mapping[str, str] | None = None,
    script_name: str = "",
    role: str = "responder",
    timeout: float = 30.0,
) -> Response:
    """One request on a connection of its own (see ``Client.request``)."""
    return Client(target, keep=False, timeout=timeout).request(
        path,
        method=method,
        headers=headers,
        body=body,
        params=params,
        script_name=script_name,
        role=role,
    )
