"""Forked children for tests: a child does its part, reports a text and is gone."""

from __future__ import annotations

import fcntl
import os
import signal
import traceback
from collections.abc import Callable

NOBODY = 65534
needs_root = "only root may become another user"


def in_child(work: Callable[[], object]) -> str:
    """What ``work`` returns in a forked child, as text; fails where it raises there."""
    return start_child(work)()


def start_child(work: Callable[[], object]) -> Callable[[], str]:
    """Start ``work`` in a forked child; the function returned waits for what it returns."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        # A child that hangs must not outlive a test that has given up on it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        # Far up, where the child's work may shuffle the low descriptors as it likes.
        report = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 200)
        os.close(writer)
        try:
            text = f"={work()}"
        except BaseException:  # noqa: BLE001
            text = "!" + traceback.format_exc()
        os.write(report, text.encode())
        os._exit(0)
    os.close(writer)

    def result() -> str:
        with open(reader, encoding="utf-8") as file:
            text = file.read()
        os.waitpid(pid, 0)
        assert text.startswith("="), text
        return text[1:]

    return result


def become(uid: int, gid: int, groups: list[int]) -> None:
    """Become another user for good; in a child only."""
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
