"""Listen addresses: from the text of ``--bind`` to what to open.

Only text is looked at here, no file and no name service, so that every address of a command line
is known to be well formed before the first one is opened. Each mistake that people make with
addresses has its own message, which shows the right form.
"""

from __future__ import annotations

import enum
import ipaddress
import re
import sys

from gateways.errors import ConfigError
from gateways.hints import nearest
from gateways.values import Value

_FORMS = "/path/to/socket, unix:/path?mode=660&group=NAME, @name, host:port, [::1]:port or fd://N"
_OPTIONS = "mode=660, user=NAME and group=NAME"
# struct sockaddr_un holds 108 bytes on Linux, 104 on BSD and macOS; one is the final NUL (which in
# an abstract name is the first).
UNIX_PATH_LIMIT = 107 if sys.platform == "linux" else 103


class Kind(enum.Enum):
    """What sort of socket an address names."""

    UNIX = enum.auto()  # a socket file
    ABSTRACT = enum.auto()  # a Unix socket of Linux that has a name but no file
    TCP = enum.auto()
    DESCRIPTOR = enum.auto()  # a listening socket that the parent process opened


class Address(Value):
    """Where to listen; only the fields of its kind mean something."""

    kind: Kind
    path: str = ""  # UNIX: the file; ABSTRACT, DESCRIPTOR: the name, without "@"
    mode: int | None = None
    user: str | None = None  # a name or a number, as is group
    group: str | None = None
    host: str = ""  # "" is every interface; an IPv6 address has no brackets here
    port: int = 0  # 0 lets the kernel choose
    fd: int = -1


PROTOCOLS = ("fcgi", "uwsgi", "scgi", "http")
_SCHEMES = (*PROTOCOLS, "auto", "unix", "fd")  # what may stand before the first colon
_PROTOCOL = re.compile(r"(fcgi|uwsgi|scgi|http|auto(?:\[[^]]*\])?):(?!//)(.+)", re.DOTALL)


def split_protocol(text: str, default: str) -> tuple[str, str]:
    """A listen address that may begin with a protocol: the protocol, and the rest.

    ``auto[fcgi,http]:/path`` recognises the protocols named; ``auto:`` all of them.
    Raises ConfigError for what looks like a protocol that is spelled wrong.
    """
    match = _PROTOCOL.fullmatch(text)
    if match is None:
        _refuse_misspelling(text)
        return default, text
    return match[1], match[2]


def _refuse_misspelling(text: str) -> None:
    scheme, colon, rest = text.partition(":")
    if not colon or scheme in _SCHEMES or not re.search("[/:@]", rest) or rest.startswith("//"):
        return
    name, bracket, names = scheme.partition("[")
    meant = "fcgi" if name.lower() == "fastcgi" else name.lower()
    near = nearest(meant, _SCHEMES, cutoff=0.7)
    if near:
        raise cannot_listen(
            text, f"there is no protocol {name!r}; did you mean {near[0]}{bracket}{names}:{rest}?"
        )


def auto_protocols(protocol: str) -> frozenset[str] | None:
    """The protocols that ``auto[…]`` names, None for a fixed protocol; ConfigError for others."""
    if not protocol.startswith("auto"):
        return None
    names = protocol.removeprefix("auto").strip("[]")
    if protocol != "auto" and not names.strip():
        raise ConfigError(f"{protocol} names no protocol; there are {', '.join(PROTOCOLS)}")
    chosen = frozenset(name.strip() for name in names.split(",")) if names else frozenset(PROTOCOLS)
    unknown = sorted(chosen - frozenset(PROTOCOLS))
    if unknown:
        raise ConfigError(f"no such protocol: {unknown[0]!r}; there are {', '.join(PROTOCOLS)}")
    return chosen


def cannot_listen(address: str, problem: str) -> ConfigError:
    """The error for an address, as it was given."""
    return ConfigError(f"cannot listen on {address!r}: {problem}")


def parse_address(text: str) -> Address:
    """Take a listen address apart. Raises ConfigError, with the right form, where it is none."""
    if not text.strip():
        raise cannot_listen(text, f"it is empty; give {_FORMS}")
    if text != text.strip() or "\0" in text:
        raise cannot_listen(text, "it has blanks around it or a zero byte in it; leave them out")
    scheme, colon, rest = text.partition(":")
    if text.startswith("@"):
        return _abstract(text, text[1:])
    if colon and scheme == "unix":
        return _unix(text, rest)
    if colon and scheme == "fd":
        return _descriptor(text, rest)
    if rest.startswith("//"):
        bare = rest.strip("/") or "host:port"
        raise cannot_listen(text, f"it is a URL; for TCP leave the scheme out: {bare}")
    if "/" in scheme:  # a slash before any colon
        return _unix(text, text)
    if "/" in rest:
        raise cannot_listen(
            text, f"it is neither host:port nor a path; a path with a colon in it is unix:{text}"
        )
    return _tcp(text) if colon else _bare_word(text)


