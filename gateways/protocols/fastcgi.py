"""The FastCGI 1.0 codec: records in, requests out (responses to records: fastcgi_response.py).

The specification is https://fastcgi-archives.github.io/FastCGI_Specification.html; comments name
its sections. Strategy: a record is handled when it is complete, so no state but the held bytes
survives between two calls (and the rest of a long record of STDIN, see fastcgi_bodies.py). PARAMS
are kept as a stream and decoded once, because a pair, and even a length, may straddle records; what
a record does to a request is a lookup in ``RECEIVING``, where a missing key is the protocol error.
What the specification says to ignore or to answer is ignored or answered here; only what makes the
connection itself unusable is raised.
"""

from __future__ import annotations

from gateways.errors import LimitExceeded, ProtocolError
from gateways.protocols import framing
from gateways.protocols.base import NewBody, Phase, Request
from gateways.protocols.fastcgi_bodies import FastCGIBodies
from gateways.protocols.fastcgi_state import (
    NEVER,
    NEXT,
    ROLE_NAMES,
    FastCGIRequest,
    FastCGISettings,
    Receiving,
    new_request,
)
from gateways.protocols.records import (
    FCGI_ABORT_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_CANT_MPX_CONN,
    FCGI_DATA,
    FCGI_FILTER,
    FCGI_GET_VALUES,
    FCGI_GET_VALUES_RESULT,
    FCGI_HEADER_LEN,
    FCGI_KEEP_CONN,
    FCGI_MPXS_CONNS,
    FCGI_NULL_REQUEST_ID,
    FCGI_PARAMS,
    FCGI_REQUEST_COMPLETE,
    FCGI_RESPONDER,
    FCGI_STDIN,
    FCGI_UNKNOWN_ROLE,
    FCGI_UNKNOWN_TYPE,
    FCGI_VERSION_1,
    USUAL_BEGINNING,
    USUAL_END,
    USUAL_END_OF_PARAMS,
    USUAL_KEPT_BEGINNING,
    pack_end_request,
    pack_record,
    pack_unknown_type,
)
from gateways.protocols.variables import content_length, decode_pairs, encode_pairs, largest_pair

# The record types that belong to requests; every other one is management or unknown.
_REQUEST_TYPES = frozenset(range(FCGI_BEGIN_REQUEST, FCGI_DATA + 1))

# As plain numbers: a member of an enum costs a lookup in its class.
_PARAMS, _STDIN, _DATA, _COMPLETE, _IGNORED = map(int, Receiving)

_USUAL_HEADER = 16  # where PARAMS begin, behind BEGIN_REQUEST
_USUAL_PARAMS = _USUAL_HEADER + FCGI_HEADER_LEN


