"""``gateways run``: what is told to it counts more than what the script says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateways.client import ConnectionLost, request
from gateways.flup.standin import explain
from tests.process.test_footprint import UNWANTED
from tests.servers.harness import DEADLINE_SECONDS, free_port, wait_until

from .serving import RUN, Place, left_of, serving

SERVE = "from flup.server.fcgi import WSGIServer\nfrom visitors import application\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def write(place: Place, text: str, name: str = "script.fcgi") -> Path:
    path = place.folder / name
    path.write_text(place.fill(text))
    path.chmod(0o755)
    return path


def run(place: Place, text: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script to its end."""
    return subprocess.run(
        [*RUN, str(write(place, text)), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        **options,
    )


# -- what is served, and how -------------------------------------------------------------------


def test_an_address_of_the_command_counts_more_than_the_scripts(place: Place) -> None:
    script = write(place, SERVE + "WSGIServer(application, bindAddress='/nowhere/x').run()")
    words = ["--bind", place.socket, "--script-name", "/app", "--threads", "1"]
    with serving(place, [*RUN, str(script), *words], "fcgi", place.socket) as served:
        seen = json.loads(served.ask("/app/x").body)
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/app", "/x")
        assert seen["wsgi.multithread"] is False
        assert served.stop() == 0
    assert not Path(place.socket).exists()


@pytest.mark.parametrize("module", ["fcgi", "fcgi_fork", "scgi", "cgi"])
def test_a_script_of_any_kind_is_served_over_http(place: Place, module: str) -> None:
    text = SERVE.replace("fcgi", module) + "WSGIServer(application).run()"
    port = free_port()
    command = [*RUN, "-b", f"http:127.0.0.1:{port}", str(write(place, text))]
    with serving(place, command, "http", ("127.0.0.1", port)) as served:
        assert json.loads(served.ask("/x?y").body)["QUERY_STRING"] == "y"
        assert served.stop() == 0


def test_allowed_servers_do_not_shut_a_unix_socket(place: Place) -> None:
    text = SERVE.replace("fcgi", "scgi")
    script = write(place, text + "WSGIServer(application, allowedServers=['192.0.2.1']).run()")
    with serving(place, [*RUN, script, "-b", place.socket], "scgi", place.socket) as served:
        assert served.ask("/").status == 200


def test_worker_processes_are_given_to_a_script_with_threads(place: Place) -> None:
    script = write(place, SERVE + "WSGIServer(application, {'mine': 'm'}).run()")
    with serving(place, [*RUN, "--workers", "2", script], "fcgi", None) as served:
        seen = json.loads(served.ask("/").body)
        assert (seen["wsgi.multiprocess"], seen["mine"]) == (True, "m")
        assert len(left_of(served)) == 3
        assert served.stop() == 0
        wait_until(lambda: not left_of(served), "all have left")


def test_a_worker_is_replaced_after_max_requests(place: Place) -> None:
    text = """
import os
from flup.server.fcgi_fork import WSGIServer
loaded = os.getpid()
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %d' % (os.getpid(), loaded)]
WSGIServer(app, maxRequests=3, minSpare=1, maxSpare=1, maxChildren=1).run()
"""
    with serving(place, [*RUN, write(place, text)], "fcgi", None) as served:
        answers: list[list[bytes]] = []

        def replaced() -> bool:
            answers.append(served.ask("/").body.split())
            return len({worker for worker, _ in answers}) > 2

        wait_until(replaced, "two successors")
        assert {loaded for _, loaded in answers} == {str(served.process.pid).encode()}
        assert served.stop() == 0


@pytest.mark.parametrize("module", ["fcgi", "fcgi_fork"])
def test_options_come_from_the_environment_too(place: Place, module: str) -> None:
    text = f"""
import os
from flup.server.{module} import WSGIServer
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %a' % (os.getpid(), environ['wsgi.multithread'])]
WSGIServer(app, minSpare=1, maxSpare=1).run()
"""
    ours = {"GATEWAYS_MAX_REQUESTS": "2", "GATEWAYS_THREADS": "3", "GATEWAYS_WORKERS": "1"}
    with serving(place, [*RUN, write(place, text)], "fcgi", None, environment=ours) as served:
        answers: list[list[bytes]] = []

        def replaced() -> bool:
            answers.append(served.ask("/").body.split())
            return len({worker for worker, _ in answers}) > 1

        wait_until(replaced, "a successor")
        assert {threaded for _, threaded in answers} == {b"True"}
        assert served.stop() == 0


def test_workers_leave_when_their_script_is_killed(place: Place) -> None:
    script = write(place, SERVE.replace("fcgi", "fcgi_fork") + "WSGIServer(application).run()")
    with serving(place, [*RUN, script, "-b", place.socket], "fcgi", place.socket) as served:
        assert served.ask("/").status == 200
        served.process.kill()
        served.process.wait()
        wait_until(lambda: not left_of(served), "the workers have left")
        assert not Path(place.socket).exists()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGHUP, 1), (signal.SIGUSR2, 1), (signal.SIGUSR1, 0)]
)
def test_a_script_that_forks_is_told_of_a_restart(
    place: Place, number: signal.Signals, status: int
) -> None:
    text = SERVE.replace("fcgi", "fcgi_fork") + "raise SystemExit(WSGIServer(application).run())"
    with serving(place, [*RUN, write(place, text)], "fcgi", None) as served:
        assert served.ask("/").status == 200
        assert served.stop(number) == status


