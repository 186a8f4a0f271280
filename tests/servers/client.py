"""An HTTP client of one site: http.client, and raw sockets where that is too well-behaved."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .harness import DEADLINE_SECONDS, connect, wait_until


@dataclass(frozen=True)
class Answer:
    """A complete response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """The body, which is UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """An application behind a web server on a loopback port; paths are below ``prefix``.

    With ``tls``, whom to trust, it is asked over HTTPS, but for ``raw``.
    """

    port: int
    directory: Path
    prefix: str = ""
    tls: ssl.SSLContext | None = None

    @property
    def error_log(self) -> str:
        """What the web server has logged so far."""
        return (self.directory / "error.log").read_text(errors="replace")

    def wait_for_log(self, text: str) -> None:
        """Wait until the web server's error log holds ``text``."""
        wait_until(lambda: text in self.error_log, f"{text!r} in the error log")

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that is closed at the end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        if self.tls is not None:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=DEADLINE_SECONDS, context=self.tls
            )
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def response(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """A response whose body has not been read."""
        with self.connection() as connection:
            connection.request(method, self.prefix + path, body, headers or {})
            with connection.getresponse() as response:
                yield response

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        with self.response(method, path, body, headers) as response:
            return Answer(response.status, response.msg, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        """A GET; in header names ``_`` stands for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", path, headers=named)

    def raw(self) -> socket.socket:
        """A bare connection, for requests that are never completed."""
        return connect(("127.0.0.1", self.port))
