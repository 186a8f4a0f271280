"""The heads that nearly all requests have, read without the parser: bytes to CGI variables.

What HTTP allows in a head is for http_head.py to say. Here one is read only where the answer is
known beforehand: it has accepted every name before, the lines hold no byte that it forbids, and
nothing but one plain Content-Length has to do with framing. Whatever else there is, a field that
comes twice, a target of another form and all that will be refused, is left to it: so there are no
errors here, and no second opinion. Lines are compared with those that followed each other in the
last heads, as in familiar.py.
"""

from __future__ import annotations

from gateways.protocols.familiar import LONGEST_VALUE, Pair, is_secret
from gateways.protocols.http_head import connection_options, split_host
from gateways.protocols.http_request import HTTPRequest, decoded_path, variable_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateways.protocols.http_head import Fields

# Controls, but for the tab.
_FORBIDDEN = bytes(byte for byte in range(256) if (byte < 32 and byte != 9) or byte == 127)
_BLANK = b" "[0]

_METHODS = {
    method: method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
}
# Framing: a length is read here; where one of the others comes, it takes a closer look.
_OTHER_KEYS = {"content-length": "CONTENT_LENGTH", "transfer-encoding": "", "expect": ""}


class _Field:
    """A name, as it was sent, and the one that came behind it the last time.

    ``line`` is all of it with the value that is expected, once that has come twice in a row.
    """

    __slots__ = ("follower", "is_secret", "key", "last", "line", "prefix", "size")

    def __init__(self, name: bytes, key: str) -> None:
        self.prefix = name + b":"
        self.size = len(self.prefix)
        self.key = key  # of the variable
        self.follower: _Field | None = None
        self.line: Pair | None = None
        self.last: str | None = None  # the value of the last time
        self.is_secret = is_secret(key)


_FIELDS: dict[bytes, _Field] = {}
_MAX_FIELDS = 1024  # peers that make names up must not fill the memory
_BEFORE_ALL = _Field(b"", "")


def remember(fields: Fields) -> None:
    """Know the names of these fields, which the parser has accepted."""
    for name, _ in fields:
        if name not in _FIELDS and len(_FIELDS) < _MAX_FIELDS and len(name) < 100:
            text = name.decode("latin-1").lower()
            key = _OTHER_KEYS[text] if text in _OTHER_KEYS else variable_name(text)
            if key:
                _FIELDS[name] = _Field(name, key)


def read_known(own: HTTPRequest, data: bytes, max_fields: int) -> bool:
    """Read a head, ``data`` being all of it with the empty line: set what it says in ``own``.

    False where it must be looked at more closely; what is in ``own`` then has no meaning.
    """
    variables = own.variables
    text = data.decode("latin-1")
    end = text.find("\r\n")
    if _holds_forbidden(data, 0, end) or not _read_request_line(own, text, end):
        return False
    count = len(variables)
    most = count + max_fields if max_fields else 0
    field = _BEFORE_ALL
    position = end + 2
    last = len(data) - 2
    while position < last:
        count += 1
        expected = field.follower
        if expected is not None:
            line = expected.line
            if line is not None and data.startswith(line.raw, position):
                field = expected
                variables[field.key] = line.value
                position += line.size
                continue
        end = text.find("\r\n", position)
        if expected is None or not data.startswith(expected.prefix, position):
            expected = _find_field(data, position, end, field)
            if expected is None:
                return False
        if _holds_forbidden(data, position, end):
            return False
        field = expected
        start = position + field.size
        if data[start] == _BLANK:
            start += 1
        value = text[start:end]
        if data[start] <= _BLANK or data[end - 1] <= _BLANK:
            value = value.strip(" \t")
        variables[field.key] = value
        if field.last == value:
            field.line = Pair(data[position : end + 2], value)
        elif len(value) <= LONGEST_VALUE and not field.is_secret:
            field.last = value
        position = end + 2
    # Where a name came twice, there are fewer variables.
    return count == len(variables) and not 0 < most < count and _has_sense(own, variables)


def _holds_forbidden(data: bytes, start: int, end: int) -> bool:
    """Whether a line holds what no head may."""
    line = data[start:end]
    return len(line.translate(None, _FORBIDDEN)) != len(line)


def _read_request_line(own: HTTPRequest, text: str, end: int) -> bool:
    """The line that ends at ``end``: one of the usual methods, a path, and HTTP/1.0 or 1.1."""
    variables = own.variables
    start = text.find(" ", 0, end) + 1
    method = _METHODS.get(text[: start - 1]) if start > 0 else None
    version = text[end - 8 : end] if end - 8 > start else ""
    if method is None or (version != "HTTP/1.1" and version != "HTTP/1.0"):
        return False
    target = text[start : end - 9]
    if (
        target[:1] != "/"
        or text[end - 9] != " "
        or " " in target
        or "\t" in target
        or "#" in target
    ):
        return False
    middle = target.find("?")
    path = target if middle < 0 else target[:middle]
    if "%" in path:
        path = decoded_path(path)
        if not path:
            return False
    own.is_head = method == "HEAD"
    own.minor = 1 if version == "HTTP/1.1" else 0
    variables["REQUEST_METHOD"] = method
    variables["SERVER_PROTOCOL"] = version
    variables["PATH_INFO"] = path  # in the order in which the longer way has them
    variables["REQUEST_URI"] = target
    variables["QUERY_STRING"] = "" if middle < 0 else target[middle + 1 :]
    return True


def _find_field(data: bytes, position: int, end: int, before: _Field) -> _Field | None:
    """The field of the line between two positions, which was not expected behind ``before``."""
    colon = data.find(b":", position, end)
    field = _FIELDS.get(data[position:colon]) if colon > 0 else None
    if field is not None:
        before.follower = field
    return field


def _has_sense(own: HTTPRequest, variables: dict[str, str]) -> bool:
    """Set what follows from the fields together; False where they make no request."""
    host = variables.get("HTTP_HOST")
    if host is None:
        if own.minor:
            return False
    elif split_host(host) is None:
        return False
    options = variables.get("HTTP_CONNECTION")
    if options is None:
        own.keep_alive = own.minor > 0
    else:
        tokens = connection_options(options)
        own.keep_alive = "close" not in tokens and (own.minor > 0 or "keep-alive" in tokens)
    length = variables.get("CONTENT_LENGTH")
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            return False
        own.content_length = own.body_left = int(length)
        del variables["CONTENT_LENGTH"]
        variables["CONTENT_LENGTH"] = str(own.content_length)
    return True
