"""The head of an HTTP/1 request: bytes to request line, fields and framing (RFC 9110, RFC 9112).

Two parties that read one request differently is what request smuggling lives on, so nothing is
repaired here: what the RFC forbids is refused. The request line is read here, because any token
may be a method; the fields are llhttp's, after one search for the bytes that it might let pass.
Where the head ends was decided by the codec, so the parser sees nothing else.
"""

from __future__ import annotations

import re

try:
    import httptools
except ImportError:  # pragma: no cover  # see require_httptools
    httptools = None  # type: ignore[assignment]

from gateways.errors import ConfigError, LimitExceeded, ProtocolError

# Control characters, a CR or LF that is not part of CRLF, and a line that continues the last one.
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n|\n[ \t]")
_CONTROLS = bytes(byte for byte in (*range(32), 127) if byte != 9)
_BLANK, _TAB = b" \t"
_REQUEST_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-\"$-~\x80-\xff]+) HTTP/([0-9])\.([0-9])"
)
_OTHER_VERSION = re.compile(rb"\S+ \S+ HTTP/(?:[02-9]\.[0-9]|[2-9])")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+;=-]+)(?::([0-9]{0,5}))?")
_DIGITS = re.compile(r"[0-9]{1,18}")

CRLF = b"\r\n"
Fields = list[tuple[bytes, bytes]]

_NAMES: dict[bytes, str] = {}
_HOSTS: dict[str, tuple[str, str]] = {}  # that are valid
_OPTIONS: dict[str, tuple[str, ...]] = {}
_MAX_NAMES = 1024  # peers that make names up must not fill the memory


def require_httptools() -> None:
    """Raise ConfigError, with the remedy, where the parser is not installed."""
    if httptools is None:
        raise ConfigError("serving HTTP needs the package httptools: pip install 'gateways[http]'")


def split_host(host: str) -> tuple[str, str] | None:
    """The host and the port ("" without one) of a Host field; None where it is not valid."""
    parts = _HOSTS.get(host)
    if parts is None:
        match = _HOST.fullmatch(host)
        if match is None:
            return None
        parts = match[1], match[2] or ""
        if len(_HOSTS) < _MAX_NAMES and len(host) < 100:
            _HOSTS[host] = parts
    return parts


