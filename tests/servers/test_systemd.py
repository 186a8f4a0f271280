"""The units of contrib/systemd, read by systemd's tools and run as systemd runs them.

There is no running systemd, so systemd-socket-activate passes the sockets, and the test is the
manager that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.request import urlopen

import pytest

from gateways.process.control import ask as ask_supervisor

from .fastcgi_client import ask
from .harness import (
    CONTRIB,
    DEADLINE_SECONDS,
    SOON_SECONDS,
    Fifo,
    Server,
    fill,
    has_ended,
    require,
    wait_until,
)
from .launching import (
    GATEWAYS,
    asking_all_the_time,
    wait_for_version,
    wait_for_workers,
    write_application,
)

UNITS = sorted((CONTRIB / "systemd").glob("gateways*"))
_UCRED = struct.Struct("iII")


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        path.chmod(0o666)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def receive(self, seconds: float = DEADLINE_SECONDS) -> tuple[str, int]:
        """A message and the process that sent it; ("", 0) if none comes in time."""
        self._socket.settimeout(seconds)
        try:
            data, ancillary, _, _ = self._socket.recvmsg(4096, 100)
        except TimeoutError:
            return "", 0
        (_, _, credentials) = ancillary[0]
        return data.decode(), _UCRED.unpack(credentials)[0]

    def told(self, *unheeded: str) -> tuple[str, int]:
        """The next message that is none of these."""
        while True:
            message, pid = self.receive()
            assert message, "the service says nothing"
            if message not in unheeded and not message.startswith("STATUS="):
                return message, pid

    def silent(self) -> bool:
        """Whether nothing has come."""
        return self.receive(0.0001) == ("", 0)


@pytest.fixture
def manager(own_directory: Path) -> Iterator[Manager]:
    with Manager(own_directory / "notify") as manager:
        yield manager


def unit(name: str, root: Path, **values: object) -> str:
    """A unit filled in."""
    return fill(
        CONTRIB / "systemd" / name,
        **{
            "GATEWAYS": GATEWAYS,
            "DIRECTORY": root,
            "RUN": root,
            "USER": "www-data",
            "NAME": "gateways",
            "PROTOCOL": "fcgi",
            "PROTOCOLS": "auto[fcgi,http]",
            "BIND": f"unix:{root / 'app.sock'}?mode=666",
            "OPTIONS": "--script-name=",
            "APPLICATION": "versioned:app",
            "WEB_SERVER_USER": "www-data",
            "SOCKET": root / "app.sock",
            "PORT": 0,
            **values,
        },
    )


def settings(text: str, name: str) -> list[str]:
    """The values of a setting."""
    return re.findall(rf"(?m)^{name}=(.*)$", text)


@contextlib.contextmanager
def service(name: str, root: Path, manager: Manager, *options: str) -> Iterator[Server]:
    """What ExecStart of a unit starts, with the environment that its Type and WatchdogSec make."""
    (command,) = settings(unit(name, root), "ExecStart")
    # systemd names the process that is to give signs of life; exec keeps the process id.
    script = 'WATCHDOG_PID=$$ exec "$@"'
    server = Server(
        ["/bin/sh", "-c", script, "sh", *shlex.split(command), *options],
        root / "service.log",
        environment={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "600000"},
    )
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGCONT)
        status = server.stop()
    assert status == 0, server.log


def answer(root: Path) -> str:
    """Version and process id of who answers on the Unix socket."""
    reply = ask(str(root / "app.sock"), "/")
    assert reply.status == "200 OK", reply
    return reply.body


def reload_by_command(root: Path) -> subprocess.CompletedProcess[str]:
    """What ExecReload of the unit does."""
    (command,) = settings(unit("gateways.service", root), "ExecReload")
    return subprocess.run(
        shlex.split(command),
        cwd=root,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


# -- the files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_understands_every_line(own_directory: Path, path: Path) -> None:
    for other in UNITS:  # gateways.socket names a service
        (own_directory / other.name).write_text(unit(other.name, own_directory, PORT=9000))
    done = subprocess.run(
        [require("systemd-analyze", "systemd"), "verify", "--man=no", own_directory / path.name],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{own_directory}:"},
    )
    said = done.stdout + done.stderr
    unknown = r".*Failed to parse service type, ignoring: notify-reload\n"  # before systemd 253
    assert re.sub(unknown, "", said) == ""
    assert done.returncode == 0


def test_the_time_limits_of_the_units_are_above_ours() -> None:
    """systemd must not kill what is within --start-timeout and --graceful-timeout."""
    for path in UNITS:
        text = path.read_text()
        if path.suffix == ".service":
            assert [int(value) for value in settings(text, "TimeoutStartSec")] == [75]
            assert [int(value) for value in settings(text, "TimeoutStopSec")] == [40]


# -- sockets -----------------------------------------------------------------------------------


def test_two_sockets_of_systemd_survive_reload_and_upgrade(
    own_directory: Path, manager: Manager
) -> None:
    write_application(own_directory, "1")
    (command,) = settings(unit("gateways-activated.service", own_directory), "ExecStart")
    path = own_directory / "app.sock"
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    activate: list[str | Path] = [
        *(require("systemd-socket-activate", "systemd"), "-l", path, "-l", f"127.0.0.1:{port}"),
        *("--fdname=yourapplication:checks", "-E", f"NOTIFY_SOCKET={manager.path}"),
        *("-E", "PYTHONPATH=" + os.pathsep.join(sys.path)),
    ]
    server = Server([*activate, *shlex.split(command)], own_directory / "service.log")
    try:
        server.wait_until_accepting(str(path))  # which makes it start the service
        assert manager.told() == ("READY=1", server.process.pid)
        assert answer(own_directory).startswith("1 ")
        assert _get(port).startswith("1 ")
        sockets = _listening_sockets(server.process.pid, path, port)
        assert len(sockets) == 2
        with (
            asking_all_the_time(lambda: answer(own_directory), 1),
            asking_all_the_time(lambda: _get(port), 1),
        ):
            for version, number in (("2", signal.SIGHUP), ("3", signal.SIGUSR2)):
                old = wait_for_workers(server.process.pid, 2)
                write_application(own_directory, version)
                server.process.send_signal(number)
                wait_for_version(server, lambda: answer(own_directory), version)
                wait_for_version(server, lambda: _get(port), version)
                wait_until(lambda old=old: all(map(has_ended, old)), "the old ones left")  # type: ignore[misc]
        assert _listening_sockets(server.process.pid, path, port) == sockets
    finally:
        status = server.stop()
    assert status == 0, server.log
    assert path.exists(), "the socket is systemd's to remove"


def _get(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/", timeout=DEADLINE_SECONDS) as response:
        text: str = response.read().decode()
    return text


def _listening_sockets(pid: int, path: Path, port: int) -> set[str]:
    """The inodes of the sockets of these addresses that a process has."""
    held = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    tables = [("tcp", f":{port:04X} 00000000:0000 0A", 9), ("unix", f" {path}", 6)]
    return held & {
        f"socket:[{line.split()[column]}]"
        for table, mark, column in tables
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()
        if mark in line and (table == "tcp" or line.split()[3] == "00010000")
    }


# -- messages ----------------------------------------------------------------------------------


def test_ready_is_said_when_the_application_serves_and_not_before(
    own_directory: Path, manager: Manager
) -> None:
    with Fifo(own_directory / "begun") as begun, Fifo(own_directory / "go") as go:
        importing = (
            f"open({str(begun.path)!r}, 'w').write('begun')\n"
            f"open({str(go.path)!r}, 'rb', 0).read(1)"
        )
        write_application(own_directory, "1", importing)
        with service("gateways.service", own_directory, manager) as server:
            begun.receive()
            assert manager.silent()
            go.send()
            go.send()
            assert manager.told("WATCHDOG=1") == ("READY=1", server.process.pid)
            assert answer(own_directory).startswith("1 ")


def test_a_reload_a_failed_one_an_upgrade_and_the_stop(
    own_directory: Path, manager: Manager
) -> None:
    """All of it is said by the one process that systemd knows."""
    write_application(own_directory, "1")
    with service("gateways.service", own_directory, manager) as server:
        pid = server.process.pid
        assert manager.told("WATCHDOG=1") == ("READY=1", pid)

        write_application(own_directory, "2")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        server.process.send_signal(signal.SIGHUP)
        _is_reloading(manager, pid, before)
        assert manager.told("WATCHDOG=1") == ("READY=1", pid)
        wait_for_version(server, lambda: answer(own_directory), "2")

        write_application(own_directory, "3", "import nothing_of_that_name")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        done = reload_by_command(own_directory)
        assert done.returncode != 0
        assert "No module named 'nothing_of_that_name'" in done.stderr
        _is_reloading(manager, pid, before)
        assert manager.told("WATCHDOG=1") == ("READY=1", pid)
        assert answer(own_directory).startswith("2 ")

        write_application(own_directory, "4")
        assert reload_by_command(own_directory).returncode == 0
        _is_reloading(manager, pid, before)
        assert manager.told("WATCHDOG=1") == ("READY=1", pid)
        wait_for_version(server, lambda: answer(own_directory), "4")

        write_application(own_directory, "5")
        server.process.send_signal(signal.SIGUSR2)
        assert manager.told("WATCHDOG=1") == ("READY=1", pid)
        wait_for_version(server, lambda: answer(own_directory), "5")
        assert manager.receive()[0] == "WATCHDOG=1", "the new program goes on with it"

        server.process.send_signal(signal.SIGTERM)
        assert manager.told("WATCHDOG=1") == ("STOPPING=1", pid)


def test_a_worker_that_is_told_to_serve_and_to_stop_at_once_does_both(
    own_directory: Path, manager: Manager
) -> None:
    with Fifo(own_directory / "go") as go:
        second = (
            "import os\n"
            "try:\n"
            f"    os.mkdir({str(own_directory / 'first')!r})\n"
            "except FileExistsError:\n"
            f"    open({str(go.path)!r}, 'rb', 0).read(1)"
        )
        write_application(own_directory, "1", second)
        with service("gateways.service", own_directory, manager) as server:
            wait_until(lambda: _ready_workers(own_directory) != [], "the first one is ready")
            (first,) = _ready_workers(own_directory)
            os.kill(first, signal.SIGSTOP)  # both words will be there when it looks
            try:
                go.send()
                assert manager.told("WATCHDOG=1")[0] == "READY=1"
                server.process.send_signal(signal.SIGTERM)
                assert manager.told("WATCHDOG=1")[0] == "STOPPING=1"
            finally:
                os.kill(first, signal.SIGCONT)
            begun = time.monotonic()
            wait_until(lambda: server.process.poll() is not None, "it has ended")
            assert time.monotonic() - begun < SOON_SECONDS
            assert "was killed" not in server.log


def _ready_workers(root: Path) -> list[int]:
    path = root / "gateways.pid.control"
    if not path.exists():
        return []
    workers = ask_supervisor(str(path), "status")["workers"]
    return [worker["pid"] for worker in workers if worker["state"] == "ready"]


def _is_reloading(manager: Manager, pid: int, before: int) -> None:
    message, sender = manager.told("WATCHDOG=1")
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=([0-9]+)", message)
    assert found, message
    assert before <= int(found[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert sender == pid


def test_a_reload_whose_configuration_is_wrong_ends_for_systemd_too(
    own_directory: Path, manager: Manager
) -> None:
    """With Type=notify-reload it waits for the pair of messages, however the reload went."""
    write_application(own_directory, "1")
    configuration = own_directory / "gateways.toml"
    configuration.write_text("threads = 2\n")
    with service("gateways-notify-reload.service", own_directory, manager) as server:
        pid = server.process.pid
        assert manager.told("WATCHDOG=1") == ("READY=1", pid)
        configuration.write_text("threads = 'many'\n")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        server.process.send_signal(signal.SIGHUP)
        _is_reloading(manager, pid, before)
        assert manager.told("WATCHDOG=1") == ("READY=1", pid)
        assert answer(own_directory).startswith("1 ")


def test_signs_of_life_come_in_time_and_stop_when_the_supervisor_hangs(
    own_directory: Path, manager: Manager
) -> None:
    write_application(own_directory, "1")
    with service("gateways.service", own_directory, manager) as server:
        assert manager.told("WATCHDOG=1")[0] == "READY=1"
        for _ in range(3):
            # Half a period late is in time for systemd; nobody asks for anything meanwhile.
            assert manager.receive(0.6) == ("WATCHDOG=1", server.process.pid)
        server.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: _is_stopped(server.process.pid), "the supervisor hangs")
        while not manager.silent():
            pass
        assert manager.receive(1.2) == ("", 0)
        assert answer(own_directory).startswith("1 "), "the workers go on"


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
