"""``gateways serve`` and its short forms ``fcgi``, ``uwsgi``, ``scgi``, ``http``: what they say.

What can be wrong is found before anything is bound, in the order in which it is cheap to find: the
options, the directories, the application; then the addresses. The exit status says which.
The modules that do the work are imported when they are needed, so that ``--help`` is quick.
Whoever is to serve in the stead of this process (``main``) is the object of click's context.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import click

from gateways.cli.commands import ServingCommand, remembered_arguments
from gateways.cli.configuration import (
    CONFIGURATION_OPTIONS,
    Setup,
    name_source,
    show,
    understand,
    unknown_variables,
    used_location,
)
from gateways.cli.options import config_options
from gateways.cli.sources import SourceError, variable
from gateways.cli.start import Start, serve
from gateways.config import Config
from gateways.errors import ConfigError

EXIT_USAGE = 2  # click's own status for a wrong option
EXIT_LOAD = 3  # the application could not be loaded

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

BYTES may be given as 64k, 10m or 1g. Every option may also stand in gateways.toml, under its name
without the dashes, or in the environment, as GATEWAYS_ and its name: GATEWAYS_MAX_BODY=10m. An
option given here goes before the environment, and that before the file.

The exit status is 2 for a wrong option or address, and 3 if the application cannot be loaded."""


def _command(name: str, what: str, protocol: str | None) -> click.Command:
    """A command that serves; with a ``protocol`` of its own it has no --protocol."""

    @click.argument(
        "application",
        required=False,
        metavar="APPLICATION",
        envvar=variable("application"),
    )
    @config_options(without=() if protocol is None else ("protocol",), environment=True)
    @click.pass_context
    def command(context: click.Context, /, **values: Any) -> None:
        for message in unknown_variables(os.environ):
            click.echo(f"gateways: warning: {message}", err=True)
        try:
            setup = understand(context)
            if values["print_config"]:
                click.echo(show(setup), nl=False)
                return
            if not setup.reference and not setup.config.mounts:
                raise click.UsageError(_WHICH.format(name=name), context)
            if values["check_config"]:
                context.exit(check(setup))
        except ConfigError as error:
            raise SourceError(str(error)) from error
        start = make_start(context, setup)
        if context.obj is None:
            context.exit(serve(start))
        context.obj(start)

    short = what.partition(",")[0] + "."
    made = click.command(
        name,
        cls=ServingCommand,
        help=_DESCRIPTION.format(what=what),
        short_help=short,
        protocol=protocol,
    )(command)
    made.params += CONFIGURATION_OPTIONS
    return made


COMMANDS = [
    _command("serve", "Serve APPLICATION over the protocols that the addresses name", None),
    _command("fcgi", "Serve APPLICATION over FastCGI", "fcgi"),
    _command("uwsgi", "Serve APPLICATION over the uwsgi protocol", "uwsgi"),
    _command("scgi", "Serve APPLICATION over SCGI", "scgi"),
    _command("http", "Serve APPLICATION over HTTP/1.1", "http"),
]


def make_start(context: click.Context, setup: Setup) -> Start:
    """What the setup of this command line is to be served with."""
    return Start(
        setup.reference or "",
        setup.config,
        setup.origins,
        str(context.info_name),
        remembered_arguments(context),
        used_location(context),
    )


def read_again(start: Start) -> tuple[str, Config]:
    """What the same command line means by now, for a reload. Raises ConfigError.

    The file is read again, even if the working directory has changed.
    """
    (command,) = (each for each in COMMANDS if each.name == start.command)
    arguments = list(start.arguments)
    try:
        with command.make_context(start.command, arguments, obj=start.location) as context:
            setup = understand(context)
    except click.ClickException as error:
        raise ConfigError(error.format_message()) from error
    if not setup.reference and not setup.config.mounts:
        raise ConfigError("no application is named any more")
    return setup.reference or "", setup.config


def check(setup: Setup) -> int:
    """Do all of a start that binds nothing; returns the exit status that it would have."""
    from gateways.cli.checking import check_addresses, check_files
    from gateways.process.launch import check as check_start

    explain = functools.partial(name_source, origins=setup.origins)
    try:
        check_addresses(setup.config)
        check_files(setup.config)
    except ConfigError as error:
        raise ConfigError(explain(str(error))) from error
    status = check_start(setup.reference or "", setup.config, explain)
    if status == 0:
        click.echo("ok")
    return status
