"""A request as its caller says it, before it is put into any wire format."""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Protocol, runtime_checkable
from urllib.parse import quote

from gateways.errors import ConfigError

PIECE_BYTES = 65536
_SPOOL_BYTES = 1 << 20
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Everything that may stand in a request-target, and "%", because what is quoted stays as it is.
_URL_SAFE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

Headers = list[tuple[str, str]]


@runtime_checkable
class Readable(Protocol):
    """A binary file, as far as a body needs one."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


BodyLike = bytes | bytearray | memoryview | str | Iterable[bytes] | Readable | None


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One request; its text is latin-1, as in PEP 3333.

    ``target`` is ``/path?query``, quoted and without a fragment.
    ``params`` override the CGI variables that are made of the rest; where ``variables`` are
    given, they are sent as they are, and nothing is made.
    """

    method: str = "GET"
    target: str = "/"
    headers: Headers = dataclasses.field(default_factory=list)
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    script_name: str = ""
    role: str = "responder"
    variables: Mapping[str, str] | None = None

    def header(self, name: str) -> str | None:
        """The last value of a header; its name in any case."""
        for other, value in reversed(self.headers):
            if other.lower() == name.lower():
                return value
        return None


def make_target(path: str) -> str:
    """A request-target of what a person types: blanks and non-ASCII characters are quoted."""
    path = path.partition("#")[0] or "/"
    if path.startswith("?"):
        path = "/" + path
    if not path.startswith("/") and path != "*":
        raise ConfigError(f"the path {path!r} does not begin with '/'")
    return quote(path.encode("utf-8", "surrogateescape"), safe=_URL_SAFE)


def check_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers as a list. Raises ConfigError for what would break the head of a request."""
    checked = list(headers)
    for name, value in checked:
        if not _TOKEN.fullmatch(name):
            raise ConfigError(f"{name!r} is no name of a header")
        if any(character in value for character in "\r\n\0"):
            raise ConfigError(f"the value of the header {name} holds a line break or a NUL")
    return checked


class Body:
    """The body of a request: its pieces, its length if it is known, and whether it can be resent.

    ``length`` is None for an iterable, and for a file that is a pipe or a terminal.
    """

    def __init__(self, source: BodyLike, length: int | None = None) -> None:
        if isinstance(source, str):
            source = source.encode()
        if source is None:
            source = b""
        self._source = source
        self._spooled: IO[bytes] | None = None
        self.length = length
        self.untouched = True  # nothing was taken from a source that cannot be taken from again
        if length is not None:
            return
        if isinstance(source, bytes | bytearray | memoryview):
            self.length = len(source)
        elif isinstance(source, Readable):
            self.length = _rest_of(source)

    def spool(self) -> int:
        """Read all of it, into a temporary file, where a protocol must know its length first."""
        if self.length is None:
            spooled = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  # close() does
            for piece in self:
                spooled.write(piece)
            self.length = spooled.tell()
            spooled.seek(0)
            self._source = self._spooled = spooled
        return self.length

    def __iter__(self) -> Iterator[bytes]:
        source = self._source
        if isinstance(source, bytes | bytearray | memoryview):
            if source:
                yield bytes(source)
            return
        self.untouched = False
        if isinstance(source, Readable):
            while piece := source.read(PIECE_BYTES):
                yield piece
        else:
            for piece in source:
                if piece:
                    yield bytes(piece)

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        if self._spooled is not None:
            self._spooled.close()


def _rest_of(file: Any) -> int | None:
    """The bytes from where a file stands to its end; None if it cannot tell."""
    try:
        here: int = file.tell()
        end: int = file.seek(0, os.SEEK_END)
        file.seek(here)
    except (AttributeError, OSError, ValueError):
        return None
    return end - here
