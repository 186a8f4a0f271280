"""The pidfile, with real processes that hold it, die and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateways.errors import ConfigError
from gateways.process import pidfile
from gateways.process.pidfile import PidFile, read_live_pid
from tests.core.forks import NOBODY, become, in_child, needs_root
from tests.core.serving import LogLines

as_root = pytest.mark.skipif(os.geteuid() != 0, reason=needs_root)

HOLDER = """
import sys
from gateways.process.pidfile import PidFile
PidFile(sys.argv[1]).take()
print("taken", flush=True)
sys.stdin.read()
"""

LOCKER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("taken", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(path: Path, script: str = HOLDER) -> Iterator[subprocess.Popen[str]]:
    """Another process that has taken the file."""
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "taken\n"
            yield process
        finally:
            process.kill()


def taken_here(path: Path) -> str:
    """Take the file in a child of this process; its pid, or the refusal."""

    def work() -> object:
        try:
            PidFile(str(path)).take()
        except ConfigError as error:
            return f"refused: {error}"
        return path.read_text() == f"{os.getpid()}\n" or path.read_text()

    return in_child(work)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to be."""
    return tmp_path / "app.pid"


def test_it_holds_the_pid_while_the_process_lives(path: Path) -> None:
    with holder(path) as process:
        assert path.read_text() == f"{process.pid}\n"
        assert read_live_pid(str(path)) == process.pid
    assert read_live_pid(str(path)) is None  # though the file is still there
    assert path.exists()


def test_nobody_holds_a_file_that_is_not_there(path: Path) -> None:
    assert read_live_pid(str(path)) is None


def test_a_second_one_is_refused_and_told_who_has_it(path: Path) -> None:
    with holder(path) as process:
        refusal = taken_here(path)
        assert f"--pidfile {path}: pid {process.pid} (" in refusal
        assert "has it, which serves already; stop that first" in refusal
        assert path.read_text() == f"{process.pid}\n"
        assert read_live_pid(str(path)) == process.pid


@pytest.mark.parametrize(
    "left",
    ["999999999\n", "1\n", "", "  12 \n", f"{os.getpid()}\n"],
    ids=["nobody's", "init's", "nothing", "with blanks", "our own"],
)
def test_what_a_dead_process_left_is_replaced(path: Path, left: str) -> None:
    """Also where its number belongs to a living process by now."""
    path.write_text(left)
    assert read_live_pid(str(path)) is None
    assert taken_here(path) == "True"


def test_a_killed_server_leaves_a_file_that_the_next_one_takes(path: Path) -> None:
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert taken_here(path) == "True"


def test_it_is_removed_by_its_owner(path: Path) -> None:
    def work() -> object:
        file = PidFile(str(path))
        file.take()
        file.remove()
        file.remove()
        return path.exists(), file.fileno()

    assert in_child(work) == str((False, -1))


def test_a_forked_worker_neither_removes_nor_unlocks_it(path: Path) -> None:
    def work() -> object:
        file = PidFile(str(path))
        file.take()
        worker = os.fork()
        if not worker:
            file.remove()
            os.close(file.fileno())
            os._exit(0)
        os.waitpid(worker, 0)
        return path.exists(), in_child(lambda: read_live_pid(str(path))) == str(os.getpid())

    assert in_child(work) == str((True, True))


WORKER_THAT_STAYS = """
import os, sys
from gateways.process.pidfile import PidFile
file = PidFile(sys.argv[1])
file.take()
supervisor = os.getpid()
if os.fork():
    print("taken", flush=True)
    sys.stdin.read()
while os.getppid() == supervisor: pass
sys.stdin.readline()
file.remove_leftover()
file.remove_leftover()
"""


@pytest.mark.parametrize("successor", [False, True], ids=["alone", "succeeded"])
def test_a_worker_removes_what_a_dead_supervisor_left_and_nothing_else(
    path: Path, successor: bool
) -> None:
    with holder(path, WORKER_THAT_STAYS) as process, contextlib.ExitStack() as others:
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        if successor:
            others.enter_context(holder(path))
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.read() == ""  # the worker has ended
        assert path.exists() is successor


def test_a_start_waits_for_a_worker_that_removes_the_file(path: Path) -> None:
    """It has the lock for that moment, and the file has the number of its supervisor."""
    with holder(path, LOCKER) as process:

        def work() -> object:
            def wait(seconds: float) -> None:
                os.kill(process.pid, signal.SIGKILL)

            pidfile.time.sleep = wait  # type: ignore[attr-defined]
            PidFile(str(path)).take()
            return path.read_text() == f"{os.getpid()}\n"

        path.write_text("1\n")
        assert in_child(work) == "True"


