"""Where the logs go, whatever the application, the operator or a peer does to them."""

from __future__ import annotations

import functools
import logging
import logging.config
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.config import Config
from gateways.core.stacklog import log_with_lines
from gateways.errors import ConfigError
from gateways.process import logs
from gateways.process.logfiles import LogFile, Target
from gateways.process.logs import reopen_logs, restore_logging, set_up_logging
from tests.core.serving import DEADLINE, LogLines, eventually

OURS = ("gateways", "gateways.access", "gateways.server", "gateways.logs")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loggers as they are in a new process, and put back afterwards."""
    loggers = [logging.getLogger(), *map(logging.getLogger, OURS)]
    before = [(one.level, one.propagate, one.handlers[:], one.disabled) for one in loggers]
    monkeypatch.setattr(logs, "_state", logs._State())
    yield
    for name in OURS:
        for handler in logging.getLogger(name).handlers:
            handler.close()
    for one, (level, propagate, handlers, disabled) in zip(loggers, before, strict=True):
        one.setLevel(level)
        one.propagate, one.handlers[:], one.disabled = propagate, handlers, disabled
    for file in logs._state.files.values():
        file.close()


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, in ``folder``."""
    imports = """
        import faulthandler, logging, os, sys, threading
        from gateways.config import Config
        from gateways.process.logs import *
        from gateways.process.logs import capture_output, set_log_owner
        log = logging.getLogger("gateways.server")
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(imports) + textwrap.dedent(code)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


# One line for each record


def test_a_log_line_is_readable_and_comes_once(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    set_up_logging(Config(log_level="INFO"))
    set_up_logging(Config(log_level="info"))
    logging.getLogger("gateways.server").info("listening on %s", "/tmp/x")
    logging.getLogger("gateways").debug("not shown")
    (line,) = capfd.readouterr().err.splitlines()
    stamp, _, rest = line.partition(" [")
    assert rest == f"{os.getpid()}] INFO listening on /tmp/x"
    time.strptime(stamp, "%Y-%m-%d %H:%M:%S")
    assert not caplog.records  # which a handler of the root logger collects


@pytest.mark.parametrize(
    ("given", "logged"),
    [
        ("a\n2026-01-01 00:00:00 [1] INFO forged", "a\\n2026-01-01 00:00:00 [1] INFO forged"),
        ("a\r\nb", "a\\x0d\\nb"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("nul \x00 del \x7f csi \x9b", "nul \\x00 del \\x7f csi \\x9b"),
        ("line\u2028separator", "line\\u2028separator"),
        ("\u202eright to left", "\\u202eright to left"),
        ("half a pair \ud800", "half a pair \\ud800"),
        ("tab\tand é stay", "tab\tand é stay"),
    ],
)
def test_what_a_peer_sends_stays_in_its_line(tmp_path: Path, given: str, logged: str) -> None:
    set_up_logging(Config(error_log=str(tmp_path / "log")))
    logging.getLogger("gateways.server").warning("peer: %s", given)
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert text.endswith(f"WARNING peer: {logged}\n")
    assert len(text.splitlines()) == 1


def test_a_traceback_keeps_its_lines_and_forges_none(tmp_path: Path) -> None:
    set_up_logging(Config(error_log=str(tmp_path / "log")))
    try:
        raise ValueError("first\n2026-01-01 00:00:00 [1] INFO forged\x1b")
    except ValueError as error:
        logging.getLogger("gateways.server").error("it failed", exc_info=error)
    first, *rest = (tmp_path / "log").read_text().split("\n")
    assert first.endswith("ERROR it failed")
    assert rest.pop() == ""
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-2:] == ["  ValueError: first", "  2026-01-01 00:00:00 [1] INFO forged\\x1b"]
    assert all(line.startswith("  ") for line in rest)


def test_a_stack_of_another_thread_is_below_its_message(tmp_path: Path) -> None:
    set_up_logging(Config(error_log=str(tmp_path / "log")))
    own = logging.getLogger("gateways.server")
    log_with_lines(own, logging.WARNING, "slow: %s", "GET\n/", lines="File a\n  File b\n")
    log_with_lines(own, logging.DEBUG, "not shown", lines="not shown")
    first, *rest = (tmp_path / "log").read_text().splitlines()
    assert first.endswith("WARNING slow: GET\\n/")
    assert rest == ["  File a", "    File b"]


def test_a_message_that_cannot_be_formatted_fails_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(Config(error_log=str(tmp_path / "log")))
    logging.getLogger("gateways.server").warning("%d", "not a number")
    assert "not a number" in capfd.readouterr().err


# An application that configures logging for itself

CONSOLE = {"class": "logging.StreamHandler"}


def quiet_root(**table: Any) -> dict[str, Any]:
    return {"version": 1, "handlers": {"console": CONSOLE}, **table}


APPLICATIONS = {
    "nothing named": {"version": 1},
    "a handler for all": quiet_root(root={"handlers": ["console"], "level": "DEBUG"}),
    "our logger with a level": {"version": 1, "loggers": {"gateways": {"level": "CRITICAL"}}},
    "our logger with a handler": quiet_root(
        loggers={"gateways": {"handlers": ["console"], "propagate": True}},
        root={"handlers": ["console"]},
    ),
    "a logger below ours": quiet_root(
        loggers={"gateways.server": {"level": "CRITICAL", "propagate": False}},
        disable_existing_loggers=False,
    ),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_with_a_dictconfig_neither_silences_nor_doubles_us(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    other = logging.getLogger("gateways_of_the_city")
    set_up_logging(Config(access_log=str(tmp_path / "access")))
    logging.config.dictConfig(APPLICATIONS[name])
    restore_logging()
    capfd.readouterr()
    logging.getLogger("gateways.server").info("still here")
    logging.getLogger("gateways").info("me too")
    logging.getLogger("gateways.access").info("and I")
    shown = [line.partition("INFO ")[2] for line in capfd.readouterr().err.splitlines()]
    assert shown == ["still here", "me too"]
    assert (tmp_path / "access").read_text() == "and I\n"
    assert other.disabled is (name != "a logger below ours")


def test_that_our_logger_was_named_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Config())
    logging.config.dictConfig(APPLICATIONS["our logger with a handler"])
    restore_logging()
    restore_logging()
    (line,) = capfd.readouterr().err.splitlines()
    assert "names gateways; that is undone" in line
    assert "use the table logging" in line


def test_an_application_with_a_basicconfig_does_not_double_us(
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_up_logging(Config())
    logging.basicConfig(level=logging.DEBUG, force=True)
    restore_logging()
    logging.getLogger("gateways.server").info("once")
    assert capfd.readouterr().err.count("once") == 1


# Files


def test_another_config_moves_the_logs(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    own, access = logging.getLogger("gateways.server"), logging.getLogger("gateways.access")
    descriptors = len(os.listdir("/proc/self/fd"))
    set_up_logging(Config(error_log=str(one), access_log=str(one)))
    own.info("first")
    access.info("a request")
    set_up_logging(Config(error_log=str(other), log_level="warning"))
    own.info("not shown")
    own.warning("second")
    assert not logging.getLogger("gateways.access").handlers
    assert len(os.listdir("/proc/self/fd")) == descriptors + 1
    assert [line[-9:] for line in one.read_text().splitlines()] == ["NFO first", "a request"]
    assert [line[-6:] for line in other.read_text().splitlines()] == ["second"]


WRONG_FILES = {
    "--error-log": (Config(error_log="no/such/log"), "make the directory no"),
    "--access-log": (Config(access_log="no/such/log"), "make the directory no"),
    "--error-log /": (Config(error_log="/"), "name a file in it"),
    "--access-log no": (
        Config(error_log="other", access_log="no/such/log"),
        "make the directory no",
    ),
}


@pytest.mark.parametrize("option", WRONG_FILES)
def test_a_file_that_cannot_be_opened_is_refused_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    set_up_logging(Config(error_log="log"))
    descriptors = len(os.listdir("/proc/self/fd"))
    config, remedy = WRONG_FILES[option]
    with pytest.raises(ConfigError, match=f"^{option}.*{remedy}"):
        set_up_logging(config)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    logging.getLogger("gateways.server").info("still here")
    assert "still here" in (tmp_path / "log").read_text()


def test_renamed_files_are_left_alone_after_reopening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    set_up_logging(Config(error_log="log", access_log="access"))
    monkeypatch.chdir("/")  # relative names stay where they were
    for name in ("log", "access"):
        (tmp_path / name).rename(tmp_path / f"{name}.1")
    assert reopen_logs()
    logging.getLogger("gateways.server").info("new")
    logging.getLogger("gateways.access").info("new")
    assert [(tmp_path / f"{name}.1").read_text() for name in ("log", "access")] == ["", ""]
    assert "new" in (tmp_path / "log").read_text()
    assert (tmp_path / "access").read_text() == "new\n"


def test_a_rotation_loses_nothing_of_threads_that_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    set_up_logging(Config(error_log=str(path)))
    own = logging.getLogger("gateways.server")
    ended = threading.Event()
    counts = [0] * 4

    def work(number: int) -> None:
        while not ended.is_set():
            own.info("%d:%d", number, counts[number])
            counts[number] += 1

    def reached(target: int) -> bool:
        return sum(counts) >= target

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(50):
        target = sum(counts) + 20
        eventually(functools.partial(reached, target), "the threads log")
        path.rename(tmp_path / f"log.{turn:02}")
        assert reopen_logs()
    ended.set()
    for thread in threads:
        thread.join(DEADLINE)
    lines = [line for file in sorted(tmp_path.iterdir()) for line in file.read_text().splitlines()]
    found = sorted(tuple(map(int, line.rpartition(" ")[2].split(":"))) for line in lines)
    assert found == [(number, turn) for number in range(4) for turn in range(counts[number])]
    assert all(file.stat().st_size for file in tmp_path.glob("log.*"))


def test_a_log_that_cannot_be_opened_anew_stays_and_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    set_up_logging(Config(error_log=str(folder / "log")))
    folder.rename(tmp_path / "old")
    assert not reopen_logs()
    logging.getLogger("gateways.server").info("still here")
    complaint, after = (tmp_path / "old/log").read_text().splitlines()
    assert f"{folder}/log cannot be opened anew: No such file or directory" in complaint
    assert f"make the directory {folder}" in complaint
    assert "send SIGUSR1 again" in complaint
    assert after.endswith("still here")


def test_processes_that_share_a_log_tear_no_line(tmp_path: Path) -> None:
    code = """
        set_up_logging(Config(error_log="log"))
        for number in range(5000):
            size = 20_000 if number % 500 == 0 else number % 300
            log.info("<%s:%d:%s>", sys.argv[1], number, "x" * size)
    """
    source = (
        "import logging, sys\nfrom gateways.config import Config\n"
        "from gateways.process.logs import set_up_logging\n"
        "log = logging.getLogger('gateways.server')\n"
    ) + textwrap.dedent(code)
    writers = [
        subprocess.Popen([sys.executable, "-c", source, str(writer)], cwd=tmp_path)
        for writer in range(4)
    ]
    assert [writer.wait(DEADLINE) for writer in writers] == [0, 0, 0, 0]
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 20_000
    seen: dict[str, int] = dict.fromkeys("0123", 0)
    for line in lines:
        writer, number, fill = line.partition("<")[2].removesuffix(">").split(":")
        size = 20_000 if int(number) % 500 == 0 else int(number) % 300
        assert line.endswith(">")
        assert int(number) == seen[writer]
        assert fill == "x" * size
        seen[writer] += 1


def test_a_full_disk_fails_no_request_and_is_told_of_afterwards(tmp_path: Path) -> None:
    file = LogFile("/dev/full")
    file.write(b"lost\n")
    file.write(b"lost too\n")
    with (tmp_path / "log").open("wb") as room:
        os.dup2(room.fileno(), file.fd)
    with LogLines() as log:
        file.write(b"there is room again\n")
        file.write(b"and again\n")
    file.close()
    assert (tmp_path / "log").read_text() == "there is room again\nand again\n"
    (text,) = log.texts()
    assert text.startswith("2 records for /dev/full were lost (No space left on device)")


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for() -> None:
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    data = b"x" * (1 << 20)
    received = bytearray()

    def read() -> None:
        while len(received) < len(data):
            received.extend(os.read(readable, 1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    Target(writable, "a pipe").write(data)
    reader.join(DEADLINE)
    os.close(readable)
    os.close(writable)
    assert bytes(received) == data


def test_a_fifo_that_nobody_reads_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="start what reads that FIFO first"):
        set_up_logging(Config(error_log=str(tmp_path / "fifo")))


# Standard output and error


def test_captured_output_is_in_the_log_and_follows_it(tmp_path: Path) -> None:
    done = run(
        """
        print("for the terminal")
        set_up_logging(Config(error_log="log"))
        capture_output("log")
        log.info("a record")
        print("printed")
        os.write(2, b"written\\n")
        os.rename("log", "log.1")
        reopen_logs()
        print("printed later")
        faulthandler.dump_traceback()
        set_up_logging(Config(error_log="other"))
        print("printed last")
        """,
        tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "for the terminal\n", "")
    old = (tmp_path / "log.1").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in old] == ["record", "printed", "written"]
    later = (tmp_path / "log").read_text()
    assert later.startswith("printed later\n")
    assert "most recent call first" in later
    assert (tmp_path / "other").read_text() == "printed last\n"


def test_output_captured_without_a_log_goes_nowhere_and_that_is_told(tmp_path: Path) -> None:
    done = run(
        """
        set_up_logging(Config())
        capture_output("")
        print("printed")
        log.error("lost")
        """,
        tmp_path,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.endswith("WARNING nothing will be logged from here on; give --error-log FILE")


def test_an_access_log_may_go_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Config(access_log="-"))
    logging.getLogger("gateways.access").info("GET / 100%")
    assert capfd.readouterr().out == "GET / 100%\n"


# Files that root opens and a user writes


@as_root
def test_files_are_given_to_the_user_who_opens_them_anew(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    done = run(
        """
        set_up_logging(Config(error_log="log"))
        set_log_owner(65534)
        os.rename("log", "log.1")
        assert reopen_logs()
        os.setuid(65534)
        log.info("written by the user")
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [(tmp_path / name).stat().st_uid for name in ("log.1", "log")] == [65534, 65534]
    assert "written by the user" in (tmp_path / "log").read_text()


