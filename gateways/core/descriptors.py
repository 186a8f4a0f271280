"""Descriptors that the parent process left us: what they are, and the standard ones made safe.

Nothing is assumed about them. Web servers hand over a listening socket of any family on descriptor
0 and may leave 1 and 2 closed (FastCGI 1.0, section 2.2), super-servers hand over connected sockets
there, and a shell hands over a terminal.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import sys
from collections.abc import Iterator

_KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def listening_socket_on(fd: int) -> bool:
    """Whether ``fd`` is a stream socket that listens: FastCGI's start, as opposed to CGI's."""
    try:
        sock = _borrow(fd)
    except OSError:
        return False
    try:
        return sock.type == socket.SOCK_STREAM and _listens(sock)
    finally:
        sock.detach()


def describe_descriptor(fd: int) -> str:
    """What ``fd`` is, to follow "descriptor N is": "a terminal (/dev/pts/1)", "not open"."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return "not open"
    if stat.S_ISSOCK(mode):
        return _describe_socket(fd)
    if os.isatty(fd):
        return f"a terminal ({os.ttyname(fd)})" if _has_tty_name(fd) else "a terminal"
    kind = next((name for test, name in _KINDS if test(mode)), "a special file")
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return kind
    # An anonymous file's link says no more than its kind: pipe:[4711], anon_inode:[eventpoll]
    return f"{kind} ({target})" if target.startswith("/") else kind


def _has_tty_name(fd: int) -> bool:
    try:
        os.ttyname(fd)
    except OSError:  # a terminal of another container
        return False
    return True


def _describe_socket(fd: int) -> str:
    try:
        sock = _borrow(fd)
    except OSError:
        return "a socket"
    try:
        own = format_sockname(sock)
        if sock.type != socket.SOCK_STREAM:
            return f"a socket of another type than stream ({own})"
        if _listens(sock):
            return f"a listening socket ({own})"
        try:
            sock.getpeername()
        except OSError:
            return f"a socket that neither listens nor is connected ({own})"
        return f"a connected socket ({own})"
    finally:
        sock.detach()


@contextlib.contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket object on ``fd``, a Unix socket, which stays open."""
    # With all three given, the constructor makes no system calls to find them out.
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def _borrow(fd: int) -> socket.socket:
    """A socket object on ``fd``, to be detached, of the family and type that the kernel tells."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        raise OSError(f"descriptor {fd} is no socket")
    return socket.socket(fileno=fd)


def _listens(sock: socket.socket) -> bool:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:  # a family that does not know the option
        return False


def format_sockname(sock: socket.socket) -> str:
    """A socket's own address as ``--bind`` would name it."""
    try:
        name = sock.getsockname()
    except OSError:
        return "without an address"
    if sock.family == socket.AF_UNIX:
        if isinstance(name, bytes):  # Python gives abstract names as bytes, zero byte first
            return "@" + os.fsdecode(name[1:])
        return f"unix:{name}" if name else "unnamed Unix socket"
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return format_tcp(name[0], name[1])
    return str(name)


def format_tcp(host: str, port: int) -> str:
    """``127.0.0.1:9000`` or ``[::1]:9000``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def duplicate(fd: int) -> int:
    """A close-on-exec duplicate, never on a standard descriptor that happens to be closed."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def point_at_null(fd: int) -> None:
    """Put /dev/null on ``fd``, whether it was open or not; children inherit it."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == fd:
        os.set_inheritable(fd, True)
    else:
        os.dup2(null, fd)
        os.close(null)


def reopen_standard_descriptors() -> None:
    """Put /dev/null on those of descriptors 0, 1 and 2 that are closed, and mend sys.std*.

    Otherwise the next connection would get such a number, and whatever a C library writes to
    its standard error would go to a web server as if it were part of a response.
    """
    reopened = set()
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            point_at_null(fd)
            reopened.add(fd)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Python found it closed at its start. What is open there now, if not by us, may be
            # anything: a module's log file, a database. It is not ours to write to.
            target = fd if fd in reopened else duplicate_of_null()
            # closefd: as for the standard streams, nobody closes it, and nobody is warned of it.
            mode = "r" if fd == 0 else "w"
            stream = open(  # noqa: SIM115
                target, mode, encoding="utf-8", errors="backslashreplace", closefd=False
            )
            setattr(sys, name, stream)


def duplicate_of_null() -> int:
    """A new descriptor of /dev/null above the standard ones."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return duplicate(null)
    finally:
        os.close(null)


def open_descriptors() -> list[int]:
    """Those of this process, as far as that can be found out: some may be closed by now."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc in sight, or not Linux
        return list(range(os.sysconf("SC_OPEN_MAX")))


def inheritable_descriptors() -> list[int]:
    """Those above the standard ones that a program run by this process finds open."""
    found = []
    for fd in open_descriptors():
        try:
            if fd > 2 and os.get_inheritable(fd):
                found.append(fd)
        except OSError:
            pass  # it was that of the listing
    return found
