"""The formats of the access log: ``combined``, ``json``, or one of the operator's own.

A value comes from outside, as a rule; it is escaped so that it can neither end the line nor the
quotes that it stands in: controls, quotes, backslashes and what is not ASCII become ``\\xHH``, and
so do blanks in what has none when it is honest (a path, a method, a user).
"""

from __future__ import annotations

import os
import re
import resource
import string
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateways.errors import ConfigError
from gateways.hints import nearest
from gateways.values import Value

Variables = dict[str, str]

COMBINED = (
    '{client} - {user} [{time_local}] "{method} {path} {protocol}" {status} {bytes} '
    '"{referer}" "{user_agent}"'
)
_MISSING = "-"
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Known(NamedTuple):
    """What is known of a request when it has ended."""

    at: float  # when it began, in seconds since 1970
    seconds: float
    cpu_seconds: float
    status: int
    sent: int  # bytes
    thread: int


class Field(Value):
    """A name of a format: read from the variables at the begin, or found at the end."""

    name: str
    help: str
    read: Callable[[Variables], str | None] | None = None
    find: Callable[[Known], Any] | None = None
    has_blanks: bool = False  # may hold blanks without being forged

    @property
    def is_text(self) -> bool:
        """Whether it comes from the variables, as latin-1."""
        return self.read is not None


class Part(NamedTuple):
    """One value of a line: which, whether it must be escaped, and whether blanks must be too."""

    name: str
    is_text: bool
    has_blanks: bool


class Line(Value):
    """A format, taken apart."""

    fields: Sequence[Field]
    template: str | None  # for str.format, with numbers for names; None: json
    parts: Sequence[Part] = ()

    def fill(self, values: dict[str, Any]) -> str:
        """The line of these values."""
        out = []
        for name, is_text, has_blanks in self.parts:
            value = values[name]
            if is_text:
                value = _escape(value, has_blanks) if value else _MISSING
            out.append(value)
        return (self.template or "").format(*out)


# -- values -----------------------------------------------------------------------------------

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
_UNSAFE_OR_BLANK = re.compile(r"[^!#-\[\]-~]")


def _escape(value: str, has_blanks: bool) -> str:
    return (_UNSAFE if has_blanks else _UNSAFE_OR_BLANK).sub(_hexadecimal, value)


def _hexadecimal(match: re.Match[str]) -> str:
    data = match[0].encode("latin-1" if match[0] < "\u0100" else "utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02X}" for byte in data)


