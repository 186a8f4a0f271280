"""The commands that serve, as click sees them: help under headings, and help for newcomers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from gateways.cli.foreign import REMEDIES

_ARGUMENTS = "gateways.arguments"
HEADING = "Configuration and help"  # of the options that are no option of the server itself


class ServingCommand(click.Command):
    """A command with many options; ``protocol`` is the one that it is for, or None.

    ``remedies`` are flags of others that it has not, each with what to do instead.
    """

    def __init__(
        self,
        *arguments: Any,
        protocol: str | None = None,
        remedies: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.protocol = protocol
        self._remedies = {**REMEDIES, **(remedies or {})}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, which a reload parses again; explain the flags of other servers."""
        remember_arguments(ctx, args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            remedy = self._remedies.get(error.option_name)
            if remedy is None:
                raise
            raise click.UsageError(f"There is no {error.option_name}; {remedy}.", ctx) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under the headings of their groups, in the order of declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                sections.setdefault(getattr(parameter, "group", HEADING), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def remember_arguments(context: click.Context, arguments: list[str]) -> None:
    """Keep what the command was called with; parsing uses the list up."""
    context.meta[_ARGUMENTS] = tuple(arguments)


def remembered_arguments(context: click.Context) -> tuple[str, ...]:
    """What the command was called with."""
    arguments: tuple[str, ...] = context.meta[_ARGUMENTS]
    return arguments
