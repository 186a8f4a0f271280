"""What --reload and --reload-on-touch watch, for the loop of the supervisor."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gateways.config import Config
from gateways.process.watch import CodeWatcher, Touch

_LOOK_SECONDS = 1.0


class FileWatch:
    """``directory`` is where the supervisor was started; relative names count from there.

    ``others`` are files beside the code that a reload reads.
    """

    def __init__(self, config: Config, directory: str, others: Sequence[str] = ()) -> None:
        self._directory = directory
        home = os.path.join(directory, config.chdir)
        self._touch = Touch([os.path.join(directory, path) for path in config.reload_on_touch])
        self._touches = bool(config.reload_on_touch)
        self._directories = [home, *(os.path.join(home, path) for path in config.pythonpath)]
        self._files = [os.path.join(directory, path) for path in (*config.env_files, *others)]
        self._wanted = config.reload
        self._watcher: CodeWatcher | None = None
        self._next_look = 0.0

    def start(self) -> None:
        """Begin to watch. Raises ConfigError where that cannot be."""
        if self._wanted:
            self._watcher = CodeWatcher.start(self._directories, self._files)

    def descriptors(self) -> list[int]:
        """Readable when there may be something to ``look`` at."""
        return [] if self._watcher is None else [self._watcher.fileno()]

    def look(self, now: float) -> tuple[str, float | None]:
        """What has changed, "" for nothing, and when to look again, None if never."""
        changed = [] if self._watcher is None else self._watcher.read()
        if self._touches and now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            changed += self._touch.changed()
        what = ""
        if changed:
            others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            what = f"{os.path.relpath(changed[0], self._directory)} was changed{others}"
        return what, self._next_look if self._touches else None

    def forget(self) -> None:
        """In a child: close the descriptors."""
        if self._watcher is not None:
            self._watcher.forget()

    def close(self) -> None:
        """Watch no more."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
