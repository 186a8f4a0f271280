"""The command ``gateways`` as click sees it: a group with one command for each way to serve.

Here is only what all of them share; a command lives in the module of its name.
"""

from __future__ import annotations

import importlib.util

import click

from gateways.cli.cgi import cgi
from gateways.cli.config import config
from gateways.cli.manage import reload, status
from gateways.cli.migrate import migrate
from gateways.cli.request import request
from gateways.cli.run import run
from gateways.cli.serve import COMMANDS
from gateways.version import __version__


def describe_version() -> str:
    """The version, with what tells one installation of it from another."""
    import platform

    spec = importlib.util.find_spec("gateways.protocols.fastcgi")
    pure = spec is None or (spec.origin or "").endswith(".py")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"gateways {__version__} ({'pure Python' if pure else 'compiled'}, {python})"


def _show_version(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(describe_version())
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and which build of it runs, and exit.",
)
def gateways() -> None:
    """Serve a Python WSGI application behind any web server."""


for _command in (*COMMANDS, run, migrate, config, reload, status, cgi, request):
    gateways.add_command(_command)
