"""``gateways cgi``: answer the one CGI request that this process was started for.

A web server puts the words of a query string behind the command (RFC 3875, section 4.4). So
options are read only up to APPLICATION, and what follows it is never looked at.
"""

from __future__ import annotations

from typing import Any

import click

from gateways.cli.options import build_config, config_options

_OPTIONS = frozenset({"chdir", "pythonpath", "script_name", "trust_remote_user", "debug"})


@click.command(
    "cgi",
    short_help="Answer one CGI request.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("application", metavar="APPLICATION")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="")
@config_options(only=_OPTIONS)
def cgi(application: str, words: tuple[str, ...], **values: Any) -> None:
    """Answer the CGI request that this process was started for with APPLICATION.

    For a wrapper script, executable, where the web server looks for CGI scripts:

    \b
      #!/bin/sh
      exec gateways cgi --chdir /srv/site yourapplication:app

    A script that imports gateways.cgi itself starts faster. Options come before APPLICATION.
    """
    from gateways.cgi import run_reference
    from gateways.process.loading import prepare_paths

    config = build_config(values)
    prepare_paths(config)
    run_reference(
        application,
        script_name=config.script_name,
        debug=config.debug,
        trust_remote_user=config.trust_remote_user,
    )
