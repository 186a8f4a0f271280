"""A function in a process of its own, for its result: what it imports and leaves goes with it."""

from __future__ import annotations

import marshal
import os
import signal
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from gateways.errors import ConfigError
from gateways.process.forking import fork_member, unblock_signals

Result = TypeVar("Result")

_EXIT_SOFTWARE = 70  # EX_SOFTWARE


class LeftApart(Exception):
    """The process has ended without a result, with ``status``, and has said why itself."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the process that was to do it has ended with status {status}")
        self.status = status


class Apart(Generic[Result]):
    """Begins at once; raises ConfigError where there can be no process.

    What the function returns is plain values (numbers, texts, tuples, dicts), or can be pickled.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        try:
            self._result, theirs = os.pipe()
            try:
                self._pid = fork_member(
                    lambda: _run(function, theirs), lambda: os.close(self._result)
                )
            except OSError:
                os.close(self._result)
                raise
            finally:
                os.close(theirs)
        except OSError as error:
            raise ConfigError(f"no process can be forked: {error.strerror}") from error

    def result(self) -> Result:
        """Wait for it. Raises the ConfigError of the function, and LeftApart if it has exited."""
        try:
            data = self._read()
        except BaseException:
            os.kill(self._pid, signal.SIGKILL)
            self._wait()
            raise
        status = self._wait()
        if not data:
            raise LeftApart(status)
        kind, outcome = _unpack(data)
        if kind == "left":
            raise LeftApart(outcome)
        if kind == "wrong":
            raise ConfigError(outcome)
        result: Result = outcome
        return result

    def _read(self) -> bytes:
        with open(self._result, "rb") as file:
            return file.read()

    def _wait(self) -> int:
        """The exit status as a shell has it."""
        try:
            _, status = os.waitpid(self._pid, 0)
        except ChildProcessError:  # whoever started us ignores SIGCHLD, and so do we
            return _EXIT_SOFTWARE
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def _run(function: Callable[[], Any], descriptor: int) -> int:
    unblock_signals()
    outcome: tuple[str, Any]
    try:
        outcome = "result", function()
    except ConfigError as error:
        outcome = "wrong", str(error)
    except SystemExit as leaving:
        outcome = "left", int(leaving.code or 0)
    try:
        with open(descriptor, "wb") as file:
            file.write(_pack(outcome))
    except BrokenPipeError:
        pass  # whoever wanted to know was interrupted
    return 0


# Both ends are the same program, so plain values can go as they would into a .pyc file. pickle,
# which stays in memory, is only imported for what is more than that.
_PLAIN, _PICKLED = b"\0", b"\1"


def _pack(value: Any) -> bytes:
    try:
        return _PLAIN + marshal.dumps(value)
    except ValueError:
        import pickle

        return _PICKLED + pickle.dumps(value)


def _unpack(data: bytes) -> Any:
    if data[:1] == _PLAIN:
        return marshal.loads(data[1:])  # noqa: S302  # from a fork of this very process
    import pickle

    return pickle.loads(data[1:])  # noqa: S301  # the same
