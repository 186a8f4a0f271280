"""Hooks: in the worker's process, and in one of their own for the supervisor."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.config import Config
from gateways.errors import ConfigError
from gateways.process.hooks import HookFailed, Process, run_hook, run_supervisor_hook
from tests.core.serving import LogLines
from tests.servers.harness import SOON_SECONDS

HOOKS = """
import os, signal, sys, time

def note(process):
    with open(os.environ["NOTES"], "a") as file:
        print(process.worker, process.generation, process.pid, os.getpid(), file=file)

class Nested:
    note = staticmethod(note)

def fail(process):
    raise KeyError("the database is away")

def leave(process):
    sys.exit("enough")

def vanish(process):
    os._exit(5)

def die(process):
    os.kill(os.getpid(), signal.SIGKILL)

def hang(process):
    time.sleep(60)

def handlers(process):
    left = [n for n in signal.valid_signals() if callable(signal.getsignal(n))]
    left.remove(signal.SIGINT)  # taken, and ignored: it is meant for the supervisor
    if left or signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        raise RuntimeError(f"left: {left}")

def start_something(process):
    note(process)
    if not os.fork():
        open(os.environ["NOTES"] + ".end").read()
        os._exit(0)

number = 5
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the hooks write down."""
    (tmp_path / "operators_hooks.py").write_text(HOOKS)
    (tmp_path / "broken_hooks.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    yield tmp_path / "notes"
    sys.modules.pop("operators_hooks", None)


def process(config: Config) -> Process:
    """What a worker's hook is told."""
    return Process(2, 3, os.getpid(), config)


def hooks(function: str, name: str = "on_start", **options: float) -> Config:
    """A configuration with one hook."""
    reference = function if ":" in function else f"operators_hooks:{function}"
    return Config(hooks={name: reference}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", ["note", "Nested.note"])
def test_a_workers_hook_runs_in_the_worker(notes: Path, function: str) -> None:
    config = hooks(function, "post_fork")
    run_hook(config.hooks, "post_fork", process(config))
    run_hook(config.hooks, "on_ready", process(config))  # there is none
    assert notes.read_text() == f"2 3 {os.getpid()} {os.getpid()}\n"


def test_the_supervisors_hook_runs_in_a_process_of_its_own(notes: Path) -> None:
    run_supervisor_hook(hooks("note"), "on_start", 1)
    run_supervisor_hook(hooks("note"), "on_reload", 1)  # there is none
    worker, generation, pid, own = notes.read_text().split()
    assert (worker, generation, pid) == ("0", "1", str(os.getpid()))
    assert own != pid
    assert "operators_hooks" not in sys.modules
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # nothing is left to be reaped


@pytest.mark.parametrize("name", ["post_fork", "on_ready"])
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            "fail",
            ["= 'operators_hooks:fail' failed\n\n", 'in fail\n    raise KeyError("the', "away"],
        ),
        ("leave", ["SystemExit: enough"]),
        ("missing", ["AttributeError: module 'operators_hooks' has no attribute 'missing'"]),
        ("number", ["TypeError: that is no function, but int"]),
        ("nowhere_at_all:f", ["No module named 'nowhere_at_all'", "sys.path:\n"]),
        ("broken_hooks:f", ["import no_such_module_at_all", "No module named 'no_such_module_at"]),
    ],
)
def test_what_a_hook_raises_fails_the_start(
    notes: Path, name: str, function: str, expected: list[str]
) -> None:
    config = hooks(function, name)
    with pytest.raises(HookFailed) as raised:
        run_hook(config.hooks, name, process(config))
    told = str(raised.value)
    assert told.startswith(f"{name} = '")
    assert [part for part in expected if part not in told] == []
    assert "process/hooks.py" not in told
    with pytest.raises(HookFailed) as raised:
        run_supervisor_hook(hooks(function), "on_start", 1)
    assert [part for part in expected if part not in str(raised.value)] == []


def test_what_on_exit_raises_is_logged(notes: Path) -> None:
    config = hooks("fail", "on_exit")
    with LogLines() as lines:
        run_hook(config.hooks, "on_exit", process(config))
    (text,) = lines.texts()
    assert 'raise KeyError("the database is away")' in text


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("vanish", "its process left with 5 before the function returned"),
        ("die", "its process was ended by SIGKILL before the function returned"),
        ("hang", "took longer than 0.2 s and was ended; --start-timeout allows more"),
    ],
)
def test_a_process_that_does_not_come_to_its_end(notes: Path, function: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        run_supervisor_hook(hooks(function, start_timeout_seconds=0.2), "on_start", 1)
    assert problem in str(raised.value)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_a_hook_leaves_running_is_not_waited_for(notes: Path) -> None:
    os.mkfifo(f"{notes}.end")
    began = time.monotonic()
    run_supervisor_hook(hooks("start_something"), "on_start", 1)
    assert time.monotonic() - began < SOON_SECONDS
    assert notes.exists()
    with open(f"{notes}.end", "w"):
        pass  # what has stayed may go


def test_the_supervisors_signals_are_not_the_hooks(notes: Path) -> None:
    previous = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    try:
        run_supervisor_hook(hooks("handlers", start_timeout_seconds=20), "on_start", 1)
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_what_is_prepared_comes_first(notes: Path) -> None:
    def prepare() -> None:
        notes.write_text("prepared\n")

    run_supervisor_hook(hooks("note"), "on_start", 1, prepare)
    assert notes.read_text().startswith("prepared\n0 1 ")

    def refuse() -> None:
        raise ConfigError("no such user")

    with pytest.raises(HookFailed, match="no such user"):
        run_supervisor_hook(hooks("note"), "on_start", 1, refuse)
