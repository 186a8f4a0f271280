"""One CGI request in this process: variables from the environment, body on fd 0, answer on fd 1.

The real standard output is taken aside and descriptor 1 points to the error log, so that neither
a ``print`` nor a child process nor a C library can get into the response; so is the input, so that
no child process can take the body away. Arguments are never looked at: web servers put the query
there. Nothing here, or below it on this path, imports more than a request needs.
"""

from __future__ import annotations

import os
import select
import sys

from gateways.core.stdio import Input, Output
from gateways.errors import ClientDisconnected, LimitExceeded, ProtocolError
from gateways.logs import get_logger
from gateways.protocols.head import status_head
from gateways.protocols.variables import clean, content_length
from gateways.wsgi.body import Body
from gateways.wsgi.channel import Channel
from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.pages import respond_with_error
from gateways.wsgi.runner import run_application

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Protocol

    from gateways.protocols.base import Headers
    from gateways.wsgi.pages import ErrorResponder
    from gateways.wsgi.runner import Application

    class Options(Protocol):
        """What of ``gateways.config.Config`` a CGI request needs."""

        @property
        def script_name(self) -> str | None: ...
        @property
        def trust_remote_user(self) -> bool: ...
        @property
        def debug(self) -> bool: ...
        @property
        def max_body_bytes(self) -> int: ...
        @property
        def body_memory_bytes(self) -> int: ...
        @property
        def body_spool_bytes(self) -> int: ...


logger = get_logger("gateways.cgi")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def is_cgi() -> bool:
    """Whether a web server started this process as a CGI script (RFC 3875, section 4.1)."""
    return "REQUEST_METHOD" in os.environ and "GATEWAY_INTERFACE" in os.environ


def how_to_run() -> str:
    """What to tell somebody who has started a script by hand."""
    script = sys.argv[0] or "script.cgi"
    return (
        f"{script}: the environment has no CGI variables (REQUEST_METHOD, GATEWAY_INTERFACE): no "
        "web server has started this script.\n"
        "The script itself ran without an error. To see what it answers:\n"
        "    GATEWAY_INTERFACE=CGI/1.1 REQUEST_METHOD=GET SERVER_NAME=localhost SERVER_PORT=80 \\\n"
        f"    SERVER_PROTOCOL=HTTP/1.1 SCRIPT_NAME= PATH_INFO=/ {script}"
    )


def serve_cgi(
    application: Application | str,
    config: Options,
    environ: dict[str, Any] | None = None,
    respond: ErrorResponder = respond_with_error,
    *,
    nph: bool = False,
) -> None:
    """Serve the one request that this process was started for; raises nothing.

    An ``application`` given as a reference is imported once the response is safe from what it
    prints, so that even a failed import is answered with a page.
    """
    stdin, stdout = _take_standard_streams()
    channel = CGIChannel(stdin, stdout, nph)
    _heed_termination(channel)
    try:
        variables = request_variables()
        stdin.left = length = body_length(variables)
        if length is not None and 0 < config.max_body_bytes < length:
            limit = config.max_body_bytes
            raise LimitExceeded(f"the body has {length} bytes, --max-body allows {limit}", 413)
        run = _load(application) if isinstance(application, str) else application
    except ProtocolError as error:
        logger.warning("answered %d: %s", error.status, error)
        respond(channel, None, error.status, _is_head())
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the application's, from its import
        from gateways.wsgi.loading import explain_failure

        text = explain_failure(error)
        logger.error("cannot load %s\n%s", application, text)
        respond(channel, None, 500, _is_head(), text if config.debug else "")
    else:
        builder = _EnvironBuilder(
            script_name=config.script_name,
            trust_remote_user=config.trust_remote_user,
            multithread=False,
            multiprocess=True,
            run_once=True,
            extra=environ,
        )
        if length != 0:
            channel.take_body(length, config)
        run_application(run, builder, channel, None, variables, channel.body, config.debug, respond)
    channel.close()


def _is_head() -> bool:
    return os.environ.get("REQUEST_METHOD") == "HEAD"


def request_variables() -> dict[str, str]:
    """The environment as CGI variables, latin-1 `str`. Raises ProtocolError."""
    return clean(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in os.environb.items()
    )


def body_length(variables: dict[str, str]) -> int | None:
    """How much there is to read (see ``content_length``); None: up to the end of the input.

    That is so only where the marker of a chunked body is left in the variables (mod_cgid);
    elsewhere an end of the input may never come (RFC 3875, section 4.2).
    """
    length = content_length(variables)
    if length is None and "HTTP_TRANSFER_ENCODING" not in variables:
        return 0
    return length


