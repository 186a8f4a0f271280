"""Requests to bytes, as a web server sends them: the reverse of what the codecs read.

A text is `str` (latin-1) or `bytes`. Nothing is checked that a test may want to get wrong; what
cannot be expressed in the wire format is a ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from gateways.protocols.base import Buffer
from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_KEEP_CONN,
    FCGI_PARAMS,
    pack_record,
    pack_stream,
)
from gateways.protocols.variables import encode_pairs

Text = str | bytes
Pairs = Iterable[tuple[Text, Text]]

UWSGI_HEADER = struct.Struct("<BHB")  # modifier1, size of the vars, modifier2
UWSGI_LENGTH = struct.Struct("<H")
UWSGI_MAX_SIZE = 65535


def encode_fastcgi_head(pairs: Pairs, request_id: int, role: int, *, keep: bool) -> bytes:
    """FCGI_BEGIN_REQUEST and the whole FCGI_PARAMS stream."""
    flags = FCGI_KEEP_CONN if keep else 0
    begin = pack_record(FCGI_BEGIN_REQUEST, request_id, BEGIN_REQUEST.pack(role, flags))
    out: list[Buffer] = [begin]
    pack_stream(FCGI_PARAMS, request_id, encode_pairs(pairs), out)
    out.append(pack_record(FCGI_PARAMS, request_id))
    return b"".join(out)


def encode_uwsgi_vars(pairs: Pairs) -> bytes:
    """The vars of a uwsgi packet. ValueError for a name or a value of more than 65,535 bytes."""
    out = bytearray()
    for pair in pairs:
        for part in pair:
            encoded = _encoded(part)
            if len(encoded) > UWSGI_MAX_SIZE:
                raise ValueError(f"{len(encoded)} bytes do not fit into a uwsgi variable (65535)")
            out += UWSGI_LENGTH.pack(len(encoded)) + encoded
    return bytes(out)


def encode_uwsgi_head(pairs: Pairs, modifier1: int = 0, modifier2: int = 0) -> bytes:
    """A uwsgi packet; the body follows it as it is. ValueError for more than 65,535 bytes."""
    encoded = encode_uwsgi_vars(pairs)
    if len(encoded) > UWSGI_MAX_SIZE:
        raise ValueError(f"{len(encoded)} bytes of variables do not fit into uwsgi (65535)")
    return UWSGI_HEADER.pack(modifier1, len(encoded), modifier2) + encoded


def encode_netstring(data: bytes) -> bytes:
    """A netstring: the length in decimal, a colon, the bytes, a comma."""
    return b"%d:%b," % (len(data), data)


def encode_scgi_head(pairs: Pairs) -> bytes:
    """An SCGI request head; the specification wants CONTENT_LENGTH first, and SCGI=1."""
    fields = [_encoded(part) for pair in pairs for part in pair]
    if any(b"\0" in field for field in fields):
        raise ValueError("an SCGI variable cannot hold a NUL")
    return encode_netstring(b"".join(field + b"\0" for field in fields))


def _encoded(text: Text) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
