"""A CGI request handed on to a server process over FastCGI, both directions at once.

The server acknowledges a request with one byte of STDOUT before it runs it; nothing of the body is
read before that byte has come, so a request that was not taken can be given to somebody else.
Nothing is written without a poll that allows it, hence no order in which the web server, this
process and the server read and write can make them wait for one another. Every request pays for
what is imported here: hence the handful of constants of FastCGI, whose place is records.py.
"""

from __future__ import annotations

import os
import select
from struct import Struct

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from _socket import socket

    from gateways.core.stdio import Input, Output

ACKNOWLEDGED = b"\x06"
"""The first byte of STDOUT of a request that runs; a refusal begins with its head instead."""

LENGTH_VARIABLE = "GATEWAYS_CONTENT_LENGTH"
"""CONTENT_LENGTH on the way: without that name a request runs before any of its body has come."""

ANSWERED = 0  # all of the response was handed on, or what there will ever be of it
NOT_TAKEN = 1  # the server is not there, or does not want it; nothing of the body was read
LOST = 2  # it was taken, and the server ended before it answered; nothing of the body was read
BROKEN = 3  # the same, but the body, or a part of it, is gone
LEFT = 4  # nobody wants the response any more

_HEADER = Struct(">BBHHBx")  # version, type, request id, content length, padding length
_BEGIN = b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"  # id 1, responder
_END, _PARAMS, _STDIN, _STDOUT, _STDERR = 3, 4, 5, 6, 7
_LONGEST = 65535
_ENOUGH = 262144  # bytes of the response that wait for a slow web server


def head_of_request(pairs: bytes, *, has_body: bool) -> bytes:
    """The records that begin a request with these encoded variables."""
    parts = [_BEGIN]
    for start in range(0, len(pairs), _LONGEST):
        parts.append(_record(_PARAMS, pairs[start : start + _LONGEST]))
    parts.append(_record(_PARAMS, b""))
    if not has_body:
        parts.append(_record(_STDIN, b""))
    return b"".join(parts)


def _record(kind: int, content: bytes) -> bytes:
    return _HEADER.pack(1, kind, 1, len(content), 0) + content


class Relay:
    """One request on its way: ``run`` it, once."""

    def __init__(self, sock: socket, head: bytes, stdin: Input, stdout: Output) -> None:
        self._socket = sock
        self._pending: bytes | memoryview = memoryview(head)  # for the server
        self._stdin = stdin
        self._stdout = stdout
        self._received = b""  # the beginning of an incomplete record
        self._out = bytearray()  # for the web server
        self._taken = False
        self._answered = False
        self._consumed = False
        self._ended = False  # FCGI_END_REQUEST has come
        self._closed = False  # the server has closed
        self._input_open = stdin.left != 0

    def run(self) -> int:
        """Hand everything on until the end; returns ANSWERED, NOT_TAKEN, …"""
        self._socket.setblocking(False)
        server, web_in, web_out = self._socket.fileno(), self._stdin.fd, self._stdout.fd
        poll = select.poll()
        # Without an event to wait for, this one tells that the web server has left.
        poll.register(web_out, 0)
        watched = {server: 0, web_in: 0, web_out: 0}
        while not ((self._ended or self._closed) and not self._out):
            self._watch(poll, watched, server, self._server_events())
            wants_body = self._taken and self._input_open and not (self._pending or self._over)
            self._watch(poll, watched, web_in, select.POLLIN if wants_body else 0)
            self._watch(poll, watched, web_out, select.POLLOUT if self._out else 0, keep=True)
            for fd, events in poll.poll():
                if fd == server:
                    self._exchange(events)
                elif fd == web_in:
                    if not self._read_body():
                        return LEFT  # in the middle of the body; the server notices our close
                elif events & select.POLLOUT:
                    try:
                        del self._out[: self._stdout.write_some(self._out)]
                    except OSError:
                        return LEFT
                elif events & (select.POLLERR | select.POLLHUP):
                    return LEFT
        if self._answered:
            return ANSWERED
        if not self._taken:
            return NOT_TAKEN
        if self._ended:
            return ANSWERED  # an empty answer is no answer, but the server is not to blame
        return BROKEN if self._consumed else LOST

    @property
    def _over(self) -> bool:
        return self._ended or self._closed

    @property
    def complete(self) -> bool:
        """Whether the server has said that this was all."""
        return self._ended

    def _server_events(self) -> int:
        if self._over:
            return 0
        events = select.POLLOUT if self._pending else 0
        return events | (select.POLLIN if len(self._out) < _ENOUGH else 0)

    @staticmethod
    def _watch(
        poll: select.poll, watched: dict[int, int], fd: int, events: int, keep: bool = False
    ) -> None:
        if watched[fd] != events:
            if events or keep:
                poll.register(fd, events)
            else:
                poll.unregister(fd)
            watched[fd] = events

    def _exchange(self, events: int) -> None:
        """Send to the server what waits, take what it has sent."""
        try:
            if events & select.POLLOUT and self._pending:
                self._pending = self._pending[self._socket.send(self._pending) :]
        except BlockingIOError:
            pass
        except OSError:
            self._pending = b""  # it has closed; what it has said before is still to be read
            self._input_open = False
        if events & ~select.POLLOUT:
            try:
                data = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._take(self._received + data)
            else:
                self._closed = True

    def _take(self, data: bytes) -> None:
        """Records of the server."""
        position = 0
        while len(data) - position >= _HEADER.size:
            _, kind, _, length, padding = _HEADER.unpack_from(data, position)
            content = position + _HEADER.size
            if len(data) < content + length + padding:
                break
            position = content + length + padding
            piece = data[content : content + length]
            if kind == _STDOUT:
                if not (self._taken or self._answered) and piece[:1] == ACKNOWLEDGED:
                    self._taken = True
                    piece = piece[1:]
                if piece:
                    self._answered = True
                    self._out += piece
            elif kind == _STDERR and piece:
                try:
                    os.write(2, piece)
                except OSError:
                    pass  # a log that is full or closed must not fail a request
            elif kind == _END:
                self._ended = True
        self._received = data[position:]

    def _read_body(self) -> bool:
        """A piece of the body for the server; False where the body ends before it should."""
        try:
            data = self._stdin.read()
        except OSError:
            data = b""
        if data:
            self._consumed = True
            record = _record(_STDIN, data[:_LONGEST]) + (
                _record(_STDIN, data[_LONGEST:]) if len(data) > _LONGEST else b""
            )
            if self._stdin.left == 0:
                record += _record(_STDIN, b"")
                self._input_open = False
            self._pending = memoryview(record)
            return True
        self._input_open = False
        if self._stdin.short:
            return False
        self._pending = _record(_STDIN, b"")
        return True
