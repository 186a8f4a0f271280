"""Where the command ``gateways`` begins: who reads the command line, and who serves.

The parser with all that it imports would stay in the memory of the process that serves, and of all
that are forked from it. So where the words say to serve, a process apart reads them (``start``);
this one gets what they mean. Whatever ends by itself is done right here, with few imports.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

from gateways.cli.start import Start, pack, serve, unpack
from gateways.errors import ConfigError

SERVING = frozenset({"serve", "fcgi", "uwsgi", "scgi", "http"})
# With one of these, such a command ends by itself.
_ENDING = frozenset({"-h", "--help", "--check-config", "--print-config"})
_EXIT_ABORTED = 1  # as click has it
_EXIT_USAGE = 2


def main() -> None:
    """Do what the command line says, and exit."""
    words = sys.argv[1:]
    if words and words[0] in SERVING and _ENDING.isdisjoint(words):
        sys.exit(_serve(words))
    from gateways.cli.group import gateways

    gateways()


def _serve(words: Sequence[str]) -> int:
    from gateways.core.descriptors import reopen_standard_descriptors
    from gateways.process.apart import Apart, LeftApart

    reopen_standard_descriptors()  # a pipe must not become one of them
    try:
        reading = Apart(functools.partial(_read, words))
        # Meanwhile, on another core.
        import gateways.process.launch  # noqa: F401

        start = unpack(reading.result())
    except LeftApart as left:
        return left.status  # and has said why
    except ConfigError as error:
        print(f"gateways: error: {error}", file=sys.stderr)
        return _EXIT_USAGE
    except KeyboardInterrupt:
        print("\nAborted!", file=sys.stderr)
        return _EXIT_ABORTED
    return serve(start)


def _read(words: Sequence[str]) -> tuple[Any, ...]:
    """What the words mean, packed; SystemExit where click has said that they mean nothing."""
    from gateways.cli.group import gateways

    taken: list[Start] = []
    try:
        gateways(words, obj=taken.append)
    except SystemExit:
        if not taken:
            raise
    return pack(taken[0])
