"""What a thread is doing, in its slot: two stores for each request."""

from __future__ import annotations

from gateways.core import slot


class Recorder:
    """Writes the slots of one process; its threads are numbered from 0, as ``offsets`` are.

    ``view`` must not be released as long as there may be requests.
    """

    def __init__(self, view: memoryview, offsets: list[int]) -> None:
        self._view = view
        self._offsets = offsets
        self._requests = [0] * len(offsets)

    def begin(self, thread: int, variables: dict[str, str], now: float) -> None:
        """The thread with this number begins a request; ``now`` may be the coarse clock's."""
        self._requests[thread] = requests = self._requests[thread] + 1
        slot.fill_slot(
            self._view,
            self._offsets[thread],
            now,
            requests,
            variables.get("REQUEST_METHOD", ""),
            variables.get("REMOTE_ADDR", ""),
            variables.get("SCRIPT_NAME", ""),
            variables.get("PATH_INFO", ""),
        )

    def end(self, thread: int) -> None:
        """It has ended; what it was stays to be seen."""
        slot.clear_slot(self._view, self._offsets[thread])
