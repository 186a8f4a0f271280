"""The way from the runner to the peer."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from typing import Any

    from gateways.wsgi.headers import Headers
    from gateways.wsgi.runner import Response


class Channel:
    """The way to the peer; ``request`` is the channel's own token.

    The runner looks at nothing of it but ``overdue``, where it has that: an error which stands
    against whatever the application answers. Only ``send_body`` raises: ClientDisconnected, where
    nobody wants the response any more, or RequestTimeout.
    """

    __slots__ = ()

    def note_running(self, request: Any, response: Response | None) -> None:
        """Know what answers the request now, for who wants to interrupt it; None: nothing."""

    def send_head(self, request: Any, status: str, headers: Headers) -> None:
        """Set the head, which leaves with the first body bytes or with the end."""
        raise NotImplementedError

    def send_body(self, request: Any, chunk: bytes) -> None:
        """Send a piece of the body; returns when it is sent or sure to be sent."""
        raise NotImplementedError

    def send_file(self, request: Any, fd: int, offset: int, size: int) -> int:
        """Have the kernel send ``size`` bytes of a file, and wait until it has them all.

        Returns how many it has: 0 where there is no such way, and else the rest is little, or the
        file has become shorter. Raises what ``send_body`` does, and what is wrong with the file.
        """
        return 0

    def finish(self, request: Any, chunk: bytes) -> None:
        """Send the last piece of the body (which may be empty) and end the response."""
        raise NotImplementedError

    def respond(self, request: Any, status: str, headers: Headers, chunk: bytes) -> None:
        """Send all of a response at once: head, body and end."""
        self.send_head(request, status, headers)
        self.finish(request, chunk)

    def abort(self, request: Any) -> None:
        """End a response that cannot be completed."""
        raise NotImplementedError

    def send_errors(self, request: Any, text: str) -> None:
        """Send text to the web server's error log."""
        raise NotImplementedError