def test_a_worker_that_dies_is_replaced(place: Place) -> None:
    text = """
import os
from flup.server.fcgi_fork import WSGIServer
def app(environ, start_response):
    if environ['PATH_INFO'] == '/die':
        os.kill(os.getpid(), 9)
    start_response('200 OK', [])
    return [b'alive']
WSGIServer(app, maxSpare=1, maxChildren=1).run()
"""
    with serving(place, [*RUN, write(place, text)], "fcgi", None) as served:
        with pytest.raises(ConnectionLost):
            served.ask("/die")
        assert served.ask("/").body == b"alive"
        assert "has ended unexpectedly" in served.log


def test_the_logs_go_where_the_command_says(place: Place) -> None:
    text = "import logging.config\nlogging.config.dictConfig({'version': 1})\n" + SERVE
    script = write(place, text + "WSGIServer(application).run()")
    access, errors = place.folder / "access", place.folder / "errors"
    words = ["--access-log", str(access), "--error-log", str(errors)]
    with serving(place, [*RUN, script, *words], "fcgi", None) as served:
        assert served.ask("/seen").status == 200
        assert served.stop() == 0
        assert served.log == ""
    assert "GET /seen" in access.read_text()
    assert "serving on" in errors.read_text()


@pytest.mark.parametrize("module", ["fcgi", "fcgi_fork"])
def test_a_process_that_serves_holds_nothing_that_is_not_needed_for_it(
    place: Place, module: str
) -> None:
    text = f"""
import sys
from flup.server.{module} import WSGIServer
def app(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(sys.modules).encode()]
WSGIServer(app).run()
"""
    with serving(place, [*RUN, write(place, text)], "fcgi", None) as served:
        loaded = set(served.ask("/").body.decode().split())
    bare = subprocess.check_output([sys.executable, "-c", "import sys; print(*sys.modules)"])
    assert (loaded - set(bare.decode().split())) & UNWANTED == set()


# -- a script's surroundings -------------------------------------------------------------------


def test_a_script_is_run_as_the_interpreter_runs_it(place: Place) -> None:
    text = """
import sys
assert __name__ == '__main__' and __spec__ is None
import __main__
assert __main__.__file__ == __file__ == sys.argv[0]
def f():
    return WORD
WORD = 'global'
import atexit
atexit.register(print, 'at the end')
print(sys.path[0], sys.argv[1:], f())
sys.exit(7)
"""
    done = run(place, text, "a", "--", "--b", cwd="/")
    assert done.returncode == 7, done.stderr
    assert done.stdout == f"{place.folder} ['a', '--b'] global\nat the end\n"


