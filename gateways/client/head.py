"""The head of a response: ``Status:`` form (RFC 3875, section 6) or status line (RFC 9112)."""

from __future__ import annotations

import dataclasses
import http
import re

from gateways.client.errors import ClientError
from gateways.client.message import Headers

MAX_HEAD_BYTES = 1 << 18
_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(r"HTTP/(\d+(?:\.\d+)?) +(\d{3})(?: (.*))?", re.ASCII)
_STATUS = re.compile(r"(\d{3})(?: +(.*))?", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """A head, parsed. ``raw`` is all of its bytes; ``version`` is "" in the ``Status:`` form."""

    status: int
    reason: str
    headers: Headers
    version: str
    raw: bytes

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for other, value in self.headers if other.lower() == name.lower()]


class HeadReader:
    """Collects bytes until a head is complete."""

    def __init__(self, protocol: str, *, status_line: bool) -> None:
        self._protocol = protocol
        self._status_line = status_line
        self._held = bytearray()

    @property
    def started(self) -> bool:
        """Whether a byte of it has come."""
        return bool(self._held)

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head, and the bytes behind it, once it is complete."""
        start = max(len(self._held) - 2, 0)
        self._held += data
        if self._held[:2] == b"\r\n" or self._held[:1] == b"\n":
            raise self._not_a_head("it begins with an empty line")
        if not b"HTTP/".startswith(self._held[:5]) and self._status_line:
            raise self._not_a_head("it has no status line")
        if self._held[0] < 0x20:
            raise self._not_a_head("it is binary")
        end = _END.search(self._held, start)
        if end is None:
            if len(self._held) > MAX_HEAD_BYTES:
                raise self._not_a_head(f"it has no end within {MAX_HEAD_BYTES} bytes")
            return None
        raw = bytes(self._held[: end.end()])
        return self._parse(raw), bytes(self._held[end.end() :])

    def _parse(self, raw: bytes) -> Head:
        lines = [line.removesuffix("\r") for line in raw.decode("latin-1").split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        match = _STATUS_LINE.fullmatch(lines[0])
        if self._status_line and match is None:
            raise self._not_a_head(f"the status line is {lines[0]!r:.200}")
        headers: Headers = []
        for line in lines[1:] if match else lines:
            name, colon, value = line.partition(":")
            if line[0] in " \t" and headers:
                headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
            elif not colon or not _NAME.fullmatch(name):
                raise self._not_a_head(f"{line!r:.200} is no header")
            else:
                headers.append((name, value.strip(" \t")))
        if match:
            status = int(match[2])
            return Head(status, match[3] or reason_of(status), headers, match[1], raw)
        return self._status_form(headers, raw)

    def _status_form(self, headers: Headers, raw: bytes) -> Head:
        found = [value for name, value in headers if name.lower() == "status"]
        headers = [(name, value) for name, value in headers if name.lower() != "status"]
        if not found:
            # Section 6.2: without a status, a Location is a redirect and anything else a success.
            moved = any(name.lower() == "location" for name, _ in headers)
            found = ["302"] if moved else ["200"]
        match = _STATUS.fullmatch(found[0])
        if match is None:
            raise self._not_a_head(f"the status is {found[0]!r:.200}")
        status = int(match[1])
        return Head(status, match[2] or reason_of(status), headers, "", raw)

    def _not_a_head(self, problem: str) -> ClientError:
        return wrong_answer(self._protocol, bytes(self._held), problem)


def reason_of(status: int) -> str:
    """The standard reason phrase of a status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def wrong_answer(protocol: str, data: bytes, problem: str) -> ClientError:
    """The error for an answer that is none in the protocol, with a guess at what it is."""
    guess = ""
    if data.startswith(b"HTTP/") and protocol != "HTTP":
        guess = "; this is HTTP: try http: as the protocol of the target"
    elif data[:1] == b"\x01" and data[1:2] <= b"\x0b" and protocol != "FastCGI":
        guess = "; this looks like FastCGI: try fcgi: as the protocol of the target"
    elif data[:7].lower() in (b"status:", b"content") and protocol in ("HTTP", "FastCGI"):
        guess = "; this looks like SCGI or uwsgi: try scgi: or uwsgi: in the target"
    return ClientError(
        f"the answer is no {protocol} response: {problem} (it begins {data[:40]!r}){guess}"
    )
