"""Hold one row of the benchmark under load for a profiler: docs/profiling.md has the recipes.

python benchmarks/under_load.py 'pure fcgi kept' --beside 'py-spy record --pid {pid} …'
python benchmarks/under_load.py 'compiled fcgi kept' --under 'valgrind --tool=callgrind …'
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import builds  # noqa: E402  # after the path
from benchmarks.cpu import busiest, seconds_by_process  # noqa: E402
from benchmarks.load import run_wrk  # noqa: E402
from benchmarks.measure import Row, Stage, sample, serving, warm_up  # noqa: E402
from benchmarks.nginx import nginx_before  # noqa: E402
from benchmarks.peers import Others, main_rows  # noqa: E402
from benchmarks.processes import BenchmarkError  # noqa: E402


def main() -> int:
    """Run the server, the load and the profiler; 1 where one of them fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("row", help="its name: BUILD[-THREADS] PROTOCOL CONNECTION")
    parser.add_argument("--seconds", type=int, default=15, help="of load (15)")
    parser.add_argument("--connections", type=int, default=8, help="open at the same time (8)")
    parser.add_argument("--under", default="", metavar="COMMAND", help="runs the server")
    parser.add_argument(
        "--beside",
        default="",
        metavar="COMMAND",
        help="runs during the load, with {pid} the process that serves",
    )
    parser.add_argument("--gateways", action="append", type=Path, metavar="VENV")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-bench", metavar="VENV")
    options = parser.parse_args()
    found, remarks = builds.find_builds(options.gateways)
    try:
        with tempfile.TemporaryDirectory(prefix="gateways-profile-") as name:
            directory = Path(name)
            directory.chmod(0o755)  # the worker of nginx runs as another user
            others = Others(options.peers.absolute(), directory)
            rows = [Row(*each) for each in main_rows(found, others, quick=False)]
            named = {row.name: row for row in rows}
            if options.row not in named:
                raise BenchmarkError("\n".join(["there is no such row, but", *named, *remarks]))
            backend = directory / "app.sock"
            with nginx_before(backend, directory, options.connections) as urls:
                stage = Stage(urls, backend, directory, options.connections)
                _hold(named[options.row], stage, options)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _hold(row: Row, stage: Stage, options: argparse.Namespace) -> None:
    url = stage.url(row.peer, row.connection)
    under = shlex.split(options.under)
    with serving(row.peer, stage, row.connection, under=under) as pid, contextlib.ExitStack() as on:
        before = seconds_by_process(pid)
        warm_up(url)
        worker = busiest(pid, before)
        print(f"process {worker} serves {row.name} for {options.seconds} s", flush=True)
        if options.beside:
            command = shlex.split(options.beside.format(pid=worker))
            # A recorder ends by itself, and is waited for.
            on.enter_context(subprocess.Popen(command, cwd=ROOT))
        taken = sample(pid, lambda: run_wrk(url, options.seconds, stage.connections))
    print(f"{taken.cost:.1f} CPU µs/request, {taken.answered.requests} requests")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
