"""The file with the supervisor's process id, which is locked for as long as that process lives.

The lock says whether the number is still true, so a pid that now belongs to somebody else is
never signalled, and a file that a killed server left behind is simply replaced. It is a POSIX lock:
forked workers do not inherit it, and it survives an exec. The price is that closing *any*
descriptor of the file in its process drops it, so it is opened once.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import struct
import sys
import time

from gateways.core.peers import describe_process, user_name
from gateways.errors import ConfigError

logger = logging.getLogger("gateways.process")

# O_NONBLOCK: a FIFO or a device that somebody named by mistake must not hang the start.
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CONTENT = re.compile(rb"\s*[0-9]*\s*")
_LARGEST = 64
_PATIENCE_SECONDS = 1.0  # with who has the lock for a moment
_PAUSE_SECONDS = 0.005
# struct flock on Linux, whose F_GETLK names the owner of a lock: type, whence, start, len, pid.
_FLOCK = struct.Struct("hhqqi0q")


class PidFile:
    """The file at ``path``; the process that has taken it holds it until it removes it or ends."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._fd = -1
        self._owner = 0

    @classmethod
    def adopt(cls, path: str, fd: int) -> PidFile:
        """The file that this process had taken before it replaced its program by exec.

        ``fd`` must have been inheritable then, else the exec closed it and dropped the lock.
        """
        taken = cls(path)
        os.set_inheritable(fd, False)
        taken._fd = fd
        taken._owner = os.getpid()
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no effect where it is held already
        except OSError as error:
            raise taken._refusal(f"the lock was lost ({error.strerror})") from error
        return taken

    def take(self) -> None:
        """Create or replace the file, lock it and write our pid. Raises ConfigError."""
        while self._fd < 0:
            fd = self._open()
            try:
                self._lock(fd)
                if _is_at(self.path, fd):
                    self._check(fd)
                    self._write(fd)
                    self._fd = fd
                    self._owner = os.getpid()
            finally:
                if self._fd != fd:  # refused; or its owner removed it just before it unlocked it
                    os.close(fd)

    def fileno(self) -> int:
        """The locked descriptor, to be made inheritable for an exec; -1 if it is not taken."""
        return self._fd

    def remove(self) -> None:
        """Remove the file, if this process has taken it and it still is the same."""
        if self._fd < 0 or self._owner != os.getpid():
            return
        try:
            if _is_at(self.path, self._fd):
                os.unlink(self.path)
        except OSError as error:
            # The next start sees that nobody holds the lock, and replaces it.
            logger.info("%s is left behind: %s", self.path, error.strerror)
        os.close(self._fd)
        self._fd = -1

    def remove_leftover(self) -> None:
        """For a forked worker of the process that had taken it, which is dead: remove the file.

        A successor may be about to take it, or have it already.
        """
        if self._fd < 0:
            return
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(self.path, self._fd):
                os.unlink(self.path)
        except OSError as error:  # locked: it is somebody's; else there is no right to it
            logger.debug("%s is left behind: %s", self.path, error.strerror)
        os.close(self._fd)
        self._fd = -1

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o644)
        except OSError as error:
            raise self._refusal(_explain(error, self.path)) from error

    def _lock(self, fd: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._try_lock(fd):
            owner = _holder(fd)
            # Who has not written its number is a worker that removes what its supervisor left.
            if (owner is not None and owner == _read(fd)) or time.monotonic() > deadline:
                raise self._refusal(
                    f"{describe_process(owner)} has it, which serves already; stop that first, or "
                    "give this one a file of its own"
                )
            time.sleep(_PAUSE_SECONDS)

    def _try_lock(self, fd: int) -> bool:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise self._refusal(
                    f"its file system has no locks ({error.strerror}); choose a path below /run"
                ) from error
            return False
        return True

    def _check(self, fd: int) -> None:
        """Refuse what we would not have written: it is somebody's, and not ours to overwrite."""
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise self._refusal("it is not a regular file")
        if status.st_uid != os.geteuid():
            raise self._refusal(
                f"it belongs to {user_name(status.st_uid)}, and this process is "
                f"{user_name(os.geteuid())}; remove it, or choose another path"
            )
        if not _CONTENT.fullmatch(os.pread(fd, _LARGEST, 0)):
            raise self._refusal("it holds something else than a process id; is it the right path?")

    def _write(self, fd: int) -> None:
        content = b"%d\n" % os.getpid()
        try:
            os.pwrite(fd, content, 0)  # before the rest is cut off: it is never seen empty
            os.ftruncate(fd, len(content))
        except OSError as error:
            raise self._refusal(str(error.strerror)) from error

    def _refusal(self, reason: str) -> ConfigError:
        return ConfigError(f"--pidfile {self.path}: {reason}")


def read_live_pid(path: str) -> int | None:
    """The pid of the process that holds the file; None if nobody does. Raises ConfigError.

    Not for the process that holds it: the close would drop its lock.
    """
    try:
        fd = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"--pidfile {path}: {_explain(error, path)}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ConfigError(f"--pidfile {path}: it is not a regular file")
        return _holder(fd)
    finally:
        os.close(fd)


def _holder(fd: int) -> int | None:
    """The process that holds the lock; None if nobody does."""
    if sys.platform == "linux":
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        if kind == fcntl.F_UNLCK:
            return None
        return pid or _read(fd)  # 0: a process of another pid namespace
    try:
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(fd)
    return None  # the close that follows drops the lock again


def _read(fd: int) -> int | None:
    digits = os.pread(fd, _LARGEST, 0).split(b"\n")[0].strip()
    return int(digits) if digits.isdigit() else None


def _is_at(path: str, fd: int) -> bool:
    """Whether ``path`` names the file that is open as ``fd``."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def _explain(error: OSError, path: str) -> str:
    directory = os.path.dirname(path) or "."
    if error.errno == errno.EISDIR:
        return f"it is a directory; name a file in it, as {path.rstrip('/')}/gateways.pid"
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return "it is a symbolic link, which is not followed; give the file itself"
    if error.errno == errno.ENOENT:
        return f"the directory {directory} does not exist; create it (systemd: RuntimeDirectory=)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{user_name(os.geteuid())} has no right to it; see `ls -ld {directory} {path}`"
    return str(error.strerror)
