"""From all sources to one ``Config``: at the start, again at a reload, and printed.

The rising order is default, configuration file, environment, command line; click has it already,
with the file as the ``default_map`` of the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import click

from gateways.cli.commands import ServingCommand
from gateways.cli.configfile import APPLICATION, locate, read_file, toml, toml_key
from gateways.cli.foreign import suggest
from gateways.cli.options import FIELDS, TABLES, build_config, flag, keys, kind_of, show_size
from gateways.cli.sources import PREFIX, origin, use_file, used_file, variable
from gateways.cli.start import Location
from gateways.config import Config
from gateways.errors import ConfigError

_PROTOCOL_NAMES = {"fcgi": "FastCGI", "uwsgi": "uwsgi", "scgi": "SCGI", "http": "HTTP"}
_LOCATION = "gateways.location"
_ABOUT_OPTION = re.compile(r"(gateways: error: )?(--[a-z-]+)")
_ENVIRONMENT = "environment "  # as ``origin`` says it
# Not for operators: what is read when the package is built, and what one program that serves hands
# to the one that replaces it.
_OTHERS = ("GATEWAYS_PURE", "GATEWAYS_REQUIRE_COMPILED", "GATEWAYS_HANDOVER")
KNOWN_VARIABLES = frozenset(
    {variable(key) for name in FIELDS for key in keys(name)}
    | {variable(APPLICATION), variable("config"), *_OTHERS}
)
# What Kubernetes sets in each container for a service named "gateways".
_KUBERNETES = re.compile(r"GATEWAYS_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_.*)?)")


class Setup(NamedTuple):
    """What a command line means, with its file and its environment."""

    reference: str | None
    config: Config
    origins: Mapping[str, str]  # by field, tables included, and "application"


def _load_file(context: click.Context, _option: click.Parameter, given: str | None) -> None:
    if context.resilient_parsing:
        return
    location = context.obj if isinstance(context.obj, Location) else locate(given)
    settings = read_file(location)
    if settings is not None:
        location = location._replace(required=True)  # a reload must not miss it
        use_file(context, settings)
    context.meta[_LOCATION] = location


CONFIGURATION_OPTIONS = (
    click.Option(
        ["-c", "--config"],
        metavar="FILE",
        envvar=variable("config"),
        is_eager=True,
        expose_value=False,
        callback=_load_file,
        help="TOML file with options. Without it: gateways.toml in the working directory, if any.",
    ),
    click.Option(
        ["--check-config"],
        is_flag=True,
        help="Check everything, load the application, and exit without serving.",
    ),
    click.Option(
        ["--print-config"],
        is_flag=True,
        help="Print each option and where its value came from, as a TOML file, and exit.",
    ),
)


def understand(context: click.Context) -> Setup:
    """What was parsed. Raises ConfigError where two of its values contradict each other."""
    values = dict(context.params)
    origins = {name: origin(context, name) for name in (*FIELDS, APPLICATION) if name in values}
    file = used_file(context)
    for name in TABLES:
        found = file is not None and name in file.tables
        origins[name] = file.shown if file is not None and found else "default"
    if file is not None:
        values |= file.tables
    command = context.command
    protocol = command.protocol if isinstance(command, ServingCommand) else None
    if protocol is not None:
        values["protocol"] = protocol
        origins["protocol"] = f"gateways {context.info_name}"
        _check_protocols(context.info_name or protocol, protocol, values["bind"])
    return Setup(values[APPLICATION], build_config(values), origins)


def _check_protocols(command: str, protocol: str, addresses: Iterable[str]) -> None:
    from gateways.core.addresses import split_protocol

    for address in addresses:
        spoken, _ = split_protocol(address, protocol)
        if spoken != protocol:
            other = f" or `gateways {spoken}`" if spoken in _PROTOCOL_NAMES else ""
            raise ConfigError(
                f"`gateways {command}` serves {_PROTOCOL_NAMES[protocol]}; "
                f"for {address} use `gateways serve`{other}"
            )


def used_location(context: click.Context) -> Location:
    """The file that is read at a reload, whether it is there by now or not."""
    location: Location = context.meta[_LOCATION]
    return location


def name_source(text: str, origins: Mapping[str, str]) -> str:
    """An error about an option, by the name under which its value was given: in a file, say.

    For what only a start finds out, which knows values and not where they come from.
    """
    match = _ABOUT_OPTION.match(text)
    name = next((name for name in FIELDS if match and flag(name) == match[2]), None)
    if match is None or name is None:
        return text
    where = origins.get(name, "default")
    if where in ("default", "command line"):
        return text
    rest = text[match.end() :]
    if where.startswith(_ENVIRONMENT):
        return f"{match[1] or ''}{where.removeprefix(_ENVIRONMENT)}{rest}"
    return f"{match[1] or ''}{where}: {flag(name).removeprefix('--')}{rest}"


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A message for each variable that looks like one of ours and is none.

    They are no error: somebody else may have set them, and for something else.
    """
    ours = [name.removeprefix(PREFIX) for name in KNOWN_VARIABLES.difference(_OTHERS)]
    messages = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in KNOWN_VARIABLES or _KUBERNETES.fullmatch(name):
            continue
        near = suggest(name.removeprefix(PREFIX), ours, PREFIX)
        messages.append(f"the environment variable {name} is not known{near}")
    return messages


def show(setup: Setup) -> str:
    """The setup as the text of a configuration file, with the origins as comments.

    The values of ``env`` may be secrets, and are left out.
    """
    lines: list[str] = []
    for heading, rows in _sections(setup):
        width = min(40, max((len(text) for text, _ in rows), default=0))
        lines += [f"# {heading}", *(f"{text:<{width}}  # {where}" for text, where in rows), ""]
    for name in TABLES:
        table = getattr(setup.config, name)
        lines.append(f"# [{name}]  # default" if not table else "")
        if table:
            lines[-1] = f"[{name}]  # {setup.origins[name]}"
            lines += [f"{toml_key(key)} = {toml(value)}" for key, value in table.items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _sections(setup: Setup) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    reference = setup.reference
    line = "# application =" if reference is None else f"application = {toml(reference)}"
    yield "What to serve", [(line, setup.origins[APPLICATION])]
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, field in FIELDS.items():
        row = _line(name, getattr(setup.config, name)), setup.origins[name]
        groups.setdefault(field.metadata["group"], []).append(row)
    yield from groups.items()


def _line(name: str, value: Any) -> str:
    key = flag(name).removeprefix("--")
    if value is None:
        return f"# {key} ="
    if name == "env" and value:
        names = (item.partition("=")[0] for item in value)
        return f"# env = {toml([f'{name}=…' for name in names])}"
    if kind_of(name) == "bytes":
        size = show_size(value)
        return f"{key} = {size if size.isdigit() else toml(size)}"
    return f"{key} = {toml(value)}"
