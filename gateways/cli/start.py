"""What a command line that serves means, and what is done with it, without a parser in memory.

At a reload the same words are read anew, by a process apart again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateways.config import Config
from gateways.errors import ConfigError
from gateways.values import as_dict


class Location(NamedTuple):
    """A configuration file."""

    shown: str  # its name as the operator knows it
    path: str  # absolute, because a server may change its directory before it reads again
    required: bool


class Start(NamedTuple):
    """What to serve, and what it takes to find that out again."""

    reference: str
    config: Config
    origins: Mapping[str, str]  # where each value came from, by field
    command: str
    arguments: tuple[str, ...]  # of that command
    location: Location


def pack(start: Start) -> tuple[Any, ...]:
    """A start as plain values, which need no pickle on their way (``process/apart.py``)."""
    return (start.reference, as_dict(start.config), start.origins, *start[3:5], *start.location)


def unpack(packed: tuple[Any, ...]) -> Start:
    """The start that was packed."""
    reference, config, origins, command, arguments, *location = packed
    return Start(reference, Config(**config), origins, command, arguments, Location(*location))


def serve(start: Start) -> int:
    """Serve until told to stop; returns the exit status."""
    from gateways.process.launch import launch

    return launch(
        start.reference,
        start.config,
        reconfigure=functools.partial(_reconfigure, start),
        config_files=[start.location.path],  # whether it is there by now or not
        explain=functools.partial(_explain, start.origins),
    )


def _reconfigure(start: Start) -> tuple[str, Config]:
    from gateways.process.apart import Apart, LeftApart

    try:
        reference, config = Apart(functools.partial(_read_again, start)).result()
    except LeftApart as left:
        raise ConfigError(f"the options cannot be read: {left}") from left
    return reference, Config(**config)


def _read_again(start: Start) -> tuple[str, dict[str, Any]]:
    from gateways.cli.serve import read_again

    reference, config = read_again(start)
    return reference, as_dict(config)


def _explain(origins: Mapping[str, str], text: str) -> str:
    from gateways.cli.configuration import name_source  # now that there is no more to serve

    return name_source(text, origins)
