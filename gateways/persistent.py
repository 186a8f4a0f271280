"""CGI scripts whose application stays: ``PersistentCGI(app="myapp:app").run()``.

Each request is relayed to a background server on a Unix socket that only this user can reach. The
first request starts that server, a changed file has it replaced, and where none can be had the
request is served in this process, as ordinary CGI.

This process lives for one request, and half of its cost is its imports: what the usual way, with
a server that runs already, does not need is imported where it is needed.
"""

from __future__ import annotations

import os
import stat
import sys
from _socket import AF_UNIX, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket
from struct import unpack

from gateways.core.relay import (
    ANSWERED,
    BROKEN,
    LEFT,
    LENGTH_VARIABLE,
    LOST,
    NOT_TAKEN,
    Relay,
    head_of_request,
)
from gateways.core.stdio import Input, Output
from gateways.protocols.variables import encode_pairs

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from typing import Any

_ATTEMPTS = 5
_PRIME = 2**128 - 159  # a name in the file system without the cost of importing a hash
_BAD_GATEWAY = (
    b"Status: 502 Bad Gateway\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
    b"<body><h1>Bad Gateway</h1>\n<p>The application ended before it had answered.</p></body>"
    b"</html>\n"
)


class PersistentCGI:
    """Serves the one request that this process was started for, through a server that stays.

    ``app`` is a reference, such as ``"myapp:app"``. The server ends after ``idle_timeout`` seconds
    without a request. It has ``threads`` threads; a start may take ``start_timeout`` seconds.
    Its socket is in ``directory``, by default one of its own below $XDG_RUNTIME_DIR or the
    directory for temporary files. ``options`` are fields of ``gateways.config.Config``:
    ``script_name="/prefix"``, ``debug=True``.
    """

    def __init__(
        self,
        app: str,
        *,
        idle_timeout: float = 300.0,
        start_timeout: float = 30.0,
        threads: int = 4,
        directory: str | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(app, str):
            raise TypeError(
                "PersistentCGI takes a reference to the application, such as 'myapp:app': not to "
                "import the application in this process is the point of it"
            )
        self.app = app
        self.idle_timeout = idle_timeout
        self.start_timeout = start_timeout
        self.options = {"threads": threads, **options}
        self._directory = directory
        self._script = os.path.abspath(sys.argv[0])

    def run(self) -> None:
        """Answer the request; returns when that is done."""
        if not ("REQUEST_METHOD" in os.environ and "GATEWAY_INTERFACE" in os.environ):
            from gateways.core.cgi import how_to_run

            raise SystemExit(how_to_run())
        outcome = NOT_TAKEN
        stdin, stdout = Input(0, self._body_length()), Output(os.dup(1))
        try:
            outcome = self._relay(stdin, stdout)
        except OSError as error:
            _say(f"no server in the background ({error}); serving this request without one")
        # What was taken has run, at least in part: only what is safe may run a second time.
        is_safe = os.environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS")
        if outcome == NOT_TAKEN or (outcome == LOST and is_safe):
            stdout.release()
            self._serve_here()
            return
        if outcome in (BROKEN, LOST):
            _say("the server ended while it answered a request that must not be run twice")
            try:
                stdout.write(_BAD_GATEWAY)
            except OSError:
                outcome = LEFT
        _point_to_error_log()
        stdout.end()
        if outcome != LEFT and stdin.left != 0:
            stdin.drain()

    # -- the usual way -------------------------------------------------------------------------

    def _relay(self, stdin: Input, stdout: Output) -> int:
        directory = _private_directory(self._directory, self._identity())
        path = directory + "/socket"
        head = head_of_request(self._variables(stdin.left), has_body=stdin.left != 0)
        for _ in range(_ATTEMPTS):
            sock = _connect(path)
            if sock is None:
                from gateways.process.background import connect_or_start

                sock = connect_or_start(self, directory, lambda: _connect(path))
            if sock is None:
                _say(f"no server in the background; {directory}/log may say why")
                return NOT_TAKEN
            relay = Relay(sock, head, stdin, stdout)
            outcome = relay.run()
            sock.close()
            if outcome == ANSWERED and not relay.complete:
                _say("the server ended in the middle of its answer, which is cut short")
            if outcome != NOT_TAKEN:
                return outcome
        return NOT_TAKEN

    def _body_length(self) -> int | None:
        """As ``gateways.core.cgi`` has it; what is wrong is for the server to refuse."""
        value = os.environ.get("CONTENT_LENGTH", "")
        if value.isascii() and value.isdigit() and len(value) <= 18:
            return int(value)
        return None if "HTTP_TRANSFER_ENCODING" in os.environ and value in ("", "-1") else 0

    def _variables(self, length: int | None) -> bytes:
        variables = dict(os.environb)
        if length:
            variables[LENGTH_VARIABLE.encode()] = variables.pop(b"CONTENT_LENGTH")
        # Says that SCRIPT_NAME is a script's, where there is no PATH_INFO.
        variables.setdefault(b"SCRIPT_FILENAME", os.fsencode(self._script))
        return encode_pairs(variables.items())

    def _identity(self) -> str:
        """What must be the same for two requests to have the same server."""
        parts = (self._script, sys.executable, os.getcwd(), self.app, repr(self.idle_timeout))
        return "\0".join((*parts, repr(sorted(self.options.items()))))

    # -- the other ways ------------------------------------------------------------------------

    def _serve_here(self) -> None:
        from gateways.config import Config
        from gateways.core.cgi import serve_cgi

        serve_cgi(self.app, Config(**self.options))

    @property
    def script(self) -> str:
        """The absolute path of the script."""
        return self._script


def _connect(path: str) -> socket | None:
    """A connection to a server of this user; None where there is none."""
    sock = socket(AF_UNIX, SOCK_STREAM)
    try:
        sock.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    _, uid, _ = unpack("iII", sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
    if uid != os.geteuid():
        sock.close()
        raise PermissionError(f"{path} belongs to a server of user {uid}")
    return sock


def _private_directory(given: str | None, identity: str) -> str:
    """A directory that nobody else may enter, made if need be. Raises OSError."""
    if given is None:
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        if runtime.startswith("/") and os.access(runtime, os.W_OK):
            given = runtime + "/gateways"
        else:
            given = f"{os.environ.get('TMPDIR') or '/tmp'}/gateways-{os.geteuid()}"  # noqa: S108
    parent = os.stat(os.path.dirname(os.path.abspath(given)))
    if parent.st_mode & stat.S_IWOTH and not parent.st_mode & stat.S_ISVTX:
        raise PermissionError(f"anybody could replace {given}: its parent needs the sticky bit")
    number = int.from_bytes(os.fsencode(identity), "big") % _PRIME
    own = f"{given}/{number:032x}"
    for path in (given, own):
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                pass  # another request was quicker
            found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{path} is no directory")
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{path} is not a directory of this user's alone (mode 700)")
    return own


def _point_to_error_log() -> None:
    """What this process still prints must not follow the response."""
    os.dup2(2, 1)


def _say(text: str) -> None:
    try:
        os.write(2, f"gateways: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # a log that is full or closed must not fail a request
