"""What a file is like, as far as a change of it shows."""

from __future__ import annotations

import os

State = tuple[int, int, int]


def look_at(path: str) -> State | None:
    """Compare it with what it was before; None if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
