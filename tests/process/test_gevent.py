"""-k gevent through the command: the threads of a worker are greenlets in one thread."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateways.client import Response, request
from tests.process.running import APPLICATION, Running, run, running, serves, write_application
from tests.servers.harness import DEADLINE_SECONDS, accepts, wait_until

GEVENT = ("-k", "gevent", "--threads", "100")
MANY = 100

SOURCE = (
    """
from gevent import monkey
PATCHED = [name for name in ("socket", "threading", "time", "select", "queue", "subprocess",
                             "signal", "os", "ssl") if monkey.is_module_patched(name)]
"""
    + APPLICATION
    + """
import json, queue, socket, gevent

served = app
local = threading.local()
lock = threading.Lock()

def ask():  # an upstream, which takes its time
    with socket.socket(socket.AF_UNIX) as upstream:
        upstream.connect("upstream")
        return upstream.recv(100).decode()

def find(path, environ):
    if path == "/upstream":
        local.number = environ["QUERY_STRING"]
        ask()
        return [local.number, threading.get_native_id(), len(os.listdir("/proc/self/task"))]
    if path == "/patched":
        return [PATCHED, environ["wsgi.multithread"], os.getpid()]
    if path == "/locked":
        with lock:
            return ask()
    if path == "/spawned":
        results = queue.Queue()
        jobs = [gevent.spawn(lambda: results.put(ask())) for _ in range(3)]
        gevent.joinall(jobs)
        return [results.get() for _ in jobs]
    if path == "/upload":
        return len(environ["wsgi.input"].read())
    if path == "/fork":
        if os.fork() == 0:
            wait("child")
            open("done-child", "w").close()
            os._exit(0)
        return "forked"
    if path == "/wait/other":
        wait("other")
        open(f"over-{os.getpid()}", "w").close()
    if path.startswith("/stubborn/"):
        open("begun-stubborn", "w").close()
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass
    return None

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/pieces":
        start_response("200 OK", [("Content-Length", str(200 << 16))])
        return (bytes(1 << 16) for _ in range(200))
    if path == "/file":
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open("large", "rb"))
    found = find(path, environ)
    if found is None:
        return served(environ, start_response)
    start_response("200 OK", [])
    return [json.dumps(found).encode()]
