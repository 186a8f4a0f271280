"""One process alone that becomes its own successor: same pid, same sockets, and no request lost."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateways.process.pidfile import read_live_pid
from tests.process.running import (
    APPLICATION,
    Connection,
    Running,
    command,
    running,
    write_application,
    write_module,
)
from tests.servers.harness import Server, room, wait_until

ALONE = ("-w", "0")
RENEWING = "renewing this process: "
SERVING = "serving app:app on"

# What an application may leave in its process, what is there of that, and how it says goodbye.
MARKED = """
import atexit, os, signal
FOUND = [name for name in ("LEFT_BEHIND",) if name in os.environ]
FOUND += [f"a timer of {left} s" for left in signal.getitimer(signal.ITIMER_REAL) if left]
os.environ["LEFT_BEHIND"] = "1"
os.set_inheritable(os.open(__file__, os.O_RDONLY), True)
signal.setitimer(signal.ITIMER_REAL, 1000)

def say(text):
    with open("farewells", "a") as file:
        file.write(text)

atexit.register(say, "atexit ")

def on_exit(process):
    say(f"on_exit-{process.generation} ")

def app(environ, start_response):
    start_response("200 OK", [])
    return [str(FOUND).encode()]
"""


def renewals(server: Running) -> int:
    """How many images have served after the first one."""
    return server.log.count(SERVING) - 1


def wait_for_renewal(server: Running, count: int = 1) -> None:
    """Wait until the next image serves."""
    server.wait_until(lambda: renewals(server) >= count, f"{count} renewals")


def renew(server: Running) -> None:
    """SIGHUP, to its end."""
    count = renewals(server)
    server.signal(signal.SIGHUP)
    wait_for_renewal(server, count + 1)


def use_up(server: Running) -> None:
    for _ in range(3):
        assert server.get().status == 200


def hang(server: Running) -> None:
    with server.begin_to_wait("a", "stuck") as request:
        assert request.answer().status == 504


@pytest.mark.parametrize(
    ("options", "do", "why"),
    [
        ((), lambda server: server.signal(signal.SIGHUP), "SIGHUP"),
        ((), lambda server: server.signal(signal.SIGUSR2), "SIGUSR2"),
        (("--max-requests", "3"), use_up, "it has served 3 requests (--max-requests)"),
        (("--max-lifetime", "0.1"), lambda server: None, "(--max-lifetime)"),
        (("--timeout", "0.2", "--timeout-grace", "0.1"), hang, "did not react"),
    ],
    ids=["SIGHUP", "SIGUSR2", "max-requests", "max-lifetime", "stuck"],
)
def test_it_goes_on_as_the_same_process_on_the_same_socket(
    tmp_path: Path, options: tuple[str, ...], do: object, why: str
) -> None:
    with running(tmp_path, *ALONE, *options) as server:
        socket = os.stat(str(server.address)).st_ino
        assert callable(do)
        do(server)
        wait_for_renewal(server)
        assert RENEWING in server.log
        assert why in server.log
        assert server.get().pid == server.pid
        assert len((tmp_path / "imports").read_text().splitlines()) >= 2
        assert os.stat(str(server.address)).st_ino == socket
        assert read_live_pid(str(server.pidfile)) == server.pid


def test_an_idle_kept_connection_is_served_by_the_new_image(tmp_path: Path) -> None:
    with running(tmp_path, *ALONE) as server, Connection(server.address) as kept:
        kept.request("GET", "/")
        assert kept.answer().version == "1"
        sock = kept.sock
        write_application(tmp_path, version="2")
        renew(server)
        kept.request("POST", "/", b"body")
        assert kept.answer().version == "2"
        assert kept.sock is sock


def test_what_comes_while_a_request_is_finished_is_for_the_new_image(tmp_path: Path) -> None:
    with running(tmp_path, *ALONE) as server, server.begin_to_wait("r") as old:
        write_application(tmp_path, version="2")
        server.signal(signal.SIGHUP)
        server.wait_for_log(RENEWING)
        with server.begin("/") as new:
            assert renewals(server) == 0
            server.release("r")
            assert old.answer().version == "1"
            assert new.answer().version == "2"


def test_nothing_is_lost_under_load(tmp_path: Path) -> None:
    over = threading.Event()
    problems: list[str] = []

    def ask(server: Running) -> None:
        while not over.is_set():
            try:
                answer = server.get()
                if (answer.status, answer.pid) != (200, server.pid):
                    problems.append(str(answer))
            except (OSError, http.client.HTTPException) as error:
                problems.append(repr(error))

    with running(tmp_path, *ALONE, "--max-requests", "20") as server:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_for_renewal(server, 10)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not problems


def test_a_stop_goes_before_a_renewal(tmp_path: Path) -> None:
    with running(tmp_path, *ALONE) as server, server.begin_to_wait("r") as request:
        server.signal(signal.SIGHUP)
        server.wait_for_log(RENEWING)
        server.signal(signal.SIGTERM)
        server.wait_until(lambda: not server.is_listening(), "it is stopping")
        server.release("r")
        assert request.answer().status == 200
        assert server.wait_for_end() == 0
        assert renewals(server) == 0


def renew_slowly(server: Running) -> None:
    """SIGHUP; the next image loads when this returns, and until the file ``go`` is there."""
    slow = "import time, pathlib\npathlib.Path('loading').touch()\n"
    slow += "while not pathlib.Path('go').exists(): time.sleep(0.005)\n"
    write_module(server.folder, slow + APPLICATION)
    server.signal(signal.SIGHUP)
    server.wait_until((server.folder / "loading").exists, "it loads")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_stop_while_the_new_image_loads_is_heard(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, *ALONE, "--sigusr1", "stop") as server:
        renew_slowly(server)
        server.signal(number)
        assert server.wait_for_end() == 0
        assert f"{number.name}: leaving at once" in server.log


def test_a_renewal_that_is_asked_for_while_the_new_image_loads_comes_then(tmp_path: Path) -> None:
    with running(tmp_path, *ALONE) as server:
        renew_slowly(server)
        write_application(tmp_path, version="2")
        server.signal(signal.SIGHUP)
        (tmp_path / "go").touch()
        wait_for_renewal(server, 2)
        assert server.get().version == "2"


def test_what_the_application_has_left_in_its_process_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "gateways.toml").write_text('[hooks]\non_exit = "app:on_exit"\n')
    with running(tmp_path, *ALONE, source=MARKED) as server:

        def opened() -> int:
            return len(os.listdir(f"/proc/{server.pid}/fd"))

        at_first = opened()
        for _ in range(3):
            renew(server)
            assert server.get().text == "[]"
        wait_until(lambda: opened() <= at_first, f"{at_first} descriptors")
        assert (tmp_path / "farewells").read_text() == "".join(
            f"on_exit-{generation} atexit " for generation in (1, 2, 3)
        )


def test_a_directory_that_a_deployment_has_put_elsewhere_is_found(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        write_application(tmp_path / version, version=version)
    current, socket = tmp_path / "current", str(tmp_path / "app.sock")
    current.symlink_to("1")
    line = shlex.join(command("http", *ALONE, "--bind", socket, "app:app"))
    server = Server(["sh", "-c", f"cd {current} && exec {line}"], tmp_path / "log")
    try:
        server.wait_until(lambda: SERVING in server.log, "it serves")
        current.unlink()
        current.symlink_to("2")
        server.process.send_signal(signal.SIGHUP)
        server.wait_until(lambda: server.log.count(SERVING) == 2, "it serves again")
        with Connection(socket) as connection:
            connection.request("GET", "/")
            assert connection.answer().version == "2"
    finally:
        assert server.stop() == 0


def test_where_it_cannot_be_started_in_place_it_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    with at_hand(folder) as server:
        folder.rename(tmp_path / "new")
        server.signal(signal.SIGHUP)
        assert server.server.process.wait(30) == 0
    log = next((tmp_path / "new").glob("log-*")).read_text()
    assert "the program cannot be replaced: " in log
    assert "leaving, to be started again by whoever started this process" in log


@contextmanager
def at_hand(folder: Path) -> Iterator[Running]:
    """A server that the test ends itself."""
    write_application(folder)
    server = Running(folder, *ALONE)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_has_given_root_up_leaves_to_be_started_again() -> None:
    """The command may need it for its start, and whoever started it has it."""
    source = f"{APPLICATION}\ndef on_ready(process):\n    os.setuid(65534)\n"
    with room() as folder:
        folder.chmod(0o777)
        (folder / "gateways.toml").write_text('[hooks]\non_ready = "app:on_ready"\n')
        with running(folder, *ALONE, source=source) as server:
            server.signal(signal.SIGHUP)
            assert server.wait_for_end() == 0
            assert "leaving, to be started again by whoever started this process" in server.log


def test_the_number_of_workers_may_have_changed(tmp_path: Path) -> None:
    file = tmp_path / "gateways.toml"
    file.write_text("workers = 0\n")
    with running(tmp_path, "--config", str(file)) as server:
        file.write_text("workers = 2\n")
        renew(server)
        assert len(server.wait_for_workers(2)) == 2
        wait_until(lambda: server.get().pid in server.workers(), "a worker answers")
