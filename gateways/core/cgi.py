"""One CGI request in this process: variables from the environment, body on fd 0, answer on fd 1.

What a ``.fcgi`` script falls back to when the web server started it as CGI. The real standard
output is taken aside and descriptor 1 points to the error log, so that a ``print`` in the
application cannot get into the response.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from gateways.config import Config
from gateways.errors import ClientDisconnected, ProtocolError
from gateways.protocols.base import Headers
from gateways.protocols.head import status_head
from gateways.protocols.variables import clean, content_length
from gateways.wsgi.body import Body
from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.runner import Application, ErrorResponder, respond_with_error, run_application

_READ = 65536


def is_cgi() -> bool:
    """Whether a web server started this process as a CGI script (RFC 3875, section 4.1)."""
    return "REQUEST_METHOD" in os.environ and "GATEWAY_INTERFACE" in os.environ


class CGIChannel:
    """The runner's ``Channel`` to the web server that started this process."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._head = b""
        self.aborted = False

    def send_head(self, request: Any, status: str, headers: Headers) -> None:
        """Set the head (see ``Channel.send_head``)."""
        self._head = status_head(status, headers)

    def send_body(self, request: Any, chunk: bytes) -> None:
        """Write a piece of the body."""
        data, self._head = memoryview(self._head + chunk), b""
        try:
            while data:
                data = data[os.write(self._output, data) :]
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


def serve_cgi(
    application: Application,
    config: Config,
    environ: dict[str, Any] | None = None,
    respond: ErrorResponder = respond_with_error,
) -> None:
    """Serve the one request that this process was started for."""
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    channel = CGIChannel(output)
    builder = EnvironBuilder(
        script_name=config.script_name,
        trust_remote_user=config.trust_remote_user,
        multithread=False,
        multiprocess=True,
        run_once=True,
        extra=environ,
    )
    try:
        variables = clean(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in os.environb.items()
        )
        length = content_length(variables)
        if length is None and "HTTP_TRANSFER_ENCODING" not in variables:
            length = 0  # without the marker of a chunked body there is nothing to read for
        body = Body(length, threading.Lock(), _read_more, config.body_memory_bytes, 0)
    except ProtocolError as error:
        respond(channel, None, error.status)
    else:
        run_application(application, builder, channel, None, variables, body, config.debug, respond)
    os.close(output)


def _read_more(body: Body) -> None:
    """Feed a body from standard input, never beyond its length: an end of file may never come."""
    wanted = _READ if body.length is None else min(_READ, body.length - body.received)
    data = os.read(0, wanted)
    if data:
        body.feed(data)
    else:
        body.end()