"""
)

PLACES = {"own": (), "preload": ("--preload",), "alone": ("--workers", "0")}
places = pytest.mark.parametrize("options", PLACES.values(), ids=PLACES.keys())


class Upstream:
    """What the application asks: it answers nobody before ``answer``."""

    def __init__(self, folder: Path) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / "upstream"))
        self._listening.listen(MANY)
        self._listening.settimeout(DEADLINE_SECONDS)
        self._waiting: list[socket.socket] = []

    def wait_for(self, count: int) -> None:
        """Until that many more have come to ask."""
        for _ in range(count):
            self._waiting.append(self._listening.accept()[0])

    def answer(self) -> None:
        """Whoever asks."""
        while self._waiting:
            with self._waiting.pop() as one:
                one.sendall(b"answer")

    def close(self) -> None:
        """Nobody will ask any more."""
        self.answer()
        self._listening.close()


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    instance = Upstream(tmp_path)
    yield instance
    instance.close()


@contextlib.contextmanager
def green(folder: Path, *options: str, **rest: Any) -> Iterator[Running]:
    with running(folder, *GEVENT, *options, source=SOURCE, **rest) as server:
        yield server


def found(answer: Response) -> Any:
    """What the application found out."""
    assert answer.status == 200
    return json.loads(answer.body)


def assert_that_a_hundred_wait_in_one_thread(target: str, upstream: Upstream) -> None:
    """Requests of the upstream, which answers nobody before all of them have asked it."""
    with ThreadPoolExecutor(MANY) as clients:
        asked = [clients.submit(request, target, f"/upstream?{number}") for number in range(MANY)]
        upstream.wait_for(MANY)
        upstream.answer()
        answers = [found(each.result()) for each in asked]
    assert [number for number, _, _ in answers] == [str(number) for number in range(MANY)]
    assert len({thread for _, thread, _ in answers}) == 1
    assert {threads for _, _, threads in answers} == {1}


@pytest.mark.parametrize("protocol", ["fcgi", "uwsgi", "scgi", "http"])
def test_a_hundred_requests_wait_at_once_in_one_thread(
    tmp_path: Path, upstream: Upstream, protocol: str
) -> None:
    with green(tmp_path, protocol=protocol) as server:
        assert_that_a_hundred_wait_in_one_thread(f"{protocol}:{server.address}", upstream)


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
def test_an_application_that_patches_by_itself_has_greenlets(
    tmp_path: Path, upstream: Upstream, options: tuple[str, ...]
) -> None:
    source = f"from gevent import monkey\nmonkey.patch_all()\n{SOURCE}"
    with running(tmp_path, "--threads", "100", *options, source=source) as server:
        assert_that_a_hundred_wait_in_one_thread(f"http:{server.address}", upstream)


@places
def test_all_is_patched_before_the_application_is_imported_and_only_there(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with green(tmp_path, *options) as server:
        patched, multithread, pid = json.loads(server.get("/patched").text)
        assert len(patched) == 9
        assert multithread
        for process in {server.pid, pid}:
            maps = Path(f"/proc/{process}/maps").read_text()
            assert ("/gevent/_" in maps) is (process == pid)


def test_locks_queues_and_greenlets_of_the_application(tmp_path: Path, upstream: Upstream) -> None:
    with green(tmp_path) as server, contextlib.ExitStack() as stack:
        locked = [stack.enter_context(server.begin("/locked")) for _ in range(2)]
        upstream.wait_for(1)
        spawned = stack.enter_context(server.begin("/spawned"))
        upstream.wait_for(3)
        assert server.get().status == 200
        upstream.answer()
        upstream.wait_for(1)  # the second one has the lock now
        upstream.answer()
        assert [each.answer().text for each in locked] == ['"answer"'] * 2
        assert json.loads(spawned.answer().text) == ["answer"] * 3


@pytest.mark.parametrize("path", ["/pieces", "/file"])
def test_a_slow_client_keeps_nobody_waiting(tmp_path: Path, path: str) -> None:
    (tmp_path / "large").write_bytes(bytes(200 << 16))
    with green(tmp_path) as server, server.begin(path) as slow:
        response = slow.getresponse()
        for _ in range(3):
            assert server.get().status == 200
        assert len(response.read()) == 200 << 16


def test_a_slow_upload_keeps_nobody_waiting(tmp_path: Path) -> None:
    size = 1 << 20
    with green(tmp_path) as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.begin("/")) for _ in range(5)]
        for each in slow:
            assert each.answer().status == 200
            each.putrequest("POST", "/upload")
            each.putheader("Content-Length", str(size))
            each.endheaders(bytes(size // 2))  # more than is held for it: it runs
        server.wait_until(lambda: busy(server) == len(slow), "the uploads are being read")
        assert server.get().status == 200
        for each in slow:
            each.send(bytes(size // 2))
            assert each.answer().text == str(size)


def busy(server: Running) -> int:
    """How many requests run, as ``gateways status`` has it."""
    (worker,) = server.status()["workers"]
    return sum(thread["busy"] for thread in worker["threads"])


@places
def test_a_reload_and_a_stop_let_finish_what_runs(tmp_path: Path, options: tuple[str, ...]) -> None:
    with green(tmp_path, *options) as server:
        with server.begin_to_wait("a") as running_request:
            write_application(tmp_path, "2", SOURCE)
            server.signal(signal.SIGHUP)
            if options != PLACES["alone"]:  # which comes back when it has answered
                serves(server, "2")
            server.release("a")
            assert running_request.answer().version == "1"
        serves(server, "2")
        with server.begin_to_wait("b") as running_request:
            server.signal(signal.SIGTERM)
            wait_until(lambda: not server.is_listening(), "it accepts no more")
            server.release("b")
            assert running_request.answer().version == "2"
        assert server.wait_for_end() == 0


def test_a_worker_that_has_had_its_time_is_replaced(tmp_path: Path) -> None:
    with green(tmp_path, "--max-requests", "3") as server:
        first = server.get().pid
        wait_until(lambda: server.get().pid != first, "another worker answers")


def test_requests_that_wait_for_too_long_are_ended_where_they_wait(tmp_path: Path) -> None:
    with green(tmp_path, "--timeout", "0.5") as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        names = [f"r{number}" for number in range(20)]
        waiting = [stack.enter_context(server.begin(f"/wait/{name}")) for name in names]
        stuck = stack.enter_context(server.begin_to_wait("s", "stuck"))
        assert [each.answer().status for each in [*waiting, stuck]] == [504] * 21
        server.wait_for_log("in wait\n", 20)
        answer = server.get()
        assert (answer.status, answer.pid) == (200, worker)
        assert "did not react" not in server.log


def test_a_request_that_does_not_react_costs_its_worker(tmp_path: Path) -> None:
    limits = ["--timeout", "0.5", "--timeout-grace", "0.5", "--graceful-timeout", "1"]
    with green(tmp_path, *limits) as server:
        (stubborn,) = server.workers()
        with server.begin_to_wait("stubborn", "stubborn") as one:
            assert one.answer().status == 504
        wait_until(lambda: server.get().pid != stubborn, "another worker answers")
        server.wait_for_log("did not react")


def test_what_a_request_has_forked_goes_on_with_the_other_greenlets_in_it(tmp_path: Path) -> None:
    with green(tmp_path) as server:
        with server.begin_to_wait("other") as other:
            assert server.get("/fork").status == 200
            server.wait_until((tmp_path / "begun-child").exists, "the child runs")
            server.release("other")
            assert other.answer().status == 200
        # gevent lets all of them run in both; that one must not end the child.
        wait_until(lambda: len([*tmp_path.glob("over-*")]) == 2, "it has ended in both")
        assert server.get().status == 200
        server.release("child")
        server.wait_until((tmp_path / "done-child").exists, "the child does its work")


def test_each_request_has_its_line_in_the_access_log(tmp_path: Path) -> None:
    log = tmp_path / "access"
    with green(tmp_path, "--access-log", str(log), "--access-format", "{path}") as server:
        names = [f"/{number}" for number in range(50)]
        with contextlib.ExitStack() as stack:
            for each in [stack.enter_context(server.begin(name)) for name in names]:
                assert each.answer().status == 200
    assert sorted(log.read_text().split()) == sorted(names)


REFUSED = {
    "eventlet": "it is deprecated by its own authors; give gevent",
    "sync": "give --threads 1",
    "tornado": "an idle connection takes no thread",
    "gevent_pywsgi": "give gevent",
    "uvicorn.workers.UvicornWorker": "give gthread (threads), or gevent (greenlets)",
}


@pytest.mark.parametrize(("name", "remedy"), REFUSED.items(), ids=REFUSED.keys())
def test_what_gunicorn_has_besides_is_refused_with_a_remedy(
    tmp_path: Path, name: str, remedy: str
) -> None:
    done = run(tmp_path, "http", "-k", name, "-b", "127.0.0.1:0", "app:app")
    assert done.returncode == 2
    assert remedy in " ".join(done.stderr.split())


@places
def test_where_there_is_no_gevent_the_message_names_the_extra(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    write_application(tmp_path)
    (tmp_path / "gevent.py").write_text("raise ImportError('No module of that name')")
    words = ["http", *GEVENT, *options, "-b", str(tmp_path / "app.sock"), "app:app"]
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert "pip install 'gateways[gevent]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_gevent_may_come_from_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "gateways.toml").write_text('worker-class = "gevent"\nthreads = 100\n')
    with running(tmp_path, source=SOURCE) as server:
        assert len(json.loads(server.get("/patched").text)[0]) == 9


# -- below the command: what no request shows for certain ------------------------------------------

HELD = """
from gevent import monkey; monkey.patch_all()
import time
import gevent
from gateways.core import syscalls
from gateways.core.threads import threads_of_process

