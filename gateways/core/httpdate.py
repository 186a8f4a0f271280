"""The Date field of HTTP (RFC 9110, section 5.6.7), formatted once a second."""

from __future__ import annotations

from email.utils import formatdate  # now: a worker in a chroot would not find it later
from time import time


class HTTPDate:
    """Tells the time to any thread."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        """The value of the field."""
        second = int(time())
        if second != self._second:
            self._text = formatdate(second, usegmt=True)
            self._second = second
        return self._text
