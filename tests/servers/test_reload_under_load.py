"""No request is lost: reloads, replacements and deaths of workers under load through a real nginx.

One server process speaks FastCGI, uwsgi and HTTP on sockets of its own, with one nginx in front of
all of them, on connections that it keeps (FastCGI) and those it opens for every request.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.process.control import ask, control_path

from .frontends import nginx
from .harness import SOON_SECONDS, Server, free_port, room, wait_until
from .load import Load, Target

# How many reloads and deaths there are is what proves something; the time between them is for the
# load to be at its full height again. Where that is too short, they follow upon each other.
SECONDS = float(os.environ.get("LOAD_TEST_SECONDS", "24"))
RELOADS = 20
SHORT_SECONDS = SECONDS / 3

APPLICATION = """
import os, time

VERSION = open("version").read()
SLOW = float(os.environ.get("SLOW_SECONDS", "0.05"))

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.endswith("7"):  # every tenth takes longer than a moment
        time.sleep(SLOW)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{VERSION}-{os.getpid()} {path} ".encode(), body]
"""

KEPT, CLOSED, UWSGI, HTTP = "fcgi-kept", "fcgi-closed", "uwsgi", "http"


class Site:
    """The server and how to reach it through nginx."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.pidfile = str(directory / "pid")
        self.version = 1
        self.write_version()
        (directory / "app.py").write_text(APPLICATION)
        self.sockets = {name: str(directory / f"{name}.sock") for name in ("fcgi", "uwsgi", "http")}
        binds = []
        for name, path in self.sockets.items():
            binds += ["--bind", f"{name}:{path}?mode=666"]
        words = ["-m", "gateways", "serve", *binds, "--pidfile", self.pidfile, *options, "app:app"]
        self.server = Server([sys.executable, *words], directory / "app.log")
        self.targets: list[Target] = []

    @property
    def pid(self) -> int:
        """The supervisor."""
        return self.server.process.pid

    def write_version(self) -> None:
        (self.directory / "version.new").write_text(str(self.version))
        (self.directory / "version.new").rename(self.directory / "version")

    def reload(self) -> None:
        """Serve another version, by the command, to the end of it."""
        self.version += 1
        self.write_version()
        command = [sys.executable, "-m", "gateways", "reload", "--pidfile", self.pidfile]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stderr} {self.server.log}"

    def workers(self) -> list[int]:
        """The process ids of those that serve."""
        workers = ask(control_path(self.pidfile), "status")["workers"]
        return [worker["pid"] for worker in workers if worker["state"] == "serving"]

    def busy(self, pid: int) -> int:
        """How many requests run in a worker."""
        workers = ask(control_path(self.pidfile), "status")["workers"]
        return sum(
            thread["busy"]
            for worker in workers
            if worker["pid"] == pid
            for thread in worker["threads"]
        )


@contextlib.contextmanager
def site(*options: str) -> Iterator[Site]:
    """A server with two workers behind an nginx; SIGTERM ends it with status 0."""
    with room() as directory:
        running = Site(directory, "-w", "2", *options)
        try:
            running.server.wait_until(lambda: "serving app:app on" in running.server.log, "serving")
            with _nginx(running):
                yield running
            assert running.server.stop() == 0, running.server.log
            assert "Traceback" not in running.server.log
        finally:
            running.server.stop(signal.SIGKILL)


@contextlib.contextmanager
def _nginx(running: Site) -> Iterator[None]:
    """One nginx with a server for each protocol; the first of them is contrib/nginx/root.conf."""
    ports = {name: free_port() for name in (KEPT, UWSGI, HTTP)}
    passes = {
        KEPT: "include fastcgi_params; fastcgi_param PATH_INFO $fastcgi_script_name; "
        'fastcgi_param SCRIPT_NAME ""; fastcgi_keep_conn on; fastcgi_pass kept;',
        UWSGI: f"include uwsgi_params; uwsgi_pass unix:{running.sockets['uwsgi']};",
        HTTP: 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://http;',
    }
    servers = [
        f"server {{ listen 127.0.0.1:{ports[name]}; location / {{ {how} }} }}"
        for name, how in passes.items()
    ]
    upstreams = [
        f"upstream {name} {{ server unix:{running.sockets[protocol]}; keepalive 16; }}"
        for name, protocol in (("kept", "fcgi"), ("http", "http"))
    ]
    options = "\n".join([*upstreams, *servers])
    backend = f"unix:{running.sockets['fcgi']}"
    with nginx(running.directory, "root.conf", options=options, BACKEND=backend) as front:
        ports[CLOSED] = front.port
        running.targets = [Target(port, name) for name, port in sorted(ports.items())]
        for target in running.targets:
            running.server.wait_until_accepting(("127.0.0.1", target.port))
        yield


