"""Load: threads that keep asking, on connections that they keep, and count what went wrong.

A request is wrong unless its answer is complete and is the answer to this very request. Nothing is
tried a second time, so what is lost is seen.
"""

from __future__ import annotations

import collections
import dataclasses
import http.client
import itertools
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from .harness import DEADLINE_SECONDS

_PATIENCE_SECONDS = DEADLINE_SECONDS
_PAUSE_SECONDS = 0.01  # after a failure, so that nothing spins where nobody listens
_KEPT_REQUESTS = 500  # below nginx's keepalive_requests of 1000
_SIZES = (0, 10, 1000, 40_000)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where requests go: a port on this machine; the body is echoed there for a POST."""

    port: int
    name: str


class Load:
    """Threads on several targets between ``__enter__`` and ``__exit__``."""

    def __init__(self, targets: Sequence[Target], threads: int) -> None:
        """``threads`` for each target."""
        self.answered: collections.Counter[str] = collections.Counter()  # by target
        self.seen: collections.Counter[str] = collections.Counter()  # by who answered
        self.failures: list[str] = []
        self.longest = 0.0  # seconds that one request took
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(target, number))
            for target in targets
            for number in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    @property
    def total(self) -> int:
        """Requests that were answered as they should be."""
        return sum(self.answered.values())

    def _run(self, target: Target, number: int) -> None:
        connection = _connection(target)
        answered: collections.Counter[str] = collections.Counter()
        longest = 0.0
        for count in itertools.count():
            if self._ends.is_set():
                break
            if count % _KEPT_REQUESTS == 0:
                connection.close()
            began = time.monotonic()
            try:
                answered[_ask(connection, target, f"{number}-{count}", count)] += 1
            except (OSError, http.client.HTTPException, _Wrong) as error:
                connection.close()
                with self._lock:
                    self.failures.append(f"{target.name}: {type(error).__name__} {error}")
                self._ends.wait(_PAUSE_SECONDS)
            longest = max(longest, time.monotonic() - began)
        connection.close()
        with self._lock:
            self.longest = max(self.longest, longest)
            self.seen += answered
            self.answered[target.name] += answered.total()


class _Wrong(Exception):
    """An answer, but not the right one."""


def _connection(target: Target) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", target.port, timeout=_PATIENCE_SECONDS)


def _ask(connection: http.client.HTTPConnection, target: Target, number: str, count: int) -> str:
    """One GET or POST; returns who has answered it."""
    name = f"{target.name}-{number}"
    body = bytes(_SIZES[count % len(_SIZES)]) if count % 3 == 0 else None
    connection.request("GET" if body is None else "POST", f"/{name}", body)
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise _Wrong(f"{response.status} {text[:100]!r}")
    who, path, echo = text.split(b" ", 2)
    if path.decode() != f"/{name}" or echo != (body or b""):
        raise _Wrong(f"asked for /{name} with {len(body or b'')} bytes, got {text[:100]!r}")
    return who.decode()
