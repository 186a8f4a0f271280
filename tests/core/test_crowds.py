"""More connections than anybody should open, and what a server does when it may not open more."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
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
    """CPU time of a process so far, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def cpu_of_requests(path: str, pid: int, count: int) -> int:
    """CPU that the server spends on ``count`` requests on one kept connection."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    with Peer(sock) as peer:
        peer.send(request(1, GET))
        peer.replies(1)
        start = cpu_of(pid)
        for number in range(2, count + 2):
            peer.send(request(1, GET))
            peer.replies(number)
            if number % 200 == 0:  # what is read is parsed anew for each reply
                del peer.received[:]
                peer._complete = 0
        return cpu_of(pid) - start


@pytest.mark.parametrize("threads", ["threads", "greenlets"])
def test_ten_thousand_idle_kept_connections_cost_an_active_one_nothing(
    tmp_path: Path, threads: str
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_500:
        pytest.fail("the limit of open files is below the 10,500 that this needs: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    path = str(tmp_path / "app.sock")
    environment = {**os.environ, "THREADS": threads}
    server = subprocess.Popen([sys.executable, "-c", SERVE_HELLO, path], env=environment)
    try:
        eventually(lambda: os.path.exists(path))
        with contextlib.ExitStack() as stack:
            alone = cpu_of_requests(path, server.pid, 10_000)
            once = request(1, GET)
            for _ in range(10_000):
                sock = socket.socket(socket.AF_UNIX)
                stack.callback(sock.close)
                sock.connect(path)
                sock.sendall(once)
                assert b"hello" in sock.recv(65536)
            descriptors = len(os.listdir(f"/proc/{server.pid}/fd"))
            assert descriptors > 10_000
            crowded = cpu_of_requests(path, server.pid, 10_000)
    finally:
        server.terminate()
        assert server.wait(DEADLINE) == 0
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # Work for each idle connection would make this hundreds of times as much.
    assert crowded < 2 * alone + 20


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
