"""Which protocol a connection speaks, from its first bytes.

The first byte nearly decides: FastCGI begins with its version (1), uwsgi with a modifier (0, 30,
100), SCGI with a digit, HTTP with a letter; only a uwsgi ping and an HTTP method may both begin
with ``d`` (100). The bytes behind it are looked at so that noise is not taken for a request.
Each ``_is_…`` answers True, False, or None while the bytes that have come leave it open.
"""

from __future__ import annotations

import enum
import re
import string
from collections.abc import Callable
from typing import Final

from gateways.protocols.encoders import UWSGI_HEADER, UWSGI_LENGTH
from gateways.protocols.head import status_head, status_line_head
from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_GET_VALUES,
    FCGI_HEADER_LEN,
    FCGI_STDOUT,
    FCGI_VERSION_1,
    HEADER,
    pack_record,
    pack_trailer,
)
from gateways.protocols.uwsgi import PING, REQUEST, REQUEST_MANAGE_PATH_INFO


class Undecided(enum.Enum):
    """The answer while more bytes are needed."""

    UNDECIDED = enum.auto()


# What a connection of each protocol may begin with; anything else is worth a closer look.
FIRST_BYTES = {
    "fcgi": frozenset({FCGI_VERSION_1}),
    "uwsgi": frozenset({REQUEST, REQUEST_MANAGE_PATH_INFO, PING}),
    "scgi": frozenset(b"0123456789"),
    "http": frozenset(string.ascii_letters.encode() + b"\r"),
}

UNDECIDED: Final = Undecided.UNDECIDED

_LETTERS = string.ascii_letters.encode()
_LONGEST_METHOD = 32
_METHOD = re.compile(rb"(?:\r\n)?[A-Za-z][!#$%&'*+\-.^_`|~0-9A-Za-z]*( )?")
_NETSTRING = re.compile(rb"(?:0|[1-9][0-9]{0,9})(:)?")
_FIRST_HEADER = b"CONTENT_LENGTH\0"


def _is_fcgi(data: bytes) -> bool | None:
    """FCGI_BEGIN_REQUEST of 8 bytes, or FCGI_GET_VALUES, with which HAProxy begins."""
    if data[0] != FCGI_VERSION_1:
        return False
    if len(data) > 1 and data[1] not in (FCGI_BEGIN_REQUEST, FCGI_GET_VALUES):
        return False
    if len(data) < FCGI_HEADER_LEN:
        return None
    _, record_type, request_id, length, _ = HEADER.unpack_from(data)
    if record_type == FCGI_BEGIN_REQUEST:
        return bool(request_id and length == BEGIN_REQUEST.size)
    return not request_id


def _is_uwsgi(data: bytes) -> bool | None:
    """A ping, or variables of which the first has a name that begins with a letter."""
    if data[0] not in (REQUEST, REQUEST_MANAGE_PATH_INFO, PING):
        return False
    if data[0] == PING:
        if data[1:4].strip(b"\0"):
            return False
        return True if len(data) >= UWSGI_HEADER.size else None
    if len(data) < UWSGI_HEADER.size + UWSGI_LENGTH.size + 1:
        return None
    _, size, _ = UWSGI_HEADER.unpack_from(data)
    (name_size,) = UWSGI_LENGTH.unpack_from(data, UWSGI_HEADER.size)
    first = data[UWSGI_HEADER.size + UWSGI_LENGTH.size]
    return 0 < name_size <= size - 2 * UWSGI_LENGTH.size and (first in _LETTERS or first == 0x5F)


def _is_scgi(data: bytes) -> bool | None:
    """A netstring whose first header is CONTENT_LENGTH."""
    match = _NETSTRING.match(data)
    if match is None:
        return False
    if not match[1]:
        return None if match.end() == len(data) else False
    first = data[match.end() : match.end() + len(_FIRST_HEADER)]
    if not _FIRST_HEADER.startswith(first):
        return False
    return True if first == _FIRST_HEADER else None


def _is_http(data: bytes) -> bool | None:
    """A method and a blank (HTTP/2's preface too); an empty line may stand before it."""
    if b"\r\n".startswith(data):
        return None
    match = _METHOD.match(data)
    if match is None:
        return None if data == b"\r\n" else False
    if match.end() > _LONGEST_METHOD:
        return False
    if match[1]:
        return True
    return None if match.end() == len(data) else False


