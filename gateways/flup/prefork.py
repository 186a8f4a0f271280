"""The keywords of flup's prefork servers, as options of ours.

One request at a time runs in each worker, as the applications of these servers are used to.
"""

from __future__ import annotations

from typing import Any

_MOST_WORKERS = 9999
# What flup drops without a word.
_DROPPED = ("multithreaded", "multiprocess", "jobClass", "jobArgs")


def fork_options(timeout: float | None, kw: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a forking server as those of one with ``workers``.

    ``minSpare`` workers are there at least and ``maxChildren`` at most; how many there are between
    is decided by how busy they are, so ``maxSpare`` is only checked. ``maxRequests`` has a worker
    replaced. ``timeout`` ends a request, and ``sockTimeout`` a connection on which nothing moves.
    """
    options = {name: value for name, value in kw.items() if name not in _DROPPED}
    least = options.pop("minSpare", 1)
    spare = options.pop("maxSpare", 5)
    most = max(options.pop("maxChildren", 50), spare)
    requests = options.pop("maxRequests", 0)
    patience = options.pop("sockTimeout", 0)
    if least < 1:
        raise ValueError("minSpare must be at least 1")
    if spare < least:
        raise ValueError("maxSpare must not be less than minSpare")
    if type(patience) not in (int, float) or patience < 0:
        raise ValueError("sockTimeout must be a number of seconds, 0 or more")
    ours: dict[str, Any] = {"workers": f"{least}:{min(most, _MOST_WORKERS)}"}
    if requests:
        ours["max_requests"] = int(requests)
    if timeout:
        ours |= {"timeout_seconds": float(timeout), "timeout_streaming": True}
    if patience:
        waits = ("body_timeout_seconds", "write_timeout_seconds", "idle_timeout_seconds")
        ours |= dict.fromkeys(waits, float(patience))
    return {**ours, **options, "multithreaded": False, "multiprocess": True}
