"""``gateways.cgi`` as a web server starts it: a process, its environment and three descriptors."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import gateways
from gateways.cgi import CGIHandler, WSGIServer
from gateways.errors import ConfigError
from tests.servers.harness import DEADLINE_SECONDS

DEADLINE = DEADLINE_SECONDS
ROOT = str(Path(gateways.__file__).parent.parent)
GET = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "/app.cgi",
    "PATH_INFO": "/page",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
}
POST = {**GET, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5"}
SCRIPT = """\
import os, sys
from gateways.cgi import CGIHandler, WSGIServer

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read()]

"""
RUN = "CGIHandler().run(app)\n"

# A response must be whole without any of them; none is needed for an ordinary request.
UNWANTED = {
    "asyncio",
    "urllib",
    "re",
    "contextlib",
    "random",
    "traceback",
    "click",
    "threading",
    "dataclasses",
    "inspect",
    "socket",
    "selectors",
    "enum",
    "logging",
    "http",
    "ast",
    "hashlib",
    "typing",
    "email",
    "collections",
    "tempfile",
}


def start(
    folder: Path,
    text: str,
    env: Mapping[str, str | bytes] = GET,
    *arguments: str,
    script: str = SCRIPT,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a script; -S keeps out what the environment of the tests imports by itself."""
    (folder / "app.cgi").write_text(script + text)
    given: dict[str, Any] = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, **env}
    return subprocess.Popen(
        [sys.executable, "-S", "-W", "error", "app.cgi", *arguments],
        env={os.fsencode(name): os.fsencode(value) for name, value in given.items()},
        cwd=folder,
        **{
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        },
    )


def finish(process: subprocess.Popen[bytes], stdin: bytes | None = b"") -> tuple[str, str]:
    """Response and error log of a script that ends by itself, with status 0."""
    try:
        out, err = process.communicate(stdin, timeout=DEADLINE)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, err
    return (out or b"").decode("latin-1"), err.decode()


def test_importing_it_imports_next_to_nothing() -> None:
    code = "import sys; import gateways.cgi; print(*sys.modules)"
    command = [sys.executable, "-S", "-c", code]
    loaded = subprocess.check_output(command, env={"PYTHONPATH": ROOT}, text=True).split()
    assert "gateways.cgi" in loaded
    assert UNWANTED & set(loaded) == set()


@pytest.mark.parametrize("env", [GET, POST], ids=["GET", "POST"])
def test_a_request_imports_next_to_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    text = RUN + "print(*sys.modules, file=sys.stderr)\n"
    _, err = finish(start(tmp_path, text, env), b"hello")
    assert "gateways.wsgi.runner" in err.split()
    assert UNWANTED & set(err.split()) == set()


@pytest.mark.parametrize(
    "run",
    [
        "CGIHandler().run(app)",
        "WSGIServer(app).run()",
        "CGIHandler().run('__main__:app')",
        "from gateways.cgi import run_reference; run_reference('__main__:app')",
    ],
)
def test_a_request_is_answered(tmp_path: Path, run: str) -> None:
    out, err = finish(start(tmp_path, run + "\n", POST), b"hello, and what is not ours")
    head, _, body = out.partition("\r\n\r\n")
    assert head.split("\r\n") == [
        "Status: 200 OK",
        "Content-Type: text/plain",
        "Content-Length: 5",
    ]
    assert body == "hello"
    assert err == ""


def test_no_more_is_read_than_belongs_to_the_request(tmp_path: Path) -> None:
    """An end of the input may never come (RFC 3875, section 4.2)."""
    read, write = os.pipe()
    process = start(tmp_path, RUN, POST, stdin=read)
    os.write(write, b"hello, world")
    out, _ = finish(process, None)
    assert out.endswith("\r\n\r\nhello")
    os.close(write)
    assert os.read(read, 100) == b", world"
    os.close(read)


@pytest.mark.parametrize(
    ("marker", "expected"), [({}, ""), ({"HTTP_TRANSFER_ENCODING": "chunked"}, "hello")]
)
def test_without_a_length_only_a_chunked_body_is_read(
    tmp_path: Path, marker: dict[str, str], expected: str
) -> None:
    out, _ = finish(start(tmp_path, RUN, {**GET, **marker}), b"hello")
    assert out.endswith("\r\n\r\n" + expected)


def test_variables_are_latin_1_and_those_of_a_proxy_are_gone(tmp_path: Path) -> None:
    text = """
def show(environ, start_response):
    start_response("200 OK", [])
    for name in "PATH_INFO", "HTTP_PROXY", "wsgi.run_once", "wsgi.multiprocess":
        yield repr(environ.get(name)).encode() + b"\\n"
    yield b"%d" % environ["wsgi.multithread"]
CGIHandler().run(show)
"""
    env: dict[str, str | bytes] = {**GET, "PATH_INFO": b"/caf\xe9\xc3\xa9", "HTTP_PROXY": "evil"}
    out, _ = finish(start(tmp_path, text, env))
    assert out.partition("\r\n\r\n")[2].splitlines() == [
        repr("/caf\xe9\xc3\xa9").encode().decode("latin-1"),
        "None",
        "True",
        "True",
        "0",
    ]