threads_of_process()
lock = syscalls.new_lock()

def hold():
    with lock:
        time.sleep(0.1)  # a finalizer of the application may wait anywhere

holders = [gevent.spawn(hold) for _ in range(3)]
gevent.joinall(holders, raise_error=True)
print("released")
"""


def test_a_greenlet_that_finds_a_lock_held_lets_its_holder_go_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELD], capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert done.stdout == "released\n", done.stderr


SCRIPT = """
from gevent import monkey; monkey.patch_all()
import os, sys
sys.path.insert(0, "")
from app import app
from gateways.fcgi import WSGIServer
WSGIServer(app, bindAddress="app.sock", threads=100).run()
"""


WAKERS = """
from gevent import monkey; monkey.patch_all()
import gevent
from gateways.core.threads import threads_of_process

poller = threads_of_process().new_poller()
jobs = [gevent.spawn(poller.waker) for _ in range(3)]
gevent.joinall(jobs, raise_error=True)
print(len({id(job.value) for job in jobs}))
"""


def test_each_greenlet_is_woken_for_itself() -> None:
    done = subprocess.run([sys.executable, "-c", WAKERS], capture_output=True, text=True)
    assert done.stdout == "3\n", done.stderr


def test_a_script_that_asks_for_greenlets_has_to_patch_first(tmp_path: Path) -> None:
    script = "from gateways.fcgi import WSGIServer\nWSGIServer(None, worker_class='gevent')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "from gevent import monkey; monkey.patch_all()" in done.stderr


def test_a_script_that_patches_itself_has_greenlets(tmp_path: Path, upstream: Upstream) -> None:
    write_application(tmp_path, source=SOURCE)
    address = str(tmp_path / "app.sock")
    script = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path)
    try:
        wait_until(lambda: accepts(address), "it accepts")
        assert_that_a_hundred_wait_in_one_thread(f"fcgi:{address}", upstream)
        script.terminate()
        assert script.wait(DEADLINE_SECONDS) == 0
    finally:
        script.kill()
        script.wait()


JAILED = """
import gevent, socket, time

def app(environ, start_response):
    time.sleep(0.01)
    try:
        socket.getaddrinfo("localhost", 80)
    except OSError:
        pass  # there is no /etc/hosts either
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [type(gevent.getcurrent()).__name__.encode()]
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
def test_gevent_need_not_be_in_the_jail(tmp_path: Path, options: tuple[str, ...]) -> None:
    tmp_path.chmod(0o755)
    jailed = ("--chroot", str(tmp_path), "--user", "nobody")
    with running(tmp_path, *GEVENT, *jailed, *options, source=JAILED) as server:
        assert server.get().text == "Greenlet"
