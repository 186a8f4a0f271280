"""The line between the supervisor and one of its processes: short messages, and the end of either.

A message is a kind and a text, a line of JSON on a stream socket. Whoever reads the end of it knows
that the other process is gone, however it went: that is how a worker notices a dead supervisor.
"""

from __future__ import annotations

import json
import select
import socket
from typing import NamedTuple

_LONGEST_TEXT = 256 * 1024  # a traceback is cut in its middle beyond this
_SEND_TIMEOUT_SECONDS = 5.0
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Message(NamedTuple):
    """``kind`` is one of the words below; ``text`` is empty for most."""

    kind: str
    text: str = ""


# From a worker or a template:
HELLO = "hello"  # its process id, where the supervisor did not fork it itself
READY = "ready"  # it could serve
FAILED = "failed"  # it could not be made ready: the exit status and, on further lines, why
REPLACE = "replace"  # it has had its time; the text is the reason
LEFT = "left"  # it accepts no more connections
END = "end"  # a script has called stop(), which means the whole server
# To a worker:
SERVE = "serve"  # begin to accept
RETIRE = "retire"  # others go on with the same sockets, and with kept connections
LEAVE = "leave"  # others will, when somebody asks for something
STOP = "stop"  # nobody will: serve what is in the backlog too
QUIT = "quit"  # at once
LOOK = "look"  # again at the shared sockets: see Server.look_again
REOPEN = "reopen"  # the log files
# To a template:
FORK = "fork"  # a worker with this number; its channel comes along


class Channel:
    """One end. Sending never raises: a process that is gone shows when its end is read."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.closed = False  # the other end is
        self._pending = b""
        sock.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """The supervisor's end and the other one."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    @classmethod
    def adopt(cls, descriptor: int) -> Channel:
        """The end that an inherited descriptor is."""
        return cls(socket.socket(fileno=descriptor))

    def wait(self) -> None:
        """Until there is something to receive."""
        self._wait(select.POLLIN, None)

    def _wait(self, event: int, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self.socket, event)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def fileno(self) -> int:
        """Readable when there is a message, or the end."""
        return self.socket.fileno()

    def send(self, kind: str, text: str = "", *, descriptor: int | None = None) -> None:
        """Send a message, and a descriptor with it."""
        if len(text) > _LONGEST_TEXT:
            half = _LONGEST_TEXT // 2
            text = f"{text[:half]}\n[…]\n{text[-half:]}"
        line = json.dumps([kind, text]).encode() + b"\n"
        try:
            if descriptor is not None:
                line = line[socket.send_fds(self.socket, [line], [descriptor]) :]
            while line and self._wait(select.POLLOUT, _SEND_TIMEOUT_SECONDS):
                line = line[self.socket.send(line) :]
        except OSError:
            pass  # gone: that is the reader's to find out

    def receive(self) -> list[Message]:
        """What has come, without waiting; ``closed`` is set at the end."""
        messages, _ = self._receive(0)
        return messages

    def receive_with_descriptor(self) -> tuple[list[Message], list[int]]:
        """The same, and the descriptors that came along."""
        return self._receive(1)

    def _receive(self, most: int) -> tuple[list[Message], list[int]]:
        descriptors: list[int] = []
        while True:
            try:
                data, got, _, _ = socket.recv_fds(self.socket, 65536, most, _FLAGS)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data, got = b"", []
            descriptors += got
            if not data:
                self.closed = True
                break
            self._pending += data
            if most:
                break  # one message at a time, so that each keeps its descriptor
        *lines, self._pending = self._pending.split(b"\n")
        return [Message(*json.loads(line)) for line in lines], descriptors

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
