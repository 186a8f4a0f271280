"""What a supervisor tells of itself and its workers (``gateways status``)."""

from __future__ import annotations

import os
import time
from typing import Any

from gateways.process.fleet import Fleet
from gateways.process.member import Plan, Worker
from gateways.version import __version__


def describe_fleet(fleet: Fleet, plan: Plan) -> dict[str, Any]:
    """The state of everything, of what JSON can hold; times are in seconds, sizes in bytes."""
    now = time.monotonic()
    return {
        "pid": os.getpid(),
        "version": __version__,
        "application": plan.applications,
        "listening": [str(listener) for listener in plan.listeners],
        "generation": fleet.generation.number if fleet.generation is not None else 0,
        "workers": [_describe(worker, now) for worker in fleet.workers()],
    }


def _describe(worker: Worker, now: float) -> dict[str, Any]:
    counters = worker.generation.board.counters(worker.row)
    return {
        "worker": worker.number,
        "pid": worker.pid,
        "generation": worker.generation.number,
        "state": worker.state.value,
        "since": round(now - worker.since, 1),
        "requests": worker.generation.board.requests(worker.row),
        "errors": counters.errors,
        "aborted": counters.aborted,
        "sent": counters.sent,
        "cpu": round(counters.cpu_seconds, 2),
        "rss": counters.rss,
        "threads": [
            {
                "busy": slot.busy,
                "since": round(now - slot.since, 3) if slot.since else None,
                "requests": slot.requests,
                "method": slot.method,
                "path": slot.path,
                "client": slot.client,
            }
            for slot in worker.slots()
        ],
    }
