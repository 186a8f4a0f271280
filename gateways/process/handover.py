"""SIGUSR2: the supervisor replaces its own program, and keeps its process, sockets and workers.

The new program may be another version of this package or of the interpreter. Its process id stays,
so whoever watches it sees nothing; the workers stay its children. What it has to know is in an
unlinked file whose descriptor an environment variable names. The new program starts a generation of
its own, and only when that is ready the old workers retire.

Before the leap a process apart checks that the new program starts and loads the application.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from gateways.process.channel import Channel
from gateways.process.fleet import Fleet
from gateways.process.forking import die_with_parent, unblock_signals
from gateways.process.member import Generation, Plan, Spec, State, Worker
from gateways.process.privileges import Privileges
from gateways.process.scoreboard import Scoreboard

logger = logging.getLogger("gateways.supervisor")

VARIABLE = "GATEWAYS_HANDOVER"
_VERSION = 1


def _command() -> list[str]:
    """The command line that this program was started by."""
    return [sys.executable, *sys.orig_argv[1:]]


def check_program() -> int:
    """In a forked process: become the new program's --check-config. Its status is the answer."""
    unblock_signals()
    die_with_parent(signal.SIGKILL)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # its "ok" is of no interest
    words = _command()
    words.insert(words.index("--") if "--" in words else len(words), "--check-config")
    os.execv(sys.executable, words)  # noqa: S606  # as we were started


def hand_over(fleet: Fleet, plan: Plan, generation: int) -> None:
    """Become the new program; returns only where that fails, after saying so."""
    workers = [worker for worker in fleet.workers(State.SERVING, State.LEAVING) if worker.pid]
    pidfile = plan.pidfile
    control = None if plan.control is None else plan.control.hand_over()
    inherited = [listener.socket.fileno() for listener in plan.listeners]
    inherited += [worker.channel.fileno() for worker in workers]
    inherited += plan.keeping.descriptors()
    if control is not None:
        inherited.append(control["descriptor"])
    if pidfile is not None:
        inherited.append(pidfile.fileno())
    state = {
        "generation": generation,
        "listeners": [listener.hand_over() for listener in plan.listeners],
        "control": control,
        "keeping": plan.keeping.descriptors(),
        "workers": [_describe(worker) for worker in workers],
        "pidfile": None if pidfile is None else pidfile.fileno(),
    }
    logger.info("replacing the program by %s", " ".join(_command()))
    leap(state, inherited, plan.directory, dict(os.environ))


def leap(
    state: dict[str, Any], descriptors: Sequence[int], directory: str, environ: dict[str, str]
) -> None:
    """Become what the command line names, in ``directory``, with these ``descriptors``.

    It finds ``state`` by ``take_over``, and all signals blocked. Returns only where that fails,
    after saying so.
    """
    state = {**state, "version": _VERSION, "pid": os.getpid()}
    import tempfile  # once in a life

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(state).encode())
            file.flush()
            for descriptor in (file.fileno(), *descriptors):
                os.set_inheritable(descriptor, True)
            os.chdir(directory)
            environ = {**environ, VARIABLE: str(file.fileno())}
            os.execve(sys.executable, _command(), environ)  # noqa: S606  # the same
    except OSError as error:
        logger.error("the program cannot be replaced: %s", error)
    finally:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _describe(worker: Worker) -> dict[str, Any]:
    return {
        "pid": worker.pid,
        "row": worker.row,
        "descriptor": worker.channel.fileno(),
        "serves": worker.state is State.SERVING and not worker.killed,
    }


def take_over() -> dict[str, Any] | None:
    """What the program that this one replaces has left; None if there was none."""
    descriptor = os.environ.pop(VARIABLE, "")
    if not descriptor.isdigit():
        return None
    try:
        with open(int(descriptor), "rb") as file:
            file.seek(0)
            state: dict[str, Any] = json.loads(file.read())
    except (OSError, ValueError):
        return None  # a variable that was inherited from somewhere else
    if state.get("version") != _VERSION or state.get("pid") != os.getpid():
        return None
    return state


def adopt(fleet: Fleet, plan: Plan, rows: int) -> int:
    """Make the workers that were taken over the generation that serves; returns its number.

    ``rows`` is how many workers there may be at once.
    """
    state = plan.before or {}
    workers = state["workers"]
    spec = Spec(
        generation=state["generation"],
        reference=plan.reference,
        config=plan.config,
        privileges=Privileges.from_config(plan.config),
        listeners=plan.listeners,
        keeping=plan.keeping,
        supervisor=os.getpid(),
        # What they do is in a scoreboard that went with the old program.
        board=Scoreboard(
            max([rows, *(worker["row"] + 2 for worker in workers)]), plan.config.threads
        ),
        leftovers=plan.leftovers,
    )
    generation = Generation(spec)
    now = time.monotonic()
    for known in workers:
        channel = Channel.adopt(known["descriptor"])
        os.set_inheritable(known["descriptor"], False)
        worker = Worker(generation, channel, known["pid"], now, known["row"])
        generation.take(known["row"])
        if known["serves"]:
            worker.become(State.SERVING, now)
        else:
            fleet.let_leave(worker)
        fleet.members.append(worker)
    fleet.generation = generation
    fleet.target = len(fleet.workers(State.SERVING))
    return int(state["generation"])
