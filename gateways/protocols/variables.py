"""Name-value pairs to CGI variables: what may be a variable at all, for every protocol.

What the variables *mean* (paths, defaults, ``wsgi.*``) is the environ builder's; here is only how
bytes become a ``dict[str, str]``, which names are refused and how repeated names combine. Requests
in which nothing is wrong, which are nearly all, are read by ``gateways.protocols.familiar``.
"""

from __future__ import annotations

import struct

from gateways.errors import ProtocolError
from gateways.protocols.familiar import (
    FIELDS,
    PAIRS,
    VARS,
    Names,
    check_count,
    long_lengths,
)

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateways.protocols.familiar import Prepare

_LENGTH = struct.Struct(">I")
_UWSGI_LENGTH = struct.Struct("<H")


# Names that begin so are ours to set; from the wire they could forge what the application trusts.
RESERVED_PREFIXES = ("wsgi.", "gateways.")


def decode_pairs(
    data: bytes, max_variables: int = 0, start: int = 0, end: int = -1, names: Names | None = None
) -> dict[str, str]:
    """Decode a complete FCGI_PARAMS stream (FastCGI 1.0, section 3.4), a part of ``data``.

    Names and values are latin-1 `str`, as PEP 3333 wants them. A length is one byte below 128,
    else four bytes big-endian with the top bit set. Names and repeated names are treated as in
    ``clean``; ``names`` are those that are known, which may prepare what they know. Raises
    ProtocolError where a pair runs past the end, LimitExceeded (431) where there are more than
    ``max_variables`` (0: no limit).
    """
    if end < 0:
        end = len(data)
    if names is None:
        names = _pairs
    try:
        variables = names.read(data, start, end, max_variables)
    except (IndexError, struct.error):
        raise ProtocolError("a name-value pair runs past the end of its stream") from None
    if "" in variables:
        variables = clean(iter_pairs(data[start:end]))
        check_count(len(variables), max_variables)
    return variables


def decode_vars(
    data: bytes, max_variables: int = 0, start: int = 0, names: Names | None = None
) -> dict[str, str]:
    """Decode the vars of a uwsgi packet: names and values, each behind a 16-bit LE length.

    They begin at ``start`` in ``data``. Those that would have a uWSGI server load or run something
    (``UWSGI_FILE`` and more) are dropped.

    All else is as in ``decode_pairs``. Raises ProtocolError for an empty name
    and where a variable runs past the end, LimitExceeded (431) as ``decode_pairs`` does.
    """
    if names is None:
        names = _vars
    try:
        variables = names.read(data, start, len(data), max_variables)
    except IndexError:
        raise ProtocolError("a uwsgi variable runs past the end of its packet") from None
    if "" in variables:
        pairs = list(iter_vars(data[start:]))
        if "" in dict(pairs):
            raise ProtocolError("a uwsgi variable has an empty name")
        variables = clean(pairs)
        for command in list(filter(_is_command, variables)):
            del variables[command]
        check_count(len(variables), max_variables)
    return variables


def iter_vars(data: bytes) -> Iterable[tuple[str, str]]:
    """The vars of a uwsgi packet one by one, as far as they are whole."""
    text = data.decode("latin-1")
    position = 0
    try:
        while position < len(data):
            middle = position + 2 + _UWSGI_LENGTH.unpack_from(data, position)[0]
            end_of_pair = middle + 2 + _UWSGI_LENGTH.unpack_from(data, middle)[0]
            yield text[position + 2 : middle], text[middle + 2 : end_of_pair]
            position = end_of_pair
    except struct.error:
        pass


def decode_fields(
    data: bytes, max_variables: int = 0, names: Names | None = None
) -> dict[str, str]:
    """Decode the headers of an SCGI request: names and values, each with a NUL behind it.

    All else is as in ``decode_pairs``. Raises ProtocolError for an empty name,
    for a name without a value and without the last NUL, LimitExceeded (431) as ``decode_pairs``.
    """
    if data and data[-1]:
        raise ProtocolError("the SCGI headers do not end in a NUL")
    if names is None:
        names = _fields
    try:
        variables = names.read(data, 0, len(data), max_variables)
    except ValueError:
        raise ProtocolError("an SCGI header has a name and no value") from None
    if "" in variables:
        pairs = list(iter_fields(data))
        if "" in dict(pairs):
            raise ProtocolError("an SCGI header has an empty name")
        variables = clean(pairs)
        check_count(len(variables), max_variables)
    return variables


def iter_fields(data: bytes) -> Iterable[tuple[str, str]]:
    """The headers of an SCGI request one by one; of one that is cut off, what is there."""
    fields = data.decode("latin-1").split("\0")
    return zip(fields[::2], fields[1::2], strict=False)


