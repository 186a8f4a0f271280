"""The head of a response, in the form that gateways use (RFC 3875, section 6.3)."""

from __future__ import annotations

from gateways.protocols.base import Headers


def status_head(status: str, headers: Headers) -> bytes:
    """A head that begins with a ``Status:`` field, up to and with the empty line.

    The status is always written: without one some web servers turn a 200 into a 304 or take a
    ``Location`` for an internal redirect. The caller has validated all parts.
    """
    head = f"Status: {status}\r\n"
    for name, value in headers:
        head += f"{name}: {value}\r\n"
    return (head + "\r\n").encode("latin-1")
