"""A request in each wire format, as an iterator of what to send.

The pieces of the body are taken one by one, when there is room to send them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateways.client.message import Body, Request
from gateways.client.variables import SOFTWARE, build_variables
from gateways.errors import ConfigError
from gateways.protocols.base import Buffer
from gateways.protocols.encoders import encode_fastcgi_head, encode_scgi_head, encode_uwsgi_head
from gateways.protocols.records import (
    FCGI_AUTHORIZER,
    FCGI_DATA,
    FCGI_FILTER,
    FCGI_RESPONDER,
    FCGI_STDIN,
    pack_record,
    pack_stream,
)

ROLES = {
    "responder": FCGI_RESPONDER,
    "authorizer": FCGI_AUTHORIZER,
    "filter": FCGI_FILTER,
}
REQUEST_ID = 1  # a connection carries one request at a time


def encode(scheme: str, request: Request, body: Body, *, keep: bool) -> Iterator[Buffer]:
    """What to send for ``request``. Raises ConfigError for what the protocol cannot carry."""
    if request.role not in ROLES:
        raise ConfigError(f"no such role: {request.role}; there are {', '.join(ROLES)}")
    if scheme != "fcgi" and request.role != "responder":
        raise ConfigError("only FastCGI has roles")
    if scheme in ("uwsgi", "scgi", "cgi") and request.header("Content-Length") is None:
        body.spool()  # these have no other way to say where the body ends
    try:
        if scheme == "http":
            return _http(request, body, keep=keep)
        variables = build_variables(request, body.length)
        if scheme == "fcgi":
            return _fastcgi(variables, body, request.role, keep=keep)
        if scheme == "cgi":
            return iter(body)
        if scheme == "uwsgi":
            head = encode_uwsgi_head(variables.items())
        else:
            head = encode_scgi_head(scgi_order(variables).items())
    except ValueError as error:
        raise ConfigError(f"the request cannot be sent: {error}") from None
    return _head_and_body(head, body)


def scgi_order(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables as SCGI wants them: CONTENT_LENGTH first and always, and SCGI."""
    length = variables.get("CONTENT_LENGTH") or "0"
    others = {name: value for name, value in variables.items() if name != "CONTENT_LENGTH"}
    return {"CONTENT_LENGTH": length, "SCGI": "1", **others}


def _fastcgi(variables: dict[str, str], body: Body, role: str, *, keep: bool) -> Iterator[Buffer]:
    head = encode_fastcgi_head(variables.items(), REQUEST_ID, ROLES[role], keep=keep)
    end = pack_record(FCGI_STDIN, REQUEST_ID)
    if role == "filter":
        end += pack_record(FCGI_DATA, REQUEST_ID)
    return _fastcgi_streams(head, body, end)


def _fastcgi_streams(head: bytes, body: Body, end: bytes) -> Iterator[Buffer]:
    if body.length == 0:
        yield head + end
        return
    yield head
    taken = 0
    for piece in body:
        records: list[Buffer] = []
        pack_stream(FCGI_STDIN, REQUEST_ID, piece, records)
        taken += len(piece)
        if taken == body.length:
            # A server knows by CONTENT_LENGTH that this is all, and may answer before the end of
            # the stream; sent with the last record, it does not keep the connection from reuse.
            yield from records[:-3]
            yield b"".join([*records[-3:], end])
            return
        yield from records
    yield end


def _head_and_body(head: bytes, body: Body) -> Iterator[Buffer]:
    yield head
    yield from body


def _http(request: Request, body: Body, *, keep: bool) -> Iterator[Buffer]:
    if request.params:
        raise ConfigError("HTTP carries no variables, only headers; --param has no meaning here")
    given = {name.lower() for name, _ in request.headers}
    headers = []
    if "host" not in given:
        headers.append(("Host", "localhost"))
    headers += request.headers
    if "user-agent" not in given:
        headers.append(("User-Agent", SOFTWARE))
    chunked = False
    if not given & {"content-length", "transfer-encoding"}:
        if body.length is None:
            chunked = True
            headers.append(("Transfer-Encoding", "chunked"))
        elif body.length or request.method in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", str(body.length)))
    if "connection" not in given and not keep:
        headers.append(("Connection", "close"))
    head = f"{request.method} {request.target} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers)
    encoded = (head + "\r\n").encode("latin-1")
    return _http_chunked(encoded, body) if chunked else _head_and_body(encoded, body)


def _http_chunked(head: bytes, body: Body) -> Iterator[Buffer]:
    yield head
    for piece in body:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
