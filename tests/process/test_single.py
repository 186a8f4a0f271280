"""One process without a supervisor: what signals do to it, and to the requests that run in it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.serving import DEADLINE, Peer, eventually
from tests.protocols.vectors import request

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}

APPLICATION = """
import os, threading

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        open(os.environ["STARTED"], "w").close()
        with open(os.environ["FIFO"]) as fifo:  # until the test opens the other end
            fifo.read()
    start_response("200 OK", [])
    return [path.encode()]
"""


class Process:
    """``gateways fcgi`` on a socket of its own, and a request that waits for the test."""

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "application.py").write_text(APPLICATION)
        self.socket = folder / "app.sock"
        self.started = folder / "started"
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo)
        command = [sys.executable, "-m", "gateways", "fcgi", "--bind", str(self.socket)]
        command += ["--workers", "0", "--sigusr1", "stop"]
        self.popen = subprocess.Popen(
            [*command, *options, "--chdir", str(folder), "application"],
            env={**os.environ, "STARTED": str(self.started), "FIFO": str(self.fifo)},
            stderr=subprocess.PIPE,
            text=True,
        )
        eventually(lambda: self.can_connect(), "the server listens")

    def can_connect(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.socket)) == 0

    def connect(self) -> Peer:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.socket))
        sock.settimeout(DEADLINE)
        return Peer(sock)

    def begin_to_wait(self) -> Peer:
        """A connection on which a request runs until ``release``."""
        peer = self.connect()
        peer.send(request(1, {**GET, "PATH_INFO": "/wait"}))
        eventually(self.started.exists, "the request runs")
        return peer

    def release(self) -> None:
        """Let the request finish."""
        with open(self.fifo, "w"):
            pass

    def end(self) -> tuple[int, str]:
        """Wait for the exit: its status and what was logged."""
        _, errors = self.popen.communicate(timeout=DEADLINE)
        return self.popen.returncode, errors


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path)
    yield running
    if running.popen.poll() is None:
        running.popen.kill()
        running.popen.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_running_request_is_finished_before_the_exit(
    process: Process, number: signal.Signals
) -> None:
    with process.begin_to_wait() as peer:
        process.popen.send_signal(number)
        eventually(lambda: not process.can_connect(), "no new connections")
        process.release()
        assert peer.reply().body == b"/wait"
    status, errors = process.end()
    assert status == 0
    assert "Traceback" not in errors
    assert not process.socket.exists()


def test_an_idle_kept_connection_is_not_waited_for(process: Process) -> None:
    with process.connect() as peer:
        peer.send(request(1, GET))
        assert peer.reply().body == b"/"
        process.popen.terminate()
        assert peer.is_closed()
        assert process.end()[0] == 0


def test_a_connection_in_the_backlog_is_still_served(process: Process) -> None:
    with process.begin_to_wait() as first:
        process.popen.send_signal(signal.SIGSTOP)
        with process.connect() as second:
            second.send(request(1, GET, keep=False))
            process.popen.send_signal(signal.SIGTERM)
            process.popen.send_signal(signal.SIGCONT)
            process.release()
            assert second.reply().body == b"/"
        assert first.reply().body == b"/wait"
    assert process.end()[0] == 0


def test_what_an_application_does_after_its_response_is_waited_for(tmp_path: Path) -> None:
    fifo, done = tmp_path / "fifo", tmp_path / "done"
    os.mkfifo(fifo)
    (tmp_path / "after.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    yield b'ok'\n"
        f"    open({str(fifo)!r}).read()\n"
        f"    open({str(done)!r}, 'w').close()\n"
    )
    path = tmp_path / "app.sock"
    command = [sys.executable, "-m", "gateways", "fcgi", "-w", "0", "--bind", str(path)]
    with subprocess.Popen([*command, "--chdir", str(tmp_path), "after"]) as popen:
        sock = socket.socket(socket.AF_UNIX)
        eventually(lambda: sock.connect_ex(str(path)) == 0)
        with Peer(sock) as peer:
            peer.send(request(1, GET, keep=False))
            assert peer.reply().body == b"ok"
            assert peer.is_closed()
        popen.terminate()
        eventually(lambda: not path.exists(), "it is stopping")
        with open(fifo, "w"):
            pass
        assert popen.wait(DEADLINE) == 0
    assert done.exists()


def test_a_request_that_has_arrived_is_served_though_all_threads_are_busy(tmp_path: Path) -> None:
    process = Process(tmp_path, "--threads", "1")
    with process.connect() as kept:
        kept.send(request(1, GET))
        kept.replies(1)
        with process.begin_to_wait() as busy:
            kept.send(request(1, GET))
            process.popen.terminate()
            eventually(lambda: not process.can_connect())
            process.release()
            assert busy.reply().body == b"/wait"
            assert kept.replies(2)[1].body == b"/"
    assert process.end()[0] == 0


def test_a_second_signal_stops_at_once(process: Process) -> None:
    with process.begin_to_wait() as peer:
        process.popen.terminate()
        eventually(lambda: not process.can_connect())
        process.popen.terminate()
        assert peer.is_closed()
        status, errors = process.end()
    assert status == 0
    assert "still running when the process was told to stop at once: GET '/wait'" in errors


def test_the_graceful_timeout_bounds_the_stop(tmp_path: Path) -> None:
    process = Process(tmp_path, "--graceful-timeout", "0.2")
    with process.begin_to_wait() as peer:
        process.popen.terminate()
        assert peer.is_closed()
        assert process.end()[0] == 0


def test_a_long_response_is_sent_whole_before_the_exit(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [bytes(10_000_000)]\n"
    )
    path = tmp_path / "app.sock"
    command = [sys.executable, "-m", "gateways", "fcgi", "-w", "0", "--bind", str(path)]
    with subprocess.Popen([*command, "--chdir", str(tmp_path), "large"]) as popen:
        eventually(path.exists)
        sock = socket.socket(socket.AF_UNIX)
        eventually(lambda: sock.connect_ex(str(path)) == 0)
        sock.settimeout(DEADLINE)
        with Peer(sock) as peer:
            peer.send(request(1, GET))
            peer.received += sock.recv(100)
            popen.terminate()
            assert len(peer.reply().body) == 10_000_000
        assert popen.wait(DEADLINE) == 0
