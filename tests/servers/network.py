"""Machines on a network of their own: network namespaces, joined by a bridge in the first one.

Each namespace is held by a process, and is gone with it: nothing has a name outside, and nothing
stays behind. A thread enters one for itself; what it starts there, threads and processes, is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import require, wait_until

_CLONE_NEWNET = 0x40000000
_NETWORK = "10.77.0"
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """A network namespace."""

    def __init__(self, address: str) -> None:
        self.address = address
        # It ends with this process, however that ends.
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        self._holder = subprocess.Popen(words, stderr=subprocess.PIPE)
        self._name = ""  # as the kernel tells namespaces apart

    def wait_until_there(self) -> None:
        """It takes a moment; where it may not be, the test is skipped, or fails in CI."""
        own = os.readlink("/proc/self/ns/net")

        def has_left() -> bool:
            if self._holder.poll() is not None and self._holder.stderr is not None:
                text = f"no network namespaces: {self._holder.stderr.read().decode()}"
                pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
            return os.readlink(self._file) != own

        wait_until(has_left, "a namespace")
        self._name = os.readlink(self._file)

    @property
    def pid(self) -> int:
        """A process that is in there."""
        return self._holder.pid

    @property
    def _file(self) -> str:
        return f"/proc/{self.pid}/ns/net"

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Have the calling thread in there."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            with open(self._file, "rb") as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def ip(self, *words: str) -> None:
        """Run ``ip`` in there."""
        with self.inside():
            subprocess.run(["ip", *words], check=True)

    def processes(self) -> list[int]:
        """What runs in there."""
        found = []
        for path in Path("/proc").glob("[0-9]*/ns/net"):
            pid = int(path.parent.parent.name)
            with contextlib.suppress(OSError):  # it has ended
                if os.readlink(path) == self._name and pid != self.pid:
                    found.append(pid)
        return found

    def kill(self) -> None:
        """End all that runs in there, at once."""
        while left := self.processes():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def give_up(self) -> None:
        """Let the namespace go."""
        self._holder.kill()
        self._holder.communicate()


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Network:
    """``front``, where the web server runs, and the hosts behind it, each on a cable."""

    def __init__(self, front: Machine, hosts: list[Machine]) -> None:
        self.front = front
        self.hosts = hosts

    def cut_off(self, host: Machine) -> None:
        """Pull the cable."""
        self.front.ip("link", "set", self._cable(host), "down")

    def connect(self, host: Machine) -> None:
        """Put it in."""
        self.front.ip("link", "set", self._cable(host), "up")

    def _cable(self, host: Machine) -> str:
        return f"host{self.hosts.index(host)}"

    def build(self) -> None:
        """The bridge, the cables and the addresses."""
        for machine in (self.front, *self.hosts):
            machine.wait_until_there()
            machine.ip("link", "set", "lo", "up")
        self.front.ip("link", "add", "bridge", "type", "bridge")
        self.front.ip("addr", "add", f"{self.front.address}/24", "dev", "bridge")
        self.front.ip("link", "set", "bridge", "up")
        for host in self.hosts:
            peer = ["type", "veth", "peer", "name", "eth", "netns", str(host.pid)]
            self.front.ip("link", "add", self._cable(host), *peer)
            self.front.ip("link", "set", self._cable(host), "master", "bridge")
            self.front.ip("link", "set", self._cable(host), "up")
            host.ip("addr", "add", f"{host.address}/24", "dev", "eth")
            host.ip("link", "set", "eth", "up")


@contextlib.contextmanager
def network(hosts: int) -> Iterator[Network]:
    """So many hosts, reachable from ``front``; all that runs in there is ended with it."""
    require("ip", "iproute2")
    machines: list[Machine] = []
    try:
        for number in range(hosts + 1):
            machines.append(Machine(f"{_NETWORK}.{number + 1}"))
        made = Network(machines[0], machines[1:])
        made.build()
        yield made
    finally:
        for machine in machines:
            machine.kill()
            machine.give_up()
