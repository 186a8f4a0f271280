"""The chunked transfer coding, decoded (RFC 9112, section 7.1).

Every line ends in CRLF and nothing else, sizes are hexadecimal digits and nothing else: a decoder
that is generous here reads other requests than the proxy in front of it. Extensions and trailers
are dropped, and bounded, because they are sent for free.
"""

from __future__ import annotations

import enum
import re

from gateways.errors import LimitExceeded, ProtocolError

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n")
_LONGEST_SIZE_LINE = 300
_LARGEST_TRAILERS = 16384


class _State(enum.Enum):
    """What comes next."""

    SIZE = enum.auto()  # the line with the size of a chunk
    DATA = enum.auto()
    DATA_END = enum.auto()  # the CRLF after the data
    TRAILER = enum.auto()  # a field after the last chunk, or the empty line that ends it all
    ENDED = enum.auto()


class ChunkedDecoder:
    """Decodes one body; ``ended`` turns True with its last byte."""

    def __init__(self) -> None:
        self._state = _State.SIZE
        self._left = 0  # bytes of the chunk's data still to come
        self._line = b""  # the part of a line that has come
        self._trailers = 0  # bytes

    @property
    def ended(self) -> bool:
        """Whether the body is complete."""
        return self._state is _State.ENDED

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Returns the content that ``data`` brought, and what follows the end of the body.

        Raises ProtocolError (400) for bad framing, LimitExceeded (431) for too large trailers.
        """
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and self._state is not _State.ENDED:
            if self._state is _State.DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _State.DATA_END
            else:
                position = self._take_line(data, position)
        return b"".join(pieces), data[position:]

    def _take_line(self, data: bytes, position: int) -> int:
        """Take a line, or the part of it that is there; returns where it ends."""
        newline = data.find(b"\n", position, position + _LARGEST_TRAILERS + 2)
        end = newline + 1 or min(len(data), position + _LARGEST_TRAILERS + 2)
        line = self._line = self._line + data[position:end]
        if self._state is _State.DATA_END:
            if not b"\r\n".startswith(line):
                raise ProtocolError("the data of a chunk is longer than its size")
        elif self._state is _State.SIZE:
            if len(line) > _LONGEST_SIZE_LINE:
                raise ProtocolError("the size of a chunk has too long an extension")
        elif self._trailers + len(line) > _LARGEST_TRAILERS:
            raise LimitExceeded(f"trailers larger than {_LARGEST_TRAILERS} bytes", 431)
        if newline >= 0:
            self._line = b""
            self._end_of_line(line)
        return end

    def _end_of_line(self, line: bytes) -> None:
        if self._state is _State.SIZE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise ProtocolError(f"not the size of a chunk: {line[:40]!r}")
            self._left = int(match[1], 16)
            self._state = _State.DATA if self._left else _State.TRAILER
        elif self._state is _State.DATA_END:
            self._state = _State.SIZE
        elif line == b"\r\n":
            self._state = _State.ENDED
        elif _TRAILER.fullmatch(line):
            self._trailers += len(line)
        else:
            raise ProtocolError(f"not a trailer: {line[:40]!r}")
