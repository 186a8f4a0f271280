"""``gateways serve`` and its short forms ``fcgi``, ``uwsgi``, ``scgi``, ``http``: in this process.

What can be wrong is found before anything is bound, in the order in which it is cheap to find: the
options, the directories, the application; then the addresses. The exit status says which.
The modules that do the work are imported when they are needed, so that ``--help`` is quick.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from gateways.cli.logs import restore_logging, set_up_logging
from gateways.cli.options import build_config, config_options
from gateways.config import Config
from gateways.errors import ConfigError

if TYPE_CHECKING:
    from gateways.wsgi.loading import Application

EXIT_USAGE = 2  # click's own status for a wrong option
EXIT_LOAD = 3  # the application could not be loaded

logger = logging.getLogger("gateways.cli")

_WHICH = """\
Which application? Name it as a module or as a file, for example:

  gateways {name} --bind /run/app.sock myapp:app
  gateways {name} --bind 127.0.0.1:9000 "myapp:create_app()"
  gateways {name} --bind /run/app.sock path/to/app.wsgi

Then point the web server at that address. `gateways {name} --help` says more."""


_DESCRIPTION = """{what}, until SIGTERM or SIGINT.

APPLICATION is one of

\b
  module:name              a WSGI callable in a module (dots allowed in both)
  "module:factory('x')"    what a factory returns, called with these literals
  package.module           its 'application', or else its 'app'
  path/to/file.wsgi        the same of a file (.py, .wsgi, .fcgi);
                           :name or ":factory()" may follow

BYTES may be given as 64k, 10m or 1g. The exit status is 2 for a wrong option or address, and
3 if the application cannot be loaded."""


def _command(name: str, what: str, protocol: str | None) -> click.Command:
    """A command that serves; with a ``protocol`` of its own it has no --protocol."""

    @click.argument("application", required=False, metavar="APPLICATION")
    @config_options(without=() if protocol is None else ("protocol",))
    @click.pass_context
    def command(context: click.Context, /, application: str | None, **values: Any) -> None:
        if application is None:
            raise click.UsageError(_WHICH.format(name=name), context)
        if protocol is not None:
            values["protocol"] = protocol
        context.exit(serve(application, values))

    short = what.partition(",")[0] + "."
    return click.command(name, help=_DESCRIPTION.format(what=what), short_help=short)(command)


COMMANDS = [
    _command("serve", "Serve APPLICATION over the protocols that the addresses name", None),
    _command("fcgi", "Serve APPLICATION over FastCGI", "fcgi"),
    _command("uwsgi", "Serve APPLICATION over the uwsgi protocol", "uwsgi"),
    _command("scgi", "Serve APPLICATION over SCGI", "scgi"),
    _command("http", "Serve APPLICATION over HTTP/1.1", "http"),
]


def serve(reference: str, values: dict[str, Any]) -> int:
    """Serve until told to stop; returns the exit status."""
    # Before anything else is opened: a socket that became descriptor 2 would get our messages.
    from gateways.core.listener import reopen_standard_descriptors

    reopen_standard_descriptors()
    try:
        config = build_config(values)
        set_up_logging(config.log_level)
        prepare_paths(config)
        application = load_or_explain(reference)
        if application is None:
            return EXIT_LOAD
        return run_server(application, config)
    except ConfigError as error:
        click.echo(f"gateways: error: {error}", err=True)
        return EXIT_USAGE


def prepare_paths(config: Config) -> None:
    """Change directory, then put --pythonpath and the working directory in front of sys.path."""
    if config.chdir:
        try:
            os.chdir(config.chdir)
        except OSError as error:
            raise ConfigError(f"--chdir {config.chdir}: {error.strerror}") from error
    try:
        here = os.getcwd()
    except OSError as error:
        raise ConfigError(
            f"the working directory cannot be read ({error.strerror}); give one with --chdir"
        ) from error
    for directory in config.pythonpath:
        if not os.path.isdir(directory):
            raise ConfigError(f"--pythonpath {directory}: there is no such directory")
    first = [*map(os.path.abspath, config.pythonpath), here]
    sys.path[:] = [*first, *(entry for entry in sys.path if entry not in first)]


def load_or_explain(reference: str) -> Application | None:
    """The application; or None, after telling on stderr why there is none."""
    from gateways.wsgi.loading import explain_failure, load_application

    try:
        return load_application(reference)
    except ConfigError as error:
        click.echo(f"gateways: error: cannot load {reference}\n", err=True)
        click.echo(explain_failure(error), err=True, nl=False)
        return None
    finally:
        restore_logging()


def run_server(application: Application, config: Config) -> int:
    """Bind and serve; returns the exit status."""
    from gateways.core.listener import open_listeners
    from gateways.core.server import Server
    from gateways.process.single import SingleProcess

    listeners = open_listeners(config.bind, config.backlog, protocol=config.protocol)
    try:
        server = Server(application, listeners, config)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    restart = SingleProcess(server).run()
    return exit_status(restart=restart)


def exit_status(*, restart: bool) -> int:
    """The status to leave with. A restart asked for by SIGHUP is left to whoever supervises us."""
    if restart:
        logger.info("SIGHUP: leaving, to be started again")
    return 0