class CGIChannel(Channel):
    """The runner's ``Channel`` to the web server that started this process."""

    def __init__(self, stdin: Input, stdout: Output, nph: bool) -> None:
        self._input = stdin
        self._output = stdout
        self._nph = nph
        self._head = b""
        self.body: Body | None = None
        self._body_limit = 0
        self.aborted = False
        self.ended = False

    def take_body(self, length: int | None, config: Options) -> None:
        """Set up the body, which comes as it is read."""
        self.body = Body(
            length,
            _NoLock(),  # type: ignore[arg-type]  # one thread reads and feeds it
            lambda _: self.read_more(),
            config.body_memory_bytes,
            config.body_spool_bytes,
        )
        self._body_limit = config.max_body_bytes if length is None else 0

    def send_head(self, request: Any, status: str, headers: Headers) -> None:
        """Set the head (see ``Channel.send_head``)."""
        head = status_head(status, headers)
        self._head = _http_head(status, head) if self._nph else head

    def send_body(self, request: Any, chunk: bytes) -> None:
        """Write a piece of the body."""
        data, self._head = self._head + chunk, b""
        try:
            if self._input.left == 0 or self.body is None:
                self._output.write(data)
            else:
                self._write_and_read(data)
        except OSError as error:
            self.aborted = True
            raise ClientDisconnected(f"the web server closed its end: {error}") from error

    def finish(self, request: Any, chunk: bytes) -> None:
        """Write the last piece."""
        try:
            self.send_body(request, chunk)
        except ClientDisconnected:
            pass  # nobody is left to tell

    def abort(self, request: Any) -> None:
        """A CGI response cannot show that it is cut short."""
        self.aborted = True

    def send_errors(self, request: Any, text: str) -> None:
        """Standard error is the web server's error log; the logger has written there already."""

    def read_more(self) -> None:
        """Bring in more of the body: what there is, waiting for it."""
        body = self.body
        if body is None:
            return
        data = self._input.read()
        if not data:
            body.end()
        elif 0 < self._body_limit < body.received + len(data):
            text = f"the body has more bytes than --max-body allows ({self._body_limit})"
            body.fail(LimitExceeded(text, 413))
        else:
            body.feed(data)

    def _write_and_read(self, data: bytes) -> None:
        """Write while the body still comes: who sends it may not read us before all is sent."""
        view = memoryview(data)
        poll = select.poll()
        poll.register(self._output.fd, select.POLLOUT)
        poll.register(self._input.fd, select.POLLIN)
        while view:
            for fd, _ in poll.poll():
                if fd == self._output.fd:
                    view = view[self._output.write_some(view) :]
                elif self._input.left != 0:
                    self.read_more()
                    if self._input.left == 0:
                        poll.unregister(fd)

    def close(self) -> None:
        """The response has ended; what still comes of the body is dropped."""
        self.ended = True  # from here on the web server, which sees the end, may send SIGTERM
        self._output.end()
        if self.body is not None:
            self.body.close()
        if self._input.left != 0 and not self.aborted:
            self._input.drain()


def _heed_termination(channel: CGIChannel) -> None:
    """Let SIGTERM, by which web servers tell that a client has left, end the application in order.

    A second one ends the process.
    """
    # The module around this one would import enum.
    import _signal  # type: ignore[import-not-found]

    def heed(number: int, frame: object) -> None:
        _signal.signal(number, _signal.SIG_DFL)
        channel.aborted = True
        if channel.ended:
            return  # the web server has all of the response, and tidies up
        raise ClientDisconnected("the web server has ended the script (SIGTERM)")

    if _signal.getsignal(_signal.SIGTERM) == _signal.SIG_DFL:
        try:
            _signal.signal(_signal.SIGTERM, heed)
        except ValueError:
            pass  # not in the main thread


class _EnvironBuilder(EnvironBuilder):
    """Who starts a script has split the path, even where there is no PATH_INFO."""

    def _detect_paths(self, variables: dict[str, str]) -> None:
        if variables.get("SCRIPT_NAME") and not variables.get("PATH_INFO"):
            variables.setdefault("PATH_INFO", "")
        else:
            super()._detect_paths(variables)


class _NoLock:
    """A lock for one thread."""

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def _load(reference: str) -> Application:
    """What most references say needs none of the machinery that explains what is wrong with one."""
    module, _, name = reference.partition(":")
    if name.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        __import__(module)
        found: Any = getattr(sys.modules[module], name, None)
        if callable(found):
            application: Application = found
            return application
    from gateways.wsgi.loading import load_application

    return load_application(reference)


def _take_standard_streams() -> tuple[Input, Output]:
    """Input and response, in safety from everybody else in this process."""
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:  # a web server may leave descriptors closed
        null = os.dup(null)
    stdin = Input(os.dup(0), 0)
    stdout = Output(os.dup(1))
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    if sys.stdout is not None:
        try:
            sys.stdout.flush()  # what was printed before; after the descriptor has been moved
        except OSError:
            pass
        sys.stdout = _StrayOutput(sys.stdout)
    return stdin, stdout


class _StrayOutput:
    """``sys.stdout`` of a CGI script: writes to the error log, and tells once who does."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._told = False

    def write(self, text: str) -> int:
        """Pass it on."""
        self._tell(sys._getframe(1))
        written: int = self._stream.write(text)
        self._stream.flush()  # in the order in which the error log gets the rest
        return written

    def writelines(self, lines: Any) -> None:
        """Pass them on."""
        self._tell(sys._getframe(1))
        self._stream.writelines(lines)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            self._tell(sys._getframe(1))
        return getattr(self._stream, name)

    def _tell(self, frame: Any) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                "standard output is not the way to the client; what is written there goes to the "
                "error log. The first to write was %s, line %d",
                frame.f_code.co_filename,
                frame.f_lineno,
            )


def _http_head(status: str, head: bytes) -> bytes:
    """The head of a script whose output no web server parses (RFC 3875, section 5)."""
    import time

    now = time.gmtime()
    protocol = os.environ.get("SERVER_PROTOCOL", "")
    version = "HTTP/1.0" if protocol in ("", "HTTP/0.9", "HTTP/1.0") else "HTTP/1.1"
    date = (
        f"{_DAYS[now.tm_wday]}, {now.tm_mday:02} {_MONTHS[now.tm_mon - 1]} {now.tm_year} "
        f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} GMT"
    )
    start = f"{version} {status}\r\nDate: {date}\r\nConnection: close\r\n"
    return start.encode("latin-1") + head.partition(b"\r\n")[2]
