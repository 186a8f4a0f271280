"""Where the command ``gateways`` begins: who reads the command line, and who serves.

The parser with all that it imports would stay in the memory of the process that serves, and of all
that are forked from it. So where the words say to serve, a process apart reads them (``start``);
this one gets what they mean. Whatever ends by itself is done right here, with few imports.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gateways.cli.script import ScriptStart, run_script
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
    if words and _ENDING.isdisjoint(words):
        if words[0] in SERVING:
            sys.exit(_begin(words, _serve))
        if words[0] == "run":
            sys.exit(_begin(words, _run))
    from gateways.cli.group import gateways

    gateways()


def _begin(words: Sequence[str], then: Callable[[tuple[Any, ...]], int]) -> int:
    """Have the words read by a process apart, and do ``then`` with what they mean."""
    from gateways.core.descriptors import reopen_standard_descriptors
    from gateways.process.apart import Apart, LeftApart

    reopen_standard_descriptors()  # a pipe must not become one of them
    try:
        reading = Apart(functools.partial(_read, words))
        # Meanwhile, on another core.
        if then is _serve:
            import gateways.process.launch
        else:
            import gateways.flup.standin  # noqa: F401

        packed = reading.result()
    except LeftApart as left:
        return left.status  # and has said why
    except ConfigError as error:
        print(f"gateways: error: {error}", file=sys.stderr)
        return _EXIT_USAGE
    except KeyboardInterrupt:
        print("\nAborted!", file=sys.stderr)
        return _EXIT_ABORTED
    return then(packed)


def _serve(packed: tuple[Any, ...]) -> int:
    return serve(unpack(packed))


def _run(packed: tuple[Any, ...]) -> int:
    return run_script(ScriptStart.unpack(packed))


def _read(words: Sequence[str]) -> tuple[Any, ...]:
    """What the words mean, packed; SystemExit where click has said that they mean nothing."""
    from gateways.cli.group import gateways

    taken: list[Start | ScriptStart] = []
    try:
        gateways(words, obj=taken.append)
    except SystemExit:
        if not taken:
            raise
    start = taken[0]
    return start.pack() if isinstance(start, ScriptStart) else pack(start)
