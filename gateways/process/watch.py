"""Which files have changed: a look at a few names, and a process that watches whole directories.

That process exists because the library which watches starts a thread, and the supervisor, which
forks, must have none.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from gateways.core.descriptors import open_descriptors
from gateways.errors import ConfigError
from gateways.process.filestate import State, look_at
from gateways.process.forking import fork_member, unblock_signals

logger = logging.getLogger("gateways.server")

# Relative to what is watched, which may itself lie in a directory of such a name.
IGNORED_DIRECTORIES = frozenset(
    {"__pycache__", "node_modules", "site-packages", "venv", ".venv", ".tox", ".nox"}
    | {".git", ".hg", ".svn", ".idea", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
)
_SUFFIX = ".py"
_STEP_MILLISECONDS = 50
_LONGEST_BATCH_MILLISECONDS = 1000
_LOOK_MILLISECONDS = 500  # at files, and whether a missing directory is there by now
_IGNORED_SIGNALS = (  # those of the terminal's process group are for the supervisor to act on
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)


class Touch:
    """Files that may be touched, or appear; one that vanishes is no change."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._known = {path: look_at(path) for path in paths}

    def changed(self) -> list[str]:
        """Those that are not what they were at the last call."""
        changed = []
        for path, known in self._known.items():
            state = look_at(path)
            if state is not None and state != known:
                changed.append(path)
            self._known[path] = state
        return changed


def require_watchfiles() -> None:
    """Raise ConfigError where the library that ``--reload`` needs is not installed."""
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigError(
            f"--reload needs the package watchfiles, which {sys.executable} does not have: "
            "pip install 'gateways[reload]', or use --reload-on-touch FILE"
        )


class CodeWatcher:
    """The supervisor's end of a process that watches."""

    def __init__(self, pid: int, changes: int, leash: int) -> None:
        self.pid = pid
        self._changes = changes
        self._leash = leash
        self._stand_in = -1
        self.watching = False  # known once it has been read
        self._received = b""

    @classmethod
    def start(cls, directories: Sequence[str], files: Sequence[str]) -> CodeWatcher:
        """Watch .py files below ``directories``, which may be missing yet, and ``files``.

        Raises ConfigError where watchfiles is missing.
        """
        require_watchfiles()
        changes, report = os.pipe()
        held, leash = os.pipe()
        roots = _outermost(directories)
        names = [os.path.abspath(path) for path in files]
        parent = os.getpid()
        news = _Filter(roots, time.time())
        pid = fork_member(
            lambda: _watch(roots, names, news, report, _Leash(held, parent)),
            lambda: _keep_only(report, held),
        )
        os.close(report)
        os.close(held)
        os.set_blocking(changes, False)
        return cls(pid, changes, leash)

    def fileno(self) -> int:
        """Readable when there is something to ``read``."""
        return self._changes

    def read(self) -> list[str]:
        """Absolute paths of what has changed since the last call, each once."""
        while True:
            try:
                data = os.read(self._changes, 65536)
            except BlockingIOError:
                break
            if not data:
                self._has_ended()
                break
            self._received += data
        *lines, self._received = self._received.split(b"\n")
        changed: dict[str, None] = {}
        for line in lines:
            message = json.loads(line)
            self.watching = self.watching or "watching" in message
            if "problem" in message:
                logger.warning("--reload: %s", message["problem"])
            changed.update(dict.fromkeys(message.get("changed", ())))
        return list(changed)

    def stop(self) -> None:
        """End the process, and wait for it."""
        self.forget()
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it has ended, and somebody else has waited for it

    def forget(self) -> None:
        """Close the descriptors; any number of times."""
        for fd in (self._changes, self._leash, self._stand_in):
            if fd >= 0:
                os.close(fd)
        self._changes = self._leash = self._stand_in = -1

    def _has_ended(self) -> None:
        """Put a pipe that stays silent in the place of one that would be readable for ever."""
        logger.error("--reload watches no more: its process %d has ended; restart", self.pid)
        silent, self._stand_in = os.pipe()
        os.dup2(silent, self._changes, inheritable=False)
        os.close(silent)
        os.set_blocking(self._changes, False)


class _Leash:
    """Says when the watching process is to leave; watchfiles asks ``is_set`` at every step."""

    first_step: Callable[[], None] | None = None  # called when watchfiles has begun to watch

    def __init__(self, held: int, parent: int) -> None:
        self._parent = parent
        self._poll = select.poll()
        self._poll.register(held, select.POLLIN)

    def is_set(self) -> bool:
        """Whether the supervisor has let go, or is gone while a child of its holds the pipe."""
        if self.first_step is not None:
            begun, self.first_step = self.first_step, None
            begun()
        return os.getppid() != self._parent or bool(self._poll.poll(0))


