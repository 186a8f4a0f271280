"""Readiness: one poller is shared by all worker threads, and gives each event to one of them.

With epoll the kernel is the dispatcher: all threads wait in the same ``epoll_wait`` for one event
each, and connections are registered one-shot, so that exactly one thread gets each of them and
owns it until the connection is armed again. There is no dispatcher thread, no queue and no lock.
Where epoll is missing, ``SelectorPoller`` has the same semantics from the ``selectors`` module: one
thread at a time, the leader, waits in the selector, takes one event and passes the lead on.

A descriptor that was dup'ed into a forked child can outlive its registration, and its number can
be in use again by then: so an event is a hint, and the connection decides whether it is due.
"""

from __future__ import annotations

import collections
import os
import select
import selectors
import threading

from gateways.core.syscalls import next_event, rearm, wait_for_one

new_epoll = getattr(select, "epoll", None)  # gevent takes it away from those who look later
EPOLLONESHOT = getattr(select, "EPOLLONESHOT", 0)

READ = 1
WRITE = 4
READ_WRITE = READ | WRITE

Event = tuple[int, int]


class Poller:
    """What the core needs; events are READ and WRITE, anything else (an error) counts as READ.

    ``is_shared`` says that several threads wait in it at present, as far as is known.
    """

    def __init__(self) -> None:
        self.is_shared = True
        self._of_thread = threading.local()

    def share(self, is_shared: bool) -> None:
        """Several threads wait in it from here on, or only one does."""
        self.is_shared = is_shared

    def watch(self, fd: int) -> None:
        """Report ``fd`` whenever it is readable, until ``forget``: for listening sockets."""
        raise NotImplementedError

    def arm(self, fd: int, events: int, known: bool) -> int:
        """Report ``fd`` once, or not at all without ``events``; ``known``: it was armed before.

        A poller may prefer to report it until it is told otherwise, which spares the call for the
        next time. It returns the events that it goes on reporting.
        """
        raise NotImplementedError

    def forget(self, fd: int) -> None:
        """Report ``fd`` no more; to be called before it is closed."""
        raise NotImplementedError

    def wait(self, timeout: float | None) -> Event | None:
        """The next event for this thread; None after ``timeout`` seconds, or when woken."""
        raise NotImplementedError

    def wake(self) -> None:
        """Have one waiting thread return."""
        raise NotImplementedError

    def wake_all(self) -> None:
        """Have every thread return, now and from now on."""
        raise NotImplementedError

    def waker(self) -> Waker:
        """The calling thread's own waker."""
        try:
            own: Waker = self._of_thread.waker
        except AttributeError:
            own = self._of_thread.waker = Waker()
        return own

    def close(self) -> None:
        """Give the poller's own descriptors back."""
        raise NotImplementedError

    def renew(self) -> None:
        """In a forked child: forget what is registered, which the parent has in common with it."""
        raise NotImplementedError


class EpollPoller(Poller):
    """The shared one-shot epoll (Linux).

    A thread that waits alone is spared calls. It is given several events at once, and what is
    armed stays so: that thread is busy while it would be told what it does not want to know.
    """

    def __init__(self) -> None:
        super().__init__()
        if new_epoll is None:
            raise NotImplementedError("this system has no epoll")
        self._epoll = new_epoll()
        self._number = self._epoll.fileno()
        # A semaphore: each reader takes one wake, so that n wakes wake n threads.
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC | os.EFD_SEMAPHORE
        self._wake_fd = os.eventfd(0, flags)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._all_awake = False
        self._found: collections.deque[Event] = collections.deque()  # and nobody has taken it yet

    def share(self, is_shared: bool) -> None:
        self.is_shared = is_shared
        if is_shared and self._found:
            self._offer()

    def watch(self, fd: int) -> None:
        # Level-triggered: a thread takes one connection, the rest is reported to the next thread.
        # EXCLUSIVE spares the other processes on a shared socket; it forbids ONESHOT.
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def arm(self, fd: int, events: int, known: bool) -> int:
        # To ask for nothing is one-shot too: a hang-up would be reported all the same.
        stays = 0 if self.is_shared else events
        flags = events if stays else events | EPOLLONESHOT
        if known:
            rearm(self._epoll, self._number, fd, flags)
        else:
            self._epoll.register(fd, flags)
        return stays

    def forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (FileNotFoundError, ValueError):
            pass  # it was never armed
        if self._found:
            self._drop(fd)

    def wait(self, timeout: float | None) -> Event | None:
        event = self._take() if self._found else None
        if event is None:
            others = None if self.is_shared else self._found
            seconds = -1.0 if timeout is None else timeout
            event = next_event(self._epoll, self._number, seconds, others)
            if event is None:
                return None
            if self._found and self.is_shared:  # since a moment ago
                self._offer()
        fd = event[0]
        if fd == self._wake_fd:
            if not self._all_awake:
                try:
                    os.eventfd_read(fd)
                except BlockingIOError:
                    pass  # another thread was quicker
            return None
        return event

    def _take(self) -> Event | None:
        try:
            return self._found.popleft()
        except IndexError:
            return None  # another thread was quicker

    def _drop(self, fd: int) -> None:
        for event in self._found.copy():
            if event[0] == fd:
                try:
                    self._found.remove(event)
                except ValueError:
                    pass  # another thread was quicker

    def _offer(self) -> None:
        """Have the threads that wait for the kernel come for what it has told already."""
        for _ in range(len(self._found)):
            self.wake()

    def wake(self) -> None:
        os.eventfd_write(self._wake_fd, 1)

    def wake_all(self) -> None:
        self._all_awake = True
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        self._epoll.close()
        os.close(self._wake_fd)

    def renew(self) -> None:
        self.close()
        self.__init__()  # type: ignore[misc]  # everything anew