def report(load: Load, what: str) -> None:
    """For people who look at the test's output."""
    print(f"{what}: {dict(load.answered)}, longest {load.longest:.2f} s, {len(load.seen)} workers")
    for failure in load.failures[:20]:
        print("  ", failure)


def versions(load: Load) -> set[int]:
    """Which versions of the application have answered."""
    return {int(who.partition("-")[0]) for who in load.seen}


def pause_until(moment: float) -> None:
    """The schedule of a run under load is by the clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def is_alive(load: Load) -> None:
    """Each protocol was really asked."""
    assert set(load.answered) == {KEPT, CLOSED, UWSGI, HTTP}
    assert min(load.answered.values()) > 10, load.answered


def test_no_request_is_lost_in_twenty_reloads() -> None:
    with site() as running:
        began = time.monotonic()
        with Load(running.targets, 2) as load:
            for number in range(1, RELOADS + 1):
                pause_until(began + (number - 0.5) * SECONDS / RELOADS)
                running.reload()
            pause_until(began + SECONDS)
        report(load, f"{RELOADS} reloads in {SECONDS:g} s")
        assert load.failures == []
        is_alive(load)
        assert versions(load) == set(range(1, RELOADS + 2))


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
def test_no_request_is_lost_when_workers_have_had_their_time(options: tuple[str, ...]) -> None:
    with site("--max-requests", "200", "--max-requests-jitter", "50", *options) as running:
        with Load(running.targets, 2) as load:
            pause_until(time.monotonic() + SHORT_SECONDS / 2)
        report(load, "--max-requests 200")
        assert load.failures == []
        is_alive(load)
        assert len(load.seen) > 0.6 * load.total / 250


def test_no_request_is_lost_when_the_program_is_replaced() -> None:
    with site() as running:
        began = time.monotonic()
        with Load(running.targets, 2) as load:
            for number in range(1, 9):
                pause_until(began + (number - 0.5) * SHORT_SECONDS / 8)
                running.version += 1
                running.write_version()
                before = set(running.workers())
                os.kill(running.pid, signal.SIGUSR2)
                running.server.wait_until(
                    lambda number=number: running.server.log.count("serving app:app on") > number,  # type: ignore[misc]
                    "the new program serves",
                )
                assert not before & set(running.workers())
            pause_until(began + SHORT_SECONDS)
        report(load, "8 times SIGUSR2")
        assert load.failures == []
        is_alive(load)
        assert versions(load) == set(range(1, 10))


def test_of_a_killed_worker_only_what_ran_in_it_is_lost() -> None:
    with site() as running:
        chance = random.Random(1)
        began = time.monotonic()
        kills = 10
        longest = 0.0
        with Load(running.targets, 2) as load:
            for number in range(1, kills + 1):
                pause_until(began + (number - 0.5) * SHORT_SECONDS / kills)
                wait_until(lambda: len(running.workers()) == 2, "two workers")
                victim = chance.choice(running.workers())
                os.kill(victim, signal.SIGKILL)
                killed = time.monotonic()
                wait_until(
                    lambda victim=victim: (  # type: ignore[misc]
                        victim not in running.workers() and len(running.workers()) == 2
                    ),
                    "two workers again",
                )
                longest = max(longest, time.monotonic() - killed)
            pause_until(began + SHORT_SECONDS)
        report(load, f"{kills} workers killed, back within {longest:.2f} s")
        assert longest < SOON_SECONDS
        lost = running.server.log.count("has ended unexpectedly: SIGKILL")
        assert lost == kills
        # Four threads each, and what a kept connection had in flight.
        assert len(load.failures) <= 4 * kills
        is_alive(load)
