"""The head of a response: as gateways write it (RFC 3875, section 6.3) and with a status line.

Most headers of an application have the value that they had in its last response, or one of few
statuses, so a line is encoded once and remembered.
"""

from __future__ import annotations

from gateways.protocols.familiar import is_secret

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from gateways.protocols.base import Headers

_MAX_LINES = 1024  # an application that makes names up must not fill the memory
_LONGEST = 256
_CHANGES_ALL_THE_TIME = 1000  # a length does; it is not worth another object


class _Line:
    """A header with the value that it had last; nothing in it changes (see ``familiar.Shape``)."""

    __slots__ = ("changes", "raw", "value")

    def __init__(self, value: str, raw: bytes, changes: int) -> None:
        self.value = value
        self.raw = raw
        self.changes = changes


class _Field:
    """``Status:`` with a status, and whether it comes behind the other fields.

    It comes first, but where there may be a ``Location``: to HAProxy one that comes later says 302.
    """

    __slots__ = ("is_last", "raw")

    def __init__(self, status: str) -> None:
        self.raw = f"Status: {status}\r\n".encode("latin-1")
        self.is_last = (status[0] == "3" and status[:3] != "304") or status[:3] == "201"


_lines: dict[str, _Line] = {}  # by the header's name
_fields: dict[str, _Field] = {}  # by the status
_status_lines: dict[str, dict[str, bytes]] = {"HTTP/1.0": {}, "HTTP/1.1": {}}


def status_head(status: str, headers: Headers) -> bytes:
    """A head with a ``Status:`` field, up to and with the empty line.

    The status is always written: without one some web servers turn a 200 into a 304 or take a
    ``Location`` for an internal redirect. The caller has validated all parts.
    """
    return b"".join(status_head_lines(status, headers))


def status_head_lines(status: str, headers: Headers) -> list[bytes]:
    """The lines of such a head."""
    field = _fields.get(status)
    if field is None:
        field = _Field(status)
        if len(_fields) < _MAX_LINES:
            _fields[status] = field
    lines = [] if field.is_last else [field.raw]
    for name, value in headers:
        lines.append(header_line(name, value))
    if field.is_last:
        lines.append(field.raw)
    lines.append(b"\r\n")
    return lines


def status_line_head(version: str, status: str, headers: Headers) -> bytes:
    """A head that begins with an HTTP status line; ``version`` is ``HTTP/1.0`` or ``HTTP/1.1``.

    It is for peers that end the body by the close of the connection: nothing about the connection
    or its coding is added. The caller has validated all parts.
    """
    return b"".join(status_line_head_lines(version, status, headers))


def status_line_head_lines(version: str, status: str, headers: Headers) -> list[bytes]:
    """The lines of such a head."""
    known = _status_lines[version]
    line = known.get(status)
    if line is None:
        line = f"{version} {status}\r\n".encode("latin-1")
        if len(known) < _MAX_LINES:
            known[status] = line
    lines = [line]
    for name, value in headers:
        lines.append(header_line(name, value))
    lines.append(b"\r\n")
    return lines


def header_line(name: str, value: str) -> bytes:
    """A header as it is sent."""
    line = _lines.get(name)
    if line is not None and line.value == value:
        return line.raw
    return _another_line(name, value, line)


def _another_line(name: str, value: str, last: _Line | None) -> bytes:
    raw = f"{name}: {value}\r\n".encode("latin-1")
    if last is None:
        if is_secret(name.upper().replace("-", "_")):
            _remember_line(name, "\n", b"", _CHANGES_ALL_THE_TIME)  # no header has that value
        else:
            _remember_line(name, value, raw, 0)
    elif last.changes < _CHANGES_ALL_THE_TIME:
        _remember_line(name, value, raw, last.changes + 1)
    return raw


def _remember_line(name: str, value: str, raw: bytes, changes: int) -> None:
    if len(raw) <= _LONGEST and (len(_lines) < _MAX_LINES or name in _lines):
        _lines[name] = _Line(value, raw, changes)
