"""``gateways run``: a script that was written for flup, as it is, with our servers in flup's place.

The script runs in this very process, as the interpreter would run it. What is given here counts
more than the arguments that it hands to its server.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, ModuleType
from typing import Any

import click

from gateways.cli.commands import ServingCommand
from gateways.cli.options import build_config, config_options
from gateways.errors import ConfigError

EXIT_FAILED = 1  # as the interpreter leaves where a script raises
EXIT_USAGE = 2

_OPTIONS = frozenset(
    {"bind", "protocol", "allow", "backlog", "threads", "workers", "max_requests"}
    | {"pythonpath", "venv", "script_name", "trust_remote_user", "debug"}
    | {"forwarded_allow_ips", "max_body_bytes", "graceful_timeout_seconds"}
    | {"timeout_seconds", "slow_log_seconds"}
    | {"log_level", "error_log", "access_log", "access_format"}
)
# These are for this process, and nothing that a server could be told.
_PREPARED = frozenset({"pythonpath", "venv"})
_PYTHON_2 = ("Missing parentheses in call", "multiple exception types must be parenthesized")


class RunCommand(ServingCommand):
    """``gateways run``, which must not take a visitor's words for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Under CGI, a query string without "=" comes as words behind the script's name (RFC 3875,
        section 4.4): ``?--debug`` is the visitor's."""
        if "GATEWAY_INTERFACE" in os.environ:
            ctx.allow_interspersed_args = False
        return super().parse_args(ctx, args)


@click.command("run", cls=RunCommand, short_help="Run a script that was written for flup.")
@click.argument("script", metavar="SCRIPT")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- WORDS…]")
@config_options(only=_OPTIONS, environment=True)
@click.pass_context
def run(context: click.Context, /, script: str, words: tuple[str, ...], **values: Any) -> None:
    """Run SCRIPT, a Python script that serves with flup, unchanged and without flup.

    Whatever it imports of flup.server (fcgi, fcgi_fork, fcgi_single, scgi, scgi_fork, cgi) is
    gateways'. Its own address, number of processes and so on hold, unless they are given here:

    \b
      gateways run yourapplication.fcgi --bind /run/app.sock
      gateways run yourapplication.fcgi --bind http:127.0.0.1:8000

    Web servers that start scripts (mod_fcgid, lighttpd, spawn-fcgi) start it so by its first line,
    "#!/usr/bin/env -S gateways run". WORDS are the script's own arguments. The exit status is the
    script's. `gateways migrate SCRIPT` prints what to write in it to do without this command.
    """
    try:
        _prepare(context, values)
        code, path = _compile(script)
    except ConfigError as error:
        raise click.UsageError(f"{error}.", context) from error
    sys.exit(_run(code, path, script, words))


def _prepare(context: click.Context, values: dict[str, Any]) -> None:
    """Set this process up, and give the servers that the script will make their orders."""
    from gateways.core.descriptors import reopen_standard_descriptors
    from gateways.flup.standin import install
    from gateways.process.environment import activate_venv
    from gateways.process.loading import check_paths
    from gateways.process.logs import restore_logging, set_up_logging
    from gateways.scripting import orders

    reopen_standard_descriptors()
    config = build_config(values)
    set_up_logging(config)
    check_paths(config)
    default = click.core.ParameterSource.DEFAULT
    given = {name for name in _OPTIONS if context.get_parameter_source(name) is not default}
    orders.options = {name: getattr(config, name) for name in given - _PREPARED}
    orders.on_serving = restore_logging
    if config.venv:
        activate_venv(config.venv)
    sys.path[:0] = map(os.path.abspath, config.pythonpath)
    install()


def _compile(script: str) -> tuple[CodeType, str]:
    """The script's code, and its real path. Raises ConfigError."""
    path = os.path.realpath(script)  # as `python script` does for sys.path
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as error:
        if os.path.isdir(script):
            raise ConfigError(f"{script} is a directory; name the script in it") from error
        raise ConfigError(f"{script}: {(error.strerror or str(error)).lower()}") from error
    try:
        return compile(source, os.path.abspath(script), "exec", dont_inherit=True), path
    except (SyntaxError, ValueError) as error:
        text = str(error)
        old = text.startswith(_PYTHON_2)
        hint = ". It is written for Python 2: 2to3 of Python 3.12 and before translates it"
        raise ConfigError(f"{script} cannot be compiled: {text}{hint if old else ''}") from error


def _run(code: CodeType, path: str, script: str, words: tuple[str, ...]) -> int:
    """Run it as the interpreter runs a script; returns the exit status, or SystemExit with it."""
    from gateways.scripting import orders

    module = ModuleType("__main__")
    module.__dict__.update(__file__=script, __builtins__=__builtins__, __spec__=None)
    sys.modules["__main__"] = module
    sys.argv = [script, *words]
    sys.path.insert(0, os.path.dirname(path))
    try:
        exec(code, module.__dict__)  # noqa: S102  # that is what it is for
    except ConfigError as error:
        print(f"gateways: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except Exception as error:  # noqa: BLE001  # shown as the interpreter would
        _explain(error)
        return EXIT_FAILED
    if orders.obeyed:
        return 0
    print(_never_served(script, module), file=sys.stderr)
    return EXIT_FAILED


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