class SelectorPoller(Poller):
    """The same on any selector; registrations are handed to the leader, who alone touches it."""

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        super().__init__()
        self._selector = selector or selectors.DefaultSelector()
        self._lead = threading.Lock()  # held by the thread that waits in the selector
        self._lock = threading.Lock()  # guards what follows
        self._changes: dict[int, int] = {}  # fd -> events to register, 0 to forget
        self._watched: set[int] = set()
        self._events: collections.deque[Event] = collections.deque()
        self._all_awake = False
        self._wakes = 0  # that no thread has returned for yet
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def watch(self, fd: int) -> None:
        self._watched.add(fd)
        self._change(fd, READ)

    def arm(self, fd: int, events: int, known: bool) -> int:
        self._change(fd, events)
        return 0

    def forget(self, fd: int) -> None:
        self._watched.discard(fd)
        self._change(fd, 0)

    def wait(self, timeout: float | None) -> Event | None:
        if not self._lead.acquire(timeout=-1 if timeout is None else timeout):
            return None
        try:
            if not self._events and not self._wakes:
                self._apply_changes()
                self._select(timeout)
            with self._lock:
                if self._wakes:
                    self._wakes -= 1
                    return None
                return self._events.popleft() if self._events else None
        finally:
            self._lead.release()

    def wake(self) -> None:
        with self._lock:
            self._wakes += 1
        self._interrupt()

    def wake_all(self) -> None:
        self._all_awake = True
        self._interrupt()

    def close(self) -> None:
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def renew(self) -> None:
        self.close()
        self.__init__()  # type: ignore[misc]  # everything anew

    def _change(self, fd: int, events: int) -> None:
        with self._lock:
            self._changes[fd] = events
            if not events:
                stale = [event for event in self._events if event[0] == fd]
                for event in stale:
                    self._events.remove(event)
        self._interrupt()

    def _interrupt(self) -> None:
        """End the leader's select(), or the next one."""
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # full: it is readable

    def _apply_changes(self) -> None:
        with self._lock:
            changes, self._changes = self._changes, {}
        for fd, events in changes.items():
            self._unregister(fd)
            if events:
                wanted = selectors.EVENT_READ if events & READ else 0
                wanted |= selectors.EVENT_WRITE if events & WRITE else 0
                try:
                    self._selector.register(fd, wanted)
                except (ValueError, OSError):
                    pass  # it was closed since; whoever closed it has forgotten it

    def _select(self, timeout: float | None) -> None:
        try:
            selected = self._selector.select(timeout)
        except OSError:
            self._drop_closed()
            return
        with self._lock:
            for key, mask in selected:
                if key.fd == self._wake_read:
                    self._take_wakes()
                    continue
                if key.fd not in self._watched:
                    self._unregister(key.fd)  # one-shot
                events = READ if mask & selectors.EVENT_READ else 0
                events |= WRITE if mask & selectors.EVENT_WRITE else 0
                if self._changes.get(key.fd) != 0:
                    self._events.append((key.fd, events or READ))

    def _take_wakes(self) -> None:
        if not self._all_awake:
            try:
                os.read(self._wake_read, 4096)
            except BlockingIOError:
                pass

    def _unregister(self, fd: int) -> None:
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError, OSError):
            pass

    def _drop_closed(self) -> None:
        """select() fails as a whole for one descriptor that was closed under it."""
        for fd in list(self._selector.get_map()):
            if isinstance(fd, int):
                try:
                    os.fstat(fd)
                except OSError:
                    self._unregister(fd)


def new_poller() -> Poller:
    """The best poller of this system."""
    if hasattr(select, "epoll") and hasattr(os, "eventfd"):
        return EpollPoller()
    return SelectorPoller()


class Waker:
    """A descriptor through which one thread ends the ``wait_for`` of another."""

    __slots__ = ("_read", "_write")

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """Readable after ``wake``, until ``clear``."""
        return self._read

    def wake(self) -> None:
        """End the wait, or the next one."""
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            pass  # it has been woken often enough

    def clear(self) -> None:
        """Take back the wakes that came."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass


is_patched = False  # by gevent: waits must be made by what it has replaced


def wait_for(fd: int, events: int, timeout: float | None, also: Waker | None = None) -> int:
    """Wait for one descriptor, and for ``also``; events of ``fd``, 0 after ``timeout`` seconds.

    Being woken counts as READ.
    """
    # POLLIN and POLLOUT have the values of READ and WRITE.
    if also is None and not is_patched:
        return wait_for_one(fd, events, -1.0 if timeout is None else timeout)
    poll = select.poll()
    poll.register(fd, events)
    if also is not None:
        poll.register(also.fileno(), READ)
    found = 0
    for ready, event in poll.poll(None if timeout is None else timeout * 1000):
        if also is not None and ready == also.fileno():
            also.clear()
            event = READ
        found |= event
    return found
