"""How many workers there are: between a least and a most, as many as CPUs, one more or less."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from gateways.process.cpus import available_cpus
from tests.process.running import processes, running
from tests.servers.harness import wait_until

BOTH = pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])


@BOTH
def test_workers_come_with_the_load_and_go_with_it(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    scale = ["-w", "1:3", "-t", "2", "--worker-idle-timeout", "0.5"]
    with running(tmp_path, *scale, *options) as server, contextlib.ExitStack() as stack:
        assert len(server.workers()) == 1
        requests = [stack.enter_context(server.begin_to_wait(f"r{n}")) for n in range(2)]
        server.wait_until(lambda: len(server.workers()) == 2, "a second worker")
        # Not "all are busy": who is asked is up to the kernel.
        requests += [stack.enter_context(server.begin(f"/wait/s{n}")) for n in range(3)]
        server.wait_until(lambda: len(server.workers()) == 3, "a third worker")
        assert server.get().status == 200
        for n in range(2):
            server.release(f"r{n}")
        for n in range(3):
            server.release(f"s{n}")
        for request in requests:
            assert request.answer().status == 200
        server.wait_for_workers(1)
        assert server.get().status == 200
        wait_until(lambda: len(processes(server.pid)) == 2 + len(options), "the others have ended")


@BOTH
def test_nobody_waits_where_nobody_asks(tmp_path: Path, options: tuple[str, ...]) -> None:
    scale = ["-w", "0:2", "--worker-idle-timeout", "0.3"]
    with running(tmp_path, *scale, *options) as server:
        pids = set()
        for _ in range(3):
            server.wait_for_workers(0)
            answer = server.get()
            assert answer.status == 200
            pids.add(answer.pid)
        assert len(pids) == 3
        server.wait_for_workers(0)
        (tmp_path / "version").write_text("2")
        assert server.reload().returncode == 0
        assert server.get().version == "2"


def test_a_request_keeps_its_worker_however_long_it_takes(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "0:2", "--worker-idle-timeout", "0.2") as server:
        with server.begin_to_wait("r") as request:
            (worker,) = server.workers()
            # Whoever is not needed has been sent away by then.
            with server.begin_to_wait("s") as other:
                server.release("s")
                assert other.answer().status == 200
            assert worker in server.workers()
            server.release("r")
            assert request.answer().pid == worker
        server.wait_for_workers(0)


def test_signals_make_one_more_and_one_less(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1") as server:
        server.signal(signal.SIGTTIN)
        assert len(server.wait_for_workers(2)) == 2
        server.signal(signal.SIGTTOU)
        server.wait_for_workers(1)
        assert server.get().status == 200
        (tmp_path / "version").write_text("2")
        assert server.reload().returncode == 0
        assert len(server.wait_for_workers(1)) == 1


def test_auto_is_a_worker_for_each_cpu(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "auto") as server:
        assert len(server.workers()) == available_cpus()


CPUS = len(os.sched_getaffinity(0))
V1 = "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "sys/fs/cgroup/cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, CPUS),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, CPUS),
        ({"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "110000 100000\n"}, min(2, CPUS)),
        ({"sys/fs/cgroup/cpu.max": "6400000 100000\n"}, CPUS),
        ({"sys/fs/cgroup/cpu.max": "0 100000\n"}, CPUS),
        ({"sys/fs/cgroup/cpu.max": "nonsense\n"}, CPUS),
        ({"sys/fs/cgroup/cpu.max": ""}, CPUS),
        ({V1[0]: "-1\n", V1[1]: "100000\n"}, CPUS),
        ({V1[0]: "100000\n", V1[1]: "100000\n"}, 1),
        ({V1[0]: "150000\n", V1[1]: "100000\n"}, min(2, CPUS)),
        ({V1[0]: "100000\n"}, CPUS),
    ],
)
def test_a_control_group_may_allow_fewer_cpus(
    tmp_path: Path, files: dict[str, str], cpus: int
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert available_cpus(str(tmp_path)) == cpus
