"""Serve an application of ``apps`` with flup: ``python flup_server.py SOCKET NAME``."""

from __future__ import annotations

import importlib
import sys

from flup.server.fcgi import WSGIServer

# flup counts a thread as idle until it has picked up its connection. When more connections arrive
# at once than it has threads, some are queued with nobody to serve them, and a kept one waits for
# ever. By default that is so from six on; with these it is not for the load of the benchmark.
MIN_SPARE_THREADS = 32
MAX_SPARE_THREADS = 64

if __name__ == "__main__":
    # umask 0: the worker of nginx runs as another user and has to connect.
    server = WSGIServer(
        getattr(importlib.import_module("apps"), sys.argv[2]),
        bindAddress=sys.argv[1],
        umask=0,
        minSpare=MIN_SPARE_THREADS,
        maxSpare=MAX_SPARE_THREADS,
    )
    server.run()
