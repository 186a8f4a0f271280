"""The options of a command, made from the fields of ``Config``; no option is written down twice.

A field's name gives the flag, its type the kind of value, its unit suffix the placeholder and its
metadata the help text. The flag gives the key in the configuration file and the variable in the
environment. ``config_options`` adds the options to a command, ``build_config`` makes the Config of
what was parsed; between them the values go by the names of the fields.
"""

from __future__ import annotations

import re
import typing
from typing import Any

import click

from gateways.checks import find_problem
from gateways.cli.sources import ConfigOption, variable
from gateways.config import Config
from gateways.values import fields

FIELDS = {field.name: field for field in fields(Config) if "table" not in field.metadata}
TABLES = {field.name: field for field in fields(Config) if "table" in field.metadata}
_TYPES = typing.get_type_hints(Config)
_METAVARS = {"_seconds": "SECONDS", "_bytes": "BYTES"}
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

Command = typing.TypeVar("Command", bound=typing.Callable[..., Any])


def read_size(text: str) -> int:
    """A number of bytes: ``4096``, ``64k``, ``10m`` or ``1g``, in powers of 1024."""
    match = re.fullmatch(r"([0-9]+)([kmg]?)", text.strip().lower())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size; give bytes, or 64k, 10m, 1g.")
    return int(match[1]) * _FACTORS[match[2]]


def show_size(size: int) -> str:
    """The shortest text that ``read_size`` reads as ``size``."""
    for suffix in "gmk":
        if size and size % _FACTORS[suffix] == 0:
            return f"{size // _FACTORS[suffix]}{suffix}"
    return str(size)


def flag(name: str) -> str:
    """The long flag of a field: ``max_body_bytes`` is ``--max-body``, ``roles`` is ``--role``."""
    bare = name.removesuffix(_unit(name))
    if bare in FIELDS:  # max_variables_bytes would be max_variables, which is another option
        bare = name
    if isinstance(FIELDS[name].default, tuple):  # it is given once for each
        bare = bare.removesuffix("s")
    return "--" + bare.replace("_", "-")


def keys(name: str) -> list[str]:
    """The names of a field in a configuration file: its long flags without the dashes."""
    flags = [flag(name), *FIELDS[name].metadata["flags"].split()]
    return [each.removeprefix("--") for each in flags if each.startswith("--")]


def kind_of(name: str) -> typing.Literal["flag", "number", "seconds", "bytes", "text", "list"]:
    """What sort of value a field has."""
    if _TYPES[name] is bool:
        return "flag"
    if isinstance(FIELDS[name].default, tuple):
        return "list"
    if _unit(name) == "_bytes":
        return "bytes"
    if _TYPES[name] is float:
        return "seconds"
    return "number" if _TYPES[name] is int else "text"


def config_options(
    *,
    only: typing.Container[str] = FIELDS,
    without: typing.Container[str] = (),
    environment: bool = False,
) -> typing.Callable[[Command], Command]:
    """Decorator: an option for each field of Config in ``only`` and not in ``without``.

    With ``environment``, each falls back on its variable.
    """

    def add(command: Command) -> Command:
        for name in reversed(FIELDS):
            if name in only and name not in without:
                variables = [variable(key) for key in keys(name)] if environment else None
                option = click.option(
                    name,
                    *_declarations(name),
                    cls=ConfigOption,
                    group=FIELDS[name].metadata["group"],
                    envvar=variables,
                    **_settings(name),
                )
                command = option(command)
        return command

    return add


def build_config(values: typing.Mapping[str, Any]) -> Config:
    """The Config of what ``config_options`` parsed and of tables; other values are left alone."""
    return Config(**{name: values[name] for name in (*FIELDS, *TABLES) if name in values})


def _unit(name: str) -> str:
    return next((unit for unit in _METAVARS if name.endswith(unit)), "")


def _declarations(name: str) -> list[str]:
    long = flag(name)
    if _TYPES[name] is bool:
        long = f"{long}/--no-{long.removeprefix('--')}"
    return [*FIELDS[name].metadata["flags"].split(), long]


def _settings(name: str) -> dict[str, Any]:
    """The keyword arguments of the click.Option for a field."""
    field = FIELDS[name]
    default: Any = field.default
    kind = kind_of(name)
    settings: dict[str, Any] = {
        "default": default,
        "help": field.metadata["help"],
        "show_default": default not in (None, "", ()),
        "callback": _check,
    }
    if kind == "flag":
        return settings
    settings["metavar"] = field.metadata["metavar"] or _METAVARS.get(_unit(name))
    if kind == "list":
        return settings | {"multiple": True, "type": str}
    if kind == "bytes":
        return settings | {"type": read_size, "default": show_size(default)}
    if kind == "seconds":
        return settings | {"type": float, "default": f"{default:g}"}
    return settings | {"type": int if kind == "number" else str}


def _check(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Refuse here what Config would refuse, because here the option can be named."""
    problem = find_problem(str(option.name), value)
    if problem:
        raise click.BadParameter(problem + ".", context, option)
    return value
