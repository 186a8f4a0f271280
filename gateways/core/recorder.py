"""What a thread is doing, in its slot: two stores for each request."""

from __future__ import annotations

from gateways.core import slot

_METHOD, _CLIENT = 16, 48


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
        method = variables.get("REQUEST_METHOD", "")
        client = variables.get("REMOTE_ADDR", "")
        if len(method) > _METHOD or len(client) > _CLIENT:  # it must not hide the path
            method, client = method[:_METHOD], client[:_CLIENT]
        path = variables.get("PATH_INFO", "")
        text = f"{method}\0{client}\0{variables.get('SCRIPT_NAME', '')}{path}"
        if len(text) > slot.TEXT_BYTES:
            text = text[: slot.TEXT_BYTES]
        try:
            raw = text.encode("latin-1")
        except UnicodeEncodeError:  # then it does not come from the wire
            raw = text.encode("latin-1", "replace")
        slot.fill_slot(self._view, self._offsets[thread], now, requests, raw)

    def end(self, thread: int) -> None:
        """It has ended; what it was stays to be seen."""
        slot.clear_slot(self._view, self._offsets[thread])
