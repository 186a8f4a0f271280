"""Several machines behind one web server: one is killed, one is cut off, one is drained.

Each is a network namespace; the load is of requests that change nothing, and none of them may fail.
docs/machines.md says what this prints. Then HAProxy drains one, and gives it back its share.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest

from gateways.client import ConnectionLost, request

from .client import Site
from .frontends import haproxy, nginx
from .harness import (
    Fifo,
    Server,
    free_port,
    room,
    wait_until,
)
from .launching import asking_all_the_time
from .network import Network, network

NAMES = ("first", "second", "third")
FCGI_PORT, UWSGI_PORT = 9000, 3031
ASKERS = 6
PAUSE_SECONDS = 0.01  # of each of them, between two requests

APPLICATION = """
import os, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.endswith("7"):  # some are running whenever something happens
        time.sleep(0.05)
    if path == "/held":  # until it is let go
        open("pipe", "rb", buffering=0).read(1)
    ill = os.path.exists(f"ill-{os.environ['HOST']}")
    start_response("500 Ill" if ill else "200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['HOST']} {path}".encode()]
"""


class Deployment:
    """The hosts, and what they run."""

    def __init__(self, net: Network, directory: Path) -> None:
        self.net = net
        self.directory = directory
        self.hosts = dict(zip(NAMES, net.hosts, strict=True))
        self.servers: dict[str, Server] = {}
        (directory / "app.py").write_text(APPLICATION)

    def address(self, name: str, port: int = FCGI_PORT) -> str:
        """Where a host listens."""
        return f"{self.hosts[name].address}:{port}"

    def start(self, name: str) -> None:
        """Serve on a host, and wait until it is reached from the front."""
        binds = [f"fcgi:{self.address(name)}", f"uwsgi:{self.address(name, UWSGI_PORT)}"]
        words = [word for bind in binds for word in ("--bind", bind)]
        words += ["--workers", "2", "--script-name", "", "app:app"]
        command = [sys.executable, "-m", "gateways", "serve", *words]
        with self.hosts[name].inside():
            server = Server(command, self.directory / f"{name}.log", environment={"HOST": name})
        self.servers[name] = server
        for port in (FCGI_PORT, UWSGI_PORT):
            server.wait_until_accepting((self.hosts[name].address, port))

    def kill(self, name: str) -> None:
        """All of it at once."""
        self.hosts[name].kill()
        self.servers.pop(name).process.wait()

    def end(self) -> None:
        """Kill what is left."""
        for name in list(self.servers):
            self.kill(name)


class Watch(Protocol):
    """Which hosts a web server gives requests to."""

    def last_given(self, name: str, since: float) -> float:
        """When it gave one to this host for the last time; ``since`` is when that one died."""

    def settled(self, name: str, since: float) -> bool:
        """Whether it has noticed."""


Front = Callable[[Deployment], contextlib.AbstractContextManager[tuple[Site, Watch]]]


# nginx, and its log


class NginxWatch:
    """Its log has every address that a request was tried at."""

    # The format of that log; the first two numbers are in seconds.
    OPTIONS = "log_format tried '$msec $request_time $upstream_addr';\naccess_log {} tried;\n"
    PAUSE_SECONDS = 4.0  # fail_timeout of machines.conf, and some: what comes later is a trial

    def __init__(self, deployment: Deployment, log: Path) -> None:
        self._deployment = deployment
        self._log = log

    def _given(self, name: str, since: float) -> list[float]:
        """When requests began that were tried there, in order, up to the first long pause."""
        wanted = self._deployment.address(name)
        begun = []
        for line in self._log.read_text().splitlines():
            ended, took, *tried = line.split()
            began = float(ended) - float(took)
            if began > since and wanted in {each.strip(",") for each in tried}:
                begun.append(began)
        begun.sort()
        for number, (one, other) in enumerate(itertools.pairwise(begun)):
            if other - one > self.PAUSE_SECONDS:
                return begun[: number + 1]
        return begun

    def last_given(self, name: str, since: float) -> float:
        return max(self._given(name, since), default=since)

    def settled(self, name: str, since: float) -> bool:
        return time.time() - self.last_given(name, since) > 2.0 and time.time() - since > 2.0


@contextlib.contextmanager
def nginx_in_front(deployment: Deployment) -> Iterator[tuple[Site, Watch]]:
    """On contrib/nginx/machines.conf."""
    log = deployment.directory / "tried.log"
    backends: dict[str, Any] = {name.upper(): deployment.address(name) for name in NAMES}
    options = NginxWatch.OPTIONS.format(log)
    with nginx(deployment.directory, "machines.conf", options=options, **backends) as site:
        yield site, NginxWatch(deployment, log)


# HAProxy, and its numbers


def tell(stats_socket: str, command: str) -> str:
    """Give HAProxy a command; its answer."""
    wait_until(lambda: Path(stats_socket).exists(), f"{stats_socket} is there")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(stats_socket)
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def statistics(stats_socket: str, backend: str) -> dict[str, dict[str, str]]:
    """What HAProxy says of each server of a backend, by name."""
    text = tell(stats_socket, "show stat")
    rows = csv.DictReader(io.StringIO(text.removeprefix("# ")))
    return {row["svname"]: row for row in rows if row["pxname"] == backend}


class HAProxyWatch:
    """Its statistics count how often each host was chosen; a thread looks when that changes."""

    def __init__(self, stats_socket: str) -> None:
        self._socket = stats_socket
        self._chosen: dict[str, tuple[str, float]] = {}
        self._down: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> HAProxyWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            now = time.time()
            for name, row in statistics(self._socket, "yourapplication").items():
                if self._chosen.get(name, ("",))[0] != row["lbtot"]:
                    self._chosen[name] = row["lbtot"], now
                (self._down.add if row["status"] == "DOWN" else self._down.discard)(name)

    def last_given(self, name: str, since: float) -> float:
        return max(self._chosen[name][1], since)

    def settled(self, name: str, since: float) -> bool:
        return name in self._down


def stats_socket_of(site: Site) -> str:
    """As machines.cfg and machines-tcp.cfg have it."""
    return str(site.directory / "haproxy.sock")


@contextlib.contextmanager
def haproxy_in_front(deployment: Deployment) -> Iterator[tuple[Site, Watch]]:
    """On contrib/haproxy/machines.cfg."""
    backends: dict[str, Any] = {name.upper(): deployment.address(name) for name in NAMES}
    with (
        haproxy(deployment.directory, "machines.cfg", CHECK="/health", **backends) as site,
        HAProxyWatch(stats_socket_of(site)) as watch,
    ):
        yield site, watch


# What happens


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network(len(NAMES)) as made:
        yield made


@pytest.fixture
def deployment(net: Network) -> Iterator[Deployment]:
    with room() as directory:
        made = Deployment(net, directory)
        try:
            with net.front.inside():
                yield made
        finally:
            made.end()


@pytest.mark.parametrize("front", [nginx_in_front, haproxy_in_front], ids=["nginx", "haproxy"])
def test_no_request_fails_when_a_machine_dies_is_cut_off_or_stops(
    deployment: Deployment,
    front: Front,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in NAMES:
        deployment.start(name)
    numbers = itertools.count()
    measured: dict[str, float] = {}
    slowest = 0.0

    with front(deployment) as (site, watch):

        def ask() -> str:
            nonlocal slowest
            time.sleep(PAUSE_SECONDS)
            path, began = f"/{next(numbers)}", time.monotonic()
            answer = site.get(path)
            slowest = max(slowest, time.monotonic() - began)
            host, _, echo = answer.text.partition(" ")
            assert (answer.status, echo) == (200, path)
            return host

        with asking_all_the_time(ask, ASKERS) as answers:

            def wait_for(*names: str) -> None:
                """Until all of them have answered from now on."""
                seen = len(answers)
                wait_until(lambda: set(names) <= set(answers[seen:]), f"answers of {names}")

            def measure(what: str, name: str, do: Callable[[], None]) -> None:
                since = time.time()
                do()
                wait_until(lambda: watch.settled(name, since), f"{name} is {what}")
                measured[what] = watch.last_given(name, since) - since
                wait_for(*(each for each in NAMES if each != name))

            wait_for(*NAMES)
            measure("killed", "first", lambda: deployment.kill("first"))
            deployment.start("first")
            wait_for(*NAMES)
            second = deployment.hosts["second"]
            measure("cut off", "second", lambda: deployment.net.cut_off(second))
            deployment.net.connect(second)
            wait_for(*NAMES)
            third = deployment.servers["third"]
            measure("drained", "third", lambda: third.process.send_signal(signal.SIGTERM))
            assert third.stop() == 0, third.log

    text = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in measured.items())
    text = f"until it gets no more requests: {text}; {len(answers)} requests, all answered, "
    text += f"the slowest in {slowest:.1f} s"
    record_property("machines", text)
    with capsys.disabled():
        print(f"\n{text}")
    assert measured["killed"] < 5
    assert measured["cut off"] < 12  # the read timeout of nginx, and some
    assert measured["drained"] < 5


def test_an_application_that_is_ill_is_taken_out_and_comes_back(deployment: Deployment) -> None:
    for name in NAMES:
        deployment.start(name)
    with haproxy_in_front(deployment) as (site, watch):
        ill = deployment.directory / "ill-first"
        ill.touch()
        wait_until(lambda: watch.settled("first", 0.0), "the check has failed")
        assert {site.get("/x").text for _ in range(10)} == {"second /x", "third /x"}
        ill.unlink()
        wait_until(lambda: not watch.settled("first", 0.0), "the check is passed again")
        wait_until(lambda: site.get("/x").text == "first /x", "it answers again")


def test_a_gateway_is_asked_for_itself_in_its_own_protocol(deployment: Deployment) -> None:
    """Whatever the application answers; and what is passed on reaches it."""
    for name in NAMES[:2]:
        deployment.start(name)
        (deployment.directory / f"ill-{name}").touch()
    other = free_port()
    hosts: dict[str, Any] = {name.upper(): deployment.hosts[name].address for name in NAMES[:2]}
    with haproxy(deployment.directory, "machines-tcp.cfg", UWSGI_PORT=other, **hosts) as site:
        ports = {"fcgi": site.port, "uwsgi": other}

        def is_reached(name: str, target: str) -> None:
            def answers() -> bool:
                with contextlib.suppress(ConnectionLost):  # a check was late: sessions are ended
                    return request(target, "/x").body == f"{name} /x".encode()
                return False

            wait_until(answers, f"{name} answers to {target}")

        def says(protocol: str, column: str, *expected: str) -> None:
            def found() -> bool:
                servers = statistics(stats_socket_of(site), protocol)
                return [servers[name][column] for name in NAMES[:2]] == [*expected]

            wait_until(found, f"{column} of {protocol}: {expected}")

        for protocol, at in ports.items():
            says(protocol, "check_status", "L7OK", "L7OK")
            for name in NAMES[:2]:
                is_reached(name, f"{protocol}:127.0.0.1:{at}")
        deployment.kill("first")
        for protocol in ports:
            says(protocol, "status", "DOWN", "UP")


# HAProxy is told


class Balanced:
    """The hosts behind one backend of HAProxy: asked, looked at, and told about."""

    def __init__(self, stats_socket: str, backend: str, ask: Callable[[str], str]) -> None:
        self._socket = stats_socket
        self._backend = backend
        self.ask = ask  # a path -> the host that has answered

    def tell(self, name: str, state: str) -> None:
        """Have HAProxy put a host into a state, as docs/machines.md does."""
        answer = tell(self._socket, f"set server {self._backend}/{name} state {state}")
        assert not answer.strip(), answer

    def says(self, name: str, column: str) -> str:
        """What HAProxy has in its statistics of a host."""
        return statistics(self._socket, self._backend)[name][column]

    def throttle(self, name: str) -> int:
        """Per cent of its weight that a host in its slow start has; 0: it is in none."""
        return int(self.says(name, "throttle") or 0)

    def wait_for(self, name: str, column: str, expected: str) -> None:
        """Until it says that."""
        wait_until(lambda: self.says(name, column) == expected, f"{column} of {name}: {expected}")

    def running(self) -> dict[str, int]:
        """How many requests run on each host."""
        rows = statistics(self._socket, self._backend)
        return {name: int(rows[name]["scur"]) for name in NAMES if name in rows}


@contextlib.contextmanager
def balanced_by_requests(deployment: Deployment) -> Iterator[Balanced]:
    """On machines.cfg: every request is given to some host."""
    with haproxy_in_front(deployment) as (site, _):
        yield Balanced(
            stats_socket_of(site), "yourapplication", lambda path: site.get(path).text.split()[0]
        )


@contextlib.contextmanager
def balanced_by_connections(deployment: Deployment) -> Iterator[Balanced]:
    """On machines-tcp.cfg: every FastCGI connection is."""
    hosts: dict[str, Any] = {name.upper(): deployment.hosts[name].address for name in NAMES[:2]}
    with haproxy(deployment.directory, "machines-tcp.cfg", UWSGI_PORT=free_port(), **hosts) as site:

        def ask(path: str) -> str:
            return request(f"fcgi:127.0.0.1:{site.port}", path).body.decode().split()[0]

        yield Balanced(stats_socket_of(site), "fcgi", ask)


@pytest.fixture(
    params=[balanced_by_requests, balanced_by_connections], ids=["requests", "connections"]
)
def balanced(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[Balanced]:
    for name in NAMES:
        deployment.start(name)
    with request.param(deployment) as made:
        for name in made.running():
            made.wait_for(name, "status", "UP")
        yield made


def test_a_machine_that_is_drained_by_a_command_ends_what_it_has_and_gets_no_more(
    deployment: Deployment, balanced: Balanced
) -> None:
    names = list(balanced.running())
    each = dict.fromkeys(names, 2)  # so that it would be everyone's turn
    with Fifo(deployment.directory / "pipe") as pipe, ThreadPoolExecutor(6) as pool:
        held = [pool.submit(balanced.ask, "/held") for name in names for _ in range(each[name])]
        wait_until(lambda: balanced.running() == each, "all of them run")
        balanced.tell("first", "drain")
        balanced.wait_for("first", "status", "DRAIN")
        given = balanced.says("first", "lbtot")
        assert {balanced.ask("/x") for _ in range(12)} == set(names) - {"first"}
        assert balanced.says("first", "lbtot") == given
        wait_until(lambda: balanced.running() == each, "what they had goes on")
        for _ in held:
            pipe.send()
        assert sorted(answer.result() for answer in held) == sorted([*names, *names])
    balanced.wait_for("first", "scur", "0")  # now it may be stopped
    balanced.tell("first", "ready")
    balanced.wait_for("first", "status", "UP")
    assert balanced.throttle("first") == 0, "it has been running all the time: no slow start"
    wait_until(lambda: balanced.ask("/x") == "first", "it answers again")


def come_back_after_maintenance(deployment: Deployment, balanced: Balanced) -> None:
    balanced.tell("first", "maint")
    balanced.wait_for("first", "status", "MAINT")
    balanced.tell("first", "ready")


def come_back_from_the_dead(deployment: Deployment, balanced: Balanced) -> None:
    deployment.kill("first")
    balanced.wait_for("first", "status", "DOWN")
    deployment.start("first")


@pytest.mark.parametrize("come_back", [come_back_after_maintenance, come_back_from_the_dead])
def test_a_machine_that_comes_back_has_a_share_that_grows(
    deployment: Deployment,
    balanced: Balanced,
    come_back: Callable[[Deployment, Balanced], None],
) -> None:
    come_back(deployment, balanced)
    wait_until(lambda: balanced.throttle("first") > 0, "it has a share again")
    began = balanced.throttle("first")
    assert began < 34, "of 30 seconds, no more than a third is over"
    names = list(balanced.running())
    with Fifo(deployment.directory / "pipe") as pipe, ThreadPoolExecutor(8) as pool:
        held = [pool.submit(balanced.ask, "/held") for _ in range(8)]
        wait_until(lambda: sum(balanced.running().values()) == len(held), "all of them run")
        running = balanced.running()
        for _ in held:
            pipe.send()
        assert sorted(answer.result() for answer in held) == sorted(
            name for name in names for _ in range(running[name])
        )
    assert running["first"] <= 2, running
    assert all(running[name] > running["first"] for name in names[1:]), running
    wait_until(lambda: balanced.throttle("first") > began, "the share grows")