def largest(pairs: Iterable[tuple[str, str]]) -> tuple[str, int]:
    """The name and value length of the largest of them."""
    return max(((name, len(value)) for name, value in pairs), key=lambda p: p[1], default=("", 0))


def iter_pairs(data: bytes) -> Iterable[tuple[str, str]]:
    """The pairs of a well-formed stream one by one, repeated names and all."""
    text = data.decode("latin-1")
    position = 0
    while position < len(data):
        start, name_length, value_length = long_lengths(data, position)
        middle = start + name_length
        position = middle + value_length
        yield text[start:middle], text[middle:position]


def largest_pair(data: bytes) -> tuple[str, int]:
    """The name and value length of the largest pair of a stream that may be cut off."""
    best = ("", 0)
    try:
        position = 0
        while position < len(data):
            start, name_length, value_length = long_lengths(data, position)
            position = start + name_length + value_length
            if value_length >= best[1]:
                best = (data[start : start + name_length].decode("latin-1"), value_length)
    except (IndexError, struct.error):
        pass  # the rest of the stream was never received
    return best


def encode_pairs(pairs: Iterable[tuple[str | bytes, str | bytes]]) -> bytes:
    """Name-value pairs to bytes, the reverse of ``decode_pairs``; `str` is latin-1."""
    out = bytearray()
    for pair in pairs:
        encoded = [part.encode("latin-1") if isinstance(part, str) else part for part in pair]
        for part in encoded:
            length = len(part)
            out += bytes((length,)) if length < 128 else _LENGTH.pack(length | 0x80000000)
        out += encoded[0] + encoded[1]
    return bytes(out)


def _encode_pair(name: str, value: str) -> bytes:
    return encode_pairs([(name, value)])


def _is_command(name: str) -> bool:
    return name.startswith("UWSGI_") and name != "UWSGI_SCHEME"


def _encode_field(name: str, value: str) -> bytes:
    return f"{name}\0{value}\0".encode("latin-1")


def _encode_var(name: str, value: str) -> bytes:
    parts = name.encode("latin-1"), value.encode("latin-1")
    return b"".join(_UWSGI_LENGTH.pack(len(part)) + part for part in parts)


def new_names(wire: int, prepare: Prepare | None = None) -> Names:
    """What will be known of the names in one wire format, and prepared."""
    if wire == PAIRS:
        return Names(PAIRS, _encode_pair, prepare=prepare)
    if wire == VARS:
        return Names(VARS, _encode_var, _is_command, prepare)
    return Names(FIELDS, _encode_field, prepare=prepare)


_pairs = new_names(PAIRS)
_vars = new_names(VARS)
_fields = new_names(FIELDS)


def clean(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Pairs to variables, by the rules of RFC 3875 and of common sense.

    Dropped: names that are empty, that hold ``=`` or a control character that could break a line,
    and names that only we may set. Repeated headers join as RFC 9110, section 5.3 has it (cookies
    with ``; ``); of other repeated names, and of HTTP_HOST, which configurations set a second time,
    the last one counts. Raises ProtocolError (400) for a
    NUL or a line break in a value and for two different lengths of one body.
    """
    variables: dict[str, str] = {}
    for name, value in pairs:
        if not name or any(bad in name for bad in "=\0\r\n") or name.startswith(RESERVED_PREFIXES):
            continue
        if "\0" in value or "\r" in value or "\n" in value:
            raise ProtocolError(f"the value of {name[:100]} holds a NUL or a line break")
        previous = variables.get(name)
        if previous is not None and previous != value:
            if name == "HTTP_COOKIE":
                value = f"{previous}; {value}"
            elif name.startswith("HTTP_") and name != "HTTP_HOST":
                value = f"{previous}, {value}"
            elif name == "CONTENT_LENGTH":
                raise ProtocolError("two different CONTENT_LENGTH variables")
        variables[name] = value
    return variables


def content_length(variables: dict[str, str]) -> int | None:
    """The length of the request body in bytes; None where the peer does not know it.

    The variable is normalised in place: an empty one and Caddy's ``-1`` (both mean "unknown")
    are removed, leading zeros too. Raises ProtocolError (400) for anything else but digits.
    """
    value = variables.get("CONTENT_LENGTH")
    if value is None:
        return None
    if value in ("", "-1"):
        del variables["CONTENT_LENGTH"]
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise ProtocolError(f"CONTENT_LENGTH is {value[:100]!r}, not a number of bytes")
    length = int(value)
    variables["CONTENT_LENGTH"] = str(length)
    return length
