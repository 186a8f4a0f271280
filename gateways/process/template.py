"""The template of a generation (``preload``): loads the application once, and forks its workers.

The workers are to be the supervisor's children, which alone can wait for them. So each is forked by
a process in between that ends at once, and the kernel gives the orphan to the supervisor, which is
the nearest subreaper (Linux).
"""

from __future__ import annotations

import logging
import os
import signal

from gateways.core.stacklog import log_text
from gateways.process import channel as words
from gateways.process.channel import Channel
from gateways.process.child import run_worker
from gateways.process.forking import die_with_parent, fork_member, unblock_signals
from gateways.process.forksafety import ForkSafety, prepare_fork
from gateways.process.loading import load
from gateways.process.logs import reopen_logs
from gateways.process.member import Spec
from gateways.process.settling import NotReady, let_go_of_terminal, make_ready, settle
from gateways.process.titles import set_title
from gateways.wsgi.runner import Application

logger = logging.getLogger("gateways.server")

# Those of the terminal's process group are the supervisor's to act on.
_IGNORED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run_template(spec: Spec, channel: Channel) -> int:
    """Be the template of a generation; returns the exit status."""
    for number in _IGNORED:
        signal.signal(number, lambda number, frame: None)
    unblock_signals()
    set_title(f"gateways: template [{spec.applications}]")
    try:
        application = make_ready(lambda: _load(spec))
    except NotReady as failure:
        channel.send(words.FAILED, f"{failure.status}\n{failure}")
        return failure.status
    channel.send(words.READY)
    let_go_of_terminal(spec.config)
    while not channel.closed:
        channel.wait()
        messages, descriptors = channel.receive_with_descriptor()
        for message in messages:
            if message.kind == words.FORK:
                _fork(spec, application, int(message.text), channel, descriptors.pop(0))
            elif message.kind == words.REOPEN:
                reopen_logs()
            elif message.kind == words.QUIT:
                return 0
    return 0


def _load(spec: Spec) -> Application:
    settle(spec.config, spec.privileges)
    die_with_parent(signal.SIGKILL, spec.supervisor)
    with ForkSafety() as safety:
        application = load(spec.reference, spec.config.mounts, spec.privileges.inside)
    die_with_parent(0)
    report = safety.report()
    if report:
        log_text(logger, logging.WARNING, report)
    prepare_fork()
    return application


def _fork(spec: Spec, application: Application, row: int, ours: Channel, descriptor: int) -> None:
    """Fork the worker that ``descriptor`` is the channel of."""
    channel = Channel.adopt(descriptor)

    def be_between() -> int:
        fork_member(be_worker, lambda: None)
        return 0

    def be_worker() -> int:
        channel.send(words.HELLO, str(os.getpid()))
        return run_worker(spec, row, channel, application)

    try:
        between = fork_member(be_between, ours.close)
        os.waitpid(between, 0)
    except OSError as error:
        channel.send(words.FAILED, f"1\nno process could be forked: {error.strerror}")
    finally:
        channel.close()