def test_a_script_without_a_path_behind_it_keeps_its_name(tmp_path: Path) -> None:
    text = """
def show(environ, start_response):
    start_response("200 OK", [])
    return [repr((environ["SCRIPT_NAME"], environ["PATH_INFO"])).encode()]
CGIHandler().run(show)
"""
    env = {name: value for name, value in GET.items() if name != "PATH_INFO"}
    assert finish(start(tmp_path, text, env))[0].endswith("('/app.cgi', '')")


def test_arguments_are_never_looked_at(tmp_path: Path) -> None:
    out, err = finish(start(tmp_path, RUN, GET, "--help", "-x y"))
    assert out.startswith("Status: 200 OK\r\n")
    assert err == ""


NOISE = {
    "print": "print('noise')",
    "print, at once": "print('noise', flush=True)",
    "sys.stdout": "sys.stdout.write('noise\\n')",
    "bytes": "sys.stdout.buffer.write(b'noise\\n'); sys.stdout.buffer.flush()",
    "several lines": "sys.stdout.writelines(['noise', '\\n'])",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_python_that_writes_to_standard_output_is_told_of_once(tmp_path: Path, noise: str) -> None:
    text = f"def noisy(e, s):\n    {noise}\n    {noise}\n    return app(e, s)\n"
    out, err = finish(start(tmp_path, text + "CGIHandler().run(noisy)\n", POST), b"hello")
    assert out.startswith("Status: 200 OK\r\n")
    assert out.endswith("\r\n\r\nhello")
    assert err.count("noise\n") == 2
    line = SCRIPT.count("\n") + 2
    assert err.count(f"app.cgi, line {line}\n") == 1
    assert err.count("The first to write was") == 1


@pytest.mark.parametrize(
    "noise",
    ["os.write(1, b'noise\\n')", "os.system('echo noise')", "os.system('cat; echo noise')"],
)
def test_neither_c_nor_children_reach_response_or_body(tmp_path: Path, noise: str) -> None:
    text = f"def noisy(e, s):\n    {noise}\n    return app(e, s)\nCGIHandler().run(noisy)\n"
    out, err = finish(start(tmp_path, text, POST), b"hello")
    assert out.startswith("Status: 200 OK\r\n")
    assert out.endswith("\r\n\r\nhello")
    assert err == "noise\n"


def test_what_was_printed_before_is_not_in_the_response(tmp_path: Path) -> None:
    out, err = finish(start(tmp_path, "print('early')\n" + RUN))
    assert out.startswith("Status: 200 OK\r\n")
    assert err == "early\n"


FAILURES = {
    "no such module": ("CGIHandler().run('nowhere:app')", "No module named 'nowhere'"),
    "an import that fails": ("CGIHandler().run('broken:app')", "hunter2"),
    "no such name": ("CGIHandler().run('fine:nothing')", "nothing"),
    "a script that exits": ("CGIHandler().run('leaves:app')", "sys.exit"),
    "an application that raises": ("CGIHandler().run(lambda e, s: 1 / 0)", "ZeroDivisionError"),
    "no start_response": ("CGIHandler().run(lambda e, s: [b'x'])", "start_response"),
}


@pytest.mark.parametrize(("run", "told"), FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_failure_is_a_page_and_a_traceback_in_the_log(
    tmp_path: Path, run: str, told: str, method: str
) -> None:
    (tmp_path / "broken.py").write_text("print('x')\nraise ValueError('hunter2')\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "fine.py").write_text("app = None\n")
    out, err = finish(start(tmp_path, run + "\n", {**GET, "REQUEST_METHOD": method}))
    head, _, body = out.partition("\r\n\r\n")
    assert head.startswith("Status: 500 Internal Server Error\r\nContent-Type: text/html")
    assert bool(body) == (method == "GET")
    assert "hunter2" not in out
    assert told in err or "SystemExit" in err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('hunter2')\n")
    out, _ = finish(start(tmp_path, "CGIHandler(debug=True).run('broken:app')\n"))
    assert "hunter2" in out


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_response_without_a_body_has_none(tmp_path: Path, status: str) -> None:
    text = f"CGIHandler().run(lambda e, s: s({status!r}, []) and [b'no'])\n"
    out, _ = finish(start(tmp_path, text))
    assert out == f"Status: {status}\r\n\r\n"


def test_each_piece_leaves_at_once(tmp_path: Path) -> None:
    text = """
def slow(environ, start_response):
    start_response("200 OK", [])
    yield b"first"
    environ["wsgi.input"].read()
    yield b"second"
CGIHandler().run(slow)
"""
    process = start(tmp_path, text, POST)
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 100).endswith(b"first")
    out, _ = finish(process, b"hello")
    assert out == "second"


ENDLESS = """
class Endless:
    def __iter__(self):
        return self
    def __next__(self):
        return bytes(65536)
    def close(self):
        print("closed", file=sys.stderr)
def app(environ, start_response):
    start_response("200 OK", [])
    return Endless()
"""


def test_a_client_that_leaves_closes_the_response(tmp_path: Path) -> None:
    process = start(tmp_path, ENDLESS + RUN)
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 100)
    process.stdout.close()
    process.stdout = None
    _, err = finish(process)
    assert err == "closed\n"


def test_a_script_that_is_told_to_end_closes_the_response(tmp_path: Path) -> None:
    process = start(tmp_path, ENDLESS + RUN)
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 100)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process)
    assert err == "closed\n"


