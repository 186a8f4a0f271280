"""Requests that run for too long: who is interrupted, what is answered, and what is logged."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.core.clock import Clock
from gateways.core.seldom import Seldom
from gateways.core.threads import interrupt
from gateways.core.workers import Worker
from gateways.errors import RequestTimeout
from gateways.protocols.base import Request
from gateways.wsgi.mounts import Mounts
from tests.core.serving import DEADLINE, POLLERS, LogLines, Serving, eventually, serving
from tests.protocols.vectors import begin, params, request, stdin

PROTOCOLS = ("fcgi", "http")
VARIABLES = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "REMOTE_ADDR": "192.0.2.7"}

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
pollers = pytest.mark.parametrize("poller", POLLERS)


def ask(served: Serving, protocol: str, path: str = "/", method: str = "GET") -> str:
    """One request on a connection of its own: the status code of its answer."""
    if protocol == "fcgi":
        with served.connect() as peer:
            peer.send(request(1, {**VARIABLES, "PATH_INFO": path, "REQUEST_METHOD": method}))
            return peer.reply().status[:3]
    with served.connect() as peer:
        peer.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        response = http.client.HTTPResponse(peer.sock, method=method)
        response.begin()
        response.read()
        return str(response.status)


class Asking:
    """Requests under way, each in a thread of its own."""

    def __init__(self, served: Serving, protocol: str, path: str, count: int = 1) -> None:
        self.statuses: list[str] = []
        self._threads = [
            threading.Thread(target=self._ask, args=(served, protocol, path)) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, served: Serving, protocol: str, path: str) -> None:
        self.statuses.append(ask(served, protocol, path))

    def wait(self) -> list[str]:
        """The status codes, when all are answered."""
        for thread in self._threads:
            thread.join(DEADLINE)
        return self.statuses


def app(work: Callable[[dict[str, Any]], Any]) -> Any:
    """An application that does ``work`` before it answers 200; /quick answers at once."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] != "/quick":
            work(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"in time"]

    return application