@as_root
@pytest.mark.parametrize("how", ["symlink_to", "hardlink_to"])
def test_a_link_to_a_file_of_roots_gives_it_to_nobody(tmp_path: Path, how: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    getattr(tmp_path / "log", how)(secret)
    done = run(
        """
        set_up_logging(Config(error_log="log"))
        set_log_owner(65534)
        """,
        tmp_path,
    )
    assert secret.stat().st_uid == 0
    if how == "symlink_to":
        assert "root follows no symbolic link when it logs for --user" in done.stderr


# The table for dictConfig

PLAIN = {"formatters": {"plain": {"format": "theirs %(message)s"}}}


def file_table(path: Path, **loggers: Any) -> dict[str, Any]:
    handler = {"class": "logging.FileHandler", "filename": str(path), "formatter": "plain"}
    return {**PLAIN, "handlers": {"file": handler}, "loggers": loggers}


def test_a_logger_with_handlers_of_the_operators_gets_none_of_ours(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = {"handlers": ["file"], "level": "DEBUG", "propagate": False}
    table = file_table(tmp_path / "theirs", gateways=entry)
    config = Config(logging=table, access_log=str(tmp_path / "access"))
    set_up_logging(config)
    set_up_logging(config)
    logging.getLogger("gateways.server").debug("hello")
    logging.getLogger("gateways.access").info("GET /")
    assert (tmp_path / "theirs").read_text() == "theirs hello\n"
    assert (tmp_path / "access").read_text() == "GET /\n"
    assert capfd.readouterr().err == ""


def test_an_application_does_not_take_the_operators_handlers_away(tmp_path: Path) -> None:
    entry = {"handlers": ["file"], "level": "DEBUG", "propagate": False}
    set_up_logging(Config(logging=file_table(tmp_path / "theirs", gateways=entry)))
    logging.config.dictConfig(APPLICATIONS["our logger with a level"])
    restore_logging()
    logging.getLogger("gateways.server").debug("hello")
    assert (tmp_path / "theirs").read_text() == "theirs hello\n"


def test_the_same_table_again_closes_no_handler_of_the_applications(tmp_path: Path) -> None:
    class Noted(logging.Handler):
        closed = False

        def close(self) -> None:
            self.closed = True
            super().close()

    config = Config(logging=file_table(tmp_path / "theirs"))
    set_up_logging(config)
    handler = Noted()
    set_up_logging(config)
    assert not handler.closed


def test_a_level_alone_leaves_our_handler(capfd: pytest.CaptureFixture[str]) -> None:
    loggers = {"gateways": {"level": "ERROR"}, "gateways.server": {"level": "DEBUG"}}
    set_up_logging(Config(logging={"loggers": loggers}))
    restore_logging()
    logging.getLogger("gateways.server").debug("shown")
    logging.getLogger("gateways.logs").warning("not shown")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("DEBUG shown")


def test_disabling_existing_loggers_does_not_mean_ours(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("gateways.server").disabled = False
    set_up_logging(Config(logging={"disable_existing_loggers": True}))
    logging.getLogger("gateways.server").info("hello")
    assert capfd.readouterr().err.endswith("INFO hello\n")


def test_a_table_that_is_taken_out_again_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = file_table(tmp_path / "theirs", gateways={"handlers": ["file"], "level": "DEBUG"})
    table["root"] = {"handlers": ["file"], "level": "DEBUG"}
    for config in (Config(logging=table), Config(), Config(logging=table), Config()):
        set_up_logging(config)
    logging.getLogger("gateways.server").info("hello")
    logging.getLogger().warning("of the application")
    assert capfd.readouterr().err.count("hello") == 1
    assert (tmp_path / "theirs").read_text() == ""


def test_a_file_that_the_table_makes_useless_is_told_of(tmp_path: Path) -> None:
    table = file_table(tmp_path / "theirs", gateways={"handlers": ["file"]})
    set_up_logging(Config(logging=table, error_log=str(tmp_path / "log")))
    assert "error_log" in (tmp_path / "theirs").read_text()
    assert "drop one of the two" in (tmp_path / "theirs").read_text()
    assert not (tmp_path / "log").exists()


WRONG_TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"handler": {}}, "logging.handler is unknown; did you mean handlers?"),
    "a key of a logger": (
        {"loggers": {"gateways": {"lvl": "INFO"}}},
        "logging.loggers.gateways.lvl is unknown; did you mean level?",
    ),
    "a logger that is a level": ({"loggers": {"a": "INFO"}}, "logging.loggers.a is not a table"),
    "loggers that are a list": ({"loggers": []}, "logging.loggers is not a table"),
    "a handler that is not there": (
        {"loggers": {"gateways": {"handlers": ["nowhere"]}}},
        "logging: Unable to configure logger 'gateways': .*nowhere",
    ),
    "a change of nothing": ({"incremental": True}, "logging.incremental is unknown"),
    "a class that is not there": (
        {"handlers": {"mine": {"class": "no.such.Handler"}}},
        "logging: Unable to configure handler 'mine': .*no",
    ),
    "a file that cannot be made": (
        {"handlers": {"mine": {"class": "logging.FileHandler", "filename": "/no/such/file"}}},
        "logging: Unable to configure handler 'mine': .*/no/such/file",
    ),
    "a level that is none": (
        {"loggers": {"gateways": {"level": "LOUD"}}},
        "logging: Unable to configure logger 'gateways': Unknown level: 'LOUD'",
    ),
}


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_a_wrong_table_is_refused_by_its_key_and_the_log_stays(
    capfd: pytest.CaptureFixture[str], name: str
) -> None:
    set_up_logging(Config())
    table, problem = WRONG_TABLES[name]
    with pytest.raises(ConfigError, match=problem):
        set_up_logging(Config(logging=table))
    logging.getLogger("gateways.server").info("still here")
    shown = [line for line in capfd.readouterr().err.splitlines() if "INFO" in line]
    assert [line.partition("INFO ")[2] for line in shown] == ["still here"]


# A whole server


def test_a_server_logs_to_its_files(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def application(environ, start_response): ...\n")
    command = [sys.executable, "-m", "gateways", "fcgi", "--workers", "0", "--error-log", "log"]
    process = subprocess.Popen([*command, "--bind", "./x.sock", "shop"], cwd=tmp_path)
    log = tmp_path / "log"
    eventually(lambda: log.exists() and "in this process" in log.read_text(), "the server serves")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    assert f"[{process.pid}] INFO serving shop on" in log.read_text()