@pytest.mark.parametrize("transport", ["pipes", "a socket"])
def test_who_sends_all_of_the_body_first_gets_the_answer(tmp_path: Path, transport: str) -> None:
    """As mod_cgid does, to an application that reads nothing and answers a lot."""
    size = 3_000_000
    text = f"""
def deaf(environ, start_response):
    start_response("200 OK", [])
    return iter([bytes(65536)] * {size // 65536})
CGIHandler().run(deaf)
"""
    env = {**POST, "CONTENT_LENGTH": str(size)}
    with contextlib.ExitStack() as stack:
        if transport == "pipes":
            process = start(tmp_path, text, env)
            assert process.stdin is not None
            assert process.stdout is not None
            write, read = process.stdin.fileno(), process.stdout.fileno()
        else:
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            ours.settimeout(DEADLINE)
            process = start(tmp_path, text, env, stdin=theirs, stdout=theirs)
            theirs.close()
            write = read = ours.fileno()
            os.set_blocking(write, True)
        sent = memoryview(bytes(size))
        while sent:
            sent = sent[os.write(write, sent[:65536]) :]
        received = 0
        while piece := os.read(read, 65536):
            received += len(piece)
        assert received > size // 65536 * 65536
        _, err = finish(process, None)
    assert "Traceback" not in err


def test_a_small_answer_is_not_lost_to_a_large_body_that_nobody_reads(tmp_path: Path) -> None:
    """Closing a socket with unread bytes resets it, and the answer with it."""
    size = 3_000_000
    run = "CGIHandler().run(lambda e, s: s('200 OK', []) and [b'small'])\n"
    ours, theirs = socket.socketpair()
    with ours:
        env = {**POST, "CONTENT_LENGTH": str(size)}
        process = start(tmp_path, run, env, stdin=theirs, stdout=theirs)
        theirs.close()
        ours.settimeout(DEADLINE)
        ours.sendall(bytes(size))
        answer = b""
        while piece := ours.recv(65536):
            answer += piece
        finish(process, None)
    assert answer.endswith(b"\r\n\r\nsmall")


@pytest.mark.parametrize(
    ("env", "status"),
    [
        ({"CONTENT_LENGTH": "many"}, "400 Bad Request"),
        ({"CONTENT_LENGTH": "5000"}, "413 Content Too Large"),
        ({"PATH_INFO": "/a\nb"}, "400 Bad Request"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused(
    tmp_path: Path, env: dict[str, str], status: str
) -> None:
    out, _ = finish(start(tmp_path, "CGIHandler(max_body_bytes=10).run(app)\n", {**GET, **env}))
    assert out.startswith(f"Status: {status}\r\n")


def test_a_script_that_is_not_parsed_answers_http(tmp_path: Path) -> None:
    out, _ = finish(start(tmp_path, "CGIHandler(nph=True).run(app)\n", POST), b"hello")
    lines = out.partition("\r\n\r\n")[0].split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert lines[1].startswith("Date: ")
    assert lines[1].endswith(" GMT")
    assert lines[2:] == ["Connection: close", "Content-Type: text/plain", "Content-Length: 5"]


def test_a_script_that_is_started_by_hand_says_how_to_run_it(tmp_path: Path) -> None:
    process = start(tmp_path, RUN, {})
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (1, b"")
    assert b"no web server has started this script" in err


def test_closed_descriptors_harm_nothing(tmp_path: Path) -> None:
    noisy = "def noisy(e, s):\n    print('noise')\n    return app(e, s)\nCGIHandler().run(noisy)\n"
    (tmp_path / "app.cgi").write_text(SCRIPT + noisy)
    command = ["/bin/sh", "-c", 'exec "$0" -S app.cgi <&- 2>&-', sys.executable]
    out = subprocess.check_output(command, cwd=tmp_path, env={**GET, "PYTHONPATH": ROOT})
    assert out.startswith(b"Status: 200 OK\r\n")
    assert b"noise" not in out


@pytest.mark.parametrize("script_name", ["prefix", "/prefix/"])
def test_a_mount_point_that_cannot_be_is_refused(script_name: str) -> None:
    with pytest.raises(ConfigError, match="script_name"):
        CGIHandler(script_name=script_name)
    with pytest.raises(ConfigError, match="script_name"):
        WSGIServer(lambda e, s: [], script_name=script_name)
