"""Records that have lines below them: the stack of another thread, what another process printed."""

from __future__ import annotations

import logging


def log_with_lines(
    logger: logging.Logger, level: int, message: str, *args: object, lines: str
) -> None:
    """Log a message with ``lines`` below it, where formatters put a stack.

    A newline in a message is escaped, because it may come from a peer; these lines are indented.
    """
    if logger.isEnabledFor(level):
        # stack_info=True would be the stack of the thread that logs.
        record = logger.makeRecord(
            logger.name, level, "", 0, message, args, None, sinfo=lines or None
        )
        logger.handle(record)


def log_text(logger: logging.Logger, level: int, text: str) -> None:
    """Log a text of several lines: the first is the message, the others stand below it."""
    first, _, rest = text.partition("\n")
    log_with_lines(logger, level, "%s", first, lines=rest.strip("\n"))
