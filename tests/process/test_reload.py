"""Reloads: what serves afterwards, and what an operator sees when the new code is no good."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.running import (
    APPLICATION,
    Running,
    command,
    processes,
    running,
    serves,
    write_application,
    write_module,
    zombies_of,
)
from tests.servers.harness import DEADLINE_SECONDS, free_port, require, wait_until

SYNTAX_ERROR = "def app(:\n"
HANGS = "import time\ndef hang_here():\n    time.sleep(1000)\nhang_here()\n"
ANSWERS_500 = (
    "def app(environ, start_response):\n"
    "    fine = environ['PATH_INFO'] == '/fine'\n"
    "    start_response('200 OK' if fine else '500 Internal Server Error', [])\n"
    "    return [b'']\n"
)
RAISES_IN_CHECK = "def app(environ, start_response):\n    raise ValueError('in the check')\n"
DIES = "import os\nos.kill(os.getpid(), 11)\n"

OWN, PRELOAD = (), ("--preload",)
BOTH = pytest.mark.parametrize("options", [OWN, PRELOAD], ids=["own", "preload"])

# What is wrong, the options that it takes to find it, and what the operator reads.
BROKEN = {
    "syntax": (SYNTAX_ERROR, (), "SyntaxError"),
    "import": ("import no_such_module\n", (), "No module named 'no_such_module'"),
    "500": (ANSWERS_500, ("--check", "/"), "500 Internal Server Error"),
    "the second path": (ANSWERS_500, ("--check", "/fine", "--check", "/two"), "--check /two with"),
    "raises": (RAISES_IN_CHECK, ("--check", "/"), "ValueError: in the check"),
    "hangs": (HANGS, ("--start-timeout", "3"), "not ready after 3 seconds (--start-timeout)"),
    "dies": (DIES, (), "SIGSEGV"),
}
CASES = pytest.mark.parametrize(
    ("source", "needed", "shown"), list(BROKEN.values()), ids=list(BROKEN)
)


@BOTH
def test_a_reload_brings_new_code_to_all_workers(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running(tmp_path, "-w", "2", *options) as server:
        before = server.workers()
        assert server.get().version == "1"
        write_application(tmp_path, version="2")
        done = server.reload()
        assert (done.returncode, done.stdout) == (0, "generation 2 serves\n")
        assert server.get().version == "2"
        after = server.wait_for_workers(2)
        assert not set(before) & set(after)
        assert not zombies_of(server.pid)


@BOTH
@CASES
def test_the_old_generation_serves_on_when_the_new_one_is_no_good(
    tmp_path: Path, options: tuple[str, ...], source: str, needed: tuple[str, ...], shown: str
) -> None:
    with running(tmp_path, "-w", "2", *needed, *options) as server:
        before = server.workers()
        write_module(tmp_path, source)
        done = server.reload()
        assert done.returncode == 1
        assert shown in done.stderr
        assert shown in server.log
        assert "generation 2 does not come up" in server.log
        if "--start-timeout" in needed:
            assert "in hang_here" in server.log
            assert server.log.count("the stacks of its threads follow") == 1
        assert server.get().version == "1"
        assert server.workers() == before
        wait_until(lambda: len(processes(server.pid)) == 3 + len(options), "no other is left")
        write_application(tmp_path, version="2")
        assert server.reload().returncode == 0
        assert server.get().version == "2"


@BOTH
@CASES
def test_a_start_that_is_no_good_says_so_and_leaves_nothing(
    tmp_path: Path, options: tuple[str, ...], source: str, needed: tuple[str, ...], shown: str
) -> None:
    write_application(tmp_path, source=source)
    server = Running(tmp_path, "-w", "2", *needed, *options)
    try:
        assert server.wait_for_end() not in (0, None)
        assert shown in server.log
        if "--start-timeout" in needed:
            assert "in hang_here" in server.log
        server.assert_nothing_left()
    finally:
        server.kill()


def test_a_configuration_that_cannot_be_read_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "gateways.toml"
    file.write_text("threads = 3\n")
    with running(tmp_path, "-w", "1") as server:
        file.write_text("threads = = 3\n")
        done = server.reload()
        assert done.returncode == 1
        assert "gateways.toml" in done.stderr
        assert "gateways.toml" in server.log
        assert server.get().status == 200
        file.write_text("threads = 5\n")
        assert server.reload().returncode == 0
        (worker,) = [w for w in server.status()["workers"] if w["state"] == "serving"]
        assert len(worker["threads"]) == 5


def test_a_start_with_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gateways.toml").write_text("threads = = 3\n")
    write_application(tmp_path)
    server = Running(tmp_path, "-w", "1")
    try:
        assert server.wait_for_end() == 2
        assert "gateways.toml" in server.log
        assert "Traceback" not in server.log
        server.assert_nothing_left()
    finally:
        server.kill()


def test_a_request_that_runs_is_finished_by_the_old_generation(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server:
        with server.begin_to_wait("r") as request:
            write_application(tmp_path, version="2")
            assert server.reload().returncode == 0
            assert server.get().version == "2"
            server.release("r")
            assert request.answer().version == "1"
        server.wait_for_workers(1)


def test_reloads_that_are_asked_for_during_a_reload_bring_the_newest_code(tmp_path: Path) -> None:
    source = "import time\ntime.sleep(0.3)\n" + APPLICATION
    with running(tmp_path, "-w", "1", source=source) as server:
        words = command("reload", "--pidfile", str(server.pidfile))
        (tmp_path / "version").write_text("2")
        asking = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        server.wait_for_log("reload: asked for by the command")
        server.wait_until(
            lambda: len((tmp_path / "imports").read_text().splitlines()) >= 2, "it is loaded"
        )
        (tmp_path / "version").write_text("3")
        asking.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        told = [asked.communicate(timeout=DEADLINE_SECONDS)[0] for asked in asking]
        assert [asked.returncode for asked in asking] == [0] * 4, told
        serves(server, "3")


def test_sighup_is_a_reload(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server:
        write_application(tmp_path, version="2")
        server.signal(signal.SIGHUP)
        server.wait_for_log("(generation 2)")
        serves(server, "2")


@BOTH
def test_a_stop_during_a_reload_ends_everything(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running(tmp_path, "-w", "2", *options) as server:
        write_module(tmp_path, "open('importing', 'w').close()\n" + HANGS)
        words = command("reload", "--pidfile", str(server.pidfile))
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as asking:
            server.wait_until((tmp_path / "importing").exists, "the import hangs")
            server.signal(signal.SIGTERM)
            assert server.wait_for_end() == 0
            _, errors = asking.communicate(timeout=DEADLINE_SECONDS)
        assert asking.returncode == 1
        assert "stopped meanwhile" in errors


# -- by a change of files ----------------------------------------------------------------------


def test_a_saved_file_is_served_and_a_broken_one_is_not(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1", "--reload") as server:
        write_application(tmp_path, version="2", source=APPLICATION + "# changed\n")
        server.wait_until(lambda: server.get().version == "2", "the new code serves")
        write_module(tmp_path, SYNTAX_ERROR)
        server.wait_for_log("SyntaxError")
        serves(server, "2")
        write_application(tmp_path, version="3", source=APPLICATION + "# repaired\n")
        server.wait_until(lambda: server.get().version == "3", "the repaired code serves")


def test_a_configuration_file_that_is_saved_is_read_again(tmp_path: Path) -> None:
    """Wherever it lies."""
    folder, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    for directory in (folder, elsewhere):
        directory.mkdir()
    file = elsewhere / "config.toml"
    file.write_text("threads = 3\n")
    with running(folder, "-w", "1", "--reload", "--config", str(file)) as server:
        (worker,) = server.status()["workers"]
        assert len(worker["threads"]) == 3
        new = elsewhere / "new"
        new.write_text("threads = 5\n")
        new.rename(file)
        server.wait_for_log("config.toml was changed")
        server.wait_for_log("of 5 threads")


def test_a_touched_file_is_a_reload(tmp_path: Path) -> None:
    touched = tmp_path / "touch-me"
    with running(tmp_path, "-w", "1", "--reload-on-touch", str(touched)) as server:
        (tmp_path / "version").write_text("2")
        touched.touch()
        server.wait_until(lambda: server.get().version == "2", "a file that came to be")
        (tmp_path / "version").write_text("3")
        os.utime(touched, (1, time.time() + 5))
        server.wait_until(lambda: server.get().version == "3", "a file that was touched")


# -- for long ----------------------------------------------------------------------------------


def resident_kib(pid: int) -> int:
    """Its resident memory that is its own."""
    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE") // 1024


def descriptors(pid: int) -> list[str]:
    """What the open descriptors of a process are."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with_inode = os.readlink(path)
        found.append(with_inode.partition(":")[0] if ":" in with_inode else with_inode)
    return sorted(found)


