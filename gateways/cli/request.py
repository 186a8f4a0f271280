"""``gateways request``: one request to a server, as a web server would send it; a small curl.

The body goes to stdout as it comes, everything else to stderr, so that the output is the body and
nothing else. The client is imported when it is needed, so that ``--help`` is quick.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import click

from gateways.errors import ConfigError

if TYPE_CHECKING:
    from gateways.client import Client, Response

EXIT_FAILED = 1  # no response, or none that is complete
EXIT_USAGE = 2  # click's own status for a wrong option
EXIT_STATUS = 22  # --fail and a status of 400 or more, as in curl
_FORM = "application/x-www-form-urlencoded"


@click.command(short_help="Send a request to a server, in its protocol.")
@click.argument("target")
@click.argument("path", required=False, metavar="[PATH?QUERY]")
@click.option("-X", "--method", help="The method; GET, or POST where there is --data.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header.")
@click.option("-d", "--data", metavar="TEXT|@FILE|@-", help="The body; @- reads standard input.")
@click.option("-i", "--include", is_flag=True, help="Print the head of the response, too.")
@click.option("-v", "--verbose", is_flag=True, help="Show what is sent and both heads on stderr.")
@click.option("-o", "--output", metavar="FILE", help="Write there instead of to standard output.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A CGI variable, added to those made of the request or instead of one of them.",
)
@click.option("--script-name", default="", metavar="/PREFIX", help="What of PATH is SCRIPT_NAME.")
@click.option(
    "--role",
    type=click.Choice(["responder", "authorizer", "filter"]),
    default="responder",
    show_default=True,
    help="The FastCGI role to ask for.",
)
@click.option("--keep", is_flag=True, help="Ask the server to keep the connection, and use it.")
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Send the request N times, one after the other.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.001),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long nothing may come or be taken.",
)
@click.option(
    "--fail", is_flag=True, help="No body but exit status 22 for a status of 400 or more."
)
@click.option("--trace", is_flag=True, help="Show on stderr all that is sent and received.")
@click.pass_context
def request(context: click.Context, /, **values: Any) -> None:
    """Send a request to TARGET and print the body of the response.

    TARGET is a protocol and an address:

    \b
      fcgi:/tmp/app.sock      uwsgi:127.0.0.1:3031     scgi:@name
      http://[::1]:8000/path  cgi:path/to/script.cgi   (runs it)

    The exit status is 1 if there was no complete response, 2 for a wrong argument, and with
    --fail 22 for a status of 400 or more.
    """
    from gateways.client import ClientError

    try:
        context.exit(run(**values))
    except ConfigError as error:
        click.echo(f"gateways: error: {error}", err=True)
        context.exit(EXIT_USAGE)
    except ClientError as error:
        _log(error.errors)
        click.echo(f"gateways: error: {error}", err=True)
        context.exit(EXIT_FAILED)


def run(target: str, *, repeat: int, output: str | None, **values: Any) -> int:
    """Send it ``repeat`` times; returns the exit status, the worst of all."""
    from gateways.client import Client

    trace = _trace if values["trace"] else None
    client = Client(target, keep=values["keep"], timeout=values["timeout"], trace=trace)
    arguments = {
        "path": values["path"],
        "method": values["method"] or ("GET" if values["data"] is None else "POST"),
        "headers": _headers(values["headers"], form=values["data"] is not None),
        "params": _params(values["params"]),
        "script_name": values["script_name"],
        "role": values["role"],
    }
    worst = 0
    with client, _opened(output) as file:
        for _ in range(repeat):
            opened = client.connections_opened
            with _body(values["data"]) as body, client.request(body=body, **arguments) as response:
                if values["verbose"]:
                    _show_sent(client, arguments, reused=client.connections_opened == opened)
                    _show_head(response)
                worst = max(worst, _print(response, file, values))
    return worst


def _print(response: Response, file: IO[bytes], values: dict[str, Any]) -> int:
    failed = values["fail"] and response.status >= 400
    if failed:
        click.echo(f"gateways: error: {response.status} {response.reason}", err=True)
    elif values["include"]:
        file.write(response.raw_head)
        file.flush()
    for piece in response:
        _log(response.take_errors())
        if not failed:
            file.write(piece)
            file.flush()
    _log(response.take_errors())
    if response.app_status:
        click.echo(f"gateways: the application's status is {response.app_status}", err=True)
    return EXIT_STATUS if failed else 0


def _log(text: str) -> None:
    """What the server has sent for the error log."""
    if text:
        click.echo(text, err=True, nl=not text.endswith("\n"))


def _trace(line: str) -> None:
    click.echo(line, err=True)


def _show_sent(client: Client, arguments: dict[str, Any], *, reused: bool) -> None:
    how = "the kept connection" if reused else "a new connection"
    click.echo(f"* {client.target.protocol}, {client.target.text}, {how}", err=True)
    click.echo(
        f"> {arguments['method']} {arguments['path'] or client.target.path or '/'}", err=True
    )
    for name, value in arguments["headers"]:
        click.echo(f"> {name}: {value}", err=True)
    for name, value in arguments["params"].items():
        click.echo(f"> {name} = {value}", err=True)
    click.echo(">", err=True)


def _show_head(response: Response) -> None:
    click.echo(f"< {response.status} {response.reason}", err=True)
    for name, value in response.headers:
        click.echo(f"< {name}: {value}", err=True)
    click.echo("<", err=True)


def _headers(texts: tuple[str, ...], *, form: bool) -> list[tuple[str, str]]:
    headers = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise ConfigError(f"--header {text!r} has no colon; give 'Name: value'")
        headers.append((name.strip(), _native(value.strip())))
    if form and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", _FORM))
    return headers


def _params(texts: tuple[str, ...]) -> dict[str, str]:
    params = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigError(f"--param {text!r} is not NAME=VALUE")
        params[_native(name)] = _native(value)
    return params


def _native(text: str) -> str:
    """An argument's bytes in the latin-1 form that variables have."""
    return os.fsencode(text).decode("latin-1")


@contextlib.contextmanager
def _body(data: str | None) -> Iterator[bytes | IO[bytes]]:
    if data is None or not data.startswith("@"):
        yield os.fsencode(data or "")
    elif data == "@-":
        yield sys.stdin.buffer
    else:
        try:
            file = open(data[1:], "rb")  # noqa: SIM115  # it is closed below
        except OSError as error:
            raise ConfigError(f"--data {data}: {error.strerror}") from error
        with file:
            yield file


@contextlib.contextmanager
def _opened(output: str | None) -> Iterator[IO[bytes]]:
    if output is None:
        yield sys.stdout.buffer
        return
    try:
        file = open(output, "wb")  # noqa: SIM115  # it is closed below
    except OSError as error:
        raise ConfigError(f"--output {output}: {error.strerror}") from error
    with file:
        yield file