def spin(environ: dict[str, Any]) -> None:
    """A loop in Python; it would end by itself, or a test that fails would not."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        pass


@contextlib.contextmanager
def stuck_in_c() -> Iterator[Callable[[dict[str, Any]], None]]:
    """What no exception reaches: a thread that waits in C, until the block ends."""
    held = threading.Lock()

    def wait(environ: dict[str, Any]) -> None:
        held.acquire()
        held.release()

    with held:
        yield wait


def only_worker(served: Serving) -> Worker:
    """The one worker of a server with one thread, once it has started."""
    eventually(lambda: served.server._workers, "the thread")
    (worker,) = served.server._workers
    return worker


def wait_for_a_tick(served: Serving) -> None:
    before = served.server.clock.tick
    eventually(lambda: served.server.clock.tick > before, "a tick")


def timed_out(lines: LogLines) -> list[str]:
    return [text for text in lines.texts(logging.ERROR) if text.startswith("timed out: ")]


def ours(lines: LogLines) -> list[str]:
    """Errors of the server itself, which there must not be."""
    return [
        text
        for text in lines.texts(logging.ERROR)
        if "gateway itself" in text or "the application failed" in text
    ]


@protocols
def test_eight_requests_that_sleep_on_four_threads(tmp_path: Path, protocol: str) -> None:
    limits: dict[str, Any] = {
        "timeout_seconds": 0.3,
        "timeout_grace_seconds": 0.3,
        "graceful_timeout_seconds": DEADLINE,
    }
    with LogLines() as lines, stuck_in_c() as wait:
        with serving(app(wait), tmp_path, protocol=protocol, threads=4, **limits) as served:
            sleepers = Asking(served, protocol, "/sleep", 8)
            eventually(lambda: timed_out(lines), "the first time-out")
            assert ask(served, protocol, "/quick") == "200"
            assert sleepers.wait() == ["504"] * 8
            assert ask(served, protocol, "/quick") == "200"
            eventually(lambda: served.server.errors == 8, "the count")
            eventually(lambda: len(served.server._workers) == 4, "the substitutes")
            assert "did not react" in served.server.replacement_wanted
            asked = time.monotonic()
        assert time.monotonic() - asked < DEADLINE / 2  # the stuck threads do not hold up the stop
    assert len(timed_out(lines)) == 8
    for text in timed_out(lines):
        assert "GET '/sleep' from" in text
        assert "held.acquire()" in text
        assert "runner.py" not in text
    if protocol == "fcgi":
        assert all("from 192.0.2.7" in text for text in timed_out(lines))
    assert ours(lines) == []


@protocols
@pollers
def test_a_loop_is_ended_without_the_loss_of_its_thread(
    tmp_path: Path, protocol: str, poller: str
) -> None:
    with (
        LogLines() as lines,
        serving(
            app(spin), tmp_path, protocol=protocol, poller=poller, threads=1, timeout_seconds=0.4
        ) as served,
    ):
        worker = only_worker(served)
        for _ in range(3):
            assert ask(served, protocol, "/loop") == "504"
            assert ask(served, protocol, "/quick") == "200"
        assert served.server._workers == [worker]
        assert served.server.replacement_wanted == ""
    assert len(timed_out(lines)) == 3
    assert ours(lines) == []


@protocols
def test_an_application_that_is_mounted_is_interrupted_as_well(
    tmp_path: Path, protocol: str
) -> None:
    table = Mounts({"/loop": app(spin)})
    with (
        LogLines() as lines,
        serving(table, tmp_path, protocol=protocol, timeout_seconds=0.1) as served,
    ):
        assert ask(served, protocol, "/loop/x") == "504"
        assert served.server.replacement_wanted == ""  # it was not given up
    (text,) = timed_out(lines)
    assert "mounts.py" not in text
    assert ours(lines) == []


@protocols
def test_head_is_answered_504_without_a_body(tmp_path: Path, protocol: str) -> None:
    limits: dict[str, Any] = {"timeout_seconds": 0.1, "timeout_grace_seconds": 0.1}
    with (
        stuck_in_c() as wait,
        serving(app(wait), tmp_path, protocol=protocol, **limits) as served,
    ):
        assert ask(served, protocol, "/", "HEAD") == "504"


def swallows_exception(environ: dict[str, Any]) -> None:
    while True:
        try:
            spin(environ)
        except Exception:  # noqa: BLE001  # as applications do
            continue


def test_except_exception_does_not_swallow_it(tmp_path: Path) -> None:
    with serving(app(swallows_exception), tmp_path, timeout_seconds=0.1) as served:
        assert ask(served, "fcgi") == "504"
        assert served.server.replacement_wanted == ""


def makes_a_500(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    try:
        spin(environ)
    except BaseException:  # noqa: BLE001  # as applications do
        start_response("500 Oops", [("Content-Type", "text/plain")])
        return [b"caught"]
    raise AssertionError("it was not interrupted")


def makes_another_error(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    try:
        spin(environ)
    finally:
        raise KeyError("from finally")


def swallows_it_and_answers(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    try:
        spin(environ)
    except BaseException:  # noqa: BLE001  # as applications do
        pass
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"all"
    yield b" is well"


@protocols
@pytest.mark.parametrize("application", [makes_a_500, makes_another_error, swallows_it_and_answers])
def test_whatever_the_application_makes_of_it_504_is_answered(
    tmp_path: Path, protocol: str, application: Any
) -> None:
    with (
        LogLines() as lines,
        serving(application, tmp_path, protocol=protocol, timeout_seconds=0.1) as served,
    ):
        assert ask(served, protocol) == "504"
        assert served.server.replacement_wanted == ""
    assert not any("gateway itself" in text for text in lines.texts())


def test_finally_and_close_do_their_work(tmp_path: Path) -> None:
    done: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            try:
                spin({})
                yield b""
            finally:
                done.append("finally")

        def close(self) -> None:
            done.append("close")

    def application(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body()

    with serving(application, tmp_path, timeout_seconds=0.1) as served:
        assert ask(served, "fcgi") == "504"
        eventually(lambda: "close" in done)
    assert done == ["finally", "close"]


def reads(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    try:
        body = environ["wsgi.input"].read()
    except Exception as error:  # noqa: BLE001  # as applications do
        start_response("400 Bad", [("Content-Type", "text/plain")])
        return [str(error).encode()]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


@protocols
@pollers
@pytest.mark.parametrize("multiplexed", [False, True])
def test_an_upload_that_is_too_slow(
    tmp_path: Path, protocol: str, poller: str, multiplexed: bool
) -> None:
    limits: dict[str, Any] = {
        "timeout_seconds": 0.2,
        "timeout_grace_seconds": DEADLINE,
        "body_memory_bytes": 16,
    }
    with (
        LogLines() as lines,
        serving(reads, tmp_path, protocol=protocol, poller=poller, threads=2, **limits) as served,
        served.connect() as peer,
    ):
        started = time.monotonic()
        if protocol == "fcgi":
            variables = {**VARIABLES, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "100"}
            first = (
                begin(1) + params(1, {**variables, "PATH_INFO": "/up"}) + stdin(1, b"x" * 50)[:-8]
            )
            second = begin(2) + params(2, {**variables, "PATH_INFO": "/up"})
            second += stdin(2, b"x" * 50)[:-8]
            peer.send(first + (second if multiplexed else b""))
            replies = peer.replies(2 if multiplexed else 1)
            assert [reply.status[:3] for reply in replies.values()] == ["504"] * len(replies)
        else:
            peer.send(b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
            response = http.client.HTTPResponse(peer.sock)
            response.begin()
            assert response.status == 504
            response.close()
        assert time.monotonic() - started < DEADLINE / 2  # it was woken, not given up
        assert served.server.replacement_wanted == ""
    assert "read()" in timed_out(lines)[0]
    assert ours(lines) == []


def streams(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    until = time.monotonic() + (DEADLINE if environ["PATH_INFO"] == "/long" else 1.0)
    while time.monotonic() < until:
        pass
    yield b" and ended"


@protocols
@pytest.mark.parametrize("streaming", [False, True])
def test_a_response_that_has_begun(tmp_path: Path, protocol: str, streaming: bool) -> None:
    """With timeout_streaming it is cut short, however long it would go on; else it may go on."""
    limits: dict[str, Any] = {"timeout_seconds": 0.5, "timeout_streaming": streaming}
    path = "/long" if streaming else "/"
    with (
        LogLines() as lines,
        serving(streams, tmp_path, protocol=protocol, **limits) as served,
        served.connect() as peer,
    ):
        if protocol == "fcgi":
            peer.send(request(1, {**VARIABLES, "PATH_INFO": path}, keep=False))
        else:
            peer.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert peer.is_closed()
        assert b"begun" in peer.received
        assert (b"ended" in peer.received) is not streaming
        if protocol == "http":
            assert peer.received.endswith(b"0\r\n\r\n") is not streaming
        assert served.server.replacement_wanted == ""
    assert len(timed_out(lines)) == int(streaming)
    assert ours(lines) == []


@protocols
@pollers
def test_a_response_that_its_reader_does_not_take(
    tmp_path: Path, protocol: str, poller: str
) -> None:
    """With timeout_streaming its thread, which waits to write, is woken."""

    def floods(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        while True:
            yield b"x" * 65536

    limits: dict[str, Any] = {"timeout_seconds": 0.2, "timeout_streaming": True}
    with (
        LogLines() as lines,
        serving(floods, tmp_path, protocol=protocol, poller=poller, threads=1, **limits) as served,
        served.connect() as peer,
    ):
        if protocol == "fcgi":
            peer.send(request(1, {**VARIABLES, "PATH_INFO": "/"}))
        else:
            peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        worker = only_worker(served)
        eventually(lambda: worker.errors == 1, "the end of the response")
        assert served.server._workers == [worker]
    assert len(timed_out(lines)) == 1
    assert ours(lines) == []


def test_a_stuck_thread_whose_response_has_begun_costs_its_connection(tmp_path: Path) -> None:
    with stuck_in_c() as wait:

        def sticks(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"begun"
            wait(environ)

        limits: dict[str, Any] = {"timeout_seconds": 0.1, "timeout_grace_seconds": 0.1}
        with (
            serving(sticks, tmp_path, timeout_streaming=True, threads=1, **limits) as served,
            served.connect() as peer,
        ):
            peer.send(request(1, {**VARIABLES, "PATH_INFO": "/"}))
            assert peer.is_closed()
            assert b"begun" in peer.received
            assert served.connections() == 0
            eventually(lambda: served.server.replacement_wanted, "the wish for a new process")


@protocols
@pytest.mark.parametrize("catches", [False, True])
def test_a_thread_that_comes_back_late_does_no_harm(
    tmp_path: Path, protocol: str, catches: bool
) -> None:
    """It finds its request ended, whatever it still does with it, and leaves."""
    limits: dict[str, Any] = {"timeout_seconds": 0.5, "timeout_grace_seconds": 0.1}
    late: list[str] = []
    with contextlib.ExitStack() as stuck, LogLines() as lines:
        wait = stuck.enter_context(stuck_in_c())

        def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            if environ["PATH_INFO"] == "/stuck":
                try:
                    wait(environ)
                except RequestTimeout:
                    if not catches:
                        raise
                late.append("came back")
                environ["wsgi.errors"].write("late\n")
                environ["wsgi.input"].read()
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"hello"
            yield b"again"

        with serving(application, tmp_path, protocol=protocol, threads=1, **limits) as served:
            worker = only_worker(served)
            assert ask(served, protocol, "/stuck") == "504"
            eventually(lambda: worker not in served.server._workers, "the substitute")
            assert ask(served, protocol, "/quick") == "200"
            stuck.close()
            eventually(lambda: not worker._thread.is_alive(), "the end of the late thread")
            assert late == ["came back"] * catches
            assert ask(served, protocol, "/quick") == "200"
            eventually(lambda: served.server.served == 3, "the count")
            assert served.server.errors == 1
    # A thread of the test before this one may be coming back as well.
    assert len([text for text in lines.texts() if "has come back from GET '/stuck'" in text]) == 1
    assert ours(lines) == []


def test_the_slow_log_ends_nothing(tmp_path: Path) -> None:
    proceed = threading.Event()

    def waits(environ: dict[str, Any]) -> None:
        proceed.wait(DEADLINE)

    with (
        LogLines() as lines,
        serving(app(waits), tmp_path, slow_log_seconds=0.1, threads=2) as served,
    ):
        asking = Asking(served, "fcgi", "/slow")
        eventually(lambda: lines.texts(logging.WARNING), "the record")
        for _ in range(20):  # ticks go by
            assert ask(served, "fcgi", "/quick") == "200"
            wait_for_a_tick(served)
        proceed.set()
        assert asking.wait() == ["200"]
    (text,) = lines.texts(logging.WARNING)
    assert text.startswith("slow: GET '/slow' from 192.0.2.7 has been running for 0.1 seconds in")
    assert "proceed.wait(DEADLINE)" in text
    assert "runner.py" not in text


@protocols
def test_requests_that_end_about_when_their_time_does(tmp_path: Path, protocol: str) -> None:
    """The exception reaches the request that it is meant for, or none."""
    limit = 0.03

    def about(environ: dict[str, Any]) -> None:
        until = time.monotonic() + random.uniform(limit - 0.03, limit + 0.06)
        if random.random() < 0.5:
            while time.monotonic() < until:
                pass
        else:
            while time.monotonic() < until:
                time.sleep(0.001)

    statuses: list[str] = []
    until = time.monotonic() + 2.0

    def asks(served: Serving) -> None:
        while time.monotonic() < until:
            statuses.append(ask(served, protocol, random.choice(["/", "/", "/quick"])))

    with (
        LogLines() as lines,
        serving(
            app(about), tmp_path, protocol=protocol, threads=4, timeout_seconds=limit
        ) as served,
    ):
        threads = [threading.Thread(target=asks, args=(served,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert served.server.replacement_wanted == ""
    assert set(statuses) == {"200", "504"}
    assert statuses.count("504") <= len(timed_out(lines))
    assert ours(lines) == []


def in_our_code(entered: threading.Event, proceed: threading.Event) -> None:
    """The innermost frame is the clock's."""
    clock = Clock()
    entered.set()
    read, write = os.pipe()
    threading.Thread(target=lambda: proceed.wait(DEADLINE) and os.write(write, b"x")).start()
    clock.sleep(DEADLINE, read)
    for fd in (read, write):
        os.close(fd)
    clock.close()


