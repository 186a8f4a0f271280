"""A real server in a thread, on a real socket, with every poller, one thread and several."""

from __future__ import annotations

import contextlib
import selectors
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.config import Config
from gateways.core.listener import Listener, tcp_listener, unix_listener
from gateways.core.poller import EpollPoller, Poller, SelectorPoller
from gateways.core.server import Server
from gateways.process.single import SingleProcess
from gateways.wsgi.runner import Application
from tests.end_to_end.client import DEADLINE, Address

POLLERS: dict[str, Callable[[], Poller]] = {
    "epoll": EpollPoller,
    "poll": lambda: SelectorPoller(selectors.PollSelector()),
    "select": lambda: SelectorPoller(selectors.SelectSelector()),
}

# Each poller with one thread and with several, each with both kinds of socket.
KINDS = [
    ("epoll", 1, "unix"),
    ("epoll", 4, "tcp"),
    ("poll", 1, "tcp"),
    ("poll", 4, "unix"),
    ("select", 1, "unix"),
    ("select", 4, "tcp"),
]

Serve = Callable[..., Address]


def _listener(kind: str, folder: Path) -> Listener:
    if kind == "tcp":
        return tcp_listener("127.0.0.1", 0, 128)
    return unix_listener(str(folder / "app.sock"), 128)


@contextlib.contextmanager
def running(
    application: Application, poller: Poller, listener: Listener, config: Config
) -> Iterator[Address]:
    """Serve until the block ends."""
    process = SingleProcess(Server(application, [listener], config, poller=poller))
    address: Address = listener.socket.getsockname()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            process.run()
        except BaseException as error:  # noqa: BLE001  # shown by the test, not by its thread
            failures.append(error)

    thread = threading.Thread(target=run, name="server")
    thread.start()
    try:
        yield address
    finally:
        process.stop()
        thread.join(DEADLINE)
    assert not thread.is_alive(), "the server does not stop"
    assert not failures, failures


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(map(str, kind)))
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """``serve(application, **options)`` starts a server and returns its address."""
    poller, threads, kind = request.param
    with contextlib.ExitStack() as stack:

        def start(application: Application, **options: Any) -> Address:
            config = Config(threads=threads, graceful_timeout_seconds=DEADLINE, **options)
            listener = _listener(kind, tmp_path)
            return stack.enter_context(running(application, POLLERS[poller](), listener, config))

        yield start
