"""A WSGI application that forwards to a server: what flup.client's FCGIApp and SCGIApp were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from gateways.client.errors import ClientError, ClientTimeout
from gateways.client.exchange import Client, Response
from gateways.client.message import Body, Headers, Request
from gateways.client.target import Target
from gateways.errors import ConfigError

StartResponse = Callable[..., object]

# flup's choice, and what has come since: the variables of the request, not of the process.
_PREFIXES = (
    *("SERVER_", "HTTP_", "REQUEST_", "REMOTE_", "PATH_", "CONTENT_", "DOCUMENT_", "SCRIPT_"),
    *("SSL_", "REDIRECT_"),
)
_NAMES = ("QUERY_STRING", "AUTH_TYPE", "GATEWAY_INTERFACE", "HTTPS")
# RFC 9110, section 7.6.1: these belong to one connection, and a WSGI application may not set them.
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "trailers"),
        *("proxy-authenticate", "proxy-authorization", "transfer-encoding", "upgrade"),
    }
)
# The body arrives here without its chunks; HTTP_PROXY could be taken for a setting (httpoxy).
_DROPPED = ("HTTP_TRANSFER_ENCODING", "HTTP_PROXY")
_PATH_SAFE = "/!$&'()*+,;=:@~"


class WSGIApplication:
    """Forwards each request to ``target``, body and response as streams.

    ``filter_environ`` (the default) forwards the variables of the request only: names that begin
    with SERVER_, HTTP_, REQUEST_, REMOTE_, PATH_, CONTENT_, DOCUMENT_, SCRIPT_, SSL_ or REDIRECT_,
    and QUERY_STRING, AUTH_TYPE, GATEWAY_INTERFACE and HTTPS. Without it every name in capitals is
    forwarded that holds text, os.environ among them where the server has put that into the
    environ. What is named ``wsgi.`` or otherwise with a dot stays here in any case.
    ``params`` are added to them, or override them.

    What the server sends for the error log goes to ``wsgi.errors``. A server that cannot be
    reached or understood is a 502, one that takes more than ``timeout`` seconds a 504. ``keep``
    keeps connections open, which costs a server without multiplexing one of its workers each.
    """

    def __init__(
        self,
        target: str | Target,
        *,
        filter_environ: bool = True,
        params: dict[str, str] | None = None,
        keep: bool = False,
        timeout: float = 30.0,
    ) -> None:
        self._client = Client(target, keep=keep, timeout=timeout)
        self._filter = filter_environ
        self._params = params or {}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Forward one request (PEP 3333)."""
        errors = environ["wsgi.errors"]
        try:
            body = request_body(environ)
            response = self._client.send(self._request(environ), body)
        except (ClientError, ConfigError) as error:
            errors.write(getattr(error, "errors", ""))
            errors.write(f"{self._client.target.text}: {error}\n")
            return _failure(error, start_response)
        headers = [
            (name, value) for name, value in response.headers if name.lower() not in _HOP_BY_HOP
        ]
        start_response(f"{response.status} {response.reason}", headers)
        return _Forwarded(response, errors)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._client.close()

    def _request(self, environ: dict[str, Any]) -> Request:
        method = environ["REQUEST_METHOD"]
        if self._client.target.scheme == "http":
            return Request(method, request_target(environ), request_headers(environ))
        variables = {
            name: value
            for name, value in environ.items()
            if isinstance(value, str) and self._is_forwarded(name)
        }
        return Request(method, variables=variables, params=self._params)

    def _is_forwarded(self, name: str) -> bool:
        if name in _DROPPED:
            return False
        if self._filter:
            return name.startswith(_PREFIXES) or name in _NAMES
        return name.isupper() and "." not in name


class _Forwarded:
    """The body of the response; text for the error log is passed on as it comes."""

    def __init__(self, response: Response, errors: Any) -> None:
        self._response = response
        self._errors = errors

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._response:
                self._log()
                yield piece
        finally:
            self._log()

    def close(self) -> None:
        """Give up what has not been asked for."""
        self._response.close()
        self._log()

    def _log(self) -> None:
        text = self._response.take_errors()
        if text:
            self._errors.write(text)


def request_body(environ: dict[str, Any]) -> Body:
    """The body of a WSGI request; without a length only a server that ends it can have one."""
    length = environ.get("CONTENT_LENGTH", "")
    source = environ["wsgi.input"]
    if length:
        return Body(_limited(source, int(length)), int(length))
    if environ.get("wsgi.input_terminated"):
        return Body(source)
    return Body(b"")


def _limited(source: Any, left: int) -> Iterator[bytes]:
    while left > 0:
        piece = source.read(min(left, 65536))
        if not piece:
            raise ClientError(f"the body of the request ends {left} bytes too early")
        left -= len(piece)
        yield piece


def request_target(environ: dict[str, Any]) -> str:
    """Path and query; in the client's own quoting where nothing has changed the path since."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    original = environ.get("REQUEST_URI", "").partition("?")[0]
    if not original or unquote_to_bytes(original).decode("latin-1") != path:
        original = quote(path.encode("latin-1"), safe=_PATH_SAFE) or "/"
    query = environ.get("QUERY_STRING", "")
    return f"{original}?{query}" if query else original


def request_headers(environ: dict[str, Any]) -> Headers:
    """The headers that the variables were made of."""
    headers = []
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            header = name[5:].replace("_", "-").title()
            if header.lower() not in _HOP_BY_HOP:
                headers.append((header, value))
        elif name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            headers.append((name.replace("_", "-").title(), value))
    return headers


def _failure(error: Exception, start_response: StartResponse) -> list[bytes]:
    status = "504 Gateway Timeout" if isinstance(error, ClientTimeout) else "502 Bad Gateway"
    body = f"{status}\n".encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
