"""The configuration file: found, read as TOML, and its keys made the fields of ``Config``.

Only what TOML adds is judged here: keys, tables and the type of a value. Whether a value can be
meant is asked where the command line asks, too. Every error names the file and the key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from gateways.checks import find_problem
from gateways.cli.foreign import REMEDIES, suggest
from gateways.cli.options import FIELDS, TABLES, keys, kind_of
from gateways.cli.sources import FileSettings, SourceError
from gateways.cli.start import Location

FILE_NAME = "gateways.toml"
APPLICATION = "application"
_FIELD_OF = {key: name for name in FIELDS for key in keys(name)} | {APPLICATION: APPLICATION}
_PAIRS = ("env", "mount")  # lists of NAME=VALUE, which may be tables as well
_TABLE_NAMES = (*_PAIRS, *TABLES)
_SYNTAX = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def locate(given: str | None) -> Location:
    """The file that was given, else the one that the working directory may have."""
    name = given or FILE_NAME
    try:
        return Location(name, os.path.abspath(name), required=given is not None)
    except OSError:  # the working directory is gone
        return Location(name, name, required=given is not None)


def read_file(location: Location) -> FileSettings | None:
    """What the file says; None if it is not there and need not be. Raises SourceError."""
    try:
        with open(location.path, "rb") as file:
            data = file.read()
    except OSError as error:
        if not location.required and isinstance(error, FileNotFoundError):
            return None
        raise SourceError(f"{location.shown}: cannot be read: {error.strerror}") from error
    try:
        return _understand(location.shown, _parse(data))
    except ValueError as error:
        raise SourceError(f"{location.shown}{error}") from error


def _parse(data: bytes) -> dict[str, Any]:
    import tomllib  # here, because most starts have no file

    try:
        return tomllib.loads(data.decode())
    except tomllib.TOMLDecodeError as error:
        match = _SYNTAX.fullmatch(str(error))
        if match is None:
            raise ValueError(f": {error}") from error
        message, line, column = match.groups()
        if line is None:
            line, column = _end(data)
        raise ValueError(f", line {line}, column {column}: {message}") from error
    except UnicodeDecodeError as error:
        line, column = _end(data[: error.start])
        raise ValueError(f", line {line}, column {column}: the text is not UTF-8") from error


def _end(data: bytes) -> tuple[str, str]:
    """The line and the column after ``data``."""
    last = data.rpartition(b"\n")[2].decode()
    return str(data.count(b"\n") + 1), str(len(last) + 1)


def _understand(shown: str, document: Mapping[str, Any]) -> FileSettings:
    """Raises ValueError with what comes after the name of the file."""
    values: dict[str, Any] = {}
    written: dict[str, str] = {}
    tables: dict[str, Any] = {}
    for key, value in document.items():
        if key in TABLES:
            tables[key] = _table(key, value)
            continue
        name = _FIELD_OF.get(key.replace("_", "-"))
        if name is None:
            raise ValueError(f": {_unknown(key, value)}")
        if name in written:
            raise ValueError(f": {key} is the same as {written[name]}; give one of them")
        written[name] = key
        try:
            values[name] = _pairs(key, value) if key in _PAIRS else _value(name, value)
        except ValueError as error:
            raise ValueError(f": {key}: {error}") from None
    return FileSettings(shown, values, written, tables)


def _unknown(key: str, value: Any) -> str:
    if isinstance(value, dict):
        tables = [f"[{name}]" for name in _TABLE_NAMES]
        others = f"; there are {', '.join(tables)}"
        near = suggest(f"[{key}]", tables)
        return f"there is no table [{key}]{near or others}"
    dashed = key.replace("_", "-")
    if f"--{dashed}" in REMEDIES:
        return f"there is no {key!r}; {REMEDIES[f'--{dashed}']}"
    near = suggest(dashed, (*_FIELD_OF, *_TABLE_NAMES))
    return f"there is no {key!r}{near or '; `gateways serve --help` lists what there is'}"


def _table(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f": {key}: must be a table, [{key}]")
    problem = find_problem(key, value)
    if problem:
        raise ValueError(f": [{key}] {problem}")
    return value


def _value(name: str, value: Any) -> Any:
    """The value in the form in which click takes it. Raises ValueError for one of another type."""
    kind = "text" if name == APPLICATION else kind_of(name)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    is_text = isinstance(value, str)
    if isinstance(value, dict):
        raise ValueError("must be a value, not a table")
    if kind == "flag" and not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {toml(value)}")
    if kind == "number" and not is_number:
        raise ValueError(f"must be a whole number, not {toml(value)}")
    if kind == "seconds" and not (is_number or isinstance(value, float)):
        raise ValueError(f"must be a number of seconds, not {toml(value)}")
    if kind == "bytes" and not (is_number or is_text):
        raise ValueError(f'must be a number of bytes, or as "64k", not {toml(value)}')
    if kind == "list":
        return _strings(value)
    if kind == "text" and not is_text and not (name == "workers" and is_number):
        raise ValueError(f"must be a string, in quotes, not {toml(value)}")
    return str(value) if kind in ("bytes", "text") else value


def _strings(value: Any) -> tuple[str, ...]:
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(item, str) for item in strings):
        raise ValueError('must be a list of strings, as ["…", "…"]')
    return tuple(strings)


def _pairs(key: str, value: Any) -> tuple[str, ...]:
    """A list of NAME=VALUE, or a table; ``key`` is one of ``_PAIRS``."""
    if not isinstance(value, dict):
        return _strings(value)
    for name, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f"{name} must be a string, in quotes")
        if not name or "=" in name:
            what = "the name of a variable" if key == "env" else "a prefix"
            raise ValueError(f"{name!r} cannot be {what}")
    return tuple(f"{name}={text}" for name, text in value.items())


def toml(value: Any) -> str:
    """A value in the syntax of TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value.encode(errors="surrogateescape").decode(
            errors="replace"
        )  # an argument need not be UTF-8
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{toml_key(key)} = {toml(item)}" for key, item in value.items()) + "}"
        )
    return str(value)  # an integer, a date or a time


def toml_key(key: str) -> str:
    """A key in the syntax of TOML."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml(key)
