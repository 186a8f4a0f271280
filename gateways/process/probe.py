"""``--check``: one request to the application inside its own process, before anybody else's."""

from __future__ import annotations

from typing import Any

from gateways.config import Config
from gateways.protocols.base import Headers
from gateways.wsgi.channel import Channel
from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.runner import Application, run_application

_SHOWN = 2000  # bytes of an answer


def find_failure(application: Application, builder: EnvironBuilder, config: Config) -> str:
    """Ask for each of ``config.checks``; the first answer that is not below 400, "" if none is."""
    failures = (_ask(application, builder, config, target) for target in config.checks)
    return next(filter(None, failures), "")


def _ask(application: Application, builder: EnvironBuilder, config: Config, target: str) -> str:
    path, _, query = target.partition("?")
    variables = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": config.script_name or "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_URI": (config.script_name or "") + target,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "gateways --check",
    }
    answer = _Answer()
    run_application(application, builder, answer, None, variables, None)
    if answer.status[:1] in ("1", "2", "3") and not answer.aborted:
        return ""
    what = "an answer that broke off" if answer.aborted else answer.status or "nothing"
    text = f"gateways: error: the application answered --check {target} with {what}\n\n"
    body = answer.body[:_SHOWN].decode("utf-8", "replace")
    return text + (answer.errors or (f"The answer begins:\n\n{body}" if body else ""))


class _Answer(Channel):
    """The runner's ``Channel`` into memory."""

    def __init__(self) -> None:
        self.status = ""
        self.body = b""
        self.errors = ""
        self.aborted = False

    def send_head(self, request: Any, status: str, headers: Headers) -> None:
        """Keep the status."""
        self.status = status

    def send_body(self, request: Any, chunk: bytes) -> None:
        """Keep the beginning of the body."""
        if len(self.body) < _SHOWN:
            self.body += chunk[:_SHOWN]

    def finish(self, request: Any, chunk: bytes) -> None:
        """Keep the last piece."""
        self.send_body(request, chunk)

    def abort(self, request: Any) -> None:
        """The application failed after its head."""
        self.aborted = True

    def send_errors(self, request: Any, text: str) -> None:
        """Keep what the application said."""
        self.errors += text
