"""The bodies that FastCGI requests bring: STDIN, and a filter's DATA.

A record is handled when it is complete, but for the content of a long one of STDIN: it is handed on
as it comes, which spares an upload a copy.
"""

from __future__ import annotations

from gateways.errors import ClientDisconnected, LimitExceeded, ProtocolError
from gateways.protocols.base import BodySink, NewBody, Request
from gateways.protocols.fastcgi_response import FastCGIResponses
from gateways.protocols.fastcgi_state import FastCGIRequest, FastCGISettings, Receiving
from gateways.protocols.records import FCGI_DATA, FCGI_FILTER, FCGI_STDIN

# Less of a record than this is kept until the rest is there: each piece costs something, too.
_LEAST_PIECE = 1024

# As plain numbers: a member of an enum costs a lookup in its class.
_PARAMS, _STDIN, _DATA, _COMPLETE, _IGNORED = map(int, Receiving)


class FastCGIBodies(FastCGIResponses):
    """The bodies on one connection (see ``gateways.protocols.base.Codec``)."""

    def __init__(
        self, settings: FastCGISettings, new_body: NewBody, address: object = None
    ) -> None:
        self._open_bodies(settings, new_body)

    def _open_bodies(self, settings: FastCGISettings, new_body: NewBody) -> None:
        self._open_responses(settings)
        self._new_body = new_body
        # Of a record that has come in part, and was handed on:
        self._rest_id = 0  # the request
        self._rest = 0  # bytes of content still to come
        self._rest_padding = 0  # and of what is behind it

    def _hand_on(
        self,
        request: FastCGIRequest,
        data: bytes,
        start: int,
        length: int,
        padding: int,
        ready: list[Request],
    ) -> bool:
        """Hand on what has come of a record of STDIN, its content at ``start``, unless little."""
        come = len(data) - start
        if come < _LEAST_PIECE or request.receiving != _STDIN:
            return False
        if come > length:
            padding -= come - length
            come = length
        self._rest_id = request.id
        self._rest = length - come
        self._rest_padding = padding
        self._body(request, FCGI_STDIN, data[start : start + come], ready)
        return True

    def _take_rest(self, data: bytes, end: int, ready: list[Request]) -> int:
        """Take more of such a record; returns where the next one begins, or ``end``."""
        content = min(self._rest, end)
        if content:
            request = self._requests.get(self._rest_id)
            self._rest -= content
            if request is not None:  # else it has ended since
                piece = data if content == end else data[:content]
                self._body(request, FCGI_STDIN, piece, ready)
        padding = min(self._rest_padding, end - content)
        self._rest_padding -= padding
        return content + padding

    def _body(
        self, request: FastCGIRequest, record_type: int, content: bytes, ready: list[Request]
    ) -> None:
        """A piece of STDIN or of a filter's DATA, or the end of either."""
        if record_type == FCGI_DATA:
            if request.role == FCGI_FILTER:
                self._data(request, content)
            return
        if request.receiving != _STDIN:
            return  # beyond the end of the stream
        if not content:
            if request.body is not None:
                request.body.end()
            elif request.content_length:
                request.body = self._new_body(request, request.content_length)
                request.body.end()  # declared, but nothing came
            awaits_data = request.role == FCGI_FILTER and not request.data_ended
            request.receiving = _DATA if awaits_data else _COMPLETE
            if not request.running:
                request.running = True
                ready.append(request)
            return
        length = request.content_length
        if length == 0:
            return  # what exceeds the declared length is none of the body
        if request.body is None:
            request.body = self._new_body(request, length)
        request.received += len(content)
        limit = self._settings.max_body_bytes
        if length is None and limit and request.received > limit:
            error = self._too_large(request.received)
            request.body.fail(error)
            self._refuse(request, error, ready)
            return
        request.body.feed(content)
        if not request.running and length is not None:
            # A small body is awaited whole, so that a slow upload holds no thread.
            received = request.received
            if received >= length or received > self._settings.body_memory_bytes:
                request.running = True
                ready.append(request)

    def _data(self, request: FastCGIRequest, content: bytes) -> None:
        data = self._data_sink(request)
        if content:
            data.feed(content)
        else:
            data.end()
            request.data_ended = True
            if request.receiving == _DATA:
                request.receiving = _COMPLETE

    def _data_sink(self, request: FastCGIRequest) -> BodySink:
        if request.data is None:
            declared = request.variables.get("FCGI_DATA_LENGTH", "")
            known = declared.isascii() and declared.isdigit() and len(declared) <= 18
            length = int(declared) if known else None
            request.data = self._new_body(request, length)
        return request.data

    def _open_streams(self, request: FastCGIRequest) -> None:
        """Give a request that is about to run the inputs that its peer has not finished."""
        if request.receiving == _STDIN and request.body is None and request.content_length is None:
            request.body = self._new_body(request, None)
        if request.role == FCGI_FILTER and request.refusal is None:
            self._data_sink(request)

    def _too_large(self, length: int) -> LimitExceeded:
        return LimitExceeded(
            f"the body has {length} bytes or more, "
            f"--max-body allows {self._settings.max_body_bytes}",
            413,
        )

    def _refuse(self, request: FastCGIRequest, error: ProtocolError, ready: list[Request]) -> None:
        """Have the core answer the request with an error; the rest of it is dropped."""
        request.receiving = _IGNORED
        request.params = []
        if request.running:
            return  # it learns of the error from its body
        request.refusal = error
        request.running = True
        ready.append(request)

    def _fail_streams(self, request: FastCGIRequest, reason: str) -> None:
        for sink in (request.body, request.data):
            if sink is not None:
                sink.fail(ClientDisconnected(reason))
