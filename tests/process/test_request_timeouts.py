"""Requests that run for too long, through the command: 504, a stack, and a new worker."""

from __future__ import annotations

import contextlib
import select
from pathlib import Path

import pytest

from tests.process.running import running

BOTH = pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])


def test_eight_requests_that_sleep_on_four_threads(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1", "-t", "4", "--timeout", "0.5") as server:
        (worker,) = server.workers()
        with contextlib.ExitStack() as stack:
            requests = [stack.enter_context(server.begin(f"/wait/r{n}")) for n in range(8)]
            assert [request.answer().status for request in requests] == [504] * 8
        server.wait_for_log("in wait\n", 8)
        for n in range(8):
            assert f"/wait/r{n}" in server.log
        # They could be interrupted, so nothing is wrong with their worker.
        answer = server.get()
        assert (answer.status, answer.pid) == (200, worker)


def test_the_other_threads_go_on_answering(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1", "-t", "4", "--timeout", "1") as server:
        for turn in range(4):
            with contextlib.ExitStack() as stack:
                waiting = [
                    stack.enter_context(server.begin_to_wait(f"r{turn}-{n}")) for n in range(2)
                ]
                sockets = [request.sock for request in waiting]
                meanwhile = 0
                while not select.select(sockets, [], [], 0)[0]:
                    assert server.get().status == 200
                    meanwhile += 1
                # The last one may have waited for a thread that waits.
                assert meanwhile > 1, "the others have waited for the threads that wait"
                assert [request.answer().status for request in waiting] == [504] * 2
        server.wait_for_log("in wait\n", 8)


@BOTH
def test_a_thread_that_cannot_be_interrupted_costs_its_worker(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    limits = ["--timeout", "0.5", "--timeout-grace", "0.5", "--graceful-timeout", "1"]
    with running(tmp_path, "-w", "1", "-t", "4", *limits, *options) as server:
        (stuck,) = server.workers()
        with server.begin_to_wait("s", "stuck") as request:
            asked = 0
            statuses = set()
            while stuck in server.workers():
                statuses.add(server.get().status)
                asked += 1
            assert statuses == {200}
            assert asked > 3
            assert request.answer().status == 504
        assert "its successor is started first" in server.log
        (successor,) = server.wait_for_workers(1)
        assert successor != stuck
        assert "time.sleep(1000)" in server.log


def test_a_slow_request_is_logged_and_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1", "--slow-log", "0.3") as server:
        with server.begin_to_wait("r") as request:
            server.wait_for_log("in wait\n")
            server.release("r")
            assert request.answer().status == 200


SPINNING = """
import os, re

def app(environ, start_response):
    if environ["PATH_INFO"] == "/spin":
        open("begun-spin", "w").close()
        re.match(r"(a+)+$", "a" * 60 + "b")  # for years, and no other thread gets its turn
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} 1 /".encode()]
"""


def test_a_process_that_hangs_as_a_whole_is_replaced(tmp_path: Path) -> None:
    limits = ["--timeout", "0.5", "--timeout-grace", "0.5"]
    with running(tmp_path, "-w", "1", *limits, source=SPINNING) as server:
        (hanging,) = server.workers()
        with server.begin("/spin"):
            server.wait_until((tmp_path / "begun-spin").exists, "the request runs")

            def is_answered_by_another() -> bool:
                answer = server.get()  # once it hangs, this waits for the successor
                assert answer.status == 200
                return answer.pid != hanging

            server.wait_until(is_answered_by_another, "its successor answers")
        server.wait_for_workers(1)
        assert "timed out: GET /spin (from" in server.log
        assert "keeps the whole process from running" in server.log
        server.wait_for_log("in match\n")  # the stack, from faulthandler
