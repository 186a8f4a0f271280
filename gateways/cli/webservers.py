"""What ``gateways config`` knows of each web server: which file of contrib/, which syntax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateways.core.addresses import Address, Kind
from gateways.errors import ConfigError

DEFAULT_PORT = "80"
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not to bind, to replace


class WebServer(NamedTuple):
    """One of those that stand in front of the server."""

    files: Mapping[str, tuple[str, str]]  # protocol -> the file at the root, at a prefix
    backend: Callable[[str, Address], str]  # an address as it is written there
    listen: Callable[[str], str] | None  # what --listen makes; None where a site has no port
    user: str  # as whom it connects, on Debian
    place: str  # where the file goes, and what to do then
    serves_files: bool = True
    # These variables say who is logged in for any password, checked or not.
    lies_about_users: frozenset[str] = frozenset()


def endpoint(address: Address) -> str:
    """A TCP address to connect to; that of a server on every interface is on this one."""
    host = _LOOPBACK.get(address.host, address.host)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _nginx(_protocol: str, address: Address) -> str:
    return f"unix:{address.path}" if address.kind is Kind.UNIX else endpoint(address)


def _apache(protocol: str, address: Address) -> str:
    if address.kind is Kind.UNIX:
        return f"unix:{address.path}|{protocol}://localhost"
    return f"{protocol}://{endpoint(address)}"


def _lighttpd(_protocol: str, address: Address) -> str:
    if address.kind is Kind.UNIX:
        return f'"socket" => "{address.path}"'
    host = _LOOPBACK.get(address.host, address.host)
    return f'"host" => "{host}", "port" => {address.port}'


def _caddy(_protocol: str, address: Address) -> str:
    return f"unix/{address.path}" if address.kind is Kind.UNIX else endpoint(address)


def _haproxy(_protocol: str, address: Address) -> str:
    return f"unix@{address.path}" if address.kind is Kind.UNIX else endpoint(address)


def _bare(listen: str) -> str:
    return listen


def _starred(listen: str) -> str:
    return listen if ":" in listen else f"*:{listen}"


def _with_colon(listen: str) -> str:
    return listen if ":" in listen else f":{listen}"


def _both(name: str) -> tuple[str, str]:
    return name, name


WEB_SERVERS = {
    "nginx": WebServer(
        {
            "fcgi": ("root.conf", "fcgi-prefix.conf"),
            "uwsgi": ("uwsgi.conf", "uwsgi-prefix.conf"),
            "scgi": ("scgi.conf", "scgi-prefix.conf"),
            "http": ("http.conf", "http-prefix.conf"),
        },
        _nginx,
        _bare,
        "www-data",
        "/etc/nginx/conf.d/@NAME@.conf, then: nginx -t && systemctl reload nginx",
        lies_about_users=frozenset({"fcgi"}),
    ),
    "apache": WebServer(
        {
            "fcgi": _both("proxy-fcgi-unix.conf"),
            "uwsgi": _both("proxy-uwsgi.conf"),
            "scgi": _both("proxy-scgi.conf"),
            "http": _both("proxy-http.conf"),
        },
        _apache,
        _starred,
        "www-data",
        "/etc/apache2/sites-available/@NAME@.conf, then: a2enmod @MODULES@ && a2ensite @NAME@ && "
        "systemctl restart apache2",
    ),
    "lighttpd": WebServer(
        {"fcgi": _both("fcgi.conf"), "uwsgi": _both("uwsgi.conf"), "scgi": _both("scgi.conf")},
        _lighttpd,
        None,
        "www-data",
        "/etc/lighttpd/conf-enabled/90-@NAME@.conf, then: @ENABLE@systemctl restart lighttpd",
    ),
    "caddy": WebServer(
        {"fcgi": _both("fcgi.caddy"), "http": _both("http.caddy")},
        _caddy,
        _with_colon,
        "caddy",
        "/etc/caddy/@NAME@.caddy, and into /etc/caddy/Caddyfile: import @NAME@.caddy; "
        "then: systemctl reload caddy",
    ),
    "haproxy": WebServer(
        {"fcgi": _both("fcgi.cfg"), "http": _both("http.cfg")},
        _haproxy,
        _with_colon,
        "haproxy",
        "the end of /etc/haproxy/haproxy.cfg, then: systemctl reload haproxy. Where that file has "
        "a chroot, HAProxy looks for Unix sockets below it.",
        serves_files=False,
        lies_about_users=frozenset({"fcgi"}),
    ),
}
MANAGERS = ("supervisor", "systemd")

# a2enmod's names, by protocol.
APACHE_MODULES = {
    "fcgi": "proxy proxy_fcgi",
    "uwsgi": "proxy proxy_uwsgi",
    "scgi": "proxy proxy_scgi",
    "http": "proxy proxy_http headers",
}


def file_of(name: str, protocol: str, address: Address, prefix: str) -> str:
    """Which file of contrib/ it is. Raises ConfigError where there is none, with what there is."""
    server = WEB_SERVERS[name]
    if protocol not in server.files:
        raise ConfigError(
            f"{name} does not speak {protocol} to a server here; "
            f"give --protocol {' or '.join(server.files)}"
        )
    if name == "apache" and protocol == "fcgi" and address.kind is Kind.TCP:
        return "proxy-fcgi-tcp.conf"
    return server.files[protocol][1 if prefix else 0]