def readable(value: str) -> str:
    """A latin-1 value as text: UTF-8 where it is, with ``\\xhh`` for bytes that are not."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return value


def _variable(name: str) -> Callable[[Variables], str | None]:
    return lambda variables: variables.get(name)


def _header(name: str) -> Callable[[Variables], str | None]:
    variable = name.upper().replace("-", "_")
    if variable not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        variable = f"HTTP_{variable}"
    return _variable(variable)


_PATH_SAFE = re.compile(r"[^A-Za-z0-9/._~!$&'()*+,;=:@-]")


def _path(variables: Variables) -> str:
    requested = variables.get("REQUEST_URI")
    if requested:
        return requested
    path = variables.get("SCRIPT_NAME", "") + variables.get("PATH_INFO", "")
    quoted = _PATH_SAFE.sub(
        lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("latin-1", "replace")),
        path,
    )
    query = variables.get("QUERY_STRING")
    return f"{quoted}?{query}" if query else quoted


def _query(variables: Variables) -> str:
    query = variables.get("QUERY_STRING")
    return variables.get("REQUEST_URI", "").partition("?")[2] if query is None else query


def _scheme(variables: Variables) -> str:
    https = (
        variables.get("HTTPS", "").lower() in ("on", "1", "true", "yes")
        or variables.get("REQUEST_SCHEME") == "https"
        or variables.get("UWSGI_SCHEME") == "https"
    )
    return "https" if https else "http"


def _host(variables: Variables) -> str | None:
    return variables.get("HTTP_HOST") or variables.get("SERVER_NAME")


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Second(NamedTuple):
    """A second as text; a busy server has many requests in one."""

    second: int
    clf: str
    iso: str
    zone: str


_second = _Second(-1, "", "", "")


def _second_of(at: float) -> _Second:
    global _second
    second = int(at)
    found = _second
    if found.second != second:
        moment = time.localtime(second)
        month = _MONTHS[moment.tm_mon - 1]  # strftime's %b would speak the language of the locale
        clock = f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}"
        minutes = abs(moment.tm_gmtoff) // 60
        sign = "-" if moment.tm_gmtoff < 0 else "+"
        hours, minutes = divmod(minutes, 60)
        found = _second = _Second(
            second,
            f"{moment.tm_mday:02}/{month}/{moment.tm_year}:{clock} {sign}{hours:02}{minutes:02}",
            f"{moment.tm_year}-{moment.tm_mon:02}-{moment.tm_mday:02}T{clock}",
            f"{sign}{hours:02}:{minutes:02}",
        )
    return found


def _time(known: Known) -> str:
    second = _second_of(known.at)
    return f"{second.iso}.{int(known.at % 1 * 1000):03}{second.zone}"


def _time_local(known: Known) -> str:
    return _second_of(known.at).clf


def _peak_rss(known: Known) -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


FIELDS = {
    field.name: field
    for field in (
        Field("time", "when it began, ISO 8601 with milliseconds and zone", find=_time),
        Field("time_local", "the same as CLF has it: 21/Nov/2026:12:39:00 +0100", find=_time_local),
        Field("client", "address of the client (REMOTE_ADDR)", _variable("REMOTE_ADDR")),
        Field("port", "port of the client (REMOTE_PORT)", _variable("REMOTE_PORT")),
        Field(
            "user",
            "REMOTE_USER, where --trust-remote-user is on",
            _variable("REMOTE_USER"),
        ),
        Field("method", "GET, POST, …", _variable("REQUEST_METHOD")),
        Field("path", "path and query as they were requested", _path),
        Field("query", "what follows the question mark", _query),
        Field("protocol", "HTTP/1.1", _variable("SERVER_PROTOCOL")),
        Field("status", "status code; 499: the client left", find=lambda known: known.status),
        Field("bytes", "bytes of the response body that were sent", find=lambda known: known.sent),
        Field("referer", "header Referer", _variable("HTTP_REFERER"), has_blanks=True),
        Field("user_agent", "header User-Agent", _variable("HTTP_USER_AGENT"), has_blanks=True),
        Field("host", "header Host, else SERVER_NAME", _host),
        Field("scheme", "http or https", _scheme),
        Field("script_name", "where the application is mounted", _variable("SCRIPT_NAME")),
        Field("request_time", "seconds that it ran", find=lambda known: known.seconds),
        Field(
            "cpu_time",
            "CPU seconds of its thread; nan (json: null) where its thread was given up",
            find=lambda known: known.cpu_seconds,
        ),
        Field("peak_rss", "most memory that its process ever had, in bytes", find=_peak_rss),
        Field("worker", "process id of its worker", find=lambda known: os.getpid()),
        Field("thread", "number of its thread", find=lambda known: known.thread),
    )
}

LOOKUPS = {
    "header": ("a header of the request: {header[x-request-id]}", _header),
    "variable": ("a variable of the request: {variable[SSL_PROTOCOL]}", _variable),
}
_LOOKUP = re.compile(r"(\w+)\[([A-Za-z0-9_-]+)\]")


# -- formats ----------------------------------------------------------------------------------


def parse_format(text: str) -> Line:
    """Take a format apart. Raises ConfigError for what it may not hold."""
    if text == "json":
        return Line([field for field in FIELDS.values() if field.name != "time_local"], None)
    if text == "combined":
        text = COMBINED
    if not text.isprintable() and not text.replace("\t", "").isprintable():
        raise _refuse("a record is one line: take the control characters out")
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise _refuse(f"{error}; write {{{{ and }}}} for braces") from None
    template = ""
    fields: dict[str, Field] = {}
    parts: list[Part] = []
    for literal, name, spec, conversion in pieces:
        template += literal.replace("{", "{{").replace("}", "}}")
        if name is None:
            continue
        field = _field(name)
        if conversion or "{" in (spec or ""):
            raise _refuse(f"{{{name}}} takes neither !{conversion or 'r'} nor braces inside")
        template += f"{{{len(parts)}:{spec}}}"
        fields[name] = field
        parts.append(Part(name, field.is_text, field.has_blanks))
        _try(field, spec or "")
    if not parts:
        near = nearest(text, ("combined", "json"))
        hint = f"did you mean {near[0]}?" if near else "give combined, json or names in braces"
        raise _refuse(f"{text!r} names nothing of a request; {hint}")
    return Line(list(fields.values()), template, parts)


def _field(name: str) -> Field:
    found = FIELDS.get(name)
    if found is not None:
        return found
    lookup = _LOOKUP.fullmatch(name)
    if lookup is not None and lookup[1] in LOOKUPS:
        text, reader = LOOKUPS[lookup[1]]
        return Field(name, text, reader(lookup[2]), has_blanks=True)
    names = [*FIELDS, *(f"{kind}[…]" for kind in LOOKUPS)]
    near = nearest(name, names)
    hint = f"did you mean {{{near[0]}}}?" if near else f"there are {', '.join(names)}"
    raise _refuse(f"{{{name}}} is unknown; {hint}")


def _try(field: Field, spec: str) -> None:
    """Find out now whether the format spec suits the value."""
    sample = Known(at=0.0, seconds=0.5, cpu_seconds=0.5, status=200, sent=1, thread=1)
    value = _MISSING if field.find is None else field.find(sample)
    try:
        format(value, spec)
    except ValueError as error:
        raise _refuse(f"{{{field.name}:{spec}}}: {error}") from None


def _refuse(why: str) -> ConfigError:
    return ConfigError(f"--access-format: {why}")
