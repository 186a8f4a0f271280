"""Idle kept connections: the memory that each needs, and what they do to an active one."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Callable, Iterator, Sequence

from benchmarks.builds import Build
from benchmarks.cpu import tree_bytes
from benchmarks.load import run_wrk
from benchmarks.measure import Stage, sample, serving, warm_up
from benchmarks.peers import Others, Peer, gateways
from benchmarks.processes import BenchmarkError, connect_unix
from benchmarks.request import ends_fcgi_response, fcgi_request, http_request
from benchmarks.served.apps import TRIVIAL_BODY
from benchmarks.tables import Section, ratio

_COUNTS = (1_000, 10_000)
_SPARE_DESCRIPTORS = 200
_RECEIVE_SECONDS = 10


def measure(
    builds: Sequence[Build],
    others: Others,
    stage: Stage,
    seconds: int,
    progress: Callable[[str], None],
) -> Section:
    """One row for each server and number of connections."""
    header = ["server", "protocol", "idle", "KiB each", "CPU µs/request", "with none", "ratio"]
    section = Section("Idle kept connections", header)
    peers = [gateways(build, each) for build in builds for each in ("fcgi", "http")]
    for peer in [*peers, others.granian()]:
        for count in _COUNTS:
            progress(f"{count} idle connections: {peer.name}")
            cells = [peer.title, peer.protocol, f"{count:,}"]
            try:
                kib, active, alone = _measure(peer, count, stage, seconds)
            except BenchmarkError as error:
                section.rows.append([*cells, "-"])
                section.notes.append(f"{peer.name}, {count}: {error}")
                continue
            figures = [f"{kib:.1f}", f"{active:.1f}", f"{alone:.1f}", ratio(active, alone)]
            section.rows.append([*cells, *figures])
            section.figures[f"{peer.name} idle-{count}"] = kib
    return section


def _measure(peer: Peer, count: int, stage: Stage, seconds: int) -> tuple[float, float, float]:
    """KiB of each connection, and the µs per request of active ones with and without them."""
    url = stage.url(peer, "kept")

    def cost(pid: int) -> float:
        return sample(pid, lambda: run_wrk(url, seconds, stage.connections)).cost

    with serving(peer, stage, "kept") as pid:
        warm_up(url)
        alone = cost(pid)
        before = tree_bytes(pid)
        with _idle_connections(peer, count, stage):
            each = (tree_bytes(pid) - before) / count / 1024
            return each, cost(pid), alone


@contextlib.contextmanager
def _idle_connections(peer: Peer, count: int, stage: Stage) -> Iterator[None]:
    """So many, each after one request that was answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _SPARE_DESCRIPTORS
    if soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise BenchmarkError(f"only {hard} descriptors may be open")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    fcgi = peer.protocol == "fcgi"
    request = fcgi_request() if fcgi else http_request()
    ends = ends_fcgi_response if fcgi else _ends_http_response
    with contextlib.ExitStack() as stack:
        try:
            for _ in range(count):
                connection = stack.enter_context(connect_unix(stage.backend))
                connection.settimeout(_RECEIVE_SECONDS)
                connection.sendall(request)
                _receive(connection, ends)
        except OSError as error:
            raise BenchmarkError(f"not all could be opened: {error}") from None
        yield


def _receive(connection: socket.socket, ends: Callable[[bytes], bool]) -> None:
    data = b""
    while not ends(data):
        piece = connection.recv(65536)
        if not piece:
            raise BenchmarkError("a connection that was to be kept was closed")
        data += piece
    if TRIVIAL_BODY not in data:
        raise BenchmarkError(f"a wrong answer: {data[:80]!r}")


def _ends_http_response(data: bytes) -> bool:
    return b"\r\n\r\n" in data and data.endswith(TRIVIAL_BODY)
