"""What a thread is doing, in a slot of shared memory: two stores for each request.

The layout is the scoreboard's (``gateways.process.scoreboard``), which reads it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

IDLE, BUSY = 0, 1

SLOT_BYTES = 256
_SLOT = struct.Struct("<B7xdQ232s")  # state, since, requests, texts
_TEXT = 232
_METHOD, _CLIENT = 16, 48


class Slot(NamedTuple):
    """What a thread does, or did last."""

    busy: bool
    since: float  # when its request began, by the monotonic clock, to a tick of the server's
    requests: int
    method: str
    path: str
    client: str

    def describe(self, now: float) -> str:
        """``GET /slow (from 192.0.2.1, 12.0 s)``."""
        return f"{self.method} {self.path} (from {self.client or '-'}, {now - self.since:.1f} s)"


def read_slot(view: memoryview, at: int) -> Slot:
    """The slot at this offset."""
    state, since, requests, text = _SLOT.unpack_from(view, at)
    method, client, path = f"{text.decode('latin-1')}\0\0\0".split("\0")[:3]
    return Slot(state == BUSY, since, requests, method, path, client)


class Recorder:
    """Writes the slots of one process; its threads are numbered from 0, as ``offsets`` are."""

    def __init__(self, view: memoryview, offsets: list[int]) -> None:
        self._view = view
        self._offsets = offsets
        self._requests = [0] * len(offsets)
        self._pack_into = _SLOT.pack_into

    def begin(self, thread: int, variables: dict[str, str], now: float) -> None:
        """The thread with this number begins a request; ``now`` may be the coarse clock's."""
        self._requests[thread] = requests = self._requests[thread] + 1
        method = variables.get("REQUEST_METHOD", "")
        client = variables.get("REMOTE_ADDR", "")
        if len(method) > _METHOD or len(client) > _CLIENT:  # it must not hide the path
            method, client = method[:_METHOD], client[:_CLIENT]
        path = variables.get("PATH_INFO", "")
        text = f"{method}\0{client}\0{variables.get('SCRIPT_NAME', '')}{path}"
        if len(text) > _TEXT:
            text = text[:_TEXT]
        try:
            raw = text.encode("latin-1")
        except UnicodeEncodeError:  # then it does not come from the wire
            raw = text.encode("latin-1", "replace")
        self._pack_into(self._view, self._offsets[thread], BUSY, now, requests, raw)

    def end(self, thread: int) -> None:
        """It has ended; what it was stays to be seen."""
        self._view[self._offsets[thread]] = IDLE
