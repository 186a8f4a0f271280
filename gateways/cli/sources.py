"""Where the value of an option comes from: command line, environment, configuration file, default.

click finds the value, in that order; here is what it does not do by itself: lists in a variable
are split as a shell would, and an error names the variable, or the file and its key.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import click
from click.core import ParameterSource

PREFIX = "GATEWAYS_"
_FILE = "gateways.file"  # the key of a FileSettings in the meta of a context


class SourceError(click.ClickException):
    """A value that cannot be meant, in a variable or a file; the message names it."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message in the way of every other error of a start."""
        click.echo(f"gateways: error: {self.message}", file=file, err=True)


class FileSettings(NamedTuple):
    """What a configuration file says."""

    shown: str  # its name, as the operator knows it
    values: Mapping[str, Any]  # by field, and "application"
    keys: Mapping[str, str]  # the key as it is written there, by field
    tables: Mapping[str, Any]  # the fields that only a file can give


def variable(key: str) -> str:
    """The environment variable of a key: ``graceful-timeout`` is GATEWAYS_GRACEFUL_TIMEOUT."""
    return PREFIX + key.replace("-", "_").upper()


def use_file(context: click.Context, settings: FileSettings) -> None:
    """Let the options of this command line that are parsed from now on fall back on a file."""
    context.default_map = dict(settings.values)
    context.meta[_FILE] = settings


def used_file(context: click.Context) -> FileSettings | None:
    """The file in use, if there is one."""
    settings: FileSettings | None = context.meta.get(_FILE)
    return settings


def origin(context: click.Context, name: str) -> str:
    """Where the value of a parameter came from, in a few words."""
    source = context.get_parameter_source(name)
    file = used_file(context)
    if source is ParameterSource.COMMANDLINE:
        return "command line"
    if source is ParameterSource.ENVIRONMENT:
        (parameter,) = (each for each in context.command.params if each.name == name)
        return f"environment {_variable_in_use(parameter)}"
    if source is ParameterSource.DEFAULT_MAP and file is not None:
        return file.shown
    return "default"


def _variable_in_use(parameter: click.Parameter) -> str:
    names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
    return next((name for name in names if os.environ.get(name)), next(iter(names), ""))


class ConfigOption(click.Option):
    """An option under a heading of the help, whose errors name the source of the value."""

    def __init__(self, *declarations: Any, group: str = "", **settings: Any) -> None:
        super().__init__(*declarations, **settings)
        self.group = group

    def value_from_envvar(self, ctx: click.Context) -> Any:
        """The variable's text; words of it for a list. An empty variable counts as none."""
        text = self.resolve_envvar_value(ctx)
        if text is None and self.default is None and "" in map(os.environ.get, self.envvar or ()):
            return ""  # where nothing given and an empty text differ
        if text is None or not self.multiple:
            return text
        try:
            return tuple(shlex.split(text))
        except ValueError as error:
            name = _variable_in_use(self)
            raise SourceError(f"{name}: {str(error).lower()}; it is split as in a shell") from error

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Convert and check; SourceError for what the operator did not write as an option."""
        try:
            return super().process_value(ctx, value)
        except click.BadParameter as error:
            source = ctx.get_parameter_source(str(self.name))
            file = used_file(ctx)
            problem = error.message.removesuffix(".")
            if source is ParameterSource.ENVIRONMENT:
                raise SourceError(f"{_variable_in_use(self)}: {problem}") from error
            if source is ParameterSource.DEFAULT_MAP and file is not None:
                key = file.keys[str(self.name)]
                raise SourceError(f"{file.shown}: {key}: {problem}") from error
            raise