class FastCGI(FastCGIBodies):
    """The codec of one connection (see ``gateways.protocols.base.Codec``): the receiving half."""

    def __init__(
        self, settings: FastCGISettings, new_body: NewBody, address: object = None
    ) -> None:
        self._open_bodies(settings, new_body)
        self._held: list[bytes] = []  # the pieces of an incomplete record
        self._held_size = 0
        self._needed = FCGI_HEADER_LEN  # bytes that make the held record complete

    def receive_data(self, data: bytes) -> list[Request]:
        """Take bytes; return requests that became ready (see ``Codec.receive_data``)."""
        if not data:
            self._peer_closed()
            return []
        ready: list[Request] = []
        requests = self._requests
        position = 0
        if self._rest or self._rest_padding:
            position = self._take_rest(data, len(data), ready)
        elif self._held:
            self._held.append(data)
            self._held_size += len(data)
            if self._held_size < self._needed:
                return []
            data = b"".join(self._held)
            self._held = []
            self._held_size = 0
        end = len(data)
        self._needed = FCGI_HEADER_LEN
        if (
            position == 0
            and (
                framing.is_at(data, USUAL_KEPT_BEGINNING, 0)
                or framing.is_at(data, USUAL_BEGINNING, 0)
            )
            and not requests
        ):
            position = self._take_usual(data, end, ready)
        while end - position >= FCGI_HEADER_LEN:
            version = data[position]
            if version != FCGI_VERSION_1:
                raise ProtocolError(
                    f"the peer does not speak FastCGI 1: a record begins with byte {version}"
                )
            record_type = data[position + 1]
            request_id = data[position + 2] << 8 | data[position + 3]
            length = data[position + 4] << 8 | data[position + 5]
            content = position + FCGI_HEADER_LEN
            next_record = content + length + data[position + 6]
            request = requests.get(request_id)
            if next_record > end:
                if record_type == FCGI_STDIN and request is not None:
                    padding = data[position + 6]
                    if self._hand_on(request, data, content, length, padding, ready):
                        position = end
                        break
                self._needed = next_record - position
                break
            if record_type == FCGI_BEGIN_REQUEST and request is None and length == 8 and request_id:
                role = data[content] << 8 | data[content + 1]
                self._begin(request_id, role, data[content + 2], ready)
            elif request is None or record_type == FCGI_BEGIN_REQUEST:
                body = data[content : content + length]
                self._unrequested(record_type, request_id, body, request is not None)
            else:
                state = NEXT[request.receiving << 8 | record_type]
                if state == NEVER:
                    self._unexpected(record_type, request)
                elif state == _IGNORED:
                    if record_type == FCGI_ABORT_REQUEST:
                        self._abort_requested(request)
                else:
                    piece = data[content : content + length] if length else b""
                    if record_type == FCGI_PARAMS:
                        self._params(request, piece, ready)
                    else:
                        self._body(request, record_type, piece, ready)
            position = next_record
        if position < end:
            self._held.append(data[position:] if position else data)
            self._held_size = end - position
        for each in ready:
            runnable: FastCGIRequest = each  # type: ignore[assignment]  # all of ours are
            if runnable.receiving != _COMPLETE or runnable.role == FCGI_FILTER:
                self._open_streams(runnable)
        return ready

    def _take_usual(self, data: bytes, end: int, ready: list[Request]) -> int:
        """Take the records of which nearly every request consists, where all of them have come.

        These are BEGIN_REQUEST, which ``data`` starts with, PARAMS in one record and their end, and
        the end of STDIN where there is no body. The variables are read where they lie. Returns
        where the records begin that are left.
        """
        if end < _USUAL_PARAMS:
            return 0
        length = data[_USUAL_HEADER + 4] << 8 | data[_USUAL_HEADER + 5]
        position = _USUAL_PARAMS + length + data[_USUAL_HEADER + 6]
        limit = self._settings.max_variables_bytes
        if length == 0 or (limit and length > limit):
            return 0
        is_whole = framing.is_at(data, USUAL_END, position)
        if not (is_whole or framing.is_at(data, USUAL_END_OF_PARAMS, position)):
            return 0
        request = self._begin(1, FCGI_RESPONDER, data[10], ready)
        if request is None:
            return _USUAL_HEADER  # it was rejected
        self._variables(request, data, _USUAL_PARAMS, _USUAL_PARAMS + length, ready)
        position += FCGI_HEADER_LEN
        if is_whole and request.running:
            if request.receiving == _STDIN:  # it was not refused
                request.receiving = _COMPLETE
            position += FCGI_HEADER_LEN
        return position

    def phase(self) -> Phase:
        """What the peer still owes (see ``Codec.phase``)."""
        phase = Phase.IDLE
        for request in list(self._requests.values()):
            if request.receiving == _PARAMS:
                return Phase.HEAD
            if not request.running:
                phase = Phase.BODY
        if phase is Phase.IDLE and self._is_amid_a_record() and not self._requests:
            return Phase.HEAD
        return phase

    def _is_amid_a_record(self) -> bool:
        return bool(self._held or self._rest or self._rest_padding)

    def _unrequested(
        self, record_type: int, request_id: int, content: bytes, is_active: bool
    ) -> None:
        """A record that belongs to no request in flight, or should not have begun one."""
        if request_id == FCGI_NULL_REQUEST_ID:
            self._management(record_type, content)
        elif record_type == FCGI_BEGIN_REQUEST:
            if is_active:
                # Section 3.3 leaves it open; two requests under one id can only end badly.
                raise ProtocolError(f"request {request_id} was begun again while it is active")
            raise ProtocolError(f"FCGI_BEGIN_REQUEST of {len(content)} bytes instead of 8")
        elif record_type not in _REQUEST_TYPES:
            self.output.append(pack_unknown_type(record_type))
        # Else: a record of an ended request, which section 3.3 says to ignore.

    def _management(self, record_type: int, content: bytes) -> None:
        """Section 4: request id 0."""
        if record_type == FCGI_GET_VALUES:
            asked = decode_pairs(content)
            if self._settings.multiplex and FCGI_MPXS_CONNS in asked:
                self.multiplexes = True
            answer = encode_pairs(
                (name, self._settings.values[name])
                for name in asked
                if name in self._settings.values
            )
            self.output.append(pack_record(FCGI_GET_VALUES_RESULT, FCGI_NULL_REQUEST_ID, answer))
        elif record_type in _REQUEST_TYPES:
            raise ProtocolError(f"a record of type {record_type} with request id 0")
        elif record_type not in (FCGI_GET_VALUES_RESULT, FCGI_UNKNOWN_TYPE):
            self.output.append(pack_unknown_type(record_type))
        # Else: an answer that nobody asked for; Cherokee is known to send them.

    def _begin(
        self, request_id: int, role: int, flags: int, ready: list[Request]
    ) -> FastCGIRequest | None:
        """FCGI_BEGIN_REQUEST; None where it was rejected."""
        if not flags & FCGI_KEEP_CONN:
            self.closing = True
        if self.active and not self._settings.multiplex:
            self._reject(request_id, FCGI_CANT_MPX_CONN)
            return None
        if role not in self._settings.roles:
            self._reject(request_id, FCGI_UNKNOWN_ROLE)
            return None
        request = new_request(self, request_id, role)
        self._requests[request_id] = request
        self.active += 1
        self.requests_seen += 1
        if self.active > 1:
            self.multiplexes = True
            if self.active > self._settings.max_active:
                self._refuse(
                    request,
                    LimitExceeded(
                        f"more than {self._settings.max_active} requests on one connection", 503
                    ),
                    ready,
                )
        return request

    def _reject(self, request_id: int, protocol_status: int) -> None:
        """End a request that never gets to be one; the rest of it is still to come."""
        self.output.append(pack_end_request(request_id, 0, protocol_status))
        self.input_pending = True

    def _params(self, request: FastCGIRequest, content: bytes, ready: list[Request]) -> None:
        if content:
            request.params.append(content)
            request.params_size += len(content)
            limit = self._settings.max_variables_bytes
            if limit and request.params_size > limit:
                name, size = largest_pair(b"".join(request.params))
                error = LimitExceeded(
                    f"the variables are larger than --max-variables-bytes allows ({limit}); "
                    f"the largest is {name[:100]!r} with {size} bytes",
                    431,
                )
                self._refuse(request, error, ready)
            return
        params = b"".join(request.params)
        request.params = []
        self._variables(request, params, 0, len(params), ready)

    def _variables(
        self, request: FastCGIRequest, data: bytes, start: int, end: int, ready: list[Request]
    ) -> None:
        """The variables are complete, and lie there in ``data``."""
        request.receiving = _STDIN
        most, names = self._settings.max_variables, self._settings.pairs
        try:
            request.variables = decode_pairs(data, most, start, end, names)
            request.content_length = length = content_length(request.variables)
        except ProtocolError as error:
            self._refuse(request, error, ready)
            return
        request.variables["FCGI_ROLE"] = ROLE_NAMES[request.role]
        if length is None or length == 0:
            request.running = True
            ready.append(request)
        elif self._settings.max_body_bytes and length > self._settings.max_body_bytes:
            self._refuse(request, self._too_large(length), ready)

    def _unexpected(self, record_type: int, request: FastCGIRequest) -> None:
        if record_type not in _REQUEST_TYPES:
            self.output.append(pack_unknown_type(record_type))
            return
        raise ProtocolError(
            f"a record of type {record_type} while request {request.id} is in state "
            f"{Receiving(request.receiving).name}"
        )

    def _abort_requested(self, request: FastCGIRequest) -> None:
        """Section 5.4: the application should end as soon as it can."""
        if request.running:
            self._open_streams(request)  # what it has not been given yet, it must not find empty
        request.receiving = _IGNORED
        if request.running:
            request.aborted = True
            self._fail_streams(request, "the web server aborted the request")
        else:
            self._forget(request)
            self.output.append(pack_end_request(request.id, 0, FCGI_REQUEST_COMPLETE))

    def _peer_closed(self) -> None:
        """Section 5.4: a closed connection aborts what is in flight on it."""
        self.closing = True
        self._held = []
        self._rest = self._rest_padding = 0
        for request in list(self._requests.values()):
            if request.running:
                request.aborted = True
                self._fail_streams(request, "the web server closed the connection")
            else:
                self._forget(request)
        self.input_pending = False
