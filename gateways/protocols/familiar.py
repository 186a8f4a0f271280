"""What requests have in common: names that came before, and values that came with them.

Web servers send the same variables with every request and in the same order, and many with the
same values: what they say of themselves, of the site and of their client's kind. To compare bytes
with what is expected is far cheaper than to decode, check and look them up once more.

A value is kept once it has come twice in a row, if it is short and no secret of a client.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_NAMES = 1024  # peers that make names up must not fill the memory
_LONGEST_NAME = 100
_LONGEST_VALUE = 256

# Nobody's secrets outlive their request, nor does the time to compare them tell anything.
_SECRETS = ("COOKIE", "AUTHORIZATION", "TOKEN", "SECRET", "PASSWORD", "KEY", "AUTH")


class Pair:
    """A name and a value as they come over the wire, ``size`` bytes, and the decoded value."""

    __slots__ = ("raw", "size", "value")

    def __init__(self, raw: bytes, value: str) -> None:
        self.raw = raw
        self.size = len(raw)
        self.value = value


class Name:
    """A name that is fine, and the ``follower`` that came behind it the last time.

    ``pair`` is the name with the value that is expected; None where that differs all the time.
    """

    __slots__ = ("follower", "is_secret", "last", "length", "pair", "raw", "text")

    def __init__(self, text: str) -> None:
        self.text = sys.intern(text)  # the very object that the environ builder looks for
        self.raw = text.encode("latin-1")
        self.length = len(text)
        self.follower: Name | None = None
        self.pair: Pair | None = None
        self.last: str | None = None  # its value of the last time, if that was not the expected
        self.is_secret = _is_secret(text)


class Names:
    """The names of one wire format, in which ``encode`` writes a pair.

    ``first`` precedes the first one of a request. It also stands for those that need a closer
    look, as those do that ``is_refused``.
    """

    __slots__ = ("_encode", "_is_refused", "_known", "first")

    def __init__(
        self,
        encode: Callable[[str, str], bytes],
        is_refused: Callable[[str], bool] = lambda text: False,
    ) -> None:
        self._encode = encode
        self._is_refused = is_refused
        self._known: dict[str, Name] = {}
        self.first = Name("")

    def find(self, text: str, before: Name) -> Name:
        """A name that was not expected behind ``before``."""
        name = self._known.get(text)
        if name is None:
            if not text or not are_clean(text) or self._is_refused(text):
                return self.first
            name = Name(text)
            if len(self._known) >= _MAX_NAMES or len(text) >= _LONGEST_NAME:
                return name
            self._known[text] = name
        before.follower = name
        return name

    def take(self, fresh: list[Name], values: list[str]) -> bool:
        """Check the values of these names, and remember those that may come again.

        False where one of them needs the closer look that ``clean`` takes.
        """
        if not have_no_breaks("".join(values)):
            return False
        position = 0
        for name in fresh:
            value = values[position]
            position += 1
            if name.is_secret:
                continue
            if name.last == value:
                name.pair = Pair(self._encode(name.text, value), value)
            else:
                name.last = value if len(value) <= _LONGEST_VALUE else ""
        return True


def _is_secret(name: str) -> bool:
    return any(word in name for word in _SECRETS)


def have_no_breaks(values: str) -> bool:
    """Whether no value needs the closer look that ``clean`` takes; given all of them, joined."""
    return not ("\0" in values or "\n" in values or "\r" in values)


def are_clean(names: str) -> bool:
    """Whether no name does."""
    return not (
        "=" in names
        or "\0" in names
        or "\n" in names
        or "\r" in names
        or "wsgi." in names
        or "gateways." in names
    )
