"""The WSGI runner: calls the application and sends what it answers (PEP 3333).

The head is held until the first non-empty bytes, so that an application can still change its mind
and a small response leaves in one piece; every later chunk is handed to the channel before the
next one is asked for. Whatever happens, ``close`` of the iterable is called exactly once. After
the head is out an error can only be shown by ending the response so that its shortness is seen.
"""

from __future__ import annotations

from gateways.errors import ApplicationError, ClientDisconnected, ProtocolError, RequestTimeout
from gateways.logs import get_logger
from gateways.wsgi.body import Body
from gateways.wsgi.channel import Channel
from gateways.wsgi.errorlog import ErrorStream, new_error_stream
from gateways.wsgi.filewrapper import FileWrapper
from gateways.wsgi.headers import check_headers, check_status
from gateways.wsgi.pages import respond_with_error
from gateways.wsgi.returned import as_bytes, has_one_item, is_iterable, only_chunk

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import TypeAlias

    from gateways.wsgi.environ import Environ, EnvironBuilder
    from gateways.wsgi.headers import Headers
    from gateways.wsgi.pages import ErrorResponder

logger = get_logger("gateways.application")

ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None]"
StartResponse: TypeAlias = "Callable[..., Callable[[bytes], None]]"
Application: TypeAlias = "Callable[[Environ, StartResponse], Iterable[bytes]]"


