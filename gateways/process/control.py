"""The socket beside the pidfile, through which the command talks to a running supervisor.

A client sends one word on a line and is answered by one line of JSON: at once, or when what it has
asked for has come about. The socket is its owner's alone.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from typing import Any

from gateways.core.unixsocket import Identity, bind_unix, remove
from gateways.errors import ConfigError

logger = logging.getLogger("gateways.supervisor")

_LONGEST_COMMAND = 100
_BACKLOG = 16
_SEND_TIMEOUT_SECONDS = 1.0
_MOST_CLIENTS = 32  # that have not said yet what they want


def control_path(pidfile: str) -> str:
    """Where the supervisor of ``pidfile`` can be talked to."""
    return f"{pidfile}.control"


class Client:
    """Someone who has asked for something."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.received = b""

    def answer(self, **answer: Any) -> None:
        """Answer, and hang up."""
        try:
            self.socket.settimeout(_SEND_TIMEOUT_SECONDS)
            self.socket.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            pass  # it has not waited
        self.socket.close()


class Control:
    """The supervisor's end."""

    def __init__(self, path: str, before: dict[str, Any] | None = None) -> None:
        """``before`` is what the program that this one replaces has handed over."""
        self._path = os.path.abspath(path)
        self._identity: Identity | None = None
        self._clients: dict[int, Client] = {}
        self._socket: socket.socket | None = None
        self._spare = -1
        self._keep_spare()
        if before is not None and before["path"] == self._path:
            self._socket = socket.socket(fileno=before["descriptor"])
            self._socket.set_inheritable(False)
            self._identity = tuple(before["identity"])
            return
        try:
            self._socket, self._identity = bind_unix(self._path, _BACKLOG, 0o600, -1, -1, None)
        except ConfigError as error:
            logger.warning("%s; `gateways reload` will not work, SIGHUP does", error)

    def hand_over(self) -> dict[str, Any] | None:
        """What the next program makes it anew from, so that whoever asks meanwhile waits."""
        if self._socket is None:
            return None
        descriptor = self._socket.fileno()
        return {"path": self._path, "descriptor": descriptor, "identity": self._identity}

    def descriptors(self) -> list[int]:
        """What to watch."""
        own = [] if self._socket is None else [self._socket.fileno()]
        return own + list(self._clients)

    def on_readable(self, fd: int) -> list[tuple[Client, str]]:
        """The commands that have come, each with who waits for its answer."""
        if self._socket is not None and fd == self._socket.fileno():
            self._accept(self._socket)
            return []
        if fd not in self._clients:
            return []  # it had to make room for another one
        client = self._clients[fd]
        try:
            data = client.socket.recv(_LONGEST_COMMAND)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        client.received += data
        if b"\n" in client.received or not data or len(client.received) > _LONGEST_COMMAND:
            del self._clients[fd]
            command, newline, _ = client.received.partition(b"\n")
            if newline:
                return [(client, command.decode("ascii", "replace"))]
            client.socket.close()
        return []

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, _ = listening.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room(listening)
            return  # else it did not wait
        while len(self._clients) >= _MOST_CLIENTS:
            self._drop_oldest()
        sock.setblocking(False)
        self._clients[sock.fileno()] = Client(sock)

    def _make_room(self, listening: socket.socket) -> None:
        """No descriptor is left, and the socket stays readable until somebody is accepted."""
        if self._clients:
            self._drop_oldest()
            return
        self._give_spare()
        try:
            listening.accept()[0].close()  # it is told by the end
        except OSError:
            pass  # it did not wait
        self._keep_spare()

    def _drop_oldest(self) -> None:
        self._clients.pop(next(iter(self._clients))).socket.close()

    def _keep_spare(self) -> None:
        if self._spare < 0:
            try:
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                pass  # somebody else was quicker; there is one the next time

    def _give_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def remove_file(self) -> None:
        """For a worker that has lost its supervisor, and for ``close``."""
        if self._identity is not None:
            remove(self._path, self._identity)

    def close(self) -> None:
        """Close it; who still waits sees the end."""
        self.remove_file()
        self.forget()

    def forget(self) -> None:
        """Close the descriptors: in a child, which leaves the file alone."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._give_spare()
        for client in self._clients.values():
            client.socket.close()
        self._clients.clear()


def ask(path: str, command: str) -> dict[str, Any]:
    """Ask the supervisor behind ``path``; waits for the answer. Raises ConfigError."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            raise ConfigError(
                f"nobody answers at {path} ({error.strerror}); is the server running, was it "
                "started with this --pidfile, and are you its user or root?"
            ) from error
        sock.sendall(command.encode() + b"\n")
        received = b""
        while data := sock.recv(65536):
            received += data
    if not received:
        raise ConfigError("the server has ended without an answer; its log says why")
    answer: dict[str, Any] = json.loads(received)
    return answer
