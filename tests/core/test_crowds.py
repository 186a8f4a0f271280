"""More connections than anybody should open, and what a server does when it may not open more."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.serving import DEADLINE, POLLERS, LogLines, Peer, eventually, serving
from tests.protocols.vectors import request

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


SERVE_HELLO = """
import os
if os.environ["THREADS"] == "greenlets":
    from gevent import monkey
    monkey.patch_all()
import socket, sys
from gateways.config import Config
from gateways.core.listener import unix_listener
from gateways.core.server import Server
from gateways.process.single import SingleProcess

def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]

config = Config(idle_timeout_seconds=0)
SingleProcess(Server(hello, [unix_listener(sys.argv[1], 1024)], config)).run()
"""


def cpu_of(pid: int) -> int:
    """CPU time of all threads of a process so far, in nanoseconds."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in threads)


@contextlib.contextmanager
def active_connection(path: str, threads: str) -> Iterator[tuple[int, Callable[[], int]]]:
    """Start a server on ``path`` and open a connection. Gives the server's process id, and what
    says how much CPU of it 100 requests on that connection cost, in nanoseconds."""
    environment = {**os.environ, "THREADS": threads}
    server = subprocess.Popen([sys.executable, "-c", SERVE_HELLO, path], env=environment)
    try:
        sock = socket.socket(socket.AF_UNIX)
        eventually(lambda: sock.connect_ex(path) == 0)
        with Peer(sock) as peer:
            numbers = itertools.count(1)

            def cost() -> int:
                del peer.received[:]  # what is read is parsed anew for each reply
                peer._complete = 0
                before = cpu_of(server.pid)
                for number in itertools.islice(numbers, 100):
                    peer.send(request(1, GET))
                    peer.replies(number)
                return cpu_of(server.pid) - before

            yield server.pid, cost
    finally:
        server.terminate()
        assert server.wait(DEADLINE) == 0


@pytest.mark.parametrize("threads", ["threads", "greenlets"])
def test_ten_thousand_idle_kept_connections_cost_an_active_one_nothing(
    tmp_path: Path, threads: str
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_500:
        pytest.fail("the limit of open files is below the 10,500 that this needs: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowded = str(tmp_path / "crowded.sock")
    try:
        with (
            active_connection(str(tmp_path / "alone.sock"), threads) as (_, cost_alone),
            active_connection(crowded, threads) as (pid, cost_crowded),
            contextlib.ExitStack() as stack,
        ):
            once = request(1, GET)
            for _ in range(10_000):
                sock = socket.socket(socket.AF_UNIX)
                stack.callback(sock.close)
                sock.connect(crowded)
                sock.sendall(once)
                assert b"hello" in sock.recv(65536)
            pairs = [(cost_alone(), cost_crowded()) for _ in range(60)]
            assert len(os.listdir(f"/proc/{pid}/fd")) > 10_000  # none of them was closed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # In turns, and the cheapest of each: a machine that is slow for seconds is slow for both.
    # To compare one field of each idle connection makes it four times as much in pure Python.
    alone, among_many = map(min, zip(*pairs, strict=True))
    assert among_many < 2 * alone


@pytest.mark.parametrize("poller", POLLERS)
def test_connections_beyond_the_limit_wait_for_their_turn(tmp_path: Path, poller: str) -> None:
    with (
        LogLines() as log,
        serving(hello, tmp_path, poller=poller, threads=1, max_connections=3) as served,
    ):
        peers = [served.connect() for _ in range(10)]
        eventually(lambda: served.connections() == 3)  # plus less than the number of threads
        peers[9].send(request(1, GET))
        for peer in peers[:9]:
            peer.sock.close()
        assert peers[9].reply().stdout.endswith(b"hello")
        peers[9].sock.close()
    assert sum("--max-connections" in text for text in log.texts(30)) >= 1


@pytest.mark.parametrize("poller", ["epoll", "poll"])
def test_without_descriptors_it_waits_and_goes_on(tmp_path: Path, poller: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with LogLines() as log, serving(hello, tmp_path, poller=poller) as served:
        with served.connect() as kept:
            kept.send(request(1, GET))
            kept.replies(1)
            waiting = served.connect()  # its descriptor here is open before the limit falls
            eventually(lambda: served.connections() == 2)
            others = [socket.socket(socket.AF_UNIX) for _ in range(5)]
            held = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest_descriptor() + 1, hard))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        held.append(os.dup(0))
                before = time.process_time()
                for sock in others:
                    sock.connect(served.address)
                    sock.sendall(request(1, GET))
                eventually(lambda: any("ulimit -n" in text for text in log.texts(30)))
                for number in range(2, 100):  # it goes on with those that it has
                    kept.send(request(1, GET))
                    kept.replies(number)
                assert time.process_time() - before < 5  # no spinning on accept
            finally:
                for fd in held:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for sock in others:
                sock.settimeout(DEADLINE)
                assert b"hello" in sock.recv(65536)
                sock.close()
            waiting.sock.close()


def highest_descriptor() -> int:
    """The highest open descriptor of this process."""
    return max(int(name) for name in os.listdir("/proc/self/fd"))
