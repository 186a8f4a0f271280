"""Accepting: from a ready listening socket to a connection that has been read for the first time.

A connection is read straight after ``accept``, before any poller knows it: the web server has sent
its request by then, so most connections are served and closed without ever being registered.
"""

from __future__ import annotations

import errno
import logging
import os

from gateways.core.access import AccessList
from gateways.core.connection import Connection, new_connection
from gateways.core.host import Host
from gateways.core.listener import Listener
from gateways.core.seldom import Seldom
from gateways.core.syscalls import accept
from gateways.protocols.base import CodecFactory, Request

logger = logging.getLogger("gateways.accept")

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """One listening socket of a server."""

    __slots__ = (
        "_access",
        "_family",
        "_is_open_to_all",
        "_new_codec",
        "_protocol",
        "_refusals",
        "_server",
        "_socket",
        "listener",
    )

    def __init__(
        self,
        server: Host,
        listener: Listener,
        access: AccessList,
        new_codec: CodecFactory,
    ) -> None:
        self._new_codec = new_codec
        self._server = server
        self.listener = listener
        self._protocol = listener.protocol
        self._socket = listener.socket
        self._family = listener.socket.family
        self._access = access
        self._is_open_to_all = access.unrestricted
        self._refusals = Seldom(logger)

    def fileno(self) -> int:
        """The listening descriptor."""
        return self.listener.socket.fileno()

    def accept(self) -> tuple[Connection | None, list[Request]]:
        """Accept one connection: it (None if there is none to serve) and its first requests."""
        try:
            accepted = accept(self._socket, self._socket.fileno())
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                self._server.pause_accepting(
                    f"cannot accept a connection: {os.strerror(error.errno)}; accepting again when "
                    "one is closed. Raise the limit of open files (ulimit -n) or lower "
                    "--max-connections"
                )
            elif not self._server.draining:
                logger.debug("%s: accept failed: %s", self.listener.address, error)
            return None, []
        if accepted is None:
            return None, []  # another thread or process was quicker
        fd, address = accepted
        if not self._is_open_to_all:
            reason = self._access.refusal(fd, self._family, address)
            if reason is not None:
                self._refusals.warning("%s: connection refused: %s", self.listener.address, reason)
                os.close(fd)
                return None, []
        return self.take(fd, address)

    def take(self, fd: int, address: object) -> tuple[Connection | None, list[Request]]:
        """Serve a connection that is allowed; as ``accept``."""
        connection = new_connection(self._server, fd, address, self._new_codec, self._protocol)
        if not self._server.adopt(connection, fd):
            self._server.pause_accepting(
                "as many connections are open as --max-connections allows; "
                "more wait in the backlog until one is closed"
            )
        return connection, connection.on_accept()

    def close(self) -> None:
        """Accept no more."""
        self.listener.close()
