"""``gateways run`` under what keeps a service going: its user, its number, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.harness import DEADLINE_SECONDS, accepts, has_ended, room, wait_until

from .serving import RUN, Place, left_of, serving

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")

# What it is asked, it does, in whatever process it runs.
APPLICATION = """
import os, sys
from flup.server.{module} import WSGIServer
WHERE = os.environ.get('WHERE'), os.getcwd()

def app(environ, start_response):
    if environ['PATH_INFO'] == '/stop':
        server.stop()
    text = '{{}} {{}} {{}} {{}} {{}}'.format(os.getpid(), os.geteuid(), os.getegid(), *WHERE)
    start_response('200 OK', [])
    return [text.encode()]

server = WSGIServer(app, **{kw})
"""
KINDS = ["fcgi", "fcgi_fork"]


@pytest.fixture
def place() -> Iterator[Place]:
    with room() as directory:
        yield Place(directory)


def script_of(place: Place, module: str = "fcgi", end: str = "", **kw: object) -> Path:
    path = place.folder / "script.fcgi"
    text = APPLICATION.format(module=module, kw=kw)
    path.write_text(text + (end or "sys.exit(server.run() and 42 or 0)"))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("module", KINDS)
def test_the_file_with_its_number_is_there_while_it_serves(place: Place, module: str) -> None:
    pidfile = place.folder / "app.pid"
    words: list[str | Path] = [*RUN, script_of(place, module), "--pidfile", pidfile, "-b"]
    other = place.folder / "other.sock"
    with serving(place, [*words, place.socket], "fcgi", place.socket) as served:
        assert served.ask("/").status == 200
        assert pidfile.read_text() == f"{served.process.pid}\n"
        again = subprocess.run([*words, other], capture_output=True, text=True, check=False)
        assert (again.returncode, again.stdout) == (2, "")
        assert "--pidfile" in again.stderr
        assert not other.exists()
        assert served.stop() == 0
    assert not pidfile.exists()


@pytest.mark.parametrize(
    ("module", "status", "answer"),
    [
        ("fcgi", 1, "without a supervisor (--workers 0)"),
        ("fcgi_fork", 0, "serving"),
    ],
)
def test_what_it_does_can_be_asked_where_there_are_workers(
    place: Place, module: str, status: int, answer: str
) -> None:
    pidfile = place.folder / "app.pid"
    words: list[str | Path] = [script_of(place, module), "-b", place.socket, "--pidfile", pidfile]
    with serving(place, [*RUN, *words], "fcgi", place.socket) as served:
        assert served.ask("/").status == 200

        def told(command: str) -> tuple[int, str]:
            manage = [*RUN[:-1], command, "--pidfile", str(pidfile)]
            done = subprocess.run(manage, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

        found, text = told("status")
        assert found == status
        assert answer in text
        found, text = told("reload")
        assert found == 1
        assert "script" in text
        assert served.ask("/").status == 200


@as_root
@pytest.mark.parametrize("module", KINDS)
def test_it_serves_as_the_user_that_is_named(place: Place, module: str) -> None:
    words: list[str | Path] = [script_of(place, module), "-b", place.socket]
    words += ["--user", "nobody", "--group", "12"]
    with serving(place, [*RUN, *words], "fcgi", place.socket) as served:
        assert served.ask("/").body.split()[1:3] == [b"65534", b"12"]


@pytest.mark.parametrize("user", ["nobody-of-that-name"])
def test_a_user_that_is_not_there_ends_the_start(place: Place, user: str) -> None:
    words: list[str | Path] = [*RUN, script_of(place, end="print('begun')"), "--user", user]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--user" in done.stderr


def test_variables_and_a_directory_are_there_when_the_script_is_read(place: Place) -> None:
    script = script_of(place)
    (place.folder / "lib").mkdir()
    words = ["--chdir", str(place.folder / "lib"), "--env", "WHERE=there", "-b", place.socket]
    # A path of a script is one from where the command was typed.
    name = os.path.relpath(script, "/")
    with serving(place, [*RUN, name, *words], "fcgi", place.socket) as served:
        assert served.ask("/").body.decode().split()[3:] == ["there", f"{place.folder}/lib"]


@pytest.mark.parametrize("module", KINDS)
def test_it_goes_into_the_background_when_it_serves(place: Place, module: str) -> None:
    pidfile = place.folder / "app.pid"
    words = ["-b", place.socket, "--daemon", "--pidfile", str(pidfile)]
    done = subprocess.run(
        [*RUN, script_of(place, module), *words, "--error-log", str(place.folder / "log")],
        stdin=subprocess.DEVNULL,
        capture_output=True,  # which ends when all that holds it has let go
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    pid = int(pidfile.read_text())
    try:
        assert accepts(place.socket)
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: has_ended(pid), "the daemon has ended")
    assert not Path(place.socket).exists()
    assert "serving" in (place.folder / "log").read_text()


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        ("raise KeyError('mine')", 1, "KeyError: 'mine'"),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('no')", 1, "no"),
        ("server._bind_address = '/nowhere/x'; server.run()", 2, "cannot listen"),
    ],
)
def test_a_command_whose_daemon_does_not_serve_says_so(
    place: Place, end: str, status: int, message: str
) -> None:
    done = subprocess.run(
        [*RUN, script_of(place, end=end), "--daemon"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert message in done.stderr


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("--reload", "gateways migrate"),
        ("--reload-on-touch=x", "gateways migrate"),
        ("--preload", "forked from where"),
        ("--check=/", "gateways migrate"),
        ("--mount=/x=y:z", "gateways migrate"),
        ("--chroot=/srv", "gateways migrate"),
        ("--clear-env", "env -i"),
        ("--config=x", "no file"),
        ("--chmod-socket", "--bind"),  # of another server
    ],
)
def test_what_a_script_cannot_have_is_refused_with_what_there_is_instead(
    place: Place, flag: str, remedy: str
) -> None:
    words: list[str | Path] = [*RUN, flag, script_of(place, end="print('begun')")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert flag.partition("=")[0] in done.stderr
    assert remedy in done.stderr


def test_a_variable_that_has_no_effect_is_warned_of(place: Place) -> None:
    done = subprocess.run(
        [*RUN, script_of(place, end="print('begun')")],
        env={**os.environ, "GATEWAYS_RELOAD_ON_TOUCH": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "begun\n"
    assert "GATEWAYS_RELOAD_ON_TOUCH has no effect: a script loads" in done.stderr


def test_a_keyword_that_comes_too_late_is_refused(place: Place) -> None:
    words: list[str | Path] = [*RUN, script_of(place, reload=True)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "WSGIServer(reload=…) does nothing in a script" in done.stderr


def test_a_process_alone_leaves_after_max_requests_and_asks_to_be_started_again(
    place: Place,
) -> None:
    words: list[str | Path] = [script_of(place), "--workers", "0", "--max-requests", "2"]
    with serving(place, [*RUN, *words], "fcgi", None) as served:
        assert [served.ask("/").status for _ in range(2)] == [200, 200]
        assert served.process.wait(DEADLINE_SECONDS) == 42, served.log
        assert "--max-requests" in served.log


def test_a_script_that_asks_for_max_requests_itself_gets_it(place: Place) -> None:
    with serving(place, [*RUN, script_of(place, max_requests=2)], "fcgi", None) as served:
        pids = set()

        def replaced() -> bool:
            pids.add(served.ask("/").body.split()[0])
            return len(pids) > 1

        wait_until(replaced, "a successor")
        assert served.stop() == 0


@pytest.mark.parametrize("words", [(), pytest.param(("--user", "nobody"), marks=as_root)], ids=str)
@pytest.mark.parametrize("module", KINDS)
def test_stop_stops_all_of_it_whichever_process_calls_it(
    place: Place, module: str, words: tuple[str, ...]
) -> None:
    command: list[str | Path] = [*RUN, script_of(place, module), "-b", place.socket, *words]
    with serving(place, command, "fcgi", place.socket) as served:
        assert served.ask("/stop").status == 200, "what runs is finished"
        assert served.process.wait(DEADLINE_SECONDS) == 0, served.log
        wait_until(lambda: not left_of(served), "all have left")
    assert not Path(place.socket).exists()


@pytest.mark.parametrize("module", KINDS)
def test_a_thread_of_the_script_may_stop_it(place: Place, module: str) -> None:
    fifo = place.folder / "fifo"
    os.mkfifo(fifo)
    end = f"""
