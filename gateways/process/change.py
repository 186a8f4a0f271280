"""One step from workers that serve to others that do; ``fleet.py`` takes it."""

from __future__ import annotations

from collections.abc import Callable

from gateways.process.member import Generation, State, Worker

Done = Callable[[str], None]
"""Told how a change went: "" or, in the form of a FAILED message, what went wrong."""


class Change:
    """Successors for predecessors; ``done`` is told "" or what went wrong."""

    def __init__(self, generation: Generation, count: int, done: Done) -> None:
        self.generation = generation
        self.missing = count  # successors that are not forked yet
        self.successors: list[Worker] = []
        self.predecessors: list[Worker] = []
        self.is_reload = False
        self.done = done

    def is_ready(self) -> bool:
        """Whether the successors can take over."""
        return not self.missing and all(w.state is State.READY for w in self.successors)