def _unix(text: str, rest: str) -> Address:
    if rest.startswith("@"):
        return _abstract(text, rest[1:])
    path, question, query = rest.partition("?")
    if path.startswith("//"):
        if not path.startswith("///"):
            name = path[2:] or "path"
            raise cannot_listen(
                text, f"after unix: comes the path itself: unix:/{name} or unix:./{name}"
            )
        path = "/" + path.lstrip("/")
    if not path or path.endswith("/"):
        raise cannot_listen(text, f"it names no file; give unix:{path or '/path/to/'}app.sock")
    options = _options(text, query) if question else {}
    mode = options.get("mode")
    return Address(
        Kind.UNIX,
        path=path,
        mode=None if mode is None else int(mode, 8),
        user=options.get("user"),
        group=options.get("group"),
    )


def _options(text: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if name not in ("mode", "user", "group") or not value:
            raise cannot_listen(
                text, f"{item!r} is no option of a Unix socket; there are {_OPTIONS}, joined by '&'"
            )
        if name in options:
            raise cannot_listen(text, f"{name} is given twice")
        if name == "mode" and not re.fullmatch("0?[0-7]{3}", value, re.ASCII):
            raise cannot_listen(text, f"mode={value} is no octal mode of three digits; give 660")
        options[name] = value
    return options


def _abstract(text: str, name: str) -> Address:
    if sys.platform != "linux":
        raise cannot_listen(text, "only Linux has abstract sockets; give unix:/path")
    if not name:
        raise cannot_listen(text, "the name is missing; give @name")
    if "?" in name:
        raise cannot_listen(
            text,
            "an abstract socket has no file, so no mode and no owner; use --allow user:NAME, "
            "or give unix:/path?mode=660",
        )
    return Address(Kind.ABSTRACT, path=name)


def _descriptor(text: str, rest: str) -> Address:
    number = rest.removeprefix("//")
    if not re.fullmatch("[0-9]{1,9}", number, re.ASCII):
        raise cannot_listen(text, "after fd:// comes the number of a descriptor, as in fd://3")
    return Address(Kind.DESCRIPTOR, fd=int(number))


def _tcp(text: str) -> Address:
    host, port = _bracketed(text) if text.startswith("[") else _plain(text)
    if not port:
        raise cannot_listen(text, f"the port is missing; give {text.rstrip(':')}:9000")
    if not re.fullmatch("[0-9]+", port, re.ASCII):
        raise cannot_listen(
            text, f"{port!r} is no port number; give host:9000, or unix:./{text} for a file"
        )
    if len(port) > 5 or int(port) > 65535:
        raise cannot_listen(text, f"port {port} is out of range; the highest is 65535")
    return Address(Kind.TCP, host=host, port=int(port))


def _bracketed(text: str) -> tuple[str, str]:
    host, bracket, port = text[1:].partition("]")
    if not bracket or (port and not port.startswith(":")):
        raise cannot_listen(text, "an IPv6 address with a port is written [::1]:9000")
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise cannot_listen(
            text, f"{host!r} is no IPv6 address, which is what brackets are for; give [::1]:9000"
        ) from None
    return host, port[1:]


def _plain(text: str) -> tuple[str, str]:
    host, _, port = text.rpartition(":")
    if ":" in host:
        guess = f"[{host}]:{port}" if _is_ip(host) else "[::1]:9000"
        if _is_ip(text):
            guess += f" or [{text}]:9000"
        raise cannot_listen(text, f"an IPv6 address needs brackets: {guess}")
    if host == "*":
        raise cannot_listen(text, f"all interfaces are written :{port}")
    # The C library would take 127.1 and 010.0.0.1 for addresses, and not those that one expects.
    if re.fullmatch("[0-9.]+", host, re.ASCII) and not _is_ip(host):
        raise cannot_listen(text, f"{host!r} is no IPv4 address; give four numbers up to 255")
    return host, port


def _bare_word(text: str) -> Address:
    if re.fullmatch("[0-9]+", text, re.ASCII):
        raise cannot_listen(
            text,
            f"for a port give 127.0.0.1:{text}, or :{text} for all interfaces; "
            f"for a descriptor fd://{text}",
        )
    if _is_ip(text) or text in ("localhost", "*"):
        raise cannot_listen(text, f"the port is missing; give {text.strip('*')}:9000")
    raise cannot_listen(text, f"did you mean the file ./{text} (or unix:{text}), or {text}:9000?")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
