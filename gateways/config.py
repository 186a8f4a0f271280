"""Every option of a server: one frozen dataclass, from which the command line is derived.

A field's name carries its unit (``…_seconds``, ``…_bytes``); its metadata carries what the command
line and the reference page show. An option is declared here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from gateways.errors import ConfigError

KIB = 1024
ROLES = ("responder", "authorizer", "filter")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

_SEVERAL = frozenset({"bind", "allow", "forwarded_allow_ips", "pythonpath", "roles"})
# Where zero would mean a server that serves nothing.
_AT_LEAST_ONE = frozenset({"threads", "max_connections", "max_variables_bytes"})


def _option(default: Any, help: str, *, flags: str = "", metavar: str = "") -> Any:
    """A field with its help text, extra short flags and the placeholder shown for its value."""
    metadata = {"help": help, "flags": flags, "metavar": metavar}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The options of one server process. Zero means "no limit" where a limit's help says so."""

    bind: tuple[str, ...] = _option(
        (),
        "Where to listen; may be given several times. /path or "
        "unix:/path?mode=660&user=NAME&group=NAME, @abstract, host:port, [::1]:port, fd://N. "
        "Without it: the sockets that systemd passes, or the listening socket on descriptor 0.",
        flags="-b",
        metavar="ADDRESS",
    )
    protocol: str = _option(
        "fcgi",
        "What is spoken where --bind does not say it (fcgi:/path, http:host:port): fcgi, uwsgi, "
        "scgi, http, auto (recognised by the first bytes) or auto[fcgi,http].",
        metavar="NAME",
    )
    allow: tuple[str, ...] = _option(
        (),
        "Who may connect; may be given several times. An address or network (10.0.0.0/8), or for "
        "Unix sockets user:NAME or group:NAME. Without it: everybody who can.",
        metavar="PEER",
    )
    backlog: int = _option(1024, "Connections that the kernel queues before they are accepted.")
    threads: int = _option(4, "Worker threads, each runs one request at a time.", flags="-t")
    chdir: str = _option("", "Directory to change to before the application is loaded.")
    pythonpath: tuple[str, ...] = _option(
        (), "Directory to put in front of sys.path; may be given several times.", metavar="DIR"
    )
    script_name: str | None = _option(
        None,
        "Where the application is mounted: '' for the root, or /prefix. "
        "Without it: what the web server says.",
        metavar="PATH",
    )
    forwarded_allow_ips: tuple[str, ...] = _option(
        ("127.0.0.0/8", "::1", "unix"),
        "HTTP: proxies that may set scheme, host, port, client and prefix by X-Forwarded-* or "
        "Forwarded. Addresses, networks, unix (all Unix peers) or *; may be given several times.",
        flags="--forwarded-allow-ips",
        metavar="PEER",
    )
    trust_remote_user: bool = _option(
        True,
        "Hand REMOTE_USER and AUTH_TYPE on to the application. Turn it off where the web server "
        "sets them from a password that nobody checked (nginx's stock fastcgi_params).",
    )
    roles: tuple[str, ...] = _option(
        ("responder",),
        "FastCGI roles to serve: responder, authorizer, filter; may be given several times.",
        metavar="ROLE",
    )
    multiplex: bool = _option(
        True, "Serve several FastCGI requests at once on one connection where the peer wants it."
    )
    debug: bool = _option(False, "Show the traceback in the error page. Never on a public site.")
    log_level: str = _option("info", "debug, info, warning, error or critical.", metavar="LEVEL")

    graceful_timeout_seconds: float = _option(
        30.0, "How long running requests may take to finish when the server stops."
    )
    idle_timeout_seconds: float = _option(
        75.0, "Close a connection on which nothing has been asked for this long. 0: never."
    )
    header_timeout_seconds: float = _option(
        30.0, "How long a peer may take to send the variables of one request. 0: for ever."
    )
    body_timeout_seconds: float = _option(
        60.0, "How long to wait for the next piece of a request body. 0: for ever."
    )
    write_timeout_seconds: float = _option(
        60.0, "How long a peer may refuse to take the next piece of a response. 0: for ever."
    )
    linger_timeout_seconds: float = _option(
        5.0, "How long to drain what a peer still sends after its response, before the close."
    )

    max_connections: int = _option(
        16384, "Open connections; more wait in the backlog. Lowered to what descriptors allow."
    )
    max_requests_per_connection: int = _option(
        0, "Close a kept connection after this many requests. 0: no limit."
    )
    max_queued_requests: int = _option(
        1024, "Requests that wait for a thread in this process; one more is answered 503."
    )
    max_variables_bytes: int = _option(
        64 * KIB, "Size of all variables (headers included) of a request; more is answered 431."
    )
    max_variables: int = _option(
        1000, "Number of variables (headers included) of a request; more is answered 431."
    )
    max_body_bytes: int = _option(
        0, "Size of a request body; more is answered 413. 0: no limit (the web server has one)."
    )
    body_memory_bytes: int = _option(
        64 * KIB, "Of a request body, what is held in memory; more goes to a temporary file."
    )
    body_spool_bytes: int = _option(
        1024 * KIB * KIB, "Of a request body that nobody reads yet, what is held in that file."
    )
    write_buffer_bytes: int = _option(
        64 * KIB, "Of a response in the making, what is held while the peer is slow to take it."
    )

    def __post_init__(self) -> None:
        """Raise ConfigError for the first value that cannot be meant."""
        for field in dataclasses.fields(self):
            problem = find_problem(field.name, getattr(self, field.name))
            if problem:
                raise ConfigError(f"{field.name}: {problem}")


def find_problem(name: str, value: Any) -> str | None:
    """What is wrong with ``value`` for the field ``name``, and the remedy; None if nothing is.

    It does not say the name, because the command line knows the field under another one.
    """
    if name in _SEVERAL and isinstance(value, str):  # each character would count as one
        return f"takes several: give ({value!r},)"
    if name == "script_name":
        return _script_name_problem(value)
    if name == "roles":
        return _roles_problem(value)
    if name == "log_level" and value.lower() not in LOG_LEVELS:
        return f"{value!r} is no log level; choose one of {', '.join(LOG_LEVELS)}"
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            return f"must be a finite number, not {value}"
        least = 1 if name in _AT_LEAST_ONE else 0
        return f"must be at least {least}, not {value}" if value < least else None
    return None


def _script_name_problem(value: str | None) -> str | None:
    if value and not value.startswith("/"):
        return f"must be '' or start with '/', as '/{value}' does"
    if value and value.endswith("/"):
        bare = value.rstrip("/")
        return f"must not end in '/': give {bare!r}" + ("" if bare else ", which is the root")
    return None


def _roles_problem(value: tuple[str, ...]) -> str | None:
    unknown = [role for role in value if role not in ROLES]
    if unknown:
        return f"{unknown[0]!r} is no FastCGI role; choose among {', '.join(ROLES)}"
    return None if value else f"is empty; choose among {', '.join(ROLES)}"
