"""Load through nginx: wrk for small requests, a client of our own for one large body at a time.

Both check the status and the body of every response.
"""

from __future__ import annotations

import dataclasses
import http.client
import re
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import BenchmarkError
from benchmarks.request import HEADERS, TARGET
from benchmarks.served.apps import TRIVIAL_BODY

_SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
_RESULT = re.compile(r"^result (.+)$", re.MULTILINE)
_BUFFER_BYTES = 256 * 1024


@dataclasses.dataclass(frozen=True)
class Answered:
    """How many right responses came in how long."""

    requests: int
    seconds: float


def run_wrk(url: str, seconds: int, connections: int) -> Answered:
    """Load ``url`` with wrk; raises BenchmarkError for anything but right responses."""
    program = shutil.which("wrk")
    if program is None:
        raise BenchmarkError("wrk is missing: apt-get install wrk")
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    headers = [f"{name}: {value}" for name, value in HEADERS.items()]
    script = ["--script", str(_SCRIPT), url + TARGET, "--"]
    command = [program, *options, *script, TRIVIAL_BODY.decode("ascii"), *headers]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + 30
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError("wrk did not come to its end") from None
    match = _RESULT.search(result.stdout)
    if match is None:
        raise BenchmarkError(f"wrk failed: {result.stderr.strip() or result.stdout.strip()}")
    counts = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", match[1])}
    requests, microseconds = counts.pop("requests"), counts.pop("microseconds")
    problems = [f"{count} {name}" for name, count in counts.items() if count]
    if problems or not requests:
        raise BenchmarkError(f"of {requests} requests: {', '.join(problems) or 'none answered'}")
    return Answered(requests, microseconds / 1e6)


def ask(connection: http.client.HTTPConnection, target: str = TARGET) -> bytes:
    """One small request; raises BenchmarkError unless it is answered 200."""
    try:
        connection.request("GET", target, headers=HEADERS)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise BenchmarkError(f"{error!r}") from None
    if response.status != 200:
        raise BenchmarkError(f"status {response.status}")
    return body


def connection_to(url: str) -> http.client.HTTPConnection:
    """A connection that may be kept; it is made with the first request."""
    return http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A request that is all body."""

    kind: str  # for apps.bodies
    count: int  # bytes, or chunks
    response_bytes: int  # that must come, all of them x; 0: the response says how many it got

    def run(self, url: str, seconds: float) -> Answered:
        """One after the other for ``seconds``, and at least one."""
        requests = 0
        start = now = time.monotonic()
        connection = connection_to(url)
        try:
            while not requests or now - start < seconds:
                self._run_once(connection)
                requests += 1
                now = time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            raise BenchmarkError(f"{self.kind}: {error!r}") from None
        finally:
            connection.close()
        return Answered(requests, now - start)

    def _run_once(self, connection: http.client.HTTPConnection) -> None:
        target = f"/{self.kind}?{self.count}"
        if self.response_bytes:
            connection.request("GET", target)
        else:
            connection.request("POST", target, body=_Zeros(self.count), headers=_length(self.count))
        response = connection.getresponse()
        if response.status != 200:
            raise BenchmarkError(f"{self.kind}: status {response.status}")
        if self.response_bytes:
            wrong = self.response_bytes - _count_x(response.readinto)
        else:
            wrong = self.count - int(response.read())
        if wrong:
            raise BenchmarkError(f"{self.kind}: {wrong} bytes are missing or wrong")


class _Zeros:
    """A file of so many zero bytes, for http.client."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._piece = bytes(_BUFFER_BYTES)

    def read(self, size: int = -1) -> bytes:
        piece = self._piece[: min(self._left, _BUFFER_BYTES)]
        self._left -= len(piece)
        return piece


def _length(size: int) -> dict[str, str]:
    return {"Content-Length": str(size), "Content-Type": "application/octet-stream"}


def _count_x(read_into: Callable[[memoryview], int]) -> int:
    """How many of the bytes are x; one that is not counts against them."""
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    found = 0
    while size := read_into(view):
        right = buffer.count(b"x", 0, size)
        found += 2 * right - size
    return found
