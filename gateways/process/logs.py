"""Where the server logs: the loggers ``gateways`` (errors) and ``gateways.access`` (requests).

Only these two get handlers; the application's logging is the application's affair, and what it does
to ours by accident is undone by ``restore_logging``. A table ``logging`` in the configuration goes
to ``logging.config.dictConfig``; the loggers that it gives handlers to are not touched.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gateways.config import Config
from gateways.core.accesslog import LOGGER_NAME as ACCESS
from gateways.core.accesslog import make_access_log as make_access_log
from gateways.errors import ConfigError
from gateways.hints import nearest
from gateways.process import logfiles
from gateways.process.logfiles import LogFile, Target

FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

OWN = "gateways"
_PARENT = f"{OWN}."

# Without "incremental", which would change levels of a configuration that nobody has made.
_TABLE_KEYS = frozenset(
    {"version", "formatters", "filters", "handlers", "loggers", "root", "disable_existing_loggers"}
)
_LOGGER_KEYS = frozenset({"level", "propagate", "filters", "handlers"})

# Controls (ESC moves a terminal's cursor), C1 controls, what str.splitlines() splits at, and what
# turns the direction of writing. Tabs are harmless.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNSAFE_IN_LINES = re.compile(_UNSAFE.pattern.replace("\x0a", "\x0b"))

_NOWHERE = Target(-1, "nowhere")

logger = logging.getLogger("gateways.logs")


class _Kept(NamedTuple):
    """How a logger is to be, whatever the application does to it."""

    level: int
    propagate: bool
    handlers: tuple[logging.Handler, ...]


_UNTOUCHED = _Kept(logging.NOTSET, True, ())


class _State:
    """What is set up in this process; its children inherit it."""

    def __init__(self) -> None:
        self.files: dict[str, LogFile] = {}  # by the name in the configuration
        self.table: Mapping[str, Any] = {}  # what dictConfig was given last
        self.kept: dict[str, _Kept] = {}
        self.captured: LogFile | None = None


_state = _State()


class LineFormatter(logging.Formatter):
    """One record, one line: what a peer put into a message cannot begin another one.

    Tracebacks and stacks (``exc_info``, ``stack_info``) follow as lines that are indented.
    """

    def __init__(self) -> None:
        super().__init__(FORMAT, TIME_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The line, without the newline at its end."""
        record.message = _UNSAFE.sub(_escaped, record.getMessage())
        record.asctime = self.formatTime(record, self.datefmt)
        text = self.formatMessage(record)
        # record.exc_text is the cache of other formatters, which ours must not share.
        if record.exc_info:
            text += _indented(self.formatException(record.exc_info))
        if record.stack_info:
            text += _indented(record.stack_info)
        return text


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character == "\n":
        return "\\n"
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _indented(text: str) -> str:
    return "".join(
        f"\n  {_UNSAFE_IN_LINES.sub(_escaped, line)}" for line in text.rstrip("\n").split("\n")
    )


