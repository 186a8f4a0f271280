"""``gateways run``: what its words mean. The script is run by ``script``, in another process."""

from __future__ import annotations

import os
from typing import Any

import click

from gateways.cli.commands import ServingCommand
from gateways.cli.options import FIELDS, build_config, config_options, flag, keys
from gateways.cli.script import ScriptStart, run_script
from gateways.cli.sources import variable

_ELSEWHERE = "`gateways migrate SCRIPT` prints the command that has it"
_LOADED = f"a script loads its application by itself, and cannot do so anew; {_ELSEWHERE}"
# What a script cannot be served with, and what there is instead.
_LACKING = {
    "preload": "the workers of a script are forked from where it has loaded its application",
    "reload": _LOADED,
    "reload_on_touch": _LOADED,
    "checks": f"a script's application is not asked beforehand; {_ELSEWHERE}",
    "mounts": f"a script has its one application; {_ELSEWHERE}",
    "clear_env": "have `env -i` before the command, or what starts it give the variables",
    "chroot": f"a script is loaded before the address is known; {_ELSEWHERE}",
}
_REMEDIES = {flag(name): text for name, text in _LACKING.items()}
_REMEDIES["--config"] = "give options, or GATEWAYS_ variables; no file is read for a script"
_OPTIONS = [name for name in FIELDS if name not in _LACKING]


class RunCommand(ServingCommand):
    """``gateways run``, which must not take a visitor's words for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Under CGI, a query string without "=" comes as words behind the script's name (RFC 3875,
        section 4.4): ``?--debug`` is the visitor's."""
        if "GATEWAY_INTERFACE" in os.environ:
            ctx.allow_interspersed_args = False
        return super().parse_args(ctx, args)


@click.command(
    "run",
    cls=RunCommand,
    short_help="Run a script that was written for flup.",
    remedies=_REMEDIES,
)
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
    for name, remedy in _LACKING.items():
        for given_by in filter(os.environ.__contains__, map(variable, keys(name))):
            click.echo(f"gateways: warning: {given_by} has no effect: {remedy}", err=True)
    default = click.core.ParameterSource.DEFAULT
    given = [name for name in _OPTIONS if context.get_parameter_source(name) is not default]
    start = ScriptStart(script, words, build_config(values), tuple(sorted(given)))
    if context.obj is None:
        context.exit(run_script(start))
    context.obj(start)
