"""The SCGI codec: a netstring of headers, the body behind it, a CGI response until the close.

https://python.ca/scgi/protocol.txt. The specification wants CONTENT_LENGTH first and ``SCGI`` to
be 1; every web server does it so. Here CONTENT_LENGTH may come anywhere, because nothing depends on
its place, and ``SCGI`` may be missing, because nothing depends on it at all.
"""

from __future__ import annotations

import re

from gateways.errors import LimitExceeded, ProtocolError
from gateways.protocols.base import Headers, NewBody
from gateways.protocols.head import status_head_lines
from gateways.protocols.limits import RequestLimits
from gateways.protocols.oneshot import OneShot
from gateways.protocols.variables import decode_fields, iter_fields, largest

_MOST_DIGITS = 10
_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,%d}):" % (_MOST_DIGITS - 1))
_LENGTH_BEGUN = re.compile(rb"0|[1-9][0-9]{0,%d}" % (_MOST_DIGITS - 1))


class Scgi(OneShot):
    """The codec of one connection (see ``gateways.protocols.base.Codec``)."""

    def __init__(self, settings: RequestLimits, new_body: NewBody, address: object = None) -> None:
        self._open_oneshot(settings, new_body)
        self._prefix = 0  # bytes of the netstring's length and its colon
        self._length = 0  # what it says

    def _head_size(self, data: bytes) -> int:
        """The netstring's length tells (see ``OneShot._head_size``).

        Of headers that are too large, so much is awaited that the limit is passed.
        """
        if not self._prefix:
            match = _LENGTH.match(data)
            if match is None:
                if _LENGTH_BEGUN.fullmatch(data):
                    return len(data) + 1
                raise ProtocolError(f"not the length of SCGI headers: {data[:20]!r}")
            self._prefix = match.end()
            self._length = int(match[1])
        limit = self._settings.max_variables_bytes
        if limit and self._length > limit:
            return self._prefix + limit + 1
        return self._prefix + self._length + 1

    def _read_head(self, head: bytes) -> dict[str, str]:
        """The headers (see ``OneShot._read_head``)."""
        limit = self._settings.max_variables_bytes
        if limit and self._length > limit:
            name, size = largest(iter_fields(head[self._prefix :]))
            raise LimitExceeded(
                f"the headers have {self._length} bytes, --max-variables-bytes allows {limit}; "
                f"the largest is {name[:100]!r} with {size} bytes or more",
                431,
            )
        if head[-1:] != b",":
            raise ProtocolError("the netstring of SCGI headers does not end in a comma")
        variables = decode_fields(
            head[self._prefix : -1], self._settings.max_variables, self._settings.fields
        )
        if "CONTENT_LENGTH" not in variables:
            raise ProtocolError("an SCGI request without CONTENT_LENGTH")
        if variables.get("SCGI", "1") != "1":
            raise ProtocolError(f"SCGI version {variables['SCGI'][:20]!r}, not 1")
        return variables

    def _head_lines(self, status: str, headers: Headers) -> list[bytes]:
        """In the form of CGI, by custom: the specification leaves it open."""
        return status_head_lines(status, headers)
