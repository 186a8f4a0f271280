"""Running a CGI script as a web server would (RFC 3875; working directory as Apache has it)."""

from __future__ import annotations

import errno
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from gateways.client.connection import READ_BYTES, Channel
from gateways.client.errors import ClientError, ConnectError
from gateways.client.target import Target

# What Apache and lighttpd let through of their own environment.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "TZ")
_LOOK_SECONDS = 0.05  # how often a script is asked whether it has ended, while it holds stderr open


class Script(Channel):
    """One run of a script."""

    def __init__(self, target: Target, variables: Mapping[str, str], timeout: float) -> None:
        path = Path(target.file).absolute()
        self._timeout = timeout
        self._process = _start(target, path, environment(path, variables))
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise RuntimeError("a script was started without pipes")
        self._pipes = (stdin, stdout, stderr)
        super().__init__(stdin.fileno(), stdout.fileno(), stderr.fileno())

    def end_of_input(self) -> None:
        """A script may read to the end of its stdin."""
        self._pipes[0].close()

    def finish(self) -> int:
        """Wait for its end, taking its stderr; returns the exit status."""
        self.end_of_input()
        deadline = time.monotonic() + self._timeout
        # A child in the background may keep stderr open; only the script itself is waited for.
        with selectors.DefaultSelector() as selector:
            if self._errors is not None and not self._errors_ended:
                selector.register(self._errors, selectors.EVENT_READ)
            while True:
                ended = self._process.poll() is not None
                while selector.get_map() and selector.select(0 if ended else _LOOK_SECONDS):
                    data = os.read(self._pipes[2].fileno(), READ_BYTES)
                    if not data:
                        selector.unregister(self._pipes[2].fileno())
                    self.on_errors(data)
                if ended or not selector.get_map():
                    break
                if time.monotonic() > deadline:
                    break
        return self._exit_status(max(deadline - time.monotonic(), 0.0))

    def _exit_status(self, patience: float) -> int:
        try:
            status = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ClientError(
                f"the script did not end within {self._timeout:g} seconds after its output"
            ) from None
        if status < 0:
            raise ClientError(f"the script was killed by {signal.Signals(-status).name}")
        return status

    def close(self) -> None:
        """End it, if it has not ended by itself."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in self._pipes:
            pipe.close()


def environment(path: Path, variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """The environment of a script; variables are latin-1, what is not may not be a byte."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    own = {"SCRIPT_FILENAME": os.fsdecode(path), **variables}
    return {os.fsencode(name): os.fsencode(value) for name, value in inherited.items()} | {
        name.encode("latin-1"): _bytes(value) for name, value in own.items()
    }


def _bytes(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return os.fsencode(value)


def _start(target: Target, path: Path, environ: dict[bytes, bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  # running what the caller names is the purpose
            [path],
            cwd=path.parent,
            env=environ,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except (OSError, ValueError) as error:
        raise ConnectError(f"cannot run {target.file}: {_explain(path, error)}") from None


def _explain(path: Path, error: OSError | ValueError) -> str:
    if not path.is_file():
        return "there is no such file"
    if isinstance(error, PermissionError):
        return f"permission denied; is it executable? (chmod +x {path.name})"
    if isinstance(error, FileNotFoundError):
        return "the interpreter in its first line does not exist"
    if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
        return "it is no program; its first line must name an interpreter, as in #!/usr/bin/python3"
    return str(error)
