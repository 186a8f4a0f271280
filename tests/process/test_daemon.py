"""The command that goes into the background: what its caller sees, and what stays."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.serving import eventually
from tests.servers.harness import DEADLINE_SECONDS

DAEMON = """
import os, sys
from gateways.process.daemon import daemonize, detach
print("from the front")
starter = daemonize()
folder = sys.argv[1]
print("starting up", flush=True)
"""
STAY = """
with open(folder + "/facts", "w") as file:
    print(os.getpid(), os.getsid(0), os.getpgid(0), *(
        os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)), file=file)
os.rename(folder + "/facts", folder + "/told")
with open(folder + "/end") as fifo: fifo.read()
"""
READY = DAEMON + "detach()\nstarter.ready()\n" + STAY


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a daemon tells its facts, and waits for its end."""
    os.mkfifo(tmp_path / "end")
    yield tmp_path
    try:  # a daemon must not outlive a test that failed
        os.close(os.open(tmp_path / "end", os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        assert error.errno == errno.ENXIO  # noqa: PT017  # nobody waits, which is as it should be


def end(folder: Path) -> None:
    """Let the daemon go, and wait until it has gone."""
    with open(folder / "end", "w"):
        pass


def command(folder: Path, script: str) -> list[str]:
    """The command that runs ``script``."""
    return [sys.executable, "-c", script, str(folder)]


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run the command, to the end of all that holds its standard output and error."""
    return subprocess.run(
        command(folder, script), capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )


def test_the_command_ends_when_it_is_ready_and_the_daemon_lets_go_of_the_terminal(
    folder: Path,
) -> None:
    ended = run(folder, READY)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "from the front\nstarting up\n"
    eventually((folder / "told").exists)
    pid, session, group, *files = (folder / "told").read_text().split()
    assert files == ["/dev/null"] * 3
    assert session == group
    assert pid != session  # no leader of a session, so no terminal becomes its own
    end(folder)


def test_with_a_log_only_descriptor_0_is_let_go(folder: Path) -> None:
    script = DAEMON + "detach(output=False)\nstarter.ready()\n"
    script += 'os.write(2, os.readlink("/proc/self/fd/0").encode())'
    assert run(folder, script).stderr == "/dev/null"


def test_what_failed_is_told_with_its_status(folder: Path) -> None:
    ended = run(folder, DAEMON + "starter.failed('no such application\\nsorry: ü', 3)")
    assert (ended.returncode, ended.stderr) == (3, "no such application\nsorry: ü\n")
    assert run(folder, DAEMON + "starter.failed('', 2)").stderr == ""


def test_a_text_larger_than_a_pipe_arrives(folder: Path) -> None:
    ended = run(folder, DAEMON + "starter.failed('x' * 300_000, 3)")
    assert (ended.returncode, ended.stderr) == (3, "x" * 300_000 + "\n")


@pytest.mark.parametrize("death", ["os._exit(0)", "os.kill(os.getpid(), 9)", "raise KeyError"])
def test_a_death_before_it_is_ready_is_noticed(folder: Path, death: str) -> None:
    ended = run(folder, DAEMON + death)
    assert ended.returncode == 1
    assert "gateways: error: the server ended before it was ready" in ended.stderr


def test_a_worker_that_outlives_it_does_not_keep_the_command_waiting(folder: Path) -> None:
    script = DAEMON + "if not os.fork():\n    detach()\n" + STAY.replace("\n", "\n    ")
    ended = run(folder, script + "\nos._exit(0)")
    assert (ended.returncode, ended.stdout.endswith("starting up\n")) == (1, True)
    end(folder)


def test_the_second_word_says_nothing(folder: Path) -> None:
    ended = run(folder, DAEMON + "starter.ready(); starter.failed('x', 3); starter.close()")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_to_interrupt_the_command_stops_the_daemon(folder: Path, number: int) -> None:
    script = DAEMON + STAY
    process = subprocess.Popen(command(folder, script), stdout=subprocess.PIPE, text=True)
    with process:
        eventually((folder / "told").exists)
        assert process.stdout is not None
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        process.stdout.read()  # its end is the end of the daemon


def test_who_kills_the_command_leaves_the_daemon_serving(folder: Path) -> None:
    script = DAEMON + "detach()\n" + STAY.partition('with open(folder + "/end")')[0]
    script += 'open(folder + "/end").read()\nstarter.ready()\nopen(folder + "/served", "w")'
    process = subprocess.Popen(command(folder, script), stdout=subprocess.PIPE)
    with process:
        eventually((folder / "told").exists)
        process.kill()
        process.wait()
        end(folder)
        eventually((folder / "served").exists)
