"""Large bodies, in both directions, and a stream of small chunks."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence

from benchmarks.builds import Build
from benchmarks.load import Transfer
from benchmarks.measure import Row, Sample, Stage, in_turns, sample, serving
from benchmarks.peers import Others, Peer, gateways
from benchmarks.served.apps import MEGABYTE, SMALL_CHUNK
from benchmarks.tables import Section, ratio

FILE_BYTES = 100 * MEGABYTE
_CHUNKS = 10_000
_SECONDS = 0.5  # of repetitions, in each round
_UPLOAD = (MEGABYTE, 100 * MEGABYTE)

TRANSFERS = {
    "whole-1": ("download 1 MB, one piece", Transfer("whole", MEGABYTE, MEGABYTE)),
    "pieces-100": ("download 100 MB, pieces of 64 KiB", Transfer("pieces", FILE_BYTES, FILE_BYTES)),
    "file-100": ("download 100 MB, wsgi.file_wrapper", Transfer("file", FILE_BYTES, FILE_BYTES)),
    "upload-1": ("upload 1 MB", Transfer("upload", MEGABYTE, 0)),
    "upload-100": ("upload 100 MB", Transfer("upload", 100 * MEGABYTE, 0)),
    "chunks": (
        "stream of 10,000 chunks of 100 bytes",
        Transfer("chunks", _CHUNKS, _CHUNKS * len(SMALL_CHUNK)),
    ),
}


@dataclasses.dataclass
class _BodyRow(Row):
    """One server with one kind of body."""

    kind: str = ""

    @property
    def name(self) -> str:
        return f"{self.peer.name} {self.kind}"


def measure(
    builds: Sequence[Build],
    others: Others,
    stage: Stage,
    rounds: int,
    progress: Callable[[str], None],
) -> Section:
    """GB per CPU second of the server; for the chunks, CPU µs for each."""
    peers = [gateways(build, each) for build in builds for each in ("fcgi", "uwsgi", "http")]
    peers += [others.uwsgi(each) for each in ("fcgi", "uwsgi", "http")]
    peers += [others.gunicorn("http"), others.waitress(), others.granian(), others.flup()]
    rows = [_BodyRow(peer, _connection(peer), kind=kind) for kind in TRANSFERS for peer in peers]

    def take(row: Row) -> Sample:
        assert isinstance(row, _BodyRow)
        transfer, url = TRANSFERS[row.kind][1], stage.url(row.peer, row.connection)
        with serving(row.peer, stage, row.connection, app="bodies") as pid:
            transfer.run(url, 0)  # warm
            return sample(pid, lambda: transfer.run(url, _SECONDS))

    in_turns(list(rows), rounds, take, progress)
    header = ["what", "server", "protocol", "GB/CPU s", "CPU µs/chunk", "CPU / uWSGI"]
    section = Section("Bodies", header, left=3)
    section.figures = {row.name: row.cost for row in rows if row.cost}
    for row in rows:
        cells = [TRANSFERS[row.kind][0], row.peer.title, row.peer.protocol]
        if row.cost is None:
            section.rows.append([*cells, "-"])
            section.notes.append(f"{row.name}: {row.problem}")
            continue
        uwsgi = section.figures.get(f"uWSGI {row.peer.protocol} {row.kind}")
        section.rows.append([*cells, *_figures(row), ratio(row.cost, uwsgi)])
    return section


def _figures(row: _BodyRow) -> tuple[str, str]:
    microseconds = statistics.median(each.cost for each in row.samples)
    count = TRANSFERS[row.kind][1].count
    if row.kind == "chunks":
        return "", f"{microseconds / count:.2f}"
    return f"{count / microseconds / 1000:.2f}", ""


def _connection(peer: Peer) -> str:
    """Kept, where nginx can and the server does not mind."""
    return "kept" if peer.protocol == "http" or peer.key == "flup" else "new"