import threading
def wait():
    open({str(fifo)!r}).read()
    server.stop()
threading.Thread(target=wait).start()
sys.exit(server.run() and 42 or 0)
"""
    script = script_of(place, module, end, maxSpare=5)
    with serving(place, [*RUN, script, "-b", place.socket], "fcgi", place.socket) as served:
        assert served.ask("/").status == 200
        fifo.open("w").close()
        assert served.process.wait(DEADLINE_SECONDS) == 0, served.log
        wait_until(lambda: not left_of(served), "all have left")


@pytest.mark.parametrize("module", KINDS)
def test_logs_are_opened_anew_where_that_is_what_a_signal_means(place: Place, module: str) -> None:
    log = place.folder / "log"
    words = ["-b", place.socket, "--access-log", str(log), "--sigusr1", "reopen"]
    with serving(place, [*RUN, script_of(place, module), *words], "fcgi", place.socket) as served:
        assert served.ask("/one").status == 200
        log.rename(place.folder / "old")
        served.process.send_signal(signal.SIGUSR1)
        wait_until(log.exists, "a new file")
        assert served.stop() == 0


@pytest.mark.parametrize("module", KINDS)
def test_systemd_is_told_that_it_serves(place: Place, module: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(place.folder / "notify")
        manager.bind(path)
        manager.settimeout(DEADLINE_SECONDS)
        command: list[str | Path] = [*RUN, script_of(place, module), "-b", place.socket]
        environment = {"NOTIFY_SOCKET": path}
        with serving(place, command, "fcgi", place.socket, environment=environment) as served:
            said = b""
            while b"READY=1" not in said:
                said += manager.recv(4096)
            assert served.stop() == 0


def test_a_script_of_ours_has_them_as_keywords(place: Place) -> None:
    pidfile = place.folder / "app.pid"
    script = script_of(place, pidfile=str(pidfile))
    script.write_text(script.read_text().replace("flup.server", "gateways"))
    with serving(place, [sys.executable, script], "fcgi", None) as served:
        assert served.ask("/").status == 200
        assert pidfile.exists()
        assert served.stop() == 0
    assert not pidfile.exists()
