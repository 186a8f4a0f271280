"""The head of a response: as gateways write it (RFC 3875, section 6.3) and with a status line."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from gateways.protocols.base import Headers


def status_head(status: str, headers: Headers) -> bytes:
    """A head with a ``Status:`` field, up to and with the empty line.

    The status is always written: without one some web servers turn a 200 into a 304 or take a
    ``Location`` for an internal redirect. It comes first, but where there may be a ``Location``:
    to HAProxy one that comes later says 302. The caller has validated all parts.
    """
    code = status[:3]
    if code == "201" or (code[0] == "3" and code != "304"):
        return _head([], [*headers, ("Status", status)])
    return _head(["Status: ", status, "\r\n"], headers)


def status_line_head(version: str, status: str, headers: Headers) -> bytes:
    """A head that begins with an HTTP status line; ``version`` is ``HTTP/1.0`` or ``HTTP/1.1``.

    It is for peers that end the body by the close of the connection: nothing about the connection
    or its coding is added. The caller has validated all parts.
    """
    return _head([version, " ", status, "\r\n"], headers)


def _head(parts: list[str], headers: Headers) -> bytes:
    for name, value in headers:
        parts.append(name)
        parts.append(": ")
        parts.append(value)
        parts.append("\r\n")
    parts.append("\r\n")
    return "".join(parts).encode("latin-1")