class _OurHandler(logging.Handler):
    """Writes each record at once, in one piece.

    Its ``close`` closes nothing: dictConfig, called by the application, closes every handler there
    is.
    """

    def __init__(self, target: Target, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self.target = target
        self.formatter = formatter

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a message that cannot be formatted is complained of on stderr."""
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  # any __str__ may raise anything
            self.handleError(record)
            return
        self.target.write(f"{text}\n".encode("utf-8", "backslashreplace"))


def set_up_logging(config: Config) -> None:
    """Send the logs where ``config`` says; may be called again, with another one.

    Raises ConfigError for a file that cannot be opened and for a wrong table; what was set up
    before stays then.
    """
    entries = _check_table(config.logging)
    names = {OWN: config.error_log, ACCESS: config.access_log}
    theirs = {name for name in names if _has_handlers(entries.get(name, {}))}
    before = set(_state.files)
    targets: dict[str, Target] = {}
    try:
        if OWN not in theirs:
            targets[OWN] = _target(config.error_log, "--error-log", Target(2, "standard error"))
        if ACCESS not in theirs and config.access_log:
            targets[ACCESS] = _target(config.access_log, "--access-log", None)
        _apply_table(config.logging)
        if _state.captured is not None:
            _capture(config.error_log)
    except ConfigError:
        for name in set(_state.files) - before:
            _state.files.pop(name).close()
        raise
    levels = {OWN: config.log_level.upper(), ACCESS: "INFO"}
    for name in names:
        entry = entries.get(name, {})
        ours = logging.getLogger(name)
        _install(ours, targets.get(name), LineFormatter() if name == OWN else None)
        # The root logger is the application's: with a handler there each line would come twice.
        ours.propagate = entry.get("propagate", True) if name in theirs else False
        if "level" not in entry:
            ours.setLevel(levels[name])
    _enable()
    _state.kept = {name: _keep(name, name in entries) for name in {*names, *entries}}
    _close_others({*targets.values(), _state.captured})
    for name in theirs:
        if names[name]:
            option = "error_log" if name == OWN else "access_log"
            logger.warning(
                "%s = %r is not used, because the table logging gives %s its handlers; "
                "drop one of the two",
                option,
                names[name],
                name,
            )


def restore_logging() -> None:
    """Undo what the application did to our loggers when it configured logging for itself.

    ``logging.config`` disables every logger that exists and is not named in the configuration,
    unless told otherwise; Django's projects do so unawares, and the server would fall silent.
    """
    undone = []
    _enable()
    for name in _our_names():
        ours = logging.getLogger(name)
        kept = _state.kept.get(name, _UNTOUCHED)
        if any(handler not in ours.handlers for handler in kept.handlers):
            if ours.handlers:
                undone.append(name)
            ours.handlers[:] = kept.handlers
        if _state.kept and (ours.level != kept.level or ours.propagate != kept.propagate):
            ours.setLevel(kept.level)
            ours.propagate = kept.propagate
    for name in undone:
        logger.warning(
            "the application's logging configuration names %s; that is undone, so that the "
            "server's log stays whole. To decide where it goes, use the table logging",
            name,
        )


def reopen_logs() -> bool:
    """Open the log files anew, after they were renamed; False if one stays the old file.

    Threads that are logging meanwhile write to the old one or the new one, and lose nothing.
    """
    restore_logging()
    complete = True
    for file in _state.files.values():
        try:
            file.reopen()
        except OSError as error:
            complete = False
            logger.error(
                "%s cannot be opened anew: %s. The old file is still written to; then send "
                "SIGUSR1 again, or replace the workers with SIGHUP",
                file.path,
                logfiles.remedy(error, file.path),
            )
    return complete


def set_log_owner(uid: int) -> None:
    """Give the log files that root opens to the user of the workers, who open them anew later.

    Only regular files of root's are given away. Raises ConfigError where one cannot be opened.
    """
    logfiles.set_owner(uid)
    for file in _state.files.values():
        try:
            file.reopen()
        except OSError as error:
            raise ConfigError(f"{file.name}: {logfiles.remedy(error, file.path)}") from error


def capture_output(path: str, *, warn: bool = True) -> None:
    """Point descriptors 1 and 2 at the error log ``path``, or at /dev/null where it is "".

    So what the application prints, and what faulthandler writes, lands in the log; it follows
    when the log is opened anew. ``warn``: say so where that is the end of the log. Raises
    ConfigError.
    """
    handlers = logging.getLogger(OWN).handlers
    if warn and not path and any(_writes_to(handler, 2) for handler in handlers):
        logger.warning("nothing will be logged from here on; give --error-log FILE")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # what was meant for the terminal
    _capture(path)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)


def _capture(path: str) -> None:
    file = _open_file(path or "/dev/null", "--error-log")
    if _state.captured is not None and _state.captured is not file:
        _state.captured.copies = ()
    _state.captured = file
    file.copy_to(1, 2)


def _keep(name: str, in_table: bool) -> _Kept:
    """What a logger is now; of its handlers ours, and those that a table gave it."""
    known = logging.getLogger(name)
    handlers = (one for one in known.handlers if in_table or isinstance(one, _OurHandler))
    return _Kept(known.level, known.propagate, tuple(handlers))


def _writes_to(handler: logging.Handler, fd: int) -> bool:
    return isinstance(handler, _OurHandler) and handler.target.fd == fd


def _target(name: str, option: str, default: Target | None) -> Target:
    if name == "-" and option == "--access-log":
        return Target(1, "standard output")
    if name == "-":
        return Target(2, "standard error")
    return default if not name and default is not None else _open_file(name, option)


def _open_file(name: str, option: str) -> LogFile:
    """The file of that name, opened if it is not; a file is opened once for both logs."""
    file = _state.files.get(name)
    if file is None:
        try:
            file = _state.files[name] = LogFile(name)
        except OSError as error:
            raise ConfigError(f"{option} {name}: {logfiles.remedy(error, name)}") from error
    return file


def _install(
    ours: logging.Logger, target: Target | None, formatter: logging.Formatter | None
) -> None:
    """Have our one handler of this logger write to ``target``; None: take it away."""
    handlers = [handler for handler in ours.handlers if isinstance(handler, _OurHandler)]
    for handler in handlers:
        handler.acquire()  # a thread that writes has done so, before the file is closed
        handler.target = target or _NOWHERE
        handler.release()
        if target is None:
            ours.removeHandler(handler)
    if target is not None and not handlers:
        ours.addHandler(_OurHandler(target, formatter))


def _close_others(used: Iterable[Target | None]) -> None:
    used = set(used)
    for name, file in list(_state.files.items()):
        if file not in used:
            del _state.files[name]
            file.close()


def _our_names() -> list[str]:
    return [
        name
        for name, known in list(logging.root.manager.loggerDict.items())
        if isinstance(known, logging.Logger) and f"{name}.".startswith(_PARENT)
    ]


def _enable() -> None:
    for name in _our_names():
        logging.getLogger(name).disabled = False


# -- the table for dictConfig -----------------------------------------------------------------


def _has_handlers(entry: Mapping[str, Any]) -> bool:
    """Whether a logger's entry decides where its records go."""
    return "handlers" in entry or entry.get("propagate") is True


def _check_table(table: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Refuse keys that dictConfig would pass over in silence; returns the entries of loggers."""
    _check_keys("logging", table, _TABLE_KEYS)
    entries = table.get("loggers", {})
    if not isinstance(entries, Mapping):
        raise ConfigError("logging.loggers is not a table; write [logging.loggers.NAME]")
    for name, entry in entries.items():
        _check_keys(f"logging.loggers.{name}", entry, _LOGGER_KEYS)
    _check_keys("logging.root", table.get("root", {}), _LOGGER_KEYS)
    return entries


def _check_keys(where: str, table: Any, known: frozenset[str]) -> None:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is not a table; write [{where}]")
    for key in table:
        if key not in known:
            near = nearest(str(key), known)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(sorted(known))}"
            raise ConfigError(f"{where}.{key} is unknown; {hint}")


def _apply_table(table: Mapping[str, Any]) -> None:
    """Hand the table to dictConfig, unless that was done: it would close everybody's handlers."""
    if table == _state.table:
        return
    import copy

    plain = {"version": 1, "disable_existing_loggers": False, **copy.deepcopy(dict(table))}
    reset = {"handlers": [], "propagate": True, "level": "NOTSET"}  # what only the last one names
    last = dict.fromkeys(_state.table.get("loggers", {}), reset)
    plain["loggers"] = {**last, **plain.get("loggers", {})}
    if "root" in _state.table:
        plain.setdefault("root", {"handlers": [], "level": "WARNING"})
    import logging.config  # it brings queues and sockets along

    try:
        logging.config.dictConfig(plain)
    except Exception as error:  # whatever a handler's constructor raises
        restore_logging()
        raise ConfigError(f"logging: {_chain(error)}") from error
    _state.table = table


def _chain(error: BaseException | None) -> str:
    """An error and its causes, which dictConfig nests: "Unable to configure handler 'file': …"."""
    texts = []
    while error is not None:
        text = str(error) or type(error).__name__
        if text not in texts:
            texts.append(text)
        error = error.__cause__
    return ": ".join(texts)
