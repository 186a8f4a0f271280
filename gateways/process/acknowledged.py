"""How a persistent CGI server answers a relay: a byte when the request runs, then the response."""

from __future__ import annotations

from typing import Any

from gateways.core.connection import Connection
from gateways.core.relay import ACKNOWLEDGED
from gateways.protocols.base import Headers, Request
from gateways.protocols.head import status_head
from gateways.wsgi.channel import Channel


class Acknowledged(Channel):
    """The runner's ``Channel`` to a relay: one byte, then the response as CGI has it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._head = b""

    def acknowledge(self, request: Request) -> bool:
        """Say that the request runs; False if nobody is there any more."""
        try:
            self._connection.send_body(request, ACKNOWLEDGED)
        except ConnectionError:
            return False
        return True

    def send_head(self, request: Any, status: str, headers: Headers) -> None:
        """Set the head (see ``Channel.send_head``)."""
        self._head = status_head(status, headers)

    def send_body(self, request: Any, chunk: bytes) -> None:
        """Send a piece of the body."""
        chunk, self._head = self._head + chunk, b""
        self._connection.send_body(request, chunk)

    def finish(self, request: Any, chunk: bytes) -> None:
        """Send the last piece."""
        chunk, self._head = self._head + chunk, b""
        self._connection.finish(request, chunk)

    def abort(self, request: Any) -> None:
        """End a response that cannot be completed."""
        self._connection.abort(request)

    def send_errors(self, request: Any, text: str) -> None:
        """Send text to the web server's error log."""
        self._connection.send_errors(request, text)