_TESTS: dict[str, Callable[[bytes], bool | None]] = {
    "fcgi": _is_fcgi,
    "uwsgi": _is_uwsgi,
    "scgi": _is_scgi,
    "http": _is_http,
}


def recognise(data: bytes, allowed: frozenset[str]) -> str | Undecided | None:
    """The protocol whose first bytes ``data`` are, among ``allowed``; None if it is none of them.

    ``data`` is all that has come. No more than 33 bytes are needed to decide.
    """
    if not data:
        return UNDECIDED
    verdict: Undecided | None = None
    for name, is_it in _TESTS.items():
        if name in allowed:
            answer = is_it(data)
            if answer:
                return name
            if answer is None:
                verdict = UNDECIDED
    return verdict


# -- the wrong protocol ------------------------------------------------------------------------

_NAMES = {"fcgi": "FastCGI", "uwsgi": "uwsgi", "scgi": "SCGI", "http": "HTTP"}
_NGINX = {
    "fcgi": "fastcgi_pass",
    "uwsgi": "uwsgi_pass",
    "scgi": "scgi_pass",
    "http": "proxy_pass",
}
_PROXY_PROTOCOL = (b"PROXY TCP", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n")

_TEXT = b"The web server and the application do not speak the same protocol.\n"
_FIELDS = [("Content-Type", "text/plain"), ("Content-Length", str(len(_TEXT)))]
_BAD_GATEWAY = "502 Bad Gateway"


def mismatch(data: bytes, expected: str) -> tuple[str, bytes] | None:
    """What is wrong where a listener for ``expected`` is sent ``data``, the first bytes.

    Returns a text for the log that holds the remedy, and an answer in the peer's own protocol, b""
    where there is none. None where it is not known what the peer speaks. ``expected`` is the name
    of a protocol, or ``auto[…]`` of which what comes is none.
    """
    if expected.startswith("auto"):
        socket_speaks = f"the socket takes {expected} only"
    else:
        socket_speaks = f"the socket speaks {_NAMES[expected]}"
    if data[:2] == b"\x16\x03" and data[2:3] <= b"\x04" and data[5:6] in (b"", b"\x01"):
        return f"this is TLS, {socket_speaks} without it: leave TLS to the web server", b""
    if data.startswith(_PROXY_PROTOCOL):
        return (
            f"this is the PROXY protocol, {socket_speaks}: turn it off in the proxy "
            "(send-proxy in HAProxy, proxy_protocol on in nginx)",
            b"",
        )
    seen = _guess(data)
    if seen is None or seen == expected:
        return None
    if expected.startswith("auto"):
        return f"this is {_NAMES[seen]}, {socket_speaks}: bind {seen}: too", _answer(data, seen)
    text = (
        f"this is {_NAMES[seen]}, {socket_speaks}: use {_NGINX[expected]}, not {_NGINX[seen]} "
        f"(nginx), or ProxyPass with {expected}://, not {seen}:// (Apache), "
        f"or bind {seen}: instead of {expected}:"
    )
    return text, _answer(data, seen)


def _guess(data: bytes) -> str | None:
    """The protocol of ``data``, also where too little has come to be sure."""
    if not data:
        return None
    sure = [name for name, is_it in _TESTS.items() if is_it(data)]
    possible = sure or [name for name, is_it in _TESTS.items() if is_it(data) is None]
    return possible[0] if len(possible) == 1 else None


def _answer(data: bytes, seen: str) -> bytes:
    """An error that the peer understands."""
    if seen == "http":
        head = status_line_head("HTTP/1.1", "400 Bad Request", [*_FIELDS, ("Connection", "close")])
        return head + _TEXT
    if seen == "uwsgi":
        if data[0] == PING:
            return b""
        return status_line_head("HTTP/1.0", _BAD_GATEWAY, _FIELDS) + _TEXT
    page = status_head(_BAD_GATEWAY, _FIELDS) + _TEXT
    if seen == "scgi":
        return page
    request_id = int.from_bytes(data[2:4], "big")
    if not request_id:
        return b""  # FCGI_GET_VALUES: there is no request yet that could be answered
    return pack_record(FCGI_STDOUT, request_id, page) + pack_trailer(request_id, 0)
