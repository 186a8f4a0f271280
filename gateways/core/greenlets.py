"""Greenlets in the place of threads, in a process that gevent has patched.

They take turns in one thread of the system: whoever waits, in calls that gevent has replaced, lets
the hub run others. What is compiled, or was imported before, does not see the replacements: the
wait for events, and the lock of a connection. For these two it is done here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import gevent
from gevent import monkey
from gevent.hub import Waiter

from gateways.core import poller, syscalls
from gateways.core.poller import EpollPoller, Event, Poller
from gateways.core.threads import Threads
from gateways.errors import RequestTimeout
from gateways.protocols.base import Request

_LOOK_SECONDS = 0.001  # how often a held lock, which hardly ever happens, is tried again

if poller.new_epoll is None:  # this process was patched before we were imported
    poller.new_epoll = monkey.get_original("select", "epoll")


class GreenPoller(EpollPoller):
    """The epoll is itself a descriptor that the hub watches: when it is readable, the hub gives an
    event to each greenlet that has nothing to do, and goes on when that waits again."""

    def __init__(self) -> None:
        super().__init__()
        self.is_shared = False  # only the hub looks
        self._idle: list[Waiter[Event | None]] = []
        self._watcher: Any = gevent.get_hub().loop.io(self._number, 1)  # readable

    def share(self, is_shared: bool) -> None:
        """However many they are, the hub waits alone."""

    def wait(self, timeout: float | None) -> Event | None:
        if self._found:
            return EpollPoller.wait(self, 0.0)
        waiter: Waiter[Event | None] = Waiter()
        self._idle.append(waiter)
        if not self._watcher.active:
            self._watcher.start(self._hand_out)
        event: Event | None = None
        try:
            with gevent.Timeout(timeout, False):
                event = waiter.get()
        finally:
            if waiter in self._idle:  # it has not been given anything
                self._idle.remove(waiter)
        return event

    def _hand_out(self) -> None:
        """In the hub: something has happened."""
        while self._idle:
            # The one that came last: its memory is the warmest.
            self._idle.pop().switch(EpollPoller.wait(self, 0.0))
            if not self._found:
                return
        self._watcher.stop()

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        super().close()


class GreenThread(threading.Thread):
    """A thread that knows the greenlet that it is."""

    greenlet: Any = None

    def run(self) -> None:
        """In the greenlet."""
        self.greenlet = gevent.getcurrent()
        super().run()


class Greenlets(Threads):
    """The threads of a process that gevent has patched."""

    compete = False

    def __init__(self) -> None:
        poller.is_patched = True
        syscalls.when_held(lambda: gevent.sleep(_LOOK_SECONDS))

    def new_poller(self) -> Poller:
        if poller.new_epoll is not None and hasattr(os, "eventfd"):
            return GreenPoller()
        return poller.new_poller()

    def new_thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        return GreenThread(target=target, name=name, daemon=True)

    def frame_of(self, thread: int) -> FrameType | None:
        greenlet = _greenlet_of(thread)
        frame: FrameType | None = None if greenlet is None else greenlet.gr_frame
        return frame

    def interrupt(self, thread: int, request: Request, streaming: bool = False) -> bool:
        # It waits somewhere, as we are running. So there is no moment between looking and raising.
        greenlet = _greenlet_of(thread)
        response = request.response
        if greenlet is None or response is None or not response.is_interruptible:
            return False
        if request.ended or (request.status and not streaming):
            return False
        ours = gevent.getcurrent()
        gevent.get_hub().loop.run_callback(ours.switch)  # as soon as it waits again
        greenlet.throw(RequestTimeout)
        return True

    def forget_interrupt(self, thread: int) -> None:
        pass  # what was raised has arrived


def _greenlet_of(ident: int) -> Any:
    """The greenlet of one of our threads; None if there is none of that number."""
    for thread in threading.enumerate():
        if thread.ident == ident:
            return getattr(thread, "greenlet", None)
    return None
