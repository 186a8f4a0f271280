"""The reference page of all options, from the code: ``python -m gateways.cli.reference``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateways.cli.options import FIELDS, TABLES, flag, keys, kind_of, show_size
from gateways.cli.sources import variable

_INTRODUCTION = """\
# Options

Made from the code by `python -m gateways.cli.reference`; do not edit it.

`gateways serve`, `fcgi`, `uwsgi`, `scgi` and `http` take all of these (`--protocol` only `serve`).
The key in `gateways.toml` is the flag without the dashes in front.
[configuration.md](configuration.md) says how file, environment and command line go together.
"""
_VALUES = {"flag": "", "number": "N", "seconds": "SECONDS", "bytes": "BYTES", "text": "TEXT"}


def render() -> str:
    """The page, in Markdown."""
    sections: dict[str, list[str]] = {}
    for name, field in FIELDS.items():
        sections.setdefault(field.metadata["group"], []).append(_row(name))
    parts = [_INTRODUCTION]
    for heading, rows in sections.items():
        table = ["| option | variable | default | |", "|---|---|---|---|", *rows]
        parts.append(f"## {heading}\n\n" + "\n".join(table) + "\n")
    parts.append("\n".join(_tables()))
    return "\n".join(parts)


def _tables() -> Iterator[str]:
    heading = ""
    for name, field in TABLES.items():
        if field.metadata["group"] != heading:
            heading = field.metadata["group"]
            yield from (f"## {heading}", "", "| table | |", "|---|---|")
        yield f"| `[{name}]` | {field.metadata['help']} |"
    yield ""


def _row(name: str) -> str:
    metadata = FIELDS[name].metadata
    flags = dict.fromkeys((*metadata["flags"].split(), flag(name)))
    if kind_of(name) == "flag":
        flags |= dict.fromkeys([f"--no-{flag(name).removeprefix('--')}"])
    value = metadata["metavar"] or _VALUES[kind_of(name)]
    shown = ", ".join(f"`{each}`" for each in flags) + (f" `{value}`" if value else "")
    names = " ".join(f"`{variable(key)}`" for key in keys(name))
    help = metadata["help"].replace("|", "\\|").replace("*", "\\*")
    return f"| {shown} | {names} | {_default(name, FIELDS[name].default)} | {help} |"


def _default(name: str, default: Any) -> str:
    if default in (None, "", ()):
        return ""
    kind = kind_of(name)
    if kind == "flag":
        return "on" if default else "off"
    if kind == "bytes":
        return f"`{show_size(default)}`"
    if kind == "list":
        return " ".join(f"`{item}`" for item in default)
    return f"`{default:g}`" if kind == "seconds" else f"`{default}`"


if __name__ == "__main__":
    print(render(), end="")
