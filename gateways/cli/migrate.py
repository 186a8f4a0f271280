"""``gateways migrate``: a script of flup's, edited for gateways; and the command in its stead."""

from __future__ import annotations

import sys

import click

from gateways.errors import ConfigError

EXIT_LEFT = 1  # there is something left for people to do in the script


@click.command("migrate", short_help="Print a script of flup's, edited for gateways.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.option("--diff", is_flag=True, help="Print a unified diff, for `patch`, not the script.")
@click.pass_context
def migrate(context: click.Context, script: str, diff: bool) -> None:
    """Print SCRIPT with gateways' servers in place of flup's; the file is not touched.

    Only the imports change. On standard error stands the command that serves the same application
    without the script, and what is left to do by hand; with that the exit status is 1.
    """
    from gateways.cli.equivalent import equivalent_commands
    from gateways.cli.migration import Script

    with open(script, "rb") as file:
        source = file.read()
    try:
        parsed = Script(script, source)
        migrated = parsed.migrate()
    except ConfigError as error:
        raise click.ClickException(f"{error}.") from error
    left = list(parsed.notes)
    parsed.notes.clear()
    commands = equivalent_commands(parsed)
    sys.stdout.buffer.write(_diff(script, source, migrated) if diff else migrated)
    sys.stdout.flush()
    if migrated == source and not left:
        print(f"{script}: nothing in it imports flup's servers", file=sys.stderr)
    for note in left:
        print(f"{script}, {note}", file=sys.stderr)
    for command in commands:
        print(f"The same without the script: {command}", file=sys.stderr)
    for note in parsed.notes:
        print(f"  {note}", file=sys.stderr)
    context.exit(EXIT_LEFT if left else 0)


def _diff(name: str, before: bytes, after: bytes) -> bytes:
    import difflib

    lines = difflib.diff_bytes(
        difflib.unified_diff,
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        name.encode(),
        name.encode(),
    )
    return b"".join(lines)
