"""The checks of what an application gives to ``start_response`` (PEP 3333; RFC 9110, section 5).

A header name is classified once and remembered, with the value that it had last, so that the common
case costs one lookup and one comparison; another value is checked with ``isprintable``, which is
False for every character that could break a line.
"""

from __future__ import annotations

from gateways.errors import ApplicationError

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from typing import Any

Headers = list[tuple[str, str]]

_PUNCTUATION_OF_TOKENS = frozenset("!#$%&'*+-.^_`|~")
# Tab and the upper half of latin-1 are allowed; every other control character is not.
_OF_VALUES = frozenset(map(chr, (0x09, *range(0x20, 0x7F), *range(0x80, 0x100))))

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)

_statuses: dict[str, int] = {}  # those that have passed the check, and their codes
_kinds: dict[str, _Kind] = {}
_lengths: dict[str, int] = {}  # values of Content-Length that have passed it
_MAX_KINDS = 1024  # an application that makes names up must not fill the memory
_LONGEST_VALUE = 100


class _Kind:
    """What is known of a header name. Most values are those of the last time: ``last``."""

    __slots__ = ("is_length", "is_secret", "last")

    def __init__(self, name: str) -> None:
        lower = name.lower()
        self.is_length = lower == "content-length"
        self.is_secret = lower == "set-cookie"
        self.last = ""


def check_status(status: Any) -> int:
    """The code of ``status``; raises ApplicationError unless that is like "200 OK"."""
    statuses = _statuses
    known = statuses.get(status) if type(status) is str else None
    if known is not None:
        return known
    if not isinstance(status, str):
        raise ApplicationError(
            f"the status must be a str such as '200 OK', not {type(status).__name__}"
        )
    code = status[:3]
    if not (
        len(code) == 3
        and code.isdigit()
        and code.isascii()
        and code[0] != "0"
        and status[3:4] == " "
        and ((status.isprintable() and status.isascii()) or _OF_VALUES.issuperset(status))
    ):
        raise ApplicationError(
            f"the status must be three digits, a space and a reason, such as '200 OK', "
            f"not {status!r}"
        )
    if status[0] == "1":
        raise ApplicationError(f"the status {status!r} is not final; WSGI has no way to send it")
    number = int(code)
    if len(_statuses) < _MAX_KINDS:
        _statuses[status] = number
    return number


def check_headers(headers: Any) -> int | None:
    """Raise ApplicationError unless ``headers`` may be sent; return the Content-Length in bytes."""
    if not isinstance(headers, list):
        raise ApplicationError(
            f"the headers must be a list of (name, value) tuples, not {type(headers).__name__}"
        )
    length: int | None = None
    kinds = _kinds
    lengths = _lengths
    for item in headers:
        try:
            if not isinstance(item, tuple):
                raise TypeError  # a list, or a str of two characters
            name, value = item
            kind = kinds.get(name)
        except (TypeError, ValueError):
            raise ApplicationError(
                f"a header must be a (name, value) tuple of two str, not {item!r}"
            ) from None
        if kind is None:
            kind = _classify(name)
        if not isinstance(value, str):
            raise ApplicationError(
                f"the value of the header {name} must be a str, not {type(value).__name__}"
            )
        text: str = value
        if kind.is_length:
            number = lengths.get(text)
            if number is None:
                number = _read_length(text)
            if length is not None:
                raise ApplicationError("there are two Content-Length headers")
            length = number
        elif text != kind.last:
            if not (text.isprintable() and text.isascii()):
                _check_value(name, text)
            if len(text) <= _LONGEST_VALUE and not kind.is_secret:
                kind.last = text
    return length


def _read_length(text: str) -> int:
    if not (text.isdigit() and text.isascii() and len(text) <= 18):
        raise ApplicationError(f"Content-Length is {text!r:.40}, not a number of bytes")
    length = int(text)
    if len(_lengths) < _MAX_KINDS:
        _lengths[text] = length
    return length


def _classify(name: Any) -> _Kind:
    if not isinstance(name, str):
        raise ApplicationError(f"a header name must be a str, not {type(name).__name__}")
    if not _is_token(name):
        raise ApplicationError(f"{name!r} is not a valid header name")
    lower = name.lower()
    if lower == "status":
        raise ApplicationError("the status is start_response's first argument, not a header")
    if lower in _HOP_BY_HOP:
        raise ApplicationError(
            f"the header {name} concerns the connection, which is the web server's; remove it"
        )
    kind = _Kind(name)
    if len(_kinds) < _MAX_KINDS:
        _kinds[name] = kind
    return kind


def _is_token(name: str) -> bool:
    return name.isascii() and all(
        character.isalnum() or character in _PUNCTUATION_OF_TOKENS for character in name or "\0"
    )


def _check_value(name: str, value: str) -> None:
    if _OF_VALUES.issuperset(value):
        return
    if any(ord(character) > 255 for character in value):
        raise ApplicationError(
            f"the value of the header {name} holds a character outside latin-1; encode it "
            "(RFC 8187, or percent-encoding in a URL)"
        )
    raise ApplicationError(
        f"the value of the header {name} holds a line break or another control character"
    )