class Response:
    """One response in the making: the ``start_response`` and ``write`` of PEP 3333."""

    __slots__ = (
        "_body",
        "_bodyless",
        "_channel",
        "_committed",
        "_errors",
        "_finished",
        "_headers",
        "_is_head",
        "_left",
        "_request",
        "_respond",
        "_started",
        "_status",
        "_surplus",
        "in_application",
    )

    def _begin(
        self,
        channel: Channel,
        request: object,
        is_head: bool,
        errors: ErrorStream,
        respond: ErrorResponder,
        body: object,
    ) -> None:
        """What ``__init__`` is elsewhere; see ``_new_response``."""
        self._body = body
        self._respond = respond
        self._channel = channel
        self._errors = errors
        self._request = request
        self._is_head = is_head
        self._started = False  # start_response was called, if in vain
        self._status = ""
        self._headers: Headers = []
        self._left = -1  # bytes that Content-Length still promises; -1: nothing was promised
        self._bodyless = False  # HEAD, 204, 304: no body may be sent
        self._committed = False  # the head is on its way
        self._finished = False  # the response is ended, well or badly
        self._surplus = False
        self.in_application = False  # it, or its iterable, has been called and has not returned

    @property
    def is_interruptible(self) -> bool:
        """Whether the thread is in the application, and not in our code that it has called.

        For the compiled build, which has no frames to tell it by. A thread cannot be found in code
        of ours that neither waits nor calls Python code, so nothing is noted there.
        """
        body = self._body
        return (
            self.in_application
            and not self._errors.is_busy
            and not (isinstance(body, Body) and body.is_busy)
        )

    def start_response(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Take status and headers; see PEP 3333, "The start_response() Callable"."""
        if exc_info is not None:
            try:
                if self._committed:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # or the traceback and this frame would keep each other alive
        elif self._started:
            raise ApplicationError(
                "start_response was called a second time without exc_info (PEP 3333)"
            )
        self._started = True
        code = check_status(status)
        length = check_headers(headers)
        if code == 204 or code == 304:
            self._bodyless = True
            if code == 204 and length is not None:
                headers = [item for item in headers if item[0].lower() != "content-length"]
                length = None
        else:
            self._bodyless = self._is_head
        self._status = status
        self._headers = list(headers)  # a copy: what was checked is what is sent
        self._left = -1 if length is None else length
        return self.write

    def write(self, data: bytes) -> None:
        """Send body bytes at once; for applications that cannot yield them (PEP 3333)."""
        if type(data) is not bytes:
            data = as_bytes(data)
        if data:
            self.in_application = False
            try:
                self._send(data, False)
            finally:
                self.in_application = True

    def send_iterable(self, iterable: Iterable[bytes]) -> None:
        """Send what the application returned, and end the response."""
        alone = False
        if type(iterable) is list or type(iterable) is tuple:
            alone = len(iterable) == 1
        elif isinstance(iterable, (str, bytes, dict)) or not is_iterable(iterable):
            iterable = only_chunk(iterable)
            alone = True
        elif type(iterable) is FileWrapper:
            self._send_file(iterable)
        else:
            alone = has_one_item(iterable)
        for chunk in iterable:
            self.in_application = False
            if type(chunk) is not bytes:
                chunk = as_bytes(chunk)
            if chunk:
                self._send(chunk, alone)
                if self._surplus:
                    break
            self.in_application = True
        self.in_application = False
        if not self._finished:
            self._end()

    def _send_file(self, wrapper: FileWrapper) -> None:
        """Have the channel send most of a large file, if it can; the rest is then iterated."""
        if self._bodyless or self._finished or not self._status:
            return
        if (rest := wrapper.rest(self._left)) is not None:
            self.in_application = False
            self._commit()
            fd, offset, size = rest
            sent = self._channel.send_file(self._request, fd, offset, size)
            self._left -= sent if self._left > 0 else 0
            wrapper.skip(sent)
            self.in_application = True

    def _send(self, chunk: bytes, alone: bool) -> None:
        """Send a non-empty chunk; ``alone`` says that no other one will come."""
        if not self._status:
            raise ApplicationError(
                "the application gave body bytes before it called start_response"
            )
        if self._finished or self._bodyless:
            self._beyond_the_end(chunk, alone)
            return
        left = self._left
        if left < 0:
            if not (alone and not self._committed):
                self._commit()
                self._channel.send_body(self._request, chunk)
                return
            self._headers = [*self._headers, ("Content-Length", str(len(chunk)))]
            left = len(chunk)
        if len(chunk) > left:
            self._surplus = True
            logger.warning(
                "the application sent more than its Content-Length; %d bytes or more were cut off",
                len(chunk) - left,
            )
            chunk = chunk[:left]
        self._left = left = left - len(chunk)
        if left:
            self._commit()
            self._channel.send_body(self._request, chunk)
        else:
            # The end leaves with the last bytes; the iterable still runs to its own, as it expects.
            self._finish(chunk)

    def _beyond_the_end(self, chunk: bytes, alone: bool) -> None:
        """Bytes that must not be sent."""
        warned, self._surplus = self._surplus, True
        if not self._finished:
            if alone and self._is_head and self._left < 0:
                self._headers = [*self._headers, ("Content-Length", str(len(chunk)))]
            self._finish(b"")
            if not self._is_head:
                logger.warning("a body was given with the status %s; not sent", self._status)
        elif not (self._bodyless or warned):
            logger.warning("the application sent more than its Content-Length; the rest is cut off")

    def _finish(self, chunk: bytes) -> None:
        if not self._committed:
            self._check_refused()
        self._finished = True
        if self._errors.line:
            self._errors.flush()  # after the end the web server's error log is out of reach
        if self._committed:
            self._channel.finish(self._request, chunk)
        else:
            self._committed = True
            self._channel.respond(self._request, self._status, self._headers, chunk)

    def _commit(self) -> None:
        if not self._committed:
            self._check_refused()
            self._channel.send_head(self._request, self._status, self._headers)
            self._committed = True

    def _check_refused(self) -> None:
        # Frameworks make a 500 of the error that they got from reading, or that ended them.
        error = getattr(self._request, "overdue", None)
        if error is None and self._body is not None:
            error = getattr(self._body, "refused", None)
        if error is not None:
            raise error

    def _end(self) -> None:
        """The iterable is exhausted."""
        if not self._status:
            raise ApplicationError(
                "the application returned without a (successful) call of start_response"
            )
        if self._left > 0 and not self._bodyless:
            raise ApplicationError(
                f"the application sent {self._left} bytes less than its Content-Length"
            )
        if not self._committed and self._left < 0 and not self._bodyless:
            self._headers = [*self._headers, ("Content-Length", "0")]
        self._finish(b"")

    def send_errors(self, text: str) -> None:
        """Send text to the web server's error log, if the response has not ended."""
        if not self._finished:
            self._errors.flush()
            self._channel.send_errors(self._request, text)

    def fail(self, code: int, detail: str = "") -> None:
        """Answer with an error page, or end what is under way."""
        if self._finished:
            return
        self._finished = True
        if self._committed:
            self._channel.abort(self._request)
        elif getattr(self._request, "overdue", None) is not None:
            self._respond(self._channel, self._request, 504, self._is_head)
        else:
            self._respond(self._channel, self._request, code, self._is_head, detail)


def _new_response(
    channel: Channel,
    request: object,
    is_head: bool,
    errors: ErrorStream,
    respond: ErrorResponder,
    body: object,
) -> Response:
    """In the compiled build a call of the type would cost more."""
    response = Response.__new__(Response)
    response._begin(channel, request, is_head, errors, respond, body)
    return response


def run_application(
    application: Application,
    builder: EnvironBuilder,
    channel: Channel,
    request: object,
    variables: dict[str, str],
    body: object,
    debug: bool = False,
    respond: ErrorResponder | None = None,
) -> None:
    """Run one request to its end; raises nothing, whatever the application does.

    ``variables`` become the environ, ``body`` (None: there is none) its ``wsgi.input``.
    ``respond`` answers in place of an application that failed (default: our plain page).
    """
    errors = new_error_stream(channel, request)
    is_head = variables.get("REQUEST_METHOD") == "HEAD"
    respond = respond or respond_with_error
    response = _new_response(channel, request, is_head, errors, respond, body)
    iterable: Iterable[bytes] | None = None
    channel.note_running(request, response)
    try:
        environ = builder.build(variables, body, errors)
        response.in_application = True
        iterable = application(environ, response.start_response)
        response.send_iterable(iterable)
    except BaseException as error:  # noqa: BLE001  # sys.exit() ends a request, not its worker
        response.in_application = False
        try:
            _failed(error, variables, response, debug)
        except RequestTimeout as timeout:  # it came as the application was failing by itself
            _failed(timeout, variables, response, debug)
    finally:
        try:
            has_none = type(iterable) is list or type(iterable) is tuple
            close = None if has_none else getattr(iterable, "close", None)
            if close is not None:
                response.in_application = True
                close()
        except BaseException as error:
            response.in_application = False
            name = request_name(variables)
            logger.error("close() of the response of %s failed", name, exc_info=error)
        response.in_application = False
        channel.note_running(request, None)
        errors.detach()


def _failed(
    error: BaseException, variables: dict[str, str], response: Response, debug: bool
) -> None:
    """Log what went wrong where its cause will be looked for, and answer."""
    name = request_name(variables)
    if isinstance(error, ClientDisconnected):
        logger.debug("%s: %s", name, error)
        response.fail(error.status)
    elif isinstance(error, ProtocolError):
        logger.warning("%s: answered %d: %s", name, error.status, error)
        response.fail(error.status)
    elif isinstance(error, RequestTimeout):
        logger.debug("%s: %s", name, error)  # who raised it has logged more
        response.send_errors(f"{name}: {error}\n")
        response.fail(504)
    else:
        logger.error("the application failed at %s", name, exc_info=error)
        import traceback

        text = "".join(traceback.format_exception(error))
        response.send_errors(f"{name}\n{text}")
        response.fail(500, text if debug else "")


def request_name(variables: dict[str, str]) -> str:
    """A request as log lines name it; works on variables and on the environ made of them."""
    # The application may have put anything there by now.
    path = f"{variables.get('SCRIPT_NAME', '')}{variables.get('PATH_INFO', '')}"
    method = str(variables.get("REQUEST_METHOD", "?"))
    return f"{method if method.isalnum() and method.isascii() else repr(method)} {path!r}"
