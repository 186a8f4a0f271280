"""Who may connect: ``--allow``, and FastCGI's own FCGI_WEB_SERVER_ADDRS.

Both are checked once per connection, before a byte is read. What is not known to be allowed is
refused: with networks only, a Unix peer is refused, with users only, a TCP peer. Where both
restrictions are given, both must be met. An IPv4 peer of a socket for IPv6 and IPv4
(``::ffff:192.0.2.1``) counts as 192.0.2.1 everywhere.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Sequence

from gateways.core.descriptors import format_tcp
from gateways.core.peers import (
    find_gid,
    find_uid,
    peer_credentials,
    peer_groups,
    user_name,
)
from gateways.errors import ConfigError

logger = logging.getLogger("gateways.listener")

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_TCP_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_VARIABLE = "FCGI_WEB_SERVER_ADDRS"


class AccessList:
    """The peers that may connect."""

    __slots__ = ("_allow", "_gids", "_networks", "_uids", "_web_servers", "unrestricted")

    def __init__(
        self,
        allow: Sequence[str],
        networks: Sequence[_IPNetwork],
        uids: frozenset[int],
        gids: frozenset[int],
        web_servers: frozenset[_IPAddress] | None,
    ) -> None:
        self._allow = ", ".join(allow)
        self._networks = tuple(networks)
        self._uids = uids
        self._gids = gids
        self._web_servers = web_servers
        # Everybody who can connect may.
        self.unrestricted = not allow and web_servers is None

    @classmethod
    def from_options(cls, allow: Sequence[str], web_server_addrs: str | None) -> AccessList:
        """Build it from ``--allow`` and the value of FCGI_WEB_SERVER_ADDRS, None if unset.

        Raises ConfigError for a bad entry of the first; one of the second is logged and ignored.
        """
        networks: list[_IPNetwork] = []
        uids: set[int] = set()
        gids: set[int] = set()
        for entry in allow:
            try:
                if entry.startswith("user:"):
                    uids.add(find_uid(entry.removeprefix("user:")))
                elif entry.startswith("group:"):
                    gids.add(find_gid(entry.removeprefix("group:")))
                else:
                    networks.append(_parse_network(entry))
            except ConfigError as error:
                raise ConfigError(f"cannot allow {entry!r}: {error}") from None
        # libfcgi takes an empty variable for an unset one, too.
        restricted = web_server_addrs is not None and web_server_addrs.strip()
        web_servers = _parse_web_servers(web_server_addrs or "") if restricted else None
        return cls(allow, networks, frozenset(uids), frozenset(gids), web_servers)

    def refusal(self, fd: int, family: int, address: object) -> str | None:
        """Why the peer of the accepted socket ``fd`` may not connect; None if it may.

        ``family`` and ``address`` are the listening socket's and what accept() gave.
        """
        if self.unrestricted:
            return None
        peer = _ip_address(address) if family in _TCP_FAMILIES else None
        if self._web_servers is not None and peer not in self._web_servers:
            who = describe_peer(fd, family, address)
            if peer is None:
                return f"{who} does not come by TCP, and {_VARIABLE} allows IPv4 addresses only"
            return f"{who} is not in {_VARIABLE}"
        if not self._allow:
            return None
        if peer is not None:
            allowed = any(peer in network for network in self._networks)
        else:
            allowed = family == socket.AF_UNIX and self._allows_unix_peer(fd)
        if allowed:
            return None
        return f"{describe_peer(fd, family, address)} is not in --allow {self._allow}"

    def _allows_unix_peer(self, fd: int) -> bool:
        peer = peer_credentials(fd)
        if peer is None:
            return False
        if peer.uid in self._uids:
            return True
        return bool(self._gids) and not self._gids.isdisjoint(peer_groups(fd, peer))


def describe_peer(fd: int, family: int, address: object) -> str:
    """The peer for logs: ``unix peer pid 12 user www-data``, ``127.0.0.1:4567``."""
    if family in _TCP_FAMILIES and isinstance(address, tuple):
        ip = _ip_address(address)
        return format_tcp(str(address[0] if ip is None else ip), address[1])
    if family != socket.AF_UNIX:
        return f"peer {address}"
    peer = peer_credentials(fd)
    if peer is None:
        return "unix peer of unknown user"
    # A process outside our pid namespace shows as 0.
    return f"unix peer pid {peer.pid or 'unknown'} user {user_name(peer.uid)}"


def _ip_address(address: object) -> _IPAddress | None:
    """The address that accept() gave, IPv4 in its own form; None if it is no IP address."""
    if not isinstance(address, tuple):
        return None
    try:
        found = ipaddress.ip_address(address[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return found if mapped is None else mapped


def _parse_network(text: str) -> _IPNetwork:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(
            "it is no address, network or user; give 192.0.2.1, 10.0.0.0/8, ::1, user:NAME or "
            "group:NAME"
        ) from None
    if network.network_address != ipaddress.ip_interface(text).ip:
        raise ConfigError(
            f"the address has bits beyond the network's; give {network}, or the address without "
            f"/{network.prefixlen}"
        )
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def _parse_web_servers(text: str) -> frozenset[_IPAddress]:
    found = set()
    for item in text.split(","):
        address = _ip_address((item.strip(),))
        if isinstance(address, ipaddress.IPv4Address):
            found.add(address)
        else:
            logger.error(
                "%s: %r is no IPv4 address and is ignored; write it as in 192.0.2.1,192.0.2.2",
                _VARIABLE,
                item,
            )
    if not found:
        logger.error("%s holds no address, so every connection is refused", _VARIABLE)
    return frozenset(found)
