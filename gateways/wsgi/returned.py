"""What an application returns and yields, checked: mistakes are answered with the remedy."""

from __future__ import annotations

from gateways.errors import ApplicationError

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from typing import Any


def is_iterable(returned: Any) -> bool:
    """Whether ``for`` can go through it."""
    return hasattr(returned, "__iter__") or hasattr(returned, "__getitem__")


def has_one_item(iterable: Any) -> bool:
    """Whether it says so by its length."""
    if hasattr(iterable, "__len__"):
        try:
            return bool(len(iterable) == 1)
        except Exception:  # noqa: BLE001  # PEP 3333: "only if it works", whatever it raises
            return False
    return False


def as_bytes(chunk: Any) -> bytes:
    """A subclass of bytes is fine; anything else is the application's mistake."""
    if isinstance(chunk, bytes):
        return chunk
    hint = {
        str: "encode it, for example with .encode('utf-8')",
        bytearray: "wrap it in bytes()",
        memoryview: "wrap it in bytes()",
        int: "a bytes object was returned where a list of bytes is meant",
    }.get(type(chunk), "yield bytes")
    raise ApplicationError(f"the response body holds a {type(chunk).__name__}, not bytes; {hint}")


def only_chunk(returned: Any) -> list[bytes]:
    """What an application returned that is no list: bytes are taken for the one chunk they are."""
    if isinstance(returned, bytes):
        return [returned]
    raise ApplicationError(
        f"the application returned {type(returned).__name__} instead of an iterable of bytes"
        + ("; return [body.encode('utf-8')]" if isinstance(returned, str) else "")
    )
