"""The plain pages that we answer ourselves: refusals and the page of an application that failed."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from typing import Any, Protocol

    from gateways.wsgi.channel import Channel
else:
    Protocol = object

PHRASES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}

_EXPLANATIONS = {
    400: "The request could not be understood.",
    404: "There is nothing at this address.",
    405: "This address does not support that method.",
    408: "The request took too long to arrive.",
    413: "The request is larger than this server accepts.",
    414: "The address is longer than this server accepts.",
    417: "This server cannot meet what the request expects.",
    431: "The headers of the request are larger than this server accepts.",
    500: "The application failed to answer this request. Its error log says why.",
    501: "This server does not support what the request asks for.",
    502: "The application's server gave no answer that could be understood.",
    503: "The server is busy. Try again in a moment.",
    504: "The application's server took too long to answer.",
    505: "This server speaks HTTP/1.1.",
}


def error_page(code: int, detail: str = "") -> tuple[str, list[tuple[str, str]], bytes]:
    """Status, headers and body of an error page; ``detail`` is shown as it is (a traceback)."""
    status = f"{code} {PHRASES[code]}"
    if detail:
        import html

        detail = f"<pre>{html.escape(detail)}</pre>\n"
    body = (
        f"<!DOCTYPE html>\n<html><head><title>{status}</title></head>\n"
        f"<body><h1>{PHRASES[code]}</h1>\n<p>{_EXPLANATIONS[code]}</p>\n{detail}</body></html>\n"
    ).encode("utf-8", "replace")
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
    ]
    if code == 503:
        headers.append(("Retry-After", "1"))
    return status, headers, body


class ErrorResponder(Protocol):
    """Answers a request with an error page: ``respond_with_error``, or what stands in for it."""

    def __call__(
        self, channel: Channel, request: Any, code: int, is_head: bool = False, detail: str = ""
    ) -> None:
        """Send the page for status ``code``; ``detail`` is a traceback that may be shown."""


def respond_with_error(
    channel: Channel, request: Any, code: int, is_head: bool = False, detail: str = ""
) -> None:
    """Answer a request with one of our own pages."""
    status, headers, body = error_page(code, detail)
    channel.send_head(request, status, headers)
    channel.finish(request, b"" if is_head else body)
