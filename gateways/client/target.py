"""Targets of requests: ``fcgi:/tmp/app.sock``, ``http://127.0.0.1:8000/path``, ``cgi:script.cgi``.

A target is a protocol and an address. The address takes the forms of ``--bind``, its options
included, so that the one can be copied to the other.
"""

from __future__ import annotations

import dataclasses
import re

from gateways.errors import ConfigError

SCHEMES = ("fcgi", "uwsgi", "scgi", "http", "cgi")
NAMES = {"fcgi": "FastCGI", "uwsgi": "uwsgi", "scgi": "SCGI", "http": "HTTP", "cgi": "CGI"}
_FORMS = "fcgi:/tmp/app.sock, uwsgi:127.0.0.1:3031, scgi:@name, http://[::1]:8000 or cgi:script.cgi"
DEFAULT_HTTP_PORT = 80


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where to send a request, and in which protocol.

    ``file`` is a Unix socket (an abstract one begins with a NUL), or the script of ``cgi``;
    without it ``host`` and ``port`` count. ``path`` is the path of an HTTP URL, "" without one.
    """

    text: str
    scheme: str
    file: str = ""
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def protocol(self) -> str:
        """The name of the protocol, as people write it."""
        return NAMES[self.scheme]


def parse_target(text: str) -> Target:
    """Take a target apart. Raises ConfigError, with the right form, where it is none."""
    scheme, colon, rest = text.partition(":")
    if scheme == "https":
        raise _no_target(text, "TLS is not spoken here; ask the server behind it, or use curl")
    if not colon or scheme not in SCHEMES:
        hint = f"; did you mean fcgi:{text}?" if text.startswith(("/", "./", "@", "[")) else ""
        raise _no_target(text, f"it begins with the protocol: {_FORMS}{hint}")
    if not rest.strip("/") or "\0" in rest:
        raise _no_target(text, f"the address is missing; give {_FORMS}")
    if scheme == "cgi":
        return Target(text, scheme, file=rest)
    rest = rest.removeprefix("//")
    if rest.startswith("unix:"):
        rest = rest.removeprefix("unix:")
        if not rest.startswith("@"):
            return Target(text, scheme, file=rest.partition("?")[0])
    if rest.startswith("@"):
        return Target(text, scheme, file="\0" + rest[1:])
    if "/" in rest.partition(":")[0] and not _is_url_of_host(scheme, text):
        return Target(text, scheme, file=rest.partition("?")[0])
    address, slash, path = rest.partition("/")
    if slash and scheme != "http":
        raise _no_target(
            text,
            f"the path of a request is an argument of its own, and a file is {scheme}:/{rest}",
        )
    host, port = _host_and_port(text, scheme, address)
    return Target(text, scheme, host=host, port=port, path=slash + path)


def _is_url_of_host(scheme: str, text: str) -> bool:
    return text.startswith(f"{scheme}://") and not text.startswith(f"{scheme}:///")


def _host_and_port(text: str, scheme: str, address: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]*)(?::([0-9]{1,5}))?", address, re.ASCII)
    if match is None:
        hint = "an IPv6 address needs brackets: [::1]:9000" if address.count(":") > 1 else _FORMS
        raise _no_target(text, f"{address!r} is no host:port; {hint}")
    if match[2] is None and scheme != "http":
        forms = f"{scheme}:{address}:9000, or {scheme}:./{address} for a file"
        raise _no_target(text, f"the port is missing; give {forms}")
    port = DEFAULT_HTTP_PORT if match[2] is None else int(match[2])
    if not 0 < port < 65536:
        raise _no_target(text, f"port {port} is out of range; 1 to 65535")
    # What listens on every interface is reached on the loopback one.
    return match[1].strip("[]") or "127.0.0.1", port


def _no_target(text: str, problem: str) -> ConfigError:
    return ConfigError(f"{text!r} is no target: {problem}")
