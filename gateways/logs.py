"""Loggers that cost nothing until they are used: ``logging`` is imported by whoever wants records.

A CGI script pays for every import on every request. While nobody has imported ``logging``, nobody
can have set it up, and a record is what it would be then: dropped below WARNING, else a line on
standard error. From the first record after that import on, all goes to the real logger.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing's own would import typing
if TYPE_CHECKING:
    import logging
    from typing import Any


class Logger:
    """Stands for ``logging.getLogger(name)``; after its first use there, its methods are those."""

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """A record that nobody sees without asking for it."""
        real = self._bind()
        if real is not None:
            real.debug(message, *args, exc_info=exc_info, stacklevel=2)

    def info(self, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """As ``debug``."""
        real = self._bind()
        if real is not None:
            real.info(message, *args, exc_info=exc_info, stacklevel=2)

    def warning(self, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """Something that the operator should know."""
        real = self._bind()
        if real is not None:
            real.warning(message, *args, exc_info=exc_info, stacklevel=2)
        else:
            _last_resort(message, args, exc_info)

    def error(self, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """Something that failed."""
        real = self._bind()
        if real is not None:
            real.error(message, *args, exc_info=exc_info, stacklevel=2)
        else:
            _last_resort(message, args, exc_info)

    def _bind(self) -> logging.Logger | None:
        """The real logger, whose methods take the place of ours; None if nobody wants one."""
        module = sys.modules.get("logging")
        find = getattr(module, "getLogger", None)  # None as well while it is being imported
        if find is None:
            return None
        real: logging.Logger = find(self.name)
        for name in ("debug", "info", "warning", "error"):
            setattr(self, name, getattr(real, name))
        return real


def get_logger(name: str) -> Logger:
    """The logger of that name."""
    return Logger(name)


def _last_resort(message: str, args: tuple[Any, ...], error: BaseException | None) -> None:
    """What ``logging.lastResort`` would do."""
    if sys.stderr is None:
        return
    try:
        text = (message % args if args else message) + "\n"
        if error is not None:
            import traceback

            text += "".join(traceback.format_exception(error))
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # a log that is full or closed must not fail a request
