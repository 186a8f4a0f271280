"""``wsgi.errors``: what an application writes there reaches our log and the web server's."""

from __future__ import annotations

import _thread  # threading is more than a CGI script needs

from gateways.logs import get_logger

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol
else:
    Protocol = object

logger = get_logger("gateways.application")

_LONGEST_LINE = 8192  # what grows without a newline is passed on in pieces of this size


class ErrorChannel(Protocol):
    """Where the web server's side of an error log leads."""

    def send_errors(self, request: Any, text: str) -> None:
        """Send ``text`` to the web server's error log; never raises for a peer that left."""


class ErrorStream:
    """A text stream; each complete line is one record of our log, and is sent on at once."""

    __slots__ = ("_channel", "_request", "is_busy", "line")  # line: text without its newline yet

    def __init__(self, channel: ErrorChannel, request: object) -> None:
        self._begin(channel, request)

    def _begin(self, channel: ErrorChannel, request: object) -> None:
        self._channel: ErrorChannel | None = channel
        self._request: object = request
        self.line = ""
        self.is_busy = 0  # handing text to our log: the thread that does it

    def write(self, text: str, /) -> int:
        """Append text; any character will do."""
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        self.line += text
        if "\n" in text:
            complete, _, self.line = self.line.rpartition("\n")
            self._emit(complete)
        elif len(self.line) > _LONGEST_LINE:
            self.flush()
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:
        """Append several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send what is not a complete line yet."""
        if self.line:
            line, self.line = self.line, ""
            self._emit(line)

    def detach(self) -> None:
        """The request has ended: what is written from now on reaches our own log alone."""
        if self.line:
            self.flush()
        self._channel = None
        self._request = None  # its variables are the environ, which holds this stream

    def _emit(self, text: str) -> None:
        thread = _thread.get_ident()
        if self.is_busy != thread:  # else the log has a handler that writes to this stream
            self.is_busy = thread
            try:
                for line in text.split("\n"):
                    logger.error("%s", line)
            finally:
                self.is_busy = 0
        if self._channel is not None:
            self._channel.send_errors(self._request, text + "\n")


def new_error_stream(channel: ErrorChannel, request: object) -> ErrorStream:
    """As ``ErrorStream(...)``; in the compiled build a call of the type would cost more."""
    stream = ErrorStream.__new__(ErrorStream)
    stream._begin(channel, request)
    return stream
