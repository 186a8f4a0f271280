"""What a server takes besides its requests: memory of a worker, and its start."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.builds import Build
from benchmarks.cpu import busiest, resident_bytes, seconds_by_process, tree_bytes
from benchmarks.load import run_wrk
from benchmarks.measure import Stage, serving
from benchmarks.peers import Others, Peer, gateways
from benchmarks.processes import BenchmarkError
from benchmarks.tables import Section

_REQUESTS = 10_000
_MIB = 1024 * 1024


def measure(
    builds: Sequence[Build],
    others: Others,
    stage: Stage,
    rounds: int,
    progress: Callable[[str], None],
) -> Section:
    """RSS of the process that serves, after 10,000 requests, and the start until an answer."""
    header = ["server", "protocol", "RSS, MiB", "of all processes", "start, ms", "start, CPU ms"]
    section = Section("Memory after 10,000 requests, and start-up", header)
    peers = [gateways(build, each) for build in builds for each in ("fcgi", "http")]
    peers += [gateways(build, "http", 4) for build in builds]
    peers += [others.uwsgi("fcgi"), others.gunicorn("http"), others.gunicorn("http", 4)]
    peers += [others.waitress(), others.granian(), others.flup()]
    samples: dict[str, list[tuple[float, ...]]] = {peer.name: [] for peer in peers}
    problems: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for peer in peers:
            if peer.name in problems:
                continue
            progress(f"memory and start, round {number} of {rounds}: {peer.name}")
            try:
                samples[peer.name].append(_measure(peer, stage))
            except BenchmarkError as error:
                problems[peer.name] = str(error)
    for peer in peers:
        if not samples[peer.name]:
            section.rows.append([peer.title, peer.protocol, "-"])
            continue
        columns = [statistics.median(each) for each in zip(*samples[peer.name], strict=True)]
        section.rows.append([peer.title, peer.protocol, *(f"{each:.1f}" for each in columns)])
        section.figures[f"{peer.name} rss"] = columns[0]
        section.figures[f"{peer.name} start"] = columns[2]
    section.notes = [f"{name}: {problem}" for name, problem in problems.items()]
    return section


def _measure(peer: Peer, stage: Stage) -> tuple[float, ...]:
    """RSS of the worker and of all, in MiB; milliseconds and CPU milliseconds of the start."""
    connection = "kept" if peer.protocol == "http" else "new"
    began = time.monotonic()
    with serving(peer, stage, connection) as pid:
        start, before = time.monotonic() - began, seconds_by_process(pid)
        start_cpu, done = sum(before.values()), 0
        while done < _REQUESTS:
            done += run_wrk(stage.url(peer, connection), 1, stage.connections).requests
        worker = resident_bytes(busiest(pid, before)) / _MIB
        return worker, tree_bytes(pid) / _MIB, start * 1000, start_cpu * 1000
