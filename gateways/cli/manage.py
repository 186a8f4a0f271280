"""``gateways reload`` and ``gateways status``: to a running server, by way of its pidfile."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any

import click

from gateways.errors import ConfigError

EXIT_FAILED = 1
_UNITS = ("B", "KiB", "MiB", "GiB")

_pidfile = click.option(
    "--pidfile", required=True, metavar="FILE", help="The file that the server was given."
)


class ManageError(click.ClickException):
    """There is nobody to ask; told in the way of every other error."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on standard error."""
        click.echo(f"gateways: error: {self.message}", file=file, err=True)


@click.command("reload", short_help="Reload a running server and wait for the outcome.")
@_pidfile
@click.pass_context
def reload(context: click.Context, pidfile: str) -> None:
    """Have the server of FILE start a new generation of workers, and wait for it.

    The exit status is 0 when the new generation serves. Otherwise the old one goes on serving,
    what went wrong with the new one is printed, and the status is 1.
    """
    answer = _ask(pidfile, "reload")
    click.echo(answer["text"], err=not answer["ok"])
    context.exit(0 if answer["ok"] else EXIT_FAILED)


@click.command("status", short_help="Show what the workers of a running server do.")
@_pidfile
@click.option("--json", "as_json", is_flag=True, help="All there is to know, for programs.")
@click.pass_context
def status(context: click.Context, pidfile: str, as_json: bool) -> None:
    """Show the workers of the server of FILE, and the requests that they are running."""
    answer = _ask(pidfile, "status")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    listening = ", ".join(answer["listening"])
    click.echo(
        f"{answer['application']} on {listening}; gateways {answer['version']}, "
        f"supervisor {answer['pid']}, generation {answer['generation']}\n"
    )
    if not answer["workers"]:
        click.echo("no worker runs; one is started when somebody asks")
        return
    for line in _table(answer["workers"]):
        click.echo(line)


def _ask(pidfile: str, command: str) -> dict[str, Any]:
    from gateways.process.control import ask, control_path
    from gateways.process.pidfile import read_live_pid

    try:
        pid = read_live_pid(pidfile)
        if pid is None:
            raise ConfigError(f"no server runs with --pidfile {pidfile}")
        control = control_path(pidfile)
        if not os.path.lexists(control):
            raise ConfigError(
                f"process {pid} runs, but without a supervisor (--workers 0), so there is nobody "
                f"to ask; SIGHUP has it load its code anew, or leave if it is a script "
                f"(kill -HUP {pid})"
            )
        return ask(control, command)
    except ConfigError as error:
        raise ManageError(str(error)) from error


def _table(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    heading = ("worker", "pid", "state", "busy", "requests", "errors", "sent", "memory", "cpu s")
    rows: list[tuple[str, ...]] = [heading]
    running: list[list[str]] = [[]]
    for worker in workers:
        busy = [thread for thread in worker["threads"] if thread["busy"]]
        rows.append(
            (
                str(worker["worker"]),
                str(worker["pid"]),
                worker["state"],
                f"{len(busy)}/{len(worker['threads'])}",
                str(worker["requests"]),
                str(worker["errors"]),
                _size(worker["sent"]),
                _size(worker["rss"]),
                str(worker["cpu"]),
            )
        )
        running.append(
            [
                f"    {thread['method']} {thread['path']}  {thread['since']:.1f} s, "
                f"from {thread['client'] or '-'}"
                for thread in busy
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    lines = []
    for row, requests in zip(rows, running, strict=True):
        lines.append("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))
        lines += requests
    return [line.rstrip() for line in lines]


def _size(number: float) -> str:
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
