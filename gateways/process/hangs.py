"""Workers that hang as a whole: C code that keeps the GIL lets no other thread of them run.

Then their own main thread cannot see to --timeout, so the supervisor does, by the scoreboard: a
request that is overdue in a worker whose main thread has not had its turn for as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateways.process.member import Worker

LOOK_SECONDS = 1.0


def find_hanging(workers: Iterable[Worker], now: float) -> Iterator[tuple[Worker, str]]:
    """Those among ``workers``, and why; only where their generation has a time-out."""
    for worker in workers:
        config = worker.generation.config
        if not config.timeout_seconds or worker.hangs:
            continue
        then = now - config.timeout_seconds - config.timeout_grace_seconds
        if worker.generation.board.beat(worker.row) >= then:
            continue
        overdue = [slot for slot in worker.slots() if slot.busy and slot.since < then]
        if overdue:
            first = min(overdue, key=lambda slot: slot.since)
            yield (
                worker,
                f"timed out: {first.describe(now)} keeps the whole process from running, as C code "
                "does that does not let go of the GIL (a regular expression, for example)",
            )
