"""Listening sockets, however they come about: bound by us, or inherited from whoever started us.

Everything that can go wrong here is the operator's to mend, so each failure is a ConfigError that
says what was found and what to write instead. Either all addresses of a start are open afterwards
or none is. What an address means is in addresses.py, a Unix socket's file in unixsocket.py, and
what an inherited descriptor is in descriptors.py.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Any

from gateways.core.addresses import (
    PROTOCOLS,
    Address,
    Kind,
    cannot_listen,
    parse_address,
    split_protocol,
)
from gateways.core.descriptors import (
    describe_descriptor,
    duplicate,
    format_sockname,
    format_tcp,
    listening_socket_on,
    point_at_null,
    reopen_standard_descriptors,
)
from gateways.core.peers import (
    describe_process,
    find_gid,
    find_tcp_owner,
    find_uid,
    peer_credentials,
    user_name,
)
from gateways.core.unixsocket import Identity, bind_unix, remove, warn_if_unreachable
from gateways.errors import ConfigError

__all__ = [
    "Address",
    "Kind",
    "Listener",
    "describe_descriptor",
    "listening_socket_on",
    "open_listeners",
    "parse_address",
    "reopen_standard_descriptors",
    "tcp_listener",
    "unix_listener",
]

logger = logging.getLogger("gateways.listener")

DEFAULT_UNIX_MODE = 0o660
_SYSTEMD_FIRST_FD = 3  # SD_LISTEN_FDS_START
_SYSTEMD_VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
_HOW_TO_LISTEN = (
    "give an address (--bind unix:/run/app.sock, --bind 127.0.0.1:9000), or start with "
    "spawn-fcgi or a systemd socket, which pass a listening socket"
)


class Listener:
    """A non-blocking listening socket and, if we made one, its file."""

    __slots__ = ("_file", "_identity", "_pid", "address", "is_unix", "protocol", "socket")

    def __init__(
        self,
        sock: socket.socket,
        address: str,
        file: str | None = None,
        identity: Identity | None = None,
    ) -> None:
        self.socket = sock
        self.address = address  # for logs
        self.protocol = "fcgi"  # what is spoken on it, or auto[...]
        self.is_unix = sock.family == socket.AF_UNIX
        # Absolute, because the process may change its directory before it closes the socket.
        self._file = None if file is None else os.path.abspath(file)
        self._identity = identity
        self._pid = os.getpid()

    def close(self) -> None:
        """Close the socket. The process that bound it also removes the file, if it is still its.

        A forked child never removes it, nor does anybody remove the socket of a successor that
        has been bound to the same path since.
        """
        file, self._file = self._file, None
        if file is not None and self._identity is not None and self._pid == os.getpid():
            # Before the close: as long as we listen, no successor takes the file for a dead one.
            remove(file, self._identity)
        self.socket.close()

    def own(self) -> None:
        """The process that bound it is dead: to remove the file falls to this one."""
        self._pid = os.getpid()

    def hold(self) -> Listener:
        """Another one on the same socket; to close this one does not end the address any more."""
        held = Listener(self.socket.dup(), self.address, self._file, self._identity)
        held.protocol, self._file = self.protocol, None
        return held

    def hand_over(self) -> dict[str, Any]:
        """What ``take_over`` makes it anew from, in the program that replaces this one."""
        self.socket.set_inheritable(True)
        return {
            "descriptor": self.socket.fileno(),
            "address": self.address,
            "protocol": self.protocol,
            "file": self._file,
            "identity": self._identity,
        }

    @classmethod
    def take_over(cls, state: dict[str, Any]) -> Listener:
        """The listener of the program that this one replaces, in the same process."""
        sock = socket.socket(fileno=state["descriptor"])
        sock.set_inheritable(False)
        sock.setblocking(False)
        identity = state["identity"] and tuple(state["identity"])
        listener = cls(sock, state["address"], state["file"], identity)
        listener.protocol = state["protocol"]
        return listener

    def __str__(self) -> str:
        return f"{self.protocol}:{self.address}"

    def __repr__(self) -> str:
        return f"<Listener {self.address}>"


def open_listeners(
    bind: Sequence[str],
    backlog: int,
    *,
    protocol: str = "fcgi",
    environ: MutableMapping[str, str] = os.environ,
) -> list[Listener]:
    """Open every address of ``bind``, or what the parent process passed if there is none.

    That is systemd's sockets (their variables are removed from ``environ``), else the listening
    socket on descriptor 0. An address may name its protocol (``http:127.0.0.1:8000``); the others
    speak ``protocol``. Raises ConfigError, with nothing left open.
    """
    texts = [split_protocol(text, protocol) for text in bind]
    addresses = [parse_address(text) for _, text in texts] or _passed_addresses(environ)
    protocols = [name for name, _ in texts] or [
        # A socket that systemd passes may be named after what is spoken on it.
        address.path if address.path in (*PROTOCOLS, "auto") else protocol
        for address in addresses
    ]
    listeners: list[Listener] = []
    try:
        for address, spoken in zip(addresses, protocols, strict=True):
            listeners.append(_open(address, backlog))
            listeners[-1].protocol = spoken
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    for address in addresses:
        if address.kind is Kind.DESCRIPTOR and address.fd == 0:
            # The application and its children must not find a listening socket as their stdin.
            point_at_null(0)
    return listeners


def _open(address: Address, backlog: int) -> Listener:
    if address.kind is Kind.TCP:
        return tcp_listener(address.host, address.port, backlog)
    if address.kind is Kind.ABSTRACT:
        return _abstract_listener(address.path, backlog)
    if address.kind is Kind.DESCRIPTOR:
        return _inherited_listener(address.fd, address.path)
    mode = DEFAULT_UNIX_MODE if address.mode is None else address.mode
    return unix_listener(address.path, backlog, mode=mode, user=address.user, group=address.group)


# -- Unix --------------------------------------------------------------------------------------


def unix_listener(
    path: str,
    backlog: int,
    *,
    mode: int = DEFAULT_UNIX_MODE,
    user: str | None = None,
    group: str | None = None,
    umask: int | None = None,
) -> Listener:
    """Listen on the socket file ``path``; ``user`` and ``group`` are names or numbers.

    A ``umask`` takes the place of ``mode``. A path that starts with a zero byte is an abstract
    name. A warning is logged if the usual web server's user could not connect.
    """
    if path.startswith("\0"):
        return _abstract_listener(path[1:], backlog)
    try:
        uid = -1 if user is None else find_uid(user)
        gid = -1 if group is None else find_gid(group)
    except ConfigError as error:
        raise cannot_listen(path, str(error)) from None
    sock, identity = bind_unix(path, backlog, mode, uid, gid, umask)
    listener = Listener(sock, f"unix:{path}", path, identity)
    try:
        warn_if_unreachable(path)
    except OSError as error:  # a directory that we ourselves cannot look at
        logger.debug("unix:%s: cannot tell who could connect: %s", path, error)
    except BaseException:
        listener.close()
        raise
    return listener


def _abstract_listener(name: str, backlog: int) -> Listener:
    address = b"\0" + os.fsencode(name)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            owner = describe_process(_abstract_owner(address))
            problem = f"{owner} is listening there; stop it or choose another name"
        else:
            problem = f"{error}; a name has at most 107 bytes"
        raise cannot_listen(f"@{name}", problem) from None
    except BaseException:
        sock.close()
        raise
    return Listener(sock, f"@{name}")


def _abstract_owner(address: bytes) -> int | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(address):
            return None
        peer = peer_credentials(probe.fileno())
        return peer.pid if peer else None


# -- TCP ---------------------------------------------------------------------------------------


def tcp_listener(host: str, port: int, backlog: int) -> Listener:
    """Listen on an IP address or a name's first one, IPv4 before IPv6; ``""`` is every interface.

    Port 0 lets the kernel choose; the listener's address has the real one.
    """
    text = format_tcp(host, port)
    if not host:
        # One socket for IPv4 and IPv6, where the machine has both. Its peers' IPv4 addresses look
        # like ::ffff:192.0.2.1. An explicit [::] is for IPv6 alone, so that 0.0.0.0 can be given
        # beside it, as in nginx's configuration.
        if socket.has_dualstack_ipv6():
            try:
                return _bind_tcp(socket.AF_INET6, ("::", port), backlog, text, dual=True)
            except _NoSuchAddressError:
                pass  # IPv6 is compiled in but switched off
        host = "0.0.0.0"  # noqa: S104
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise cannot_listen(
            text, f"{host!r} cannot be resolved ({reason}); give an IP address of this machine"
        ) from None
    # Web servers that know "localhost" by both its addresses try the other one if one refuses;
    # many configurations know 127.0.0.1 alone.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, name = found[0]
    return _bind_tcp(family, name, backlog, text)


class _NoSuchAddressError(ConfigError):
    """The machine has no such address, or not the family."""


def _bind_tcp(
    family: int, name: tuple[object, ...], backlog: int, text: str, dual: bool = False
) -> Listener:
    sock: socket.socket | None = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        # Connections of a predecessor that linger in TIME_WAIT do not keep the port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        # Accepted sockets inherit it on Linux: a response's end does not wait for an ACK.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(name)
        # Two sockets with SO_REUSEADDR may both bind; then it is listen() that fails.
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _tcp_error(error, name, text) from None
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    port = sock.getsockname()[1]
    return Listener(sock, f":{port}" if dual else format_sockname(sock))


def _tcp_error(error: OSError, name: tuple[object, ...], text: str) -> ConfigError:
    host, port = str(name[0]), int(str(name[1]))
    if error.errno == errno.EADDRINUSE:
        owner = find_tcp_owner(host, port)
        return cannot_listen(
            text,
            f"port {port} is in use by {describe_process(owner)}; stop it or choose another port",
        )
    if error.errno == errno.EACCES:
        return cannot_listen(
            text,
            f"user {user_name(os.geteuid())} may not use ports this low; choose one from 1024 on, "
            "or let systemd open it and pass it",
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return _NoSuchAddressError(
            f"cannot listen on {text!r}: this machine has no address {host}; see `ip address`, "
            f"or give :{port} for all interfaces"
        )
    return cannot_listen(text, (error.strerror or str(error)).lower())


# -- inherited ---------------------------------------------------------------------------------


def _passed_addresses(environ: MutableMapping[str, str]) -> list[Address]:
    """systemd's descriptors, else descriptor 0. Raises ConfigError if there is neither."""
    found = {name: environ.pop(name, "") for name in _SYSTEMD_VARIABLES}
    pid, count = found["LISTEN_PID"], found["LISTEN_FDS"]
    if count and pid == str(os.getpid()):
        if not (count.isascii() and count.isdigit()) or len(count) > 6:
            raise ConfigError(f"LISTEN_FDS is {count!r}, which is not a number of descriptors")
        names = found["LISTEN_FDNAMES"].split(":")
        names += [""] * int(count)
        fds = range(_SYSTEMD_FIRST_FD, _SYSTEMD_FIRST_FD + int(count))
        if fds:
            return [
                Address(Kind.DESCRIPTOR, fd=fd, path=name)
                for fd, name in zip(fds, names, strict=False)
            ]
    if listening_socket_on(0):
        return [Address(Kind.DESCRIPTOR, fd=0)]
    hint = ""
    if count and pid != str(os.getpid()):
        hint = (
            f" LISTEN_FDS is set, but for process {pid or '(none)'} and not for this one "
            f"({os.getpid()}): a wrapper script has to start it with exec."
        )
    raise ConfigError(
        f"nothing to listen on: descriptor 0 is {describe_descriptor(0)}, not a listening "
        f"socket.{hint} To serve, {_HOW_TO_LISTEN}"
    )


def _inherited_listener(fd: int, name: str = "") -> Listener:
    """The listening socket on ``fd``, of whatever family. It is never asked to listen again."""
    if not listening_socket_on(fd):
        what = f"{name!r}, passed by systemd, is" if name else "the descriptor is"
        remedy = "for systemd that is ListenStream= and Accept=no" if name else _HOW_TO_LISTEN
        raise cannot_listen(
            f"fd://{fd}",
            f"{what} {describe_descriptor(fd)}, not a listening stream socket; {remedy}",
        )
    sock = socket.socket(fileno=duplicate(fd))
    # The flag belongs to the open file, which siblings and the parent may share: they see EAGAIN
    # from now on, and if one of them clears it, our accept() may block.
    sock.setblocking(False)
    if fd > 2:
        # As sd_listen_fds() does: programs that the application runs must not hold the address.
        os.set_inheritable(fd, False)
    logger.debug("descriptor %d%s is %s", fd, name and f" ({name})", describe_descriptor(fd))
    return Listener(sock, f"fd://{fd}")