class Head:
    """What a head says. ``content_length`` is 0 without a body, None for a chunked one."""

    __slots__ = (
        "content_length",
        "expects_continue",
        "keep_alive",
        "method",
        "minor",
        "target",
        "values",
    )

    def __init__(self, method: str, target: str, minor: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor  # of the version HTTP/1.x
        self.values: dict[str, str] = {}  # of the fields, repeated ones joined; names in lower case
        self.content_length: int | None = 0
        self.keep_alive = True
        self.expects_continue = False

    @property
    def is_chunked(self) -> bool:
        """Whether the body is framed by chunks."""
        return self.content_length is None


def parse_request_line(line: bytes) -> Head:
    """Method, target and version. Raises ProtocolError: 400, or 505 for another HTTP."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or match[3] != b"1":
        if _OTHER_VERSION.fullmatch(line):
            raise ProtocolError(f"not HTTP/1: {line[-20:].decode('latin-1')!r}", 505)
        raise ProtocolError(f"not a request line: {line[:100].decode('latin-1')!r}")
    return Head(match[1].decode("latin-1"), match[2].decode("latin-1"), int(match[4]))


def parse_fields(head: Head, block: bytes, max_fields: int) -> Fields:
    """Read the fields, ``block`` being all after the request line with the empty line, and work
    out what they say of framing; returns them as they were sent. Raises ProtocolError."""
    if max_fields and block.count(CRLF) - 1 > max_fields:
        raise LimitExceeded(
            f"the request has more header fields than --max-variables allows ({max_fields})", 431
        )
    forbidden = None if _is_clean(block) else _FORBIDDEN.search(block)
    if forbidden:
        raise ProtocolError(f"the head holds {forbidden[0]!r}, which HTTP forbids there")
    fields = _Collector()
    parser = httptools.HttpRequestParser(fields)
    try:
        # llhttp has a list of methods, and opinions about some; it is asked about the fields only.
        parser.feed_data(b"GET / HTTP/1.1\r\n" + block)
    except httptools.HttpParserUpgrade:
        pass  # an offer, which HTTP lets a server ignore
    except httptools.HttpParserError as error:
        # That both kinds of framing are there, or a bad one, is told in our words and by status.
        _framing(head, _joined(fields.fields))
        raise ProtocolError(f"a bad header field: {error}") from None
    head.values = _joined(fields.fields)
    _framing(head, head.values)
    _connection(head)
    _host(head, fields.fields)
    return fields.fields


def _is_clean(block: bytes) -> bool:
    """Whether ``_FORBIDDEN`` finds nothing: that tries each of its branches at each byte,
    which would take longer than everything else that is done with a request."""
    lines = block.split(CRLF)
    for line in lines:
        if line and (line[0] == _BLANK or line[0] == _TAB):
            return False
    text = b"".join(lines)
    return len(text.translate(None, _CONTROLS)) == len(text)


class _Collector:
    """The callbacks of the parser."""

    def __init__(self) -> None:
        self.fields: Fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def _joined(fields: Fields) -> dict[str, str]:
    """Repeated fields combined as RFC 9110, section 5.3 has it, cookies with ``; ``."""
    values: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name = _NAMES.get(raw_name)
        if name is None:
            name = _new_name(raw_name)
        value = raw_value.decode("latin-1")
        if raw_value and (raw_value[0] <= _BLANK or raw_value[-1] <= _BLANK):
            value = value.strip(" \t")
        if name in values:
            value = f"{values[name]}{'; ' if name == 'cookie' else ', '}{value}"
        values[name] = value
    return values


def _new_name(raw: bytes) -> str:
    """The name of a field in lower case; the first ones are remembered."""
    name = raw.decode("latin-1").lower()
    if len(_NAMES) < _MAX_NAMES and len(raw) < 100:
        _NAMES[raw] = name
    return name


def _framing(head: Head, values: dict[str, str]) -> None:
    """RFC 9112, section 6.3: how long the body is."""
    length = values.get("content-length")
    codings = values.get("transfer-encoding")
    if codings is not None:
        if length is not None:
            raise ProtocolError("both Content-Length and Transfer-Encoding")
        if head.minor == 0:
            raise ProtocolError("Transfer-Encoding in HTTP/1.0")
        names = [name.strip(" \t").lower() for name in codings.split(",")]
        if names[-1] != "chunked" or names.count("chunked") > 1:
            raise ProtocolError(f"Transfer-Encoding is {codings[:100]!r}, not chunked")
        if len(names) > 1:
            raise ProtocolError(f"Transfer-Encoding is {codings[:100]!r}, only chunked is", 501)
        head.content_length = None
    elif length is not None:
        if not _DIGITS.fullmatch(length):  # a repeated one has a comma
            raise ProtocolError(f"Content-Length is {length[:100]!r}, not a number of bytes")
        head.content_length = int(length)


def _connection(head: Head) -> None:
    options = head.values.get("connection", "")
    if options or head.minor == 0:
        tokens = connection_options(options)
        head.keep_alive = "close" not in tokens and (head.minor > 0 or "keep-alive" in tokens)
    expectation = head.values.get("expect")
    if expectation is not None and head.minor:
        if expectation.lower() != "100-continue":
            raise ProtocolError(f"cannot meet the expectation {expectation[:100]!r}", 417)
        head.expects_continue = head.content_length != 0


def connection_options(field: str) -> tuple[str, ...]:
    """Those of a Connection field, in lower case."""
    options = _OPTIONS.get(field)
    if options is None:
        options = tuple(field.lower().replace(" ", "").replace("\t", "").split(","))
        if len(_OPTIONS) < _MAX_NAMES and len(field) < 100:
            _OPTIONS[field] = options
    return options


def _host(head: Head, fields: Fields) -> None:
    """RFC 9112, section 3.2: exactly one Host, and a valid one; HTTP/1.0 may do without."""
    count = 0
    for name, _ in fields:
        if len(name) == 4 and name.lower() == b"host":
            count += 1
    if count > 1 or (count == 0 and head.minor):
        raise ProtocolError("no Host field" if count == 0 else f"{count} Host fields")
    if count and split_host(head.values["host"]) is None:
        raise ProtocolError(f"the Host field {head.values['host'][:100]!r} is not valid")
