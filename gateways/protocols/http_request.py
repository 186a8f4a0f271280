"""An HTTP request as the core sees it: its CGI variables, its settings and its state."""

from __future__ import annotations

import enum
from collections.abc import Callable

from gateways.errors import ProtocolError
from gateways.protocols.base import Headers, Request
from gateways.protocols.chunked import ChunkedDecoder
from gateways.protocols.http_head import Head, split_host
from gateways.quoting import unquote
from gateways.values import Value

# Fields that are no variables: framing, which the codec deals with, and CVE-2016-5385 (httpoxy).
_NO_VARIABLES = frozenset({"content-length", "transfer-encoding", "proxy"})
_KEYS: dict[str, str] = {}
_MAX_KEYS = 1024  # peers that make names up must not fill the memory

_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  # recognised, not bound
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _never() -> bool:
    return False


def _no_date() -> str:
    return ""


def _nobody(address: str) -> bool:
    return False


class HTTPSettings(Value, kw_only=True):
    """What the connections of one listener have in common; 0 means "no limit".

    ``server_address`` is the listener's socket address. ``date`` gives the value of the Date
    field ("": none). ``trusted`` says of an address ("" is a Unix peer) whether it is a proxy that
    may tell who the client is. ``draining`` says whether connections are to be closed.
    """

    server_address: object = None
    scheme: str = "http"
    server: str = "gateways"  # the Server field; "" for none
    date: Callable[[], str] = _no_date
    trusted: Callable[[str], bool] = _nobody
    draining: Callable[[], bool] = _never
    max_head_bytes: int = 65536
    max_request_line_bytes: int = 16384
    max_fields: int = 1000
    max_body_bytes: int = 0
    body_memory_bytes: int = 65536
    max_requests: int = 0  # of one connection


class Sending(enum.IntEnum):
    """How far a response is."""

    NOTHING = enum.auto()
    HEAD = enum.auto()  # set, not sent
    BODY = enum.auto()  # the head is on its way
    ENDED = enum.auto()


_NOTHING = int(Sending.NOTHING)

NO_FIELDS: Headers = []  # of a response whose head is not set, or has left


class HTTPRequest(Request):
    """One request on an HTTP connection.

    ``body_left`` counts the bytes that Content-Length promises, ``decoder`` is that of a chunked
    body; without either the request is complete.
    """

    __slots__ = (
        "body_left",
        "code",
        "decoder",
        "expects_continue",
        "fields",
        "is_bodyless_response",
        "is_chunked_response",
        "is_head",
        "keep_alive",
        "minor",
        "received",
        "running",
        "sending",
    )

    def __init__(self) -> None:
        Request.__init__(self)
        self.content_length = 0
        self.minor = 1
        self.is_head = False
        self.keep_alive = False
        self.expects_continue = False  # and was not told to
        self.running = False  # handed out
        self.received = 0  # bytes of the body
        self.body_left = 0
        self.decoder: ChunkedDecoder | None = None
        self.sending = _NOTHING  # one of ``Sending``
        self.code = ""  # the three digits of the response's status
        self.fields = NO_FIELDS  # of the response
        self.is_chunked_response = False
        self.is_bodyless_response = False

    def is_complete(self) -> bool:
        """Whether all of it has come."""
        return not self.body_left and self.decoder is None

    def take_head(self, head: Head) -> None:
        """Set what follows from the head, but for the variables."""
        self.content_length = head.content_length
        self.keep_alive = head.keep_alive
        self.expects_continue = head.expects_continue
        self.body_left = head.content_length or 0
        if head.is_chunked:
            self.decoder = ChunkedDecoder()


def peer_variables(peer_address: object) -> dict[str, str]:
    """REMOTE_ADDR and REMOTE_PORT of a socket address; a Unix peer has the address ""."""
    if not isinstance(peer_address, tuple):
        return {"REMOTE_ADDR": ""}
    host = str(peer_address[0]).partition("%")[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]  # IPv4 on a socket for both
    return {"REMOTE_ADDR": host, "REMOTE_PORT": str(peer_address[1])}


def add_variables(variables: dict[str, str], head: Head) -> None:
    """Complete ``variables`` with those of a head. Raises ProtocolError for a bad target."""
    authority = _add_target(variables, head)
    for name, value in head.values.items():
        key = _KEYS.get(name)
        if key is None:
            key = variable_name(name)
        if key:
            variables[key] = value
    if head.content_length:
        variables["CONTENT_LENGTH"] = str(head.content_length)
    elif "content-length" in head.values:
        variables["CONTENT_LENGTH"] = "0"
    if authority:
        variables["HTTP_HOST"] = authority


def _add_target(variables: dict[str, str], head: Head) -> str:
    """The variables of the request target; returns its authority, "" for most."""
    target = head.target
    variables["REQUEST_URI"] = target
    if head.method == "CONNECT":
        raise ProtocolError("CONNECT is for proxies", 501)
    authority = ""
    if target.startswith("/"):
        path, _, query = target.partition("?")
    elif target == "*" and head.method == "OPTIONS":
        path, query = "*", ""
    else:
        scheme, separator, rest = target.partition("://")
        before_query, _, query = rest.partition("?")
        authority, slash, path = before_query.partition("/")
        path = slash + path or "/"
        known = separator and scheme.lower() in _DEFAULT_PORTS
        if not known or split_host(authority) is None:
            raise ProtocolError(f"not a request target: {target[:100]!r}")
    if "%" in path:
        path = decoded_path(path)
        if not path:
            raise ProtocolError("the path holds a NUL or a line break")
    variables["PATH_INFO"] = path
    variables["QUERY_STRING"] = query
    return authority


def decoded_path(path: str) -> str:
    """A path without its ``%XX``; "" for one that no variable may hold, whichever protocol."""
    path = unquote(path)
    return "" if "\0" in path or "\r" in path or "\n" in path else path


def variable_name(name: str) -> str:
    """The variable of a field, "" where it must not be one.

    ``_`` and ``-`` look alike in a variable, so a name with the first could forge the second.
    """
    if name in _NO_VARIABLES or "_" in name:
        key = ""
    elif name == "content-type":
        key = "CONTENT_TYPE"
    else:
        key = "HTTP_" + name.upper().replace("-", "_")
    if len(_KEYS) < _MAX_KEYS:
        _KEYS[name] = key
    return key


def server_variables(settings: HTTPSettings) -> dict[str, str]:
    """SERVER_NAME and SERVER_PORT of a listener, as far as it has them."""
    address = settings.server_address
    if not isinstance(address, tuple):
        return {}
    name, port = str(address[0]).partition("%")[0], str(address[1])
    if name in _WILDCARDS:
        return {"SERVER_PORT": port}
    return {"SERVER_NAME": f"[{name}]" if ":" in name else name, "SERVER_PORT": port}


def add_server(variables: dict[str, str], scheme: str) -> None:
    """The Host field's name, for a listener without one; and its port."""
    name, port = split_host(variables.get("HTTP_HOST", "")) or ("localhost", "")
    variables["SERVER_NAME"] = name
    if not variables.get("SERVER_PORT"):
        variables["SERVER_PORT"] = port or _DEFAULT_PORTS[scheme]
