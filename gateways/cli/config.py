"""``gateways config``: a configuration of contrib/, filled in for one's own site.

What makes it is imported when it is needed, because every start imports this module.
"""

from __future__ import annotations

from typing import Any

import click

from gateways.errors import ConfigError

EXIT_USAGE = 2  # click's own status for a wrong option
FRONT_ENDS = ("nginx", "apache", "lighttpd", "caddy", "haproxy", "supervisor", "systemd")
_PROTOCOLS = ("fcgi", "uwsgi", "scgi", "http")


@click.command(short_help="Print a configuration for a web server or process manager.")
@click.argument("front_end", metavar="FOR", type=click.Choice(FRONT_ENDS))
@click.argument("application", metavar="APPLICATION")
@click.option("-b", "--bind", required=True, metavar="ADDRESS", help="Where the server listens.")
@click.option("--protocol", type=click.Choice(_PROTOCOLS), help="What it speaks there; fcgi.")
@click.option("--prefix", default="", metavar="/PREFIX", help="Where the application is mounted.")
@click.option("--static", metavar="DIR", help="Files that the web server serves at static/.")
@click.option("--server-name", metavar="NAME", help="The name of the site.")
@click.option("--listen", metavar="[HOST:]PORT", help="Where the web server listens; 80.")
@click.option("--name", metavar="NAME", help="What to call it; the application's name.")
@click.option("--directory", metavar="DIR", help="Where the application lies; the present one.")
@click.option("--user", metavar="USER", help="Who it runs as.")
@click.option("--logs", metavar="DIR", help="Where supervisord writes; /var/log/supervisor.")
@click.option("--activated", is_flag=True, help="systemd or supervisord holds the socket.")
@click.pass_context
def config(context: click.Context, /, **values: Any) -> None:
    """Print a configuration for APPLICATION, filled in.

    FOR is nginx, apache, lighttpd, caddy, haproxy, supervisor or systemd.

    \b
      gateways config nginx --bind unix:/run/myapp.sock --prefix /x myapp:app
      gateways config systemd --bind unix:/run/myapp/app.sock --user www-data myapp:app

    A comment at its beginning says where to put it, and for a web server how to start the
    server behind it.
    """
    from gateways.cli.rendering import render

    try:
        click.echo(render(**values), nl=False)
    except ConfigError as error:
        click.echo(f"gateways: error: {error}", err=True)
        context.exit(EXIT_USAGE)