def in_a_log_handler(entered: threading.Event, proceed: threading.Event) -> None:
    """The innermost frames are others', but our code has called them, perhaps under a lock."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            entered.set()
            proceed.wait(DEADLINE)

    logger = logging.Logger("test")
    logger.addHandler(Handler())
    Seldom(logger).warning("written to a slow disk")


def in_code_of_nobody(entered: threading.Event, proceed: threading.Event) -> None:
    """No frame is ours: a thread that the application has started."""
    entered.set()
    proceed.wait(DEADLINE)


@pytest.mark.parametrize("where", [in_our_code, in_a_log_handler, in_code_of_nobody])
def test_only_the_application_is_interrupted(
    where: Callable[[threading.Event, threading.Event], None],
) -> None:
    entered, proceed = threading.Event(), threading.Event()
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            where(entered, proceed)
        except BaseException as error:  # noqa: BLE001  # whatever it may be
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    assert entered.wait(DEADLINE)
    for _ in range(100):
        assert interrupt(thread.ident or 0, Request()) is False
    proceed.set()
    thread.join()
    assert ended == [None]


def test_a_thread_that_has_ended_is_not_interrupted() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert interrupt(thread.ident or 0, Request()) is False


def test_to_look_at_a_thread_never_stops_the_process() -> None:
    """CPython before 3.11.12 does, if the garbage collector finds a thread-local value in there."""
    program = """
import gc, threading
from gateways.core.threads import Threads

class Garbage:
    def __init__(self):
        self.itself = self
        self.value = threading.local()

own = threading.get_ident()
threads = Threads()
for threshold in range(1, 60):  # one of them is reached just then
    gc.disable()
    gc.collect()
    Garbage()
    gc.set_threshold(threshold)
    gc.enable()
    threads.frame_of(own)
    assert gc.isenabled()
    gc.disable()
    threads.frame_of(own)
    assert not gc.isenabled()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=DEADLINE)


def test_request_timeout_is_no_exception() -> None:
    assert not issubclass(RequestTimeout, Exception)
    assert "longer" in str(RequestTimeout())
