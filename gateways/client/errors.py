"""What can go wrong between this client and a server; the message holds what, why and a remedy."""

from __future__ import annotations

from gateways.errors import GatewayError


class ClientError(GatewayError):
    """No response, or no complete one. ``status`` is what a gateway would answer because of it.

    ``errors`` is what the server had sent for the error log (FastCGI STDERR, a script's stderr).
    """

    status = 502

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errors = ""


class ConnectError(ClientError):
    """The server cannot be reached; no byte of the request was sent."""


class ClientTimeout(ClientError):
    """The server took longer than the timeout to take or to send the next bytes."""

    status = 504


class ConnectionLost(ClientError):
    """The server closed, or reset, a connection before the response was complete."""