def _outermost(directories: Iterable[str]) -> list[str]:
    """Without repetitions, and without those that lie in another one."""
    found: list[str] = []
    for path in sorted({os.path.realpath(path) for path in directories}):
        if not any(_lies_in(path, root) for root in found):
            found.append(path)
    return found


def _lies_in(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _keep_only(*kept: int) -> None:
    """Let go of what the supervisor holds: a listener that is held here would never close.

    The numbers stay taken, because objects of the supervisor may still close them.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for fd in open_descriptors():
        if fd > 2 and fd not in (*kept, null) and _is_open(fd):
            os.dup2(null, fd, inheritable=False)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:  # it was that of the listing
        return False
    return True


class _Filter:
    """Which changes below the roots count, and each state of a file only once.

    ``since`` is when the watching was asked for: to begin takes a while.
    """

    def __init__(self, roots: Sequence[str], since: float) -> None:
        self._roots = roots
        self._since = since
        self._told: dict[str, State | None] = {}

    def news(self, paths: Iterable[str]) -> list[str]:
        """Python files among ``paths``, or in new directories among them, that are news."""
        found = []
        for path in sorted(set(paths)):
            if self._ignored(path):
                continue
            # Files may have been written into it before the library watched it.
            files = _modules_in(path) if os.path.isdir(path) else [path]
            for file in files:
                if self._counts(file) and self._is_news(file):
                    found.append(file)
        return found

    def saved_meanwhile(self, present: Iterable[str]) -> list[str]:
        """The Python files that have been saved since then, below the roots that are there."""
        files = [path for root in present for path in _modules_in(root)]
        return self.news(path for path in files if self._counts(path) and self._is_late(path))

    def _is_late(self, path: str) -> bool:
        try:
            return os.stat(path).st_mtime > self._since
        except OSError:
            return False  # it is gone again

    def _counts(self, path: str) -> bool:
        name = os.path.basename(path)
        return name.endswith(_SUFFIX) and not name.startswith((".", "flycheck_"))

    def _ignored(self, path: str) -> bool:
        root = next((root for root in self._roots if _lies_in(path, root)), "")
        return not IGNORED_DIRECTORIES.isdisjoint(path[len(root) :].split(os.sep))

    def _is_news(self, path: str) -> bool:
        state = look_at(path)
        if path in self._told and self._told[path] == state:
            return False
        self._told[path] = state
        return True


def _modules_in(directory: str) -> list[str]:
    found = []
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if name not in IGNORED_DIRECTORIES]
        found += [os.path.join(folder, name) for name in files]
    return found


def _watch(roots: list[str], files: list[str], news: _Filter, report: int, leash: _Leash) -> int:
    """The process that watches; returns its exit status."""
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    unblock_signals()
    touch = Touch(files)
    polling = False
    try:
        while not leash.is_set():
            present = [root for root in roots if os.path.isdir(root)]
            try:
                _watch_present(roots, present, news, touch, report, leash, polling)
            except FileNotFoundError:
                continue  # a directory vanished in between
            except BrokenPipeError:
                raise
            except Exception as error:  # the library's errors have no common base
                if polling:
                    raise
                polling = True
                _tell(report, problem=f"{error}. {_POLLING}")
    except BrokenPipeError:
        pass  # the supervisor is gone
    return 0


_POLLING = (
    "Files are looked at in turn instead, which is slow; "
    "the limits are fs.inotify.max_user_watches and max_user_instances"
)


def _watch_present(
    roots: list[str],
    present: list[str],
    news: _Filter,
    touch: Touch,
    report: int,
    leash: _Leash,
    polling: bool,
) -> None:
    """Watch until the leash says so, or until another set of the directories exists."""
    from watchfiles import watch

    batches = watch(
        *present,
        watch_filter=None,
        debounce=_LONGEST_BATCH_MILLISECONDS,
        step=_STEP_MILLISECONDS,
        rust_timeout=_LOOK_MILLISECONDS,
        yield_on_timeout=True,
        stop_event=leash,
        raise_interrupt=False,
        force_polling=True if polling else None,
        ignore_permission_denied=True,
    )

    def begun() -> None:
        _tell(report, watching=present)
        late = news.saved_meanwhile(present)
        if late:
            _tell(report, changed=late)

    leash.first_step = begun
    for batch in batches:
        changed = news.news(path for _, path in batch) + touch.changed()
        if changed:
            _tell(report, changed=changed)
        now = [root for root in roots if os.path.isdir(root)]
        if now != present:
            appeared = news.news(root for root in now if root not in present)
            if appeared:
                _tell(report, changed=appeared)
            return


def _tell(report: int, **message: object) -> None:
    data = (json.dumps(message) + "\n").encode()
    while data:
        data = data[os.write(report, data) :]
