"""The uwsgi codec: one packet of variables, the body behind it, an HTTP response until the close.

https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html. A packet is a header of four bytes
(modifier1, 16-bit little-endian size, modifier2) and ``size`` bytes of variables. What it asks for
depends on modifier1: only requests and pings are served here. The others are the control channel of
the uWSGI server (evaluate code, call a function, reload), which nobody gets from us; nor do the
``UWSGI_*`` variables, with which a peer can have that server load or run a file.
"""

from __future__ import annotations

from gateways.errors import LimitExceeded, ProtocolError
from gateways.protocols.base import Headers, NewBody
from gateways.protocols.encoders import UWSGI_HEADER
from gateways.protocols.head import status_line_head_lines
from gateways.protocols.limits import RequestLimits
from gateways.protocols.oneshot import OneShot
from gateways.protocols.variables import decode_vars, iter_vars, largest

REQUEST = 0
REQUEST_MANAGE_PATH_INFO = 30
PING = 100
PONG = UWSGI_HEADER.pack(PING, 0, 1)

# For the log line: what somebody has tried, or has configured.
MODIFIERS = {
    5: "PSGI",
    6: "Lua",
    7: "Rack",
    8: "JVM",
    9: "CGI",
    10: "administration",
    14: "PHP",
    15: "Mono",
    17: "spooler",
    18: "symbol call",
    22: "eval",
    26: "FastFuncs",
    31: "message",
    32: "message",
    33: "message",
    48: "SNMP",
    72: "HTTP response",
    73: "announcement",
    74: "multicast",
    95: "cluster",
    96: "log",
    97: "brutal reload",
    98: "graceful reload",
    99: "configuration request",
    PING: "ping",
    101: "echo",
    109: "legion",
    110: "signal",
    111: "cache",
    123: "corerouter signal",
    173: "RPC",
    200: "close mark",
    224: "subscription",
    255: "generic response",
}

_HEADER_SIZE = UWSGI_HEADER.size


class Uwsgi(OneShot):
    """The codec of one connection (see ``gateways.protocols.base.Codec``)."""

    def __init__(self, settings: RequestLimits, new_body: NewBody, address: object = None) -> None:
        self._open_oneshot(settings, new_body)
        self._protocol = ""  # SERVER_PROTOCOL of the request

    def _head_size(self, data: bytes) -> int:
        """The header tells (see ``OneShot._head_size``)."""
        if len(data) < _HEADER_SIZE:
            return _HEADER_SIZE
        modifier1 = data[0]
        modifier2 = data[3]
        if modifier1 == REQUEST or (modifier1 == REQUEST_MANAGE_PATH_INFO and not modifier2):
            return _HEADER_SIZE + (data[1] | data[2] << 8)
        if modifier1 == PING and not modifier2:
            return _HEADER_SIZE
        name = MODIFIERS.get(modifier1)
        called = f" ({name})" if name else ""
        second = f" with modifier2 {modifier2}" if modifier2 else ""
        raise ProtocolError(f"uwsgi modifier {modifier1}{called}{second} is not served")

    def _read_head(self, head: bytes) -> dict[str, str] | None:
        """A request's variables, or a pong (see ``OneShot._read_head``)."""
        if head[0] == PING:
            self.output.append(PONG)
            return None
        limit = self._settings.max_variables_bytes
        if limit and len(head) - _HEADER_SIZE > limit:
            name, size = largest(iter_vars(head[_HEADER_SIZE:]))
            raise LimitExceeded(
                f"the variables have {len(head) - _HEADER_SIZE} bytes, "
                f"--max-variables-bytes allows {limit}; "
                f"the largest is {name[:100]!r} with {size} bytes",
                431,
            )
        variables = decode_vars(
            head, self._settings.max_variables, _HEADER_SIZE, self._settings.vars
        )
        if head[0] == REQUEST_MANAGE_PATH_INFO:
            _strip_script_name(variables)
        self._protocol = variables.get("SERVER_PROTOCOL", "")
        return variables

    def _head_lines(self, status: str, headers: Headers) -> list[bytes]:
        """With a status line, which Apache insists on; the version is the request's own."""
        is_old = self._protocol in ("", "HTTP/1.0")
        return status_line_head_lines("HTTP/1.0" if is_old else "HTTP/1.1", status, headers)


def _strip_script_name(variables: dict[str, str]) -> None:
    """What modifier 30 asks for: PATH_INFO holds the whole path, SCRIPT_NAME the front of it."""
    script_name = variables.get("SCRIPT_NAME", "").rstrip("/")
    path = variables.get("PATH_INFO", "")
    if script_name and (path == script_name or path.startswith(script_name + "/")):
        variables["PATH_INFO"] = path[len(script_name) :]
        # Also tells the environ builder that an empty rest is no path that was left out.
        variables["gateways.original_path_info"] = path
