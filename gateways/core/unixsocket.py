"""A Unix socket's file: made with the right owner and mode, never over something that lives.

A file left by a dead process refuses connections (ECONNREFUSED): it is replaced. One whose server
answers, and whatever is not a socket, is left alone and the start fails. The probe, the removal
and the bind happen under a lock on the directory, so that of two processes that start at once one
wins. The file gets its owner and mode before listen(): until then every connect fails, so there is
no moment at which the wrong people can connect.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import pwd
import socket
import stat
import time
from collections.abc import Iterator

from gateways.core.addresses import UNIX_PATH_LIMIT, cannot_listen
from gateways.core.peers import (
    describe_process,
    find_unix_owner,
    group_name,
    groups_of,
    peer_credentials,
    user_name,
)

logger = logging.getLogger("gateways.listener")

LOCK_TIMEOUT_SECONDS = 5.0
WEB_SERVER_USERS = ("www-data", "nginx", "http", "apache", "caddy", "lighttpd", "_www")

Identity = tuple[int, int]  # st_dev and st_ino


def bind_unix(
    path: str, backlog: int, mode: int, uid: int, gid: int, umask: int | None
) -> tuple[socket.socket, Identity]:
    """A listening socket on ``path``, and what the file is to be known by.

    ``uid`` and ``gid`` of -1 leave the owner as it is. With a ``umask`` the file's mode follows
    from that, and ``mode`` is not used. Raises ConfigError.
    """
    length = len(os.fsencode(path))
    if length > UNIX_PATH_LIMIT:
        raise cannot_listen(
            path,
            f"the path has {length} bytes, and a Unix socket's has at most {UNIX_PATH_LIMIT}; "
            "choose a shorter one, such as /run/app.sock",
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _locked(path):
            _make_way(path)
            identity = _bind(sock, path, umask)
            try:
                _set_rights(path, None if umask is not None else mode, uid, gid, identity)
                sock.listen(backlog)
            except BaseException:
                remove(path, identity)
                raise
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock, identity


def remove(path: str, identity: Identity) -> None:
    """Remove the file at ``path`` if it still is the one of this identity."""
    try:
        if _identity(os.lstat(path)) == identity:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        # Privileges given up since the bind are the usual cause. The next start replaces it.
        logger.info("%s is left behind: %s", path, error.strerror)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock of the directory of ``path``. It needs no file that could be left behind."""
    directory = os.path.dirname(path) or "."
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise cannot_listen(
            path,
            f"the directory {directory} does not exist; create it (for systemd: RuntimeDirectory=)",
        ) from None
    except NotADirectoryError:
        raise cannot_listen(path, f"{directory} is not a directory") from None
    except OSError:
        fd = -1  # it may be writable and searchable but not readable; bind() will tell
    try:
        if fd >= 0:
            _lock(fd, directory)
        yield
    finally:
        if fd >= 0:
            # A child that another thread forks meanwhile shares the lock, so close() is too little.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def _lock(fd: int, directory: str) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            # Our own kind holds it for milliseconds. Anybody who may read /tmp can lock it for
            # ever, which must not keep us from starting.
            if time.monotonic() > deadline:
                logger.warning(
                    "the directory %s stays locked by another process; going on without", directory
                )
                return
            time.sleep(0.01)
        except OSError:
            return  # a file system without locks


