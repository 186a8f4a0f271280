"""What an application opens at import is named before it is forked, and what is harmless is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.harness import DEADLINE_SECONDS

# Imports ``application`` as a template process does, and prints what is found.
TEMPLATE = """
import os, sys
from gateways.process.forksafety import ForkSafety, prepare_fork
from gateways.wsgi.loading import load_application

sys.path.insert(0, os.getcwd())
with ForkSafety() as safety:
    load_application("application")
print(safety.report(), flush=True)
if "fork" in sys.argv:
    prepare_fork()
    namespace = {"__name__": "gateways.process.forking"}
    exec("import os; pid = os.fork()", namespace)
os._exit(0)
"""

APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [])
    return []
"""


def report(folder: Path, source: str, *arguments: str) -> str:
    """What is said of an application whose first lines are ``source``."""
    (folder / "application.py").write_text(source.strip("\n") + "\n" + APPLICATION)
    done = subprocess.run(
        [sys.executable, "-W", "default::DeprecationWarning", "-c", TEMPLATE, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


# Each with the words that the report holds, and the lines of the application that it names.
FOUND = {
    "a listening socket": (
        "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0)); s.listen()",
        "a listening socket (127.0.0.1:",
        [2],
    ),
    "a connection": (
        "import socket\nl = socket.create_server(('127.0.0.1', 0))\n"
        "c = socket.create_connection(l.getsockname())",
        "a connected socket (127.0.0.1:",
        [2, 3],
    ),
    "a detached socket": (
        "import socket\nfd = socket.socket().detach()",
        "neither listens nor is connected",
        [2],
    ),
    "a socket of C": (
        "import _socket\ns = _socket.socket()",
        "opened by an extension module",
        [],
    ),
    "a loop": (
        "import asyncio\n\nloop = asyncio.new_event_loop()",
        "2 times: a connected socket",
        [3],
    ),
    "a waiting thread": (
        "import threading\nevent = threading.Event()\n"
        "t = threading.Thread(target=event.wait, name='waiter', daemon=True)\nt.start()",
        "the thread 'waiter'",
        [4],
    ),
    "a thread of C": (
        "import _thread, threading\ngo = threading.Event()\n_thread.start_new_thread(go.wait, ())",
        "1 thread of an extension module",
        [],
    ),
    "a pool that was used": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\n"
        "pool.submit(int).result()",
        "the thread 'ThreadPoolExecutor-0_0'",
        [3],
    ),
    "a queue that was fed": (
        "import multiprocessing\nq = multiprocessing.Queue()\nq.put(1)",
        "the thread 'QueueFeederThread'",
        [3],
    ),
    "a log listener": (
        "import logging.handlers, queue\n"
        "l = logging.handlers.QueueListener(queue.Queue())\nl.start()",
        "_monitor",
        [3],
    ),
    "a held lock": (
        "import threading\nlock = threading.Lock()\n\nlock.acquire()",
        "a lock that is held, created at",
        [2, 4],
    ),
    "a held RLock": (
        "import threading\nlock = threading.RLock()\n\nlock.acquire()",
        "a lock that is held, created at",
        [2, 4],
    ),
    "a lock of the library": (
        "import logging\nlogging._lock.acquire()",
        "a lock that is held, created at",
        [1, 2],
    ),
}


@pytest.mark.parametrize(("source", "words", "lines"), FOUND.values(), ids=FOUND)
def test_it_is_found_and_its_line_named(
    tmp_path: Path, source: str, words: str, lines: list[int]
) -> None:
    text = report(tmp_path, source)
    if sys.version_info >= (3, 13) and source.count("threading.Lock()"):
        # There the type itself is called, which the profile hook does not see.
        words, lines = "a lock that is held, acquired at", lines[1:]
    assert words in text
    head, *found, remedy = text.splitlines()
    assert "--preload" in head
    assert "post_fork" in remedy
    file = os.path.join(tmp_path, "application.py")
    places = [part.rstrip(",:") for part in text.split() if part.startswith(file)]
    assert places == [f"{file}:{line}" for line in lines]
    assert len(found) == max(1, len(lines) if "lock" not in words else 1)


HARMLESS = {
    "nothing": "",
    "a closed socket": "import socket\nsocket.socket().close()",
    "a thread that has ended": "import threading\nt = threading.Thread()\nt.start(); t.join()",
    "a database file": "import sqlite3\ndb = sqlite3.connect('x.sqlite')",
    "an unfed queue": "import multiprocessing\nq = multiprocessing.Queue()",
    "an unused pool": "from concurrent.futures import ThreadPoolExecutor as P\npool = P(1)",
    "a thousand free locks": "import threading\nlocks = [threading.Lock() for _ in range(1000)]",
    "a lock that was used": "import threading\nl = threading.Lock()\nwith l: pass",
    "Flask": "import flask\napp = flask.Flask('x')",
}


@pytest.mark.parametrize("source", HARMLESS.values(), ids=HARMLESS)
def test_nothing_is_said_of_what_is_harmless(tmp_path: Path, source: str) -> None:
    assert report(tmp_path, source) == ""


def test_a_package_is_named_where_it_opened_the_socket(tmp_path: Path) -> None:
    (tmp_path / "database.py").write_text(
        "import socket\n\ndef connect():\n    return socket.socket()\n"
    )
    text = report(tmp_path, "import database\nc = database.connect()")
    assert f"{tmp_path}/database.py:4" in text


def test_what_the_application_sees_is_not_replaced(tmp_path: Path) -> None:
    source = """
import socket, threading
before = socket.socket.__init__, threading.Thread.start, threading.Lock
assert [part.__module__ for part in before] == ["socket", "threading", "_thread"]
def start(self, start=threading.Thread.start): start(self)
threading.Thread.start = start
thread = threading.Thread()
thread.start(); thread.join()
"""
    assert report(tmp_path, source) == ""


def test_python_does_not_warn_of_threads_once_more_at_the_fork(tmp_path: Path) -> None:
    text = report(tmp_path, FOUND["a waiting thread"][0], "fork")
    assert "the thread 'waiter'" in text
