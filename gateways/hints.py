"""What somebody may have meant who has misspelt a name."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Up to ``count`` of the ``known`` names that are like ``name``, the nearest first."""
    try:
        import difflib  # for mistakes alone: a process that serves should not hold it
    except ImportError:  # the user that the process has become may not read Python's own files
        return []
    return difflib.get_close_matches(name, list(known), count, cutoff)