def _make_way(path: str) -> None:
    """Return if nothing is in the way at ``path`` any more; raise ConfigError if it has to stay."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_listen(path, _strerror(error)) from None
    if not stat.S_ISSOCK(status.st_mode):
        raise cannot_listen(
            path,
            f"{_file_kind(status.st_mode, path)} is there, not a socket, and is not removed; "
            "remove it yourself or choose another path",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(path)
        peer = peer_credentials(probe.fileno()) if code == 0 else None
    if code == errno.ENOENT:
        return
    if code in (0, errno.EAGAIN, errno.EPROTOTYPE):  # EAGAIN: its backlog is full
        pid = peer.pid if peer else find_unix_owner(path)
        raise cannot_listen(
            path,
            f"{describe_process(pid)} is listening there; stop it or choose another path",
        )
    if code != errno.ECONNREFUSED:
        raise cannot_listen(
            path,
            f"a socket of user {user_name(status.st_uid)} is there, and whether it is in use "
            f"cannot be found out ({os.strerror(code)}); remove it or choose another path",
        )
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise cannot_listen(
            path,
            f"a dead socket of user {user_name(status.st_uid)} is there and cannot be removed "
            f"({_strerror(error)}); remove it or choose another path",
        ) from None
    logger.debug("replaced the dead socket %s", path)


def _file_kind(mode: int, path: str) -> str:
    if stat.S_ISLNK(mode):
        return f"a symbolic link to {os.readlink(path)}"
    return "a directory" if stat.S_ISDIR(mode) else "a file"


def _bind(sock: socket.socket, path: str, umask: int | None) -> Identity:
    # The umask is the process's: files that other threads create right now get it too.
    previous = None if umask is None else os.umask(umask)
    try:
        sock.bind(path)
    except OSError as error:
        directory = os.path.dirname(path) or "."
        if error.errno == errno.EADDRINUSE:
            raise cannot_listen(path, "something has just appeared there; try again") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise cannot_listen(
                path,
                f"user {user_name(os.geteuid())} may not create files in {directory}; "
                "choose another directory or give that user write permission",
            ) from None
        raise cannot_listen(path, _strerror(error)) from None
    finally:
        if previous is not None:
            os.umask(previous)
    return _identity(os.lstat(path))


def _set_rights(path: str, mode: int | None, uid: int, gid: int, identity: Identity) -> None:
    """Owner first, mode second: chown() may clear bits of the mode.

    Where the directory is another user's, that user could put a symbolic link in the place of the
    new socket, to have root change the rights of a file of their choice. So the file is opened,
    compared, and then changed by its descriptor.
    """
    fd = -1
    target = path
    try:
        if hasattr(os, "O_PATH"):
            fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        if fd >= 0 and os.path.exists(f"/proc/self/fd/{fd}"):
            target = f"/proc/self/fd/{fd}"
        if _identity(os.lstat(path) if fd < 0 else os.fstat(fd)) != identity:
            raise cannot_listen(path, "somebody replaced the new socket; choose a safer directory")
        if (uid, gid) != (-1, -1):
            os.chown(target, uid, gid)
        if mode is not None:
            os.chmod(target, mode)
    except PermissionError:
        owner = f"{'' if uid < 0 else user_name(uid)}:{'' if gid < 0 else group_name(gid)}"
        raise cannot_listen(
            path,
            f"user {user_name(os.geteuid())} may not give the socket to {owner}; only root may "
            "give it to another user, and others only to a group they are in",
        ) from None
    except OSError as error:
        raise cannot_listen(path, _strerror(error)) from None
    finally:
        if fd >= 0:
            os.close(fd)


def _strerror(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def warn_if_unreachable(path: str) -> None:
    """Log a warning, with the remedy, if the usual web servers' user cannot connect to ``path``.

    Several such users may exist and which one the web server runs as is not known, so nothing is
    said if one of them can connect.
    """
    found: tuple[pwd.struct_passwd, list[str]] | None = None
    for name in WEB_SERVER_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        problems = [] if user.pw_uid in (0, os.geteuid()) else find_obstacles(path, user)
        if not problems:
            return
        found = found or (user, problems)
    if found:
        user, problems = found
        logger.warning(
            "unix:%s: user %s, as which the web server probably runs, cannot connect: %s",
            path,
            user.pw_name,
            "; ".join(problems),
        )


def find_obstacles(path: str, user: pwd.struct_passwd) -> list[str]:
    """What keeps a user from connecting to the socket at ``path``, each with its remedy."""
    groups = groups_of(user)
    obstacles = []
    directory = os.path.realpath(os.path.dirname(path) or ".")
    for parent in _with_parents(directory):
        status = os.stat(parent)
        if not _may(status, parent, user, groups, stat.S_IXOTH):
            mode = stat.S_IMODE(status.st_mode)
            obstacles.append(
                f"the directory {parent} has mode {mode:o} and is closed to it, so chmod o+x "
                f"{parent}, or put the socket elsewhere"
            )
    status = os.stat(path)
    if not _may(status, path, user, groups, stat.S_IWOTH):
        owner = f"{user_name(status.st_uid)}:{group_name(status.st_gid)}"
        group = group_name(user.pw_gid)
        obstacles.append(
            f"the socket has mode {stat.S_IMODE(status.st_mode):o} and belongs to {owner}, so "
            f"listen on 'unix:{path}?group={group}' (as root or a member of that group), or on "
            f"'unix:{path}?mode=666' if every user of this machine may connect"
        )
    return obstacles


def _with_parents(directory: str) -> list[str]:
    """``/``, ``/run``, ``/run/app`` for the last of these."""
    parents = [directory]
    while (parent := os.path.dirname(parents[-1])) != parents[-1]:
        parents.append(parent)
    return parents[::-1]


def _may(
    status: os.stat_result, path: str, user: pwd.struct_passwd, groups: frozenset[int], bit: int
) -> bool:
    # Only the first class that fits counts, even where a later one would allow more.
    shift = 6 if status.st_uid == user.pw_uid else 3 if status.st_gid in groups else 0
    return bool(status.st_mode >> shift & bit) or _has_acl(path)


def _has_acl(path: str) -> bool:
    """Whether an access control list says more than the mode; what it says is not looked at."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except (OSError, AttributeError):
        return False
