"""Scripts, run as a web server would run them."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from gateways.client import ClientError, ClientTimeout, ConnectError, Response, request

BIG = os.urandom(1 << 20) * 3


def run(folder: Path, script: str, path: str = "/", **options: Any) -> Response:
    """Write a Python script and request it."""
    file = folder / "script.cgi"
    file.write_text(f"#!{sys.executable}\n{textwrap.dedent(script)}")
    file.chmod(0o755)
    return request(f"cgi:{file}", path, **options)


def test_the_environment_of_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    script = """
        import os, sys
        print("Content-Type: text/plain\\n")
        for name in sorted(os.environb):
            print(name.decode(), os.environb[name].decode("latin-1"), sep="=", flush=True)
        print(os.getcwd(), sys.argv, sys.stdin.read())
    """
    response = run(tmp_path, script, "/caf%C3%A9?q", method="POST", body=iter([b"a", b"b"]))
    lines = response.body.decode().splitlines()
    assert response.status == 200
    assert {
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_METHOD=POST",
        "CONTENT_LENGTH=2",
        "QUERY_STRING=q",
        "PATH_INFO=/caf\xc3\xa9",
        f"SCRIPT_FILENAME={tmp_path / 'script.cgi'}",
    } <= set(lines)
    assert not any(line.startswith("SECRET") for line in lines)
    assert lines[-1] == f"{tmp_path} ['{tmp_path / 'script.cgi'}'] ab"


def test_the_exit_status_and_stderr_are_told(tmp_path: Path) -> None:
    script = """
        import sys
        print("Status: 404 Gone\\n\\nbody", flush=True)
        print("oops", file=sys.stderr)
        sys.exit(7)
    """
    response = run(tmp_path, script)
    assert (response.status, response.reason, response.body) == (404, "Gone", b"body\n")
    assert response.errors == "oops\n"
    assert response.app_status == 7


def test_big_streams_in_all_directions_do_not_lock_up(tmp_path: Path) -> None:
    script = """
        import sys
        print("A: b\\n", flush=True)
        while piece := sys.stdin.buffer.read(65536):
            sys.stdout.buffer.write(piece)
            sys.stderr.write("x" * len(piece))
    """
    response = run(tmp_path, script, method="POST", body=BIG)
    assert response.body == BIG
    assert response.errors == "x" * len(BIG)


def test_a_script_need_not_read_its_body(tmp_path: Path) -> None:
    assert run(tmp_path, "print('A: b\\n\\nc')", method="POST", body=BIG).body == b"c\n"


def test_a_script_that_closes_its_stdin_is_still_listened_to(tmp_path: Path) -> None:
    script = """
        import os, sys
        os.close(0)
        sys.stderr.write("x" * 3000000)  # the client gets to its next write before the answer
        sys.stderr.flush()
        print("A: b\\n\\nc")
    """
    assert run(tmp_path, script, method="POST", body=BIG).body == b"c\n"


def test_stderr_is_taken_when_stdout_has_ended(tmp_path: Path) -> None:
    script = """
        import os, sys
        print("A: b\\n", flush=True)
        os.close(1)
        sys.stderr.write("x" * 1000000)
    """
    response = run(tmp_path, script)
    assert response.body == b""
    assert len(response.errors) == 1000000


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys; sys.exit('oops')", "without an answer"),
        ("print('Status: 200', flush=True)", "middle of the response's head"),
        ("print('Traceback')\nprint()", "no header"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    ],
)
def test_a_script_that_fails_is_an_error(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        run(tmp_path, script)
    assert message in str(caught.value)
    assert caught.value.errors == ("oops\n" if "oops" in script else "")


def test_a_script_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ClientTimeout):
        run(tmp_path, "import signal; signal.pause()", timeout=0.3)


def test_a_background_process_is_not_waited_for(tmp_path: Path) -> None:
    script = """
        import os, signal, subprocess, sys
        # It keeps stderr.
        command = ["tail", f"--pid={os.getppid()}", "-f", "/dev/null"]
        subprocess.Popen(command, stdout=subprocess.DEVNULL)
        print("A: b\\n\\nc")
    """
    assert run(tmp_path, script, timeout=20).body == b"c\n"


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0, "there is no such file"),
        ("#!/bin/sh\n", 0o644, "chmod"),
        ("#!/no/such/interpreter\n", 0o755, "interpreter"),
        ("no program", 0o755, "first line"),
    ],
)
def test_what_cannot_be_run_is_explained(
    tmp_path: Path, content: str | None, mode: int, message: str
) -> None:
    file = tmp_path / "a.cgi"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(ConnectError) as caught:
        request(f"cgi:{file}")
    assert message in str(caught.value)
