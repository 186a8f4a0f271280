"""The files that logs go to: one write per record, appended, opened anew at any moment.

Several processes append to the same file, so each record is one ``write`` on a descriptor with
O_APPEND: the kernel keeps such writes apart. Opening anew puts the new file on the old descriptor's
number in one step (dup2), so a thread that is writing needs no lock and never meets a closed one.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import stat

from gateways.core.peers import user_name

logger = logging.getLogger("gateways.logs")

_PATIENCE_MS = 1000  # how long a full pipe may keep a thread
# Descriptors 1 and 2 are shared with other processes, so they cannot be made non-blocking.
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_NEVER_WAITS = -1  # in place of a flag: a file takes all of what is written, at once
_NO_SUCH_FLAG = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Target:
    """A descriptor that records are written to: 1 or 2, or the file of a ``LogFile``."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self._flag = _flag_for(fd)
        self._lost = 0
        self._torn = False  # the last record was cut short
        self._stuck = False  # whoever reads it has been waited for in vain

    def write(self, data: bytes) -> None:
        """Append one record. What cannot be written is counted, and told of once it can be again:
        a log that is full, or that nobody reads, must not keep a request or a stop."""
        if self._torn:
            data = b"\n" + data
        length = len(data)
        try:
            while data:
                data = data[self._write_some(data) :]
        except OSError as error:
            self._lost += 1
            self._reason = error.strerror
            self._torn = self._torn if len(data) == length else True
            return
        self._torn = self._stuck = False
        if self._lost:
            lost, self._lost = self._lost, 0
            logger.error(
                "%d records for %s were lost (%s); see to its disk, or to what reads it",
                lost,
                self.name,
                self._reason,
            )

    def _write_some(self, data: bytes) -> int:
        try:
            return self._write_now(data)
        except BlockingIOError:
            pass
        # Nobody is waited for twice: a stop has more than one thing to say.
        if not _is_writable(self.fd, 0 if self._stuck else _PATIENCE_MS):
            self._stuck = True
            raise BlockingIOError(errno.EAGAIN, "its reader did not read")
        self._flag = _flag_for(self.fd)  # it may lead elsewhere by now
        return self._write_now(data)

    def _write_now(self, data: bytes) -> int:
        """Write what there is room for. Raises BlockingIOError where there is none."""
        if self._flag > 0:
            try:
                return os.pwritev(self.fd, (data,), -1, self._flag)
            except OSError as error:
                if error.errno not in _NO_SUCH_FLAG:
                    raise
                self._flag = 0
        # Of a pipe or a socket others may take the room in between; that is what the flag is for,
        # where the system has it.
        if self._flag != _NEVER_WAITS and not _is_writable(self.fd, 0):
            raise BlockingIOError(errno.EAGAIN, "its reader did not read")
        return os.write(self.fd, data)


def _flag_for(fd: int) -> int:
    """What ``pwritev`` is told, for a write that does not wait; 0: it is not to be used, and
    ``_NEVER_WAITS``: nor need anything be asked before."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return 0
    if stat.S_ISREG(mode):
        return _NEVER_WAITS
    return _NOWAIT if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else 0


def _is_writable(fd: int, patience_ms: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(patience_ms))


class LogFile(Target):
    """A file that is appended to. Raises OSError where it cannot be opened."""

    def __init__(self, name: str) -> None:
        # The working directory and the root directory may be others when it is opened anew.
        self.path = os.path.abspath(name)
        self.copies: tuple[int, ...] = ()  # descriptors that are to lead here too
        super().__init__(_open(self.path), name)

    def copy_to(self, *descriptors: int) -> None:
        """Make these descriptors lead to the file, now and after each ``reopen``."""
        self.copies = descriptors
        for fd in descriptors:
            os.dup2(self.fd, fd)

    def reopen(self) -> None:
        """Open the path anew; if that fails (OSError), the old file stays."""
        new = _open(self.path)
        os.dup2(new, self.fd, inheritable=False)
        os.close(new)
        self._flag = _flag_for(self.fd)
        self.copy_to(*self.copies)

    def close(self) -> None:
        """Close it; nobody may write any more."""
        os.close(self.fd)


_owner: int | None = None


def set_owner(uid: int) -> None:
    """Whom the files that root opens from now on are given to."""
    global _owner  # as global as the process's user
    _owner = uid


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
    flags |= os.O_NONBLOCK  # or a FIFO that nobody reads would keep us here
    given = _owner is not None and os.geteuid() == 0
    if given:
        # Its directory may belong to the one whom it is given to, who could put a link there.
        flags |= os.O_NOFOLLOW
    fd = os.open(path, flags, 0o644)
    os.set_blocking(fd, True)
    if given:
        _give(fd, _owner or 0)
    return fd


def _give(fd: int, uid: int) -> None:
    """Let the user write a file of root's; what is anybody else's, or has two names, stays."""
    status = os.fstat(fd)
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 1
    if ours and uid != 0:
        os.fchown(fd, uid, -1)


def remedy(error: OSError, path: str) -> str:
    """What is wrong with a log file, and what to do."""
    user = user_name(os.geteuid())
    remedies = {
        errno.ENOENT: f"make the directory {os.path.dirname(path)}",
        errno.EACCES: f"let user {user} write there (chown {user} {path})",
        errno.EPERM: f"let user {user} write there (chown {user} {path})",
        errno.EISDIR: "name a file in it",
        errno.ENXIO: "start what reads that FIFO first",
        errno.ELOOP: "root follows no symbolic link when it logs for --user; name the file itself",
    }
    return f"{error.strerror}; {remedies.get(error.errno or 0, 'name another file')}"
