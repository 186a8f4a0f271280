"""Who is who: users, groups and processes, as the kernel and the system's databases know them.

What the kernel says about the process at the other end of a Unix socket (SO_PEERCRED: it cannot be
forged) and which process holds a socket (/proc) serve access checks and error messages. Where a
platform does not tell, the answer is None: an access check then refuses, a message says less.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
import struct
import sys
from typing import NamedTuple

from gateways.core.descriptors import borrowed
from gateways.errors import ConfigError

_SO_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None)
# Linux 4.13; Python has no name for it, and these two architectures number their options otherwise.
_SO_PEERGROUPS: int | None = (
    59
    if sys.platform == "linux" and not os.uname().machine.startswith(("sparc", "parisc"))
    else None
)
_UCRED = struct.Struct("iII")
_MAX_GROUPS_BYTES = 1024  # as much as getsockopt() of Python takes: 256 groups
_LARGEST_ID = 2**32 - 2  # -1 says "leave it as it is" to chown(), so it is nobody's


class Credentials(NamedTuple):
    """The process that connected or, seen by a client, the one that called listen()."""

    pid: int  # 0 where it is outside our pid namespace
    uid: int
    gid: int


def peer_credentials(fd: int) -> Credentials | None:
    """The peer of a connected Unix socket; None where the platform does not tell."""
    if _SO_PEERCRED is None:
        return None
    with borrowed(fd) as sock:
        try:
            data = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _UCRED.size)
        except OSError:
            return None
    return Credentials._make(_UCRED.unpack(data))


def peer_groups(fd: int, peer: Credentials) -> frozenset[int]:
    """All groups of the peer of a Unix socket.

    The kernel's answer counts, as it does for a file's mode; the group database is asked only
    where the kernel has none.
    """
    if _SO_PEERGROUPS is not None:
        with borrowed(fd) as sock, contextlib.suppress(OSError):
            data = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS_BYTES)
            return frozenset(struct.unpack(f"{len(data) // 4}I", data)) | {peer.gid}
    try:
        return groups_of(pwd.getpwuid(peer.uid)) | {peer.gid}
    except KeyError:
        return frozenset({peer.gid})


def groups_of(user: pwd.struct_passwd) -> frozenset[int]:
    """The primary and supplementary groups of a user, by the databases."""
    return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))


def find_uid(user: str) -> int:
    """The uid of a user's name or number. Raises ConfigError where there is none."""
    number = _as_id(user)
    if number is not None:
        return number
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        message = f"there is no user {user!r} on this machine; see `getent passwd`"
        raise ConfigError(message) from None


def find_gid(group: str) -> int:
    """The gid of a group's name or number. Raises ConfigError where there is none."""
    number = _as_id(group)
    if number is not None:
        return number
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        message = f"there is no group {group!r} on this machine; see `getent group`"
        raise ConfigError(message) from None


def _as_id(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _LARGEST_ID:
        raise ConfigError(f"{text} is no user or group id; the highest is {_LARGEST_ID}")
    return int(text)


def user_name(uid: int) -> str:
    """The user's name, or the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The group's name, or the number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def describe_process(pid: int | None) -> str:
    """``pid 12 (nginx)``, for messages; also for a process that is not known (None or 0)."""
    if not pid:
        return "a process that cannot be seen from here"
    if pid == os.getpid():
        return f"pid {pid} (this very process)"
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f"pid {pid} ({file.read().strip()})"
    except OSError:
        return f"pid {pid}"


def find_unix_owner(path: str) -> int | None:
    """The pid of a process that holds the listening socket bound to ``path``, by /proc."""
    inodes = set()
    for fields in _table("unix"):
        # Num RefCount Protocol Flags Type St Inode Path; 10000 is __SO_ACCEPTCON
        if len(fields) >= 8 and fields[3] == "00010000" and " ".join(fields[7:]) == path:
            inodes.add(fields[6])
    return _holder(inodes)


def find_tcp_owner(host: str, port: int) -> int | None:
    """The pid of a process that listens where ``host`` (an IP address) would collide, by /proc."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host.partition("%")[0])
    # /proc shows each 32 bits of an address as a number of the machine's byte order.
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    wanted = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    inodes = set()
    for fields in (*_table("tcp"), *_table("tcp6")):
        # sl local_address rem_address st ... (ninth) inode; state 0A is TCP_LISTEN
        address, _, number = fields[1].partition(":")
        collides = address == wanted or not address.strip("0") or not wanted.strip("0")
        if fields[3] == "0A" and int(number, 16) == port and collides:
            inodes.add(fields[9])
    return _holder(inodes)


def _table(name: str) -> list[list[str]]:
    try:
        with open(f"/proc/self/net/{name}", encoding="utf-8", errors="surrogateescape") as file:
            return [line.split() for line in file][1:]
    except OSError:
        return []


def _holder(inodes: set[str]) -> int | None:
    """A process with a descriptor of one of these sockets; only root sees those of others."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted or not os.path.isdir("/proc"):
        return None
    for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue  # not ours to see, or just gone
        for fd in descriptors:
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") in wanted:
                    return int(pid)
            except OSError:
                continue  # closed since
    return None