def test_a_worker_that_outlives_its_supervisor_does_not_hold_it(path: Path) -> None:
    with holder(path, HOLDER.replace("print(", "import os\nos.fork() and print(")) as process:
        process.kill()
        process.wait()
        assert read_live_pid(str(path)) is None


def test_a_file_of_somebody_else_by_now_is_not_removed(path: Path) -> None:
    def work() -> object:
        file = PidFile(str(path))
        file.take()
        path.unlink()
        path.write_text("another")
        file.remove()
        return path.read_text()

    assert in_child(work) == "another"


def test_a_file_that_cannot_be_removed_is_left_for_the_next(path: Path) -> None:
    def work() -> object:
        file = PidFile(str(path))
        file.take()
        path.parent.chmod(0o500)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresuid(NOBODY, NOBODY, NOBODY)
        with LogLines() as lines:
            file.remove()
        return lines.texts()

    path.parent.chmod(0o755)
    assert f"{path} is left behind: Permission denied" in in_child(work)


ACROSS_EXEC = """
import os, sys
from gateways.process.pidfile import PidFile
path = sys.argv[1]
if len(sys.argv) == 2:
    file = PidFile(path)
    file.take()
    os.set_inheritable(file.fileno(), True)
    os.execv(sys.executable, [sys.executable, "-c", SCRIPT, path, str(file.fileno())])
file = PidFile.adopt(path, int(sys.argv[2]))
print("taken", flush=True)
assert not os.get_inheritable(file.fileno())
sys.stdin.read()
file.remove()
print("removed", flush=True)
"""


def test_it_stays_locked_across_an_exec(path: Path) -> None:
    script = f"SCRIPT = {ACROSS_EXEC!r}\n{ACROSS_EXEC}"
    with holder(path, script) as process:
        assert path.read_text() == f"{process.pid}\n"
        assert read_live_pid(str(path)) == process.pid
        assert "refused" in taken_here(path)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.stdout.readline() == "removed\n"
        assert not path.exists()


def test_many_that_start_at_once_and_one_that_wins(path: Path) -> None:
    """Each removes the file as it leaves, under the noses of those that have opened it."""
    script = (
        "import sys; from gateways.process.pidfile import PidFile\n"
        "from gateways.errors import ConfigError\n"
        "for _ in range(300):\n"
        "    file = PidFile(sys.argv[1])\n"
        "    try: file.take()\n"
        "    except ConfigError: continue\n"
        "    mine = open(sys.argv[1] + '.owner', 'x'); mine.close()\n"  # fails beside another
        "    import os; os.unlink(sys.argv[1] + '.owner'); file.remove()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    crowd = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in crowd] == [""] * 3


# What is refused


def _directory(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    path.with_name("target").write_text("")
    path.symlink_to("target")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _program(path: Path) -> None:
    path.write_text("import os\n")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_directory, "it is a directory; name a file in it, as"),
        (_link, "it is a symbolic link, which is not followed; give the file itself"),
        (_fifo, "it is not a regular file"),
        (_program, "it holds something else than a process id; is it the right path?"),
    ],
)
def test_what_is_in_the_way_is_not_touched(
    path: Path, make: Callable[[Path], None], problem: str
) -> None:
    make(path)
    before = path.lstat()
    assert f"refused: --pidfile {path}: {problem}" in taken_here(path)
    assert path.lstat() == before


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    refusal = taken_here(tmp_path / "run" / "app.pid")
    assert f"the directory {tmp_path}/run does not exist; create it (systemd: Runtime" in refusal


@as_root
def test_the_file_of_another_user_is_refused(path: Path) -> None:
    path.write_text("12\n")
    os.chown(path, NOBODY, NOBODY)
    assert "it belongs to nobody, and this process is root; remove it" in taken_here(path)
    assert path.read_text() == "12\n"


@as_root
def test_a_directory_without_the_right_to_write() -> None:
    def work() -> object:
        become(NOBODY, NOBODY, [])
        try:
            PidFile("/etc/app.pid").take()
        except ConfigError as error:
            return error
        return "taken"

    expected = "--pidfile /etc/app.pid: nobody has no right to it; see `ls -ld /etc /etc/app.pid`"
    assert in_child(work) == expected


@pytest.mark.parametrize("make", [_directory, _fifo])
def test_asking_about_something_else_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(ConfigError, match="it is not a regular file"):
        read_live_pid(str(path))
