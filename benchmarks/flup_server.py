"""Serve the trivial application with flup: ``python benchmarks/flup_server.py SOCKET``."""

from __future__ import annotations

import sys
from pathlib import Path

from flup.server.fcgi import WSGIServer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.apps import trivial

# flup counts a thread as idle until it has picked up its connection. When more connections arrive
# at once than it has threads, some are queued with nobody to serve them, and a kept one waits for
# ever. By default that is so from six on; with these it is not for the load of the benchmark.
MIN_SPARE_THREADS = 32
MAX_SPARE_THREADS = 64

if __name__ == "__main__":
    # umask 0: the worker of nginx runs as another user and has to connect.
    server = WSGIServer(
        trivial,
        bindAddress=sys.argv[1],
        umask=0,
        minSpare=MIN_SPARE_THREADS,
        maxSpare=MAX_SPARE_THREADS,
    )
    server.run()