@BOTH
def test_the_supervisor_does_not_grow(tmp_path: Path, options: tuple[str, ...]) -> None:
    wrk = require("wrk", "wrk")
    source = APPLICATION + (
        "def fast(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return [b'ok']\n"
    )
    requests, reloads, port = 100_000, 50, free_port()
    there: dict[str, Any] = {"bind": f"127.0.0.1:{port}", "application": "app:fast"}
    with running(tmp_path, "-w", "2", *options, source=source, **there) as server:

        def load(seconds: float) -> Callable[[], int]:
            words = [wrk, "-t1", "-c8", f"-d{seconds:g}s", f"http://127.0.0.1:{port}/"]
            client = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

            def result() -> int:
                text = client.communicate(timeout=60)[0]
                assert "Non-2xx" not in text, text
                return int(text.split(" requests in ")[0].split()[-1])

            return result

        def reload() -> None:
            generation = server.status()["generation"]
            server.signal(signal.SIGHUP)
            server.wait_until(
                lambda: server.status()["generation"] == generation + 1, "it is reloaded"
            )

        for _ in range(10):
            reload()
        server.wait_for_workers(2)
        memory, opened = resident_kib(server.pid), descriptors(server.pid)
        began = time.monotonic()
        made = 0
        for _ in range(10):
            result = load(1)
            for _ in range(reloads // 10):
                reload()
            made += result()
        while made < requests:
            made += load(1)()
        server.wait_for_workers(2)
        after = resident_kib(server.pid)
        print(
            f"{made} requests, {reloads} reloads in {time.monotonic() - began:.0f} s: "
            f"{memory} -> {after} KiB, {len(opened)} descriptors"
        )
        assert descriptors(server.pid) == opened
        assert after - memory < 400
        assert not zombies_of(server.pid)
