"""Where the server's own log goes: one handler on stderr, in one readable format.

Only the logger ``gateways`` is touched; the application's logging is the application's affair, and
what it does to ours by accident is undone by ``restore_logging``.
"""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def set_up_logging(level: str) -> None:
    """Send the log to stderr, from ``level`` (of ``gateways.config.LOG_LEVELS``) on."""
    logger = logging.getLogger("gateways")
    logger.setLevel(level.upper())
    # The root logger is the application's: with a handler there each line would come twice.
    logger.propagate = False
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        handler = _StderrHandler()
        handler.setFormatter(logging.Formatter(FORMAT, TIME_FORMAT))
        logger.addHandler(handler)


def restore_logging() -> None:
    """Enable our loggers again after the application has been loaded.

    ``logging.config`` disables every logger that exists and is not named in the configuration,
    unless told otherwise; Django's projects do so unawares, and the server would fall silent.
    """
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and f"{name}.".startswith("gateways."):
            logger.disabled = False


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]  # a TextIO, as inherited
    """A type of its own, to know it by."""
