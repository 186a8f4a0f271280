"""Every error of the package, in one place: whose fault it is decides the class.

The peer's faults are ``ProtocolError`` and ``LimitExceeded`` (with the HTTP status that answers
them), a peer that left is ``ClientDisconnected``, the application's faults are
``ApplicationError`` and the operator's ``ConfigError``. ``RequestTimeout`` ends a request that
takes too long. Misuse by our own code is ``RuntimeError``.
"""


class GatewayError(Exception):
    """Base of all errors that this package raises on purpose."""


class ProtocolError(GatewayError):
    """The peer broke its protocol; ``status`` is the HTTP status that tells it so."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class LimitExceeded(ProtocolError):
    """The peer sent more than a configured limit allows; the message names the limit."""


class ClientDisconnected(GatewayError, ConnectionError):
    """The peer left, or took too long, before the request or the response was complete.

    It is a ``ConnectionError`` (an ``OSError``), which frameworks know as a failed read of a body.
    ``status`` answers a peer that is still there: 400, or 408 where it took too long.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class RequestTimeout(BaseException):
    """Raised in an application that has not begun its response within ``timeout_seconds``.

    It is a ``BaseException``, like ``asyncio.CancelledError`` and ``KeyboardInterrupt``, so that
    ``except Exception`` does not take it for an error of the application's own; ``finally`` and
    ``with`` do their work. Whatever an application that catches it answers, the peer gets a 504.
    """

    def __init__(self, message: str = "the request ran for longer than it may") -> None:
        super().__init__(message)


class ApplicationError(GatewayError):
    """The application broke PEP 3333; the message says which rule and how to mend it."""


class ConfigError(GatewayError):
    """An option, an address or an application reference is wrong; the message holds the remedy."""
