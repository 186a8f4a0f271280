"""``gateways request``: what it prints where, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.answering import DEADLINE, Answering, answer
from tests.client.test_exchange import Environ, StartResponse, serving

BINARY = bytes(range(256)) * 300


def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
    status = environ["QUERY_STRING"] or "200 OK"
    environ["wsgi.errors"].write("logged\n")
    body = environ["wsgi.input"].read()
    start_response(
        status.replace("+", " "),
        [("Content-Type", environ.get("CONTENT_TYPE", "none")), ("X-User", user(environ))],
    )
    return [environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode("latin-1"), body]


def user(environ: Environ) -> str:
    return f"{environ.get('REMOTE_USER')}|{environ.get('HTTP_X_A')}|{environ['SCRIPT_NAME']}"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    with serving(app, "fcgi", str(tmp_path / "app.sock")) as where:
        yield where


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "gateways", "request", *arguments],
        input=stdin,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )


def test_the_body_and_nothing_else_goes_to_stdout(target: str) -> None:
    done = run(target, "/caf\u00e9")
    assert (done.returncode, done.stdout) == (0, "GET /caf\u00e9".encode())
    assert done.stderr == b"logged\n"


def test_include_prints_the_head(target: str) -> None:
    done = run(target, "/?404+Gone", "-i")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"Status: 404 Gone\r\nContent-Type: none\r\n")
    assert body == b"GET /"
    assert done.returncode == 0


def test_what_is_sent_can_be_chosen(target: str) -> None:
    done = run(
        *(target, "/a/b", "-i", "-X", "PATCH", "-H", "X-A: caf\u00e9", "-H", "Content-Type:x/y"),
        *("--param", "REMOTE_USER=me=you", "--script-name", "/a", "-d", "body"),
    )
    assert b"Content-Type: x/y\r\n" in done.stdout
    assert "X-User: me=you|caf\u00e9|/a\r\n".encode() in done.stdout
    assert done.stdout.endswith(b"PATCH /bbody")


def test_data_makes_it_a_post_of_a_form(target: str) -> None:
    done = run(target, "/", "-i", "-d", "a=b")
    assert b"Content-Type: application/x-www-form-urlencoded\r\n" in done.stdout
    assert done.stdout.endswith(b"POST /a=b")


def test_files_go_through_unchanged(target: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(BINARY)
    expected = b"POST /" + BINARY
    assert run(target, "/", "-d", f"@{tmp_path / 'in'}").stdout == expected
    assert run(target, "/", "-d", "@-", stdin=BINARY).stdout == expected
    done = run(target, "/", "-d", "@-", "-o", str(tmp_path / "out"), stdin=BINARY)
    assert done.stdout == b""
    assert (tmp_path / "out").read_bytes() == expected


def test_verbose_and_kept_connections(target: str) -> None:
    done = run(target, "/x", "-v", "--keep", "--repeat", "3")
    assert done.stdout == b"GET /x" * 3
    log = done.stderr.decode()
    assert log.count("a new connection") == 1
    assert log.count("the kept connection") == 2
    assert log.count("> GET /x") == log.count("< 200 OK") == log.count("logged") == 3
    assert run(target, "-v", "--repeat", "2").stderr.count(b"a new connection") == 2


def test_trace_shows_every_record(target: str) -> None:
    done = run(target, "/x", "-d", "abcdefghijklmno\x1b", "--trace")
    lines = done.stderr.decode().splitlines()
    assert "--> BEGIN_REQUEST, request 1, 8 bytes" in lines
    assert "      RESPONDER, no flags" in lines
    assert "      PATH_INFO = /x" in lines
    assert "--> STDIN, request 1, 16 bytes" in lines
    assert "      abcdefghijklmno\\x1b" in lines
    assert "--> STDIN, request 1, 0 bytes" in lines
    assert "<-- STDERR, request 1, 7 bytes, padding 1" in lines
    assert "      Status: 200 OK" in lines
    assert "<-- END_REQUEST, request 1, 8 bytes" in lines
    assert "      app status 0, REQUEST_COMPLETE" in lines
    assert done.stdout == b"POST /xabcdefghijklmno\x1b"


@pytest.mark.parametrize(
    ("scheme", "response", "expected"),
    [
        ("uwsgi", b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nc", ["uwsgi packet", "PATH_INFO = /x", "A: b"]),
        ("scgi", b"Status: 200 OK\r\nA: b\r\n\r\nc", ["SCGI netstring", "PATH_INFO = /x", "A: b"]),
        (
            "http",
            b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nc",
            ["--> head", "GET /x HTTP/1.1", "<-- head", "A: b"],
        ),
    ],
)
def test_trace_knows_the_other_protocols(
    tmp_path: Path, scheme: str, response: bytes, expected: list[str]
) -> None:
    with Answering(tmp_path / "s", [answer(response)]) as server:
        done = run(f"{scheme}:{server.path}", "/x", "--trace")
    log = done.stderr.decode()
    assert [text for text in [*expected, "1 bytes"] if text not in log] == []
    assert (done.returncode, done.stdout) == (0, b"c")


def test_fail_tells_of_the_status(target: str) -> None:
    done = run(target, "/?404+Gone", "--fail")
    assert (done.returncode, done.stdout) == (22, b"")
    assert b"404 Gone" in done.stderr
    assert run(target, "/?399+Fine", "--fail").returncode == 0


def test_a_script(tmp_path: Path) -> None:
    script = tmp_path / "a.cgi"
    script.write_text("#!/bin/sh\necho oops >&2\nprintf 'A: b\\n\\nc'\nexit 3\n")
    script.chmod(0o755)
    done = run(f"cgi:{script}", "-i")
    assert (done.returncode, done.stdout) == (0, b"A: b\n\nc")
    assert b"oops" in done.stderr
    assert b"status is 3" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["/tmp/app.sock"], 2, "did you mean fcgi:/tmp/app.sock?"),
        (["fcgi:/no/such.sock"], 1, "there is no such file"),
        (["fcgi:/no/such.sock", "a"], 2, "does not begin with '/'"),
        (["fcgi:/no/such.sock", "-H", "A"], 2, "has no colon"),
        (["fcgi:/no/such.sock", "--param", "A"], 2, "is not NAME=VALUE"),
        (["fcgi:/no/such.sock", "-d", "@/no/file"], 2, "No such file"),
        (["fcgi:/no/such.sock", "-o", "/no/dir/file"], 2, "No such file"),
        (["fcgi:/no/such.sock", "--repeat", "0"], 2, "--repeat"),
        (["fcgi:/no/such.sock", "--role", "x"], 2, "--role"),
        ([], 2, "TARGET"),
    ],
)
def test_mistakes_are_explained(arguments: list[str], status: int, message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (status, b"")
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_response_cut_short_is_an_error(tmp_path: Path) -> None:
    with Answering(tmp_path / "s", [answer(b"Content-Length: 9\r\n\r\nabc")]) as server:
        done = run(f"scgi:{server.path}")
    assert (done.returncode, done.stdout) == (1, b"abc")
    assert b"6 bytes of its body are missing" in done.stderr


def test_a_reader_that_leaves_is_no_traceback(target: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(BINARY * 40)
    command = f"{sys.executable} -m gateways request {target} / -d @{tmp_path / 'in'} | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, timeout=DEADLINE, check=False)
    assert done.stdout == b"P"
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
