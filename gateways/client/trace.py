"""What goes over the wire, in words: each record of FastCGI, the heads of the other protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateways.protocols.base import Buffer
from gateways.protocols.encoders import UWSGI_HEADER, UWSGI_LENGTH
from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_ABORT_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_DATA,
    FCGI_END_REQUEST,
    FCGI_GET_VALUES,
    FCGI_GET_VALUES_RESULT,
    FCGI_HEADER_LEN,
    FCGI_KEEP_CONN,
    FCGI_PARAMS,
    FCGI_STDERR,
    FCGI_STDIN,
    FCGI_STDOUT,
    FCGI_UNKNOWN_TYPE,
    FCGI_VERSION_1,
    HEADER,
)
from gateways.protocols.variables import iter_pairs

TraceLine = Callable[[str], object]

SENT = "-->"
RECEIVED = "<--"
PREVIEW_BYTES = 1000
_INDENT = "      "

TYPE_NAMES = {
    FCGI_BEGIN_REQUEST: "BEGIN_REQUEST",
    FCGI_ABORT_REQUEST: "ABORT_REQUEST",
    FCGI_END_REQUEST: "END_REQUEST",
    FCGI_PARAMS: "PARAMS",
    FCGI_STDIN: "STDIN",
    FCGI_STDOUT: "STDOUT",
    FCGI_STDERR: "STDERR",
    FCGI_DATA: "DATA",
    FCGI_GET_VALUES: "GET_VALUES",
    FCGI_GET_VALUES_RESULT: "GET_VALUES_RESULT",
    FCGI_UNKNOWN_TYPE: "UNKNOWN_TYPE",
}
_ROLES = {1: "RESPONDER", 2: "AUTHORIZER", 3: "FILTER"}
_PROTOCOL_STATUS = {0: "REQUEST_COMPLETE", 1: "CANT_MPX_CONN", 2: "OVERLOADED", 3: "UNKNOWN_ROLE"}


class Tracer:
    """Describes one exchange; calls ``write`` with each line."""

    def __init__(self, scheme: str, write: TraceLine) -> None:
        self._write = write
        self._out: Describer
        self._in: Describer
        if scheme == "fcgi":
            self._out, self._in = Records(), Records()
        else:
            heads = {"uwsgi": uwsgi_head, "scgi": scgi_head, "http": text_head, "cgi": no_head}
            self._out, self._in = HeadAndBody(heads[scheme]), HeadAndBody(text_head)

    def sending(self, outgoing: Iterator[Buffer]) -> Iterator[Buffer]:
        """The same pieces, described as they are taken."""
        for piece in outgoing:
            self._show(SENT, self._out.feed(bytes(piece)))
            yield piece

    def received(self, data: bytes) -> None:
        """Describe what came; ``b""`` is the end of the connection."""
        self._show(RECEIVED, self._in.feed(data) if data else ["end of the connection"])

    def _show(self, arrow: str, lines: list[str]) -> None:
        for line in lines:
            self._write(line if line.startswith(_INDENT) else f"{arrow} {line}")


class Describer:
    """One direction: bytes in, lines out; those that belong to the line before are indented."""

    def feed(self, data: bytes) -> list[str]:
        """Describe the next bytes."""
        raise NotImplementedError


class Records(Describer):
    """FastCGI records, each when it is complete."""

    def __init__(self) -> None:
        self._held = b""
        self._params = b""  # a pair that continues in the next record

    def feed(self, data: bytes) -> list[str]:
        """See ``Describer.feed``."""
        data = self._held + data
        lines: list[str] = []
        position = 0
        while len(data) - position >= FCGI_HEADER_LEN:
            version, kind, number, length, padding = HEADER.unpack_from(data, position)
            if version != FCGI_VERSION_1:
                lines += [f"{len(data) - position} bytes that are no record"]
                lines += _preview(data[position:])
                position = len(data)
                break
            content = position + FCGI_HEADER_LEN
            if content + length + padding > len(data):
                break
            line = f"{TYPE_NAMES.get(kind, f'type {kind}')}, request {number}, {length} bytes"
            lines.append(line + (f", padding {padding}" if padding else ""))
            lines += self._content(kind, data[content : content + length])
            position = content + length + padding
        self._held = data[position:]
        return lines

    def _content(self, kind: int, content: bytes) -> list[str]:
        if kind == FCGI_PARAMS:
            pairs, self._params = split_pairs(self._params + content)
            return _pairs(pairs)
        if kind in (FCGI_GET_VALUES, FCGI_GET_VALUES_RESULT):
            return _pairs(list(iter_pairs(content)))
        if kind == FCGI_BEGIN_REQUEST and len(content) == BEGIN_REQUEST.size:
            role, flags = BEGIN_REQUEST.unpack(content)
            keep = "KEEP_CONN" if flags & FCGI_KEEP_CONN else "no flags"
            return [f"{_INDENT}{_ROLES.get(role, f'role {role}')}, {keep}"]
        if kind == FCGI_END_REQUEST and len(content) == 8:
            protocol = _PROTOCOL_STATUS.get(content[4], str(content[4]))
            return [f"{_INDENT}app status {int.from_bytes(content[:4], 'big')}, {protocol}"]
        return _preview(content)


class HeadAndBody(Describer):
    """A head that ``describe`` takes apart, and a body that is counted and previewed.

    ``describe`` returns the lines of the head and its size; None while it is incomplete.
    """

    def __init__(self, describe: Callable[[bytes], tuple[list[str], int] | None]) -> None:
        self._describe = describe
        self._held = b""
        self._head_seen = False

    def feed(self, data: bytes) -> list[str]:
        """See ``Describer.feed``."""
        lines: list[str] = []
        if not self._head_seen:
            data = self._held + data
            found = self._describe(data)
            if found is None:
                self._held = data
                return []
            lines, size = found
            data = data[size:]
            self._head_seen = True
        if data:
            lines += [f"{len(data)} bytes", *_preview(data)]
        return lines


def uwsgi_head(data: bytes) -> tuple[list[str], int] | None:
    """A uwsgi packet."""
    if len(data) < UWSGI_HEADER.size:
        return None
    modifier1, size, modifier2 = UWSGI_HEADER.unpack_from(data)
    end = UWSGI_HEADER.size + size
    if len(data) < end:
        return None
    fields = []
    position = UWSGI_HEADER.size
    while position < end:
        (length,) = UWSGI_LENGTH.unpack_from(data, position)
        position += UWSGI_LENGTH.size + length
        fields.append(data[position - length : position].decode("latin-1"))
    line = f"uwsgi packet, modifiers {modifier1} and {modifier2}, {size} bytes of vars"
    return [line, *_pairs(list(zip(fields[::2], fields[1::2], strict=True)))], end


def scgi_head(data: bytes) -> tuple[list[str], int] | None:
    """A netstring of SCGI."""
    size, colon, rest = data.partition(b":")
    if not colon or len(rest) <= int(size):
        return None
    fields = [field.decode("latin-1") for field in rest[: int(size)].split(b"\0")[:-1]]
    lines = [f"SCGI netstring, {int(size)} bytes"]
    lines += _pairs(list(zip(fields[::2], fields[1::2], strict=True)))
    return lines, len(size) + int(size) + 2


def text_head(data: bytes) -> tuple[list[str], int] | None:
    """The head of an HTTP request, or of any response."""
    ends = [data.find(mark) + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if mark in data]
    if not ends:
        return None
    return [f"head, {min(ends)} bytes", *_preview(data[: min(ends)].rstrip())], min(ends)


def no_head(data: bytes) -> tuple[list[str], int]:
    """The stdin of a script, which is nothing but the body."""
    return [], 0


def split_pairs(data: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """The complete name-value pairs at the beginning, and the rest."""
    position = 0
    while True:
        start = position
        lengths = []
        for _ in range(2):
            size = 4 if data[start : start + 1] >= b"\x80" else 1
            if start + size > len(data):
                break
            lengths.append(int.from_bytes(data[start : start + size], "big") & 0x7FFFFFFF)
            start += size
        if len(lengths) < 2 or start + sum(lengths) > len(data):
            return list(iter_pairs(data[:position])), data[position:]
        position = start + sum(lengths)


def _pairs(pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{_INDENT}{_printable(name)} = {_printable(value)}" for name, value in pairs]


def _preview(data: bytes) -> list[str]:
    if not data:
        return []
    try:
        text = data[:PREVIEW_BYTES].decode()
    except UnicodeDecodeError:
        text = data[:PREVIEW_BYTES].decode("latin-1")
    controls = sum(not character.isprintable() and character not in "\r\n\t" for character in text)
    if controls * 10 > len(text):
        lines = [data[start : start + 16].hex(" ") for start in range(0, min(len(data), 64), 16)]
        shown = 64
    else:
        lines = [_printable(line) for line in text.splitlines()]
        shown = PREVIEW_BYTES
    if len(data) > shown:
        lines.append(f"... {len(data) - shown} bytes more")
    return [_INDENT + line for line in lines]


def _printable(text: str) -> str:
    """The text without what a terminal could take for a command."""
    return "".join(
        character if character.isprintable() or character == "\t" else f"\\x{ord(character):02x}"
        for character in text
    )
