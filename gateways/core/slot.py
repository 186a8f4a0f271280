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
_TEXTS = 232
_METHOD, _CLIENT = 16, 48  # of these at most: they must not hide the path


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


def fill_slot(
    view: memoryview,
    at: int,
    since: float,
    requests: int,
    method: str,
    client: str,
    script_name: str,
    path_info: str,
) -> None:
    """Say that the thread is busy, and with what; characters beyond latin-1 become question marks.

    What is too long is cut off.
    """
    texts = f"{method[:_METHOD]}\0{client[:_CLIENT]}\0{script_name}{path_info}"
    raw = texts[:_TEXTS].encode("latin-1", "replace")
    _SLOT.pack_into(view, at, BUSY, since, requests, raw)


def clear_slot(view: memoryview, at: int) -> None:
    """Say that it is not."""
    view[at] = IDLE