def test_the_folder_of_a_script_is_that_of_the_file_behind_a_link(place: Place) -> None:
    write(place, SERVE + "raise SystemExit(application.__module__)")
    link = place.folder / "www"
    link.mkdir()
    (link / "x.fcgi").symlink_to(place.folder / "script.fcgi")
    done = subprocess.run(
        [*RUN, link / "x.fcgi"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == "visitors\n"


@pytest.mark.parametrize("module", ["fcgi", "fcgi_base", "scgi_base", "paste_factory", "cgi"])
def test_it_is_ours_whether_flup_is_installed_or_not(place: Place, module: str) -> None:
    text = f"""
import sys
if sys.argv[1:]:
    sys.path[:] = [entry for entry in sys.path if 'site-packages' not in entry]
    import importlib.util
    assert importlib.util.find_spec('flup').origin == 'gateways'
import flup.server.{module} as found
from flup.server import {module} as same, NoDefault
assert found is same
print(found.__name__)
raise SystemExit
"""
    assert run(place, text).stdout == run(place, text, "without").stdout != ""


def test_the_rest_of_an_installed_flup_stays_its_own(place: Place) -> None:
    text = "import flup.client, flup.server.fcgi; print(flup.client.__file__)\nraise SystemExit"
    done = run(place, text)
    assert Path("flup", "client", "__init__.py") == Path(*Path(done.stdout.strip()).parts[-3:])


# -- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("from flup.server.ajp import WSGIServer", 1, "gateways does not speak AJP"),
        ("from flup.server import ajp_fork", 1, "in place of flup.server.ajp_fork"),
        ("import flup.middleware.gzip", 1, "needs flup to be installed"),
        ("import flup.server.threadpool", 1, "a part of their insides"),
        ("import nosuch", 1, "Interpreter: "),
        ("app = 1", 1, "script.fcgi:app"),
        ("import sys; sys.exit()", 0, ""),
        ("print 'x'", 2, "2to3"),
        ("raise KeyError('mine')", 1, "KeyError: 'mine'"),
        (SERVE + "WSGIServer(application).run()", 1, "gateways run --bind"),
        (SERVE + "WSGIServer(application, bindAddress=7)", 2, "bindAddress is a path"),
        (SERVE + "WSGIServer(application, bindAddress='/nowhere/x').run()", 2, "cannot listen"),
        (SERVE.replace("fcgi", "fcgi_fork") + "WSGIServer(application, minSpare=0)", 1, "minSpare"),
    ],
)
def test_a_script_that_does_not_serve_says_why(
    place: Place, text: str, status: int, message: str
) -> None:
    done = run(place, text)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "gateways/cli/" not in done.stderr


def test_a_port_that_is_taken_is_named_and_nothing_is_left(place: Place) -> None:
    text = SERVE.replace("fcgi", "fcgi_fork") + "WSGIServer(application, bindAddress='{}').run()"
    with serving(
        place, [*RUN, write(place, text.format(place.socket))], "fcgi", place.socket
    ) as served:
        done = run(place, text.format(place.socket))
        assert done.returncode == 2
        assert "app.sock" in done.stderr
        assert served.ask("/").status == 200


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flup.client.fcgi_app", "gateways.client.WSGIApplication"),
        ("flup.middleware.error", "for Python 2"),
        ("flup.resolver", "needs flup to be installed"),
        ("flup.server.ajp_base", "ProxyPass / fcgi://"),
    ],
)
def test_what_of_flup_is_not_there_is_explained(name: str, message: str) -> None:
    assert message in explain(name)


# -- CGI ---------------------------------------------------------------------------------------


def test_a_cgi_script_answers_one_request(place: Place) -> None:
    text = SERVE.replace("fcgi", "cgi") + "WSGIServer(application).run()"
    script = write(place, f"#!/usr/bin/env -S {' '.join(RUN)}\n{text}", "script.cgi")
    response = request(f"cgi:{script}", "/x?--debug+--bind+/tmp/x", method="POST", body=b"abc")
    seen = json.loads(response.body)
    assert seen["body"] == "abc"
    assert (seen["wsgi.run_once"], seen["QUERY_STRING"]) == (True, "--debug+--bind+/tmp/x")


def test_the_words_of_a_query_string_are_no_options(place: Place) -> None:
    """RFC 3875, section 4.4: a query string without "=" may come as words."""
    text = "import sys\nfrom flup.server.fcgi import WSGIServer\n"
    text += "def app(e, s):\n    s('200 OK', [])\n    return [repr(sys.argv[1:]).encode()]\n"
    environ = {"GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/x"}
    done = run(
        place,
        text + "WSGIServer(app).run()",
        "--error-log",
        str(place.folder / "theirs"),
        env={**os.environ, **environ},
    )
    assert "['--error-log', " in done.stdout
    assert not (place.folder / "theirs").exists()
