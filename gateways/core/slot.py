"""One slot of shared memory: what a thread is doing, or did last.

Two stores are made with every request; the compiled build has those of the ``.pxd``. The scoreboard
(``gateways.process.scoreboard``) reads them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

IDLE, BUSY = 0, 1

SLOT_BYTES = 256
_SLOT = struct.Struct("@B7xdQ232s")  # state, since, requests, texts
TEXT_BYTES = 232


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


def fill_slot(view: memoryview, at: int, since: float, requests: int, texts: bytes) -> None:
    """Say that the thread is busy, with the method, client and path between NULs in ``texts``."""
    _SLOT.pack_into(view, at, BUSY, since, requests, texts)


def clear_slot(view: memoryview, at: int) -> None:
    """Say that it is not."""
    view[at] = IDLE
