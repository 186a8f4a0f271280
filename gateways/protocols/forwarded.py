"""What proxies say of the client: X-Forwarded-* and Forwarded (RFC 7239) to CGI variables.

Only a peer that is trusted may say anything, and of a list only what trusted proxies have added
counts: every proxy appends at the right, so the client is the right-most address that is not a
trusted proxy, and of the other fields the right-most value is taken, or in a Forwarded field the
element that names the client. Forwarded is looked at only where there is no X-Forwarded-* field,
because proxies that set these pass a Forwarded on as the client has forged it. A value that is
not well-formed is as good as none.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable

from gateways.protocols.http_head import split_host
from gateways.quoting import unquote

Trusted = Callable[[str], bool]

_X_FORWARDED = tuple(
    f"HTTP_X_FORWARDED_{name}" for name in ("FOR", "PROTO", "HOST", "PORT", "PREFIX")
)
FORWARDED = ("HTTP_FORWARDED", *_X_FORWARDED)  # without one of these there is nothing to apply
_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?|([0-9.]+)(?::([0-9]{1,5}))?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+;=:@%-]+)*/?")
_PAIR = re.compile(r'\s*([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^";,\s]*)\s*')
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def apply_forwarded(variables: dict[str, str], trusted: Trusted) -> None:
    """Have trusted proxies correct the variables; REMOTE_ADDR is the peer's address on entry.

    The fields themselves stay, as middleware that reads them expects.
    """
    if not trusted(variables["REMOTE_ADDR"]):
        return
    for name in _X_FORWARDED:
        if name in variables:
            break
    else:
        if "HTTP_FORWARDED" in variables:
            _apply_rfc7239(variables, trusted)
        return
    field = variables.get("HTTP_X_FORWARDED_FOR", "")
    client_of = _known_client if len(field) <= _SHORT_FIELD else _client_of
    _set_client(variables, client_of(field, trusted))
    if "HTTP_X_FORWARDED_PROTO" in variables:
        _set_scheme(variables, _last(variables["HTTP_X_FORWARDED_PROTO"]))
    if "HTTP_X_FORWARDED_HOST" in variables:
        _set_host(variables, _last(variables["HTTP_X_FORWARDED_HOST"]))
    if "HTTP_X_FORWARDED_PORT" in variables:
        _set_port(variables, _last(variables["HTTP_X_FORWARDED_PORT"]))
    if "HTTP_X_FORWARDED_PREFIX" in variables:
        _set_prefix(variables, _last(variables["HTTP_X_FORWARDED_PREFIX"]))


def _last(field: str) -> str:
    return field.rpartition(",")[2].strip()


def _client_of(field: str, trusted: Trusted) -> tuple[str, str] | None:
    """The client that an X-Forwarded-For field tells of."""
    return _client([_address(hop) for hop in field.split(",")], trusted)[1]


# Each client comes many times, and to read an address is dear.
_known_client = functools.lru_cache(maxsize=1024)(_client_of)
_SHORT_FIELD = 100


def _address(text: str) -> tuple[str, str] | None:
    """Address and port ("" without one) of a hop; None where it is no address."""
    text = text.strip()
    match = _ADDRESS.fullmatch(text)
    host, port = (match[1] or match[3], match[2] or match[4] or "") if match else (text, "")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # A socket for both kinds of addresses, as the proxy's may be, says ::ffff:192.0.2.7.
    return str(getattr(address, "ipv4_mapped", None) or address), port


def _client(
    hops: list[tuple[str, str] | None], trusted: Trusted
) -> tuple[int, tuple[str, str] | None]:
    """Index and address of the right-most hop that is not a trusted proxy, or else of the last
    one that is known."""
    index, client = len(hops), None
    for position in range(len(hops) - 1, -1, -1):
        hop = hops[position]
        if hop is None or "%" in hop[0]:
            break
        index, client = position, hop
        if not trusted(hop[0]):
            break
    return index, client


def _apply_rfc7239(variables: dict[str, str], trusted: Trusted) -> None:
    field = variables["HTTP_FORWARDED"]
    # What a client sent in front may not hide what the last proxy has appended.
    elements = _elements(field) or _elements(field.rpartition(",")[2])
    if not elements:
        return
    hops = [_address(element.get("for", "")) for element in elements]
    index, client = _client(hops, trusted)
    _set_client(variables, client)
    # The element that names the client tells what the client asked for.
    element = elements[min(index, len(elements) - 1)]
    _set_scheme(variables, element.get("proto", ""))
    _set_host(variables, element.get("host", ""))


def _elements(field: str) -> list[dict[str, str]]:
    """The elements of a Forwarded field; none where any of it is not well-formed."""
    elements: list[dict[str, str]] = [{}]
    position = 0
    while True:
        match = _PAIR.match(field, position)
        if match is None or match[1].lower() in elements[-1]:
            return []
        value = match[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elements[-1][match[1].lower()] = value
        position = match.end()
        if position == len(field):
            return elements
        if field[position] == ",":
            elements.append({})
        elif field[position] != ";":
            return []
        position += 1


def _set_client(variables: dict[str, str], client: tuple[str, str] | None) -> None:
    if client is None:
        return
    variables["REMOTE_ADDR"], port = client
    variables.pop("REMOTE_PORT", None)  # the proxy's
    if port:
        variables["REMOTE_PORT"] = port


def _set_scheme(variables: dict[str, str], scheme: str) -> None:
    scheme = scheme.lower()
    if scheme in _DEFAULT_PORTS:
        variables["REQUEST_SCHEME"] = scheme
        if scheme == "https":
            variables["HTTPS"] = "on"
        else:
            variables.pop("HTTPS", None)


def _set_host(variables: dict[str, str], host: str) -> None:
    parts = split_host(host)
    if parts is None:
        return
    variables["HTTP_HOST"] = host
    variables["SERVER_NAME"] = parts[0]
    variables["SERVER_PORT"] = parts[1] or _DEFAULT_PORTS[variables["REQUEST_SCHEME"]]


def _set_port(variables: dict[str, str], port: str) -> None:
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536 and len(port) < 6):
        return
    variables["SERVER_PORT"] = port
    host = split_host(variables.get("HTTP_HOST", ""))
    if host is not None:
        is_default = port == _DEFAULT_PORTS[variables["REQUEST_SCHEME"]]
        variables["HTTP_HOST"] = host[0] if is_default else f"{host[0]}:{port}"


def _set_prefix(variables: dict[str, str], prefix: str) -> None:
    """SCRIPT_NAME, of a proxy that has removed the prefix from the path."""
    if not prefix or not _PREFIX.fullmatch(prefix):
        return
    prefix = unquote(prefix.rstrip("/"))
    has_dots = any(part in (".", "..") for part in prefix.split("/"))
    if not has_dots and not any(char < " " or char == "\x7f" for char in prefix):
        variables["SCRIPT_NAME"] = prefix
