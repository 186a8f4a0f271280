"""A script that was written for flup, run as the interpreter would run it, with ours in its place.

It stays in this process for as long as it serves, so there is no parser of a command line here.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from gateways.config import Config
from gateways.errors import ConfigError
from gateways.values import as_dict

if TYPE_CHECKING:
    from gateways.process.daemon import Starter

_EXIT_FAILED = 1  # as the interpreter leaves where a script raises
_EXIT_USAGE = 2
# These are for the process, and nothing that a server could be told.
_PREPARED = frozenset({"pythonpath", "venv", "chdir", "env", "env_files"})
_PYTHON_2 = ("Missing parentheses in call", "multiple exception types must be parenthesized")


class ScriptStart(NamedTuple):
    """What ``gateways run`` was told."""

    script: str
    words: tuple[str, ...]  # the script's own
    config: Config
    given: tuple[str, ...]  # the fields of it that count more than what the script says

    def pack(self) -> tuple[Any, ...]:
        """As plain values."""
        return (self.script, self.words, as_dict(self.config), self.given)

    @classmethod
    def unpack(cls, packed: tuple[Any, ...]) -> ScriptStart:
        """The start that was packed."""
        script, words, config, given = packed
        return cls(script, tuple(words), Config(**config), tuple(given))


def run_script(start: ScriptStart) -> int:
    """Run the script to its end; the exit status. SystemExit is the script's own."""
    if not start.config.daemon:
        return _run_script(start, None)
    from gateways.process.daemon import daemonize

    starter = daemonize()
    status: object = _EXIT_FAILED
    try:
        status = _run_script(start, starter)
        return status
    except SystemExit as leaving:
        status = leaving.code or 0
        raise
    finally:  # of what serves already it is no longer heard
        starter.failed("", status if isinstance(status, int) else _EXIT_FAILED)


def _run_script(start: ScriptStart, starter: Starter | None) -> int:
    try:
        code = _compile(start.script)
        _prepare(start, starter)
    except ConfigError as error:
        print(f"gateways: error: {error}", file=sys.stderr)
        return _EXIT_USAGE
    return _run(code, start)


def _prepare(start: ScriptStart, starter: Starter | None) -> None:
    """Set this process up, and give the servers that the script will make their orders."""
    from gateways.flup.standin import install
    from gateways.process.environment import activate_venv, read_environment
    from gateways.process.loading import check_paths
    from gateways.process.logs import restore_logging, set_up_logging
    from gateways.process.privileges import Privileges
    from gateways.scripting import orders

    config = start.config
    set_up_logging(config)
    check_paths(config)
    Privileges.from_config(config)  # a mistake ends the start, and not the script in its midst
    orders.options = {name: getattr(config, name) for name in start.given if name not in _PREPARED}
    orders.on_serving = restore_logging
    if starter is not None:
        orders.on_ready = functools.partial(_let_go, config, starter)
    os.environ.update(read_environment(config))
    time.tzset()
    if config.chdir:
        os.chdir(config.chdir)
    if config.venv:
        activate_venv(config.venv)
    sys.path[:0] = map(os.path.abspath, config.pythonpath)
    install()


def _let_go(config: Config, starter: Starter) -> None:
    """It serves: the command that was typed may end, and has its terminal back."""
    from gateways.process.daemon import detach
    from gateways.process.logs import capture_output

    capture_output(config.error_log)
    detach(output=False)
    starter.ready()


def _compile(script: str) -> CodeType:
    """The script's code. Raises ConfigError."""
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as error:
        if os.path.isdir(script):
            raise ConfigError(f"{script} is a directory; name the script in it") from error
        raise ConfigError(f"{script}: {(error.strerror or str(error)).lower()}") from error
    try:
        return compile(source, os.path.abspath(script), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        text = str(error)
        old = text.startswith(_PYTHON_2)
        hint = ". It is written for Python 2: 2to3 of Python 3.12 and before translates it"
        raise ConfigError(f"{script} cannot be compiled: {text}{hint if old else ''}") from error


def _run(code: CodeType, start: ScriptStart) -> int:
    from gateways.scripting import orders

    script = code.co_filename if start.config.chdir else start.script
    module = ModuleType("__main__")
    module.__dict__.update(__file__=script, __builtins__=__builtins__, __spec__=None)
    sys.modules["__main__"] = module
    sys.argv = [script, *start.words]
    # As `python script` does, of a link the folder of what it leads to.
    sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    try:
        exec(code, module.__dict__)  # noqa: S102  # that is what it is for
    except ConfigError as error:
        print(f"gateways: error: {error}", file=sys.stderr)
        return _EXIT_USAGE
    except Exception as error:  # noqa: BLE001  # shown as the interpreter would
        _explain(error)
        return _EXIT_FAILED
    if orders.obeyed:
        return 0
    print(_never_served(script, module), file=sys.stderr)
    return _EXIT_FAILED


def _explain(error: Exception) -> None:
    """Print the traceback; of a failed import also where was looked for it."""
    import traceback

    from gateways.wsgi.loading import explain_failure

    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next  # without the frame of this module
    if isinstance(error, ImportError):
        print(explain_failure(error), end="", file=sys.stderr)
    else:
        traceback.print_exception(error)


def _never_served(script: str, module: ModuleType) -> str:
    """What to tell of a script that has come to its end."""
    text = (
        f"gateways: error: {script} has ended without serving: it never called run() of one of "
        "flup's servers (WSGIServer(app).run())."
    )
    name = next((each for each in ("application", "app") if hasattr(module, each)), None)
    if name is None:
        return f"{text} Does it wait for a word of its own? Give it behind --"
    return f"{text} To serve its {name!r}: gateways fcgi --bind ADDRESS {script}:{name}"
