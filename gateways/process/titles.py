"""What `ps` and `top` show for a process: who it is, and what it is doing.

With setproctitle (the extra "title") that is a whole line. Without it Linux still has the name of a
process, of 15 bytes; what fits there is made from the line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from gateways.core import syscalls

_LARGEST_NAME = 15  # TASK_COMM_LEN, less the NUL
_PR_SET_NAME = 15
_PARTS = re.compile(r"gateways: (\w+) ?([0-9]*)(?: \[.*\])? ?([\w/]*)", re.ASCII)

_show: Callable[[str], object] | None = None
_shown = ""


def set_title(text: str) -> None:
    """Show ``text``, as ``gateways: worker 2 [myapp:app] 3/4 busy``; in the main thread.

    The first call must come before the process changes its environment: setproctitle finds the
    memory of the title from where the environment lay at the start. Forks keep what it found.
    """
    global _show, _shown
    if text == _shown:
        return
    if _show is None:
        _show = _find_way()
    # A path comes from anywhere, and ps shows it on a terminal.
    _show("".join(sign if " " <= sign <= "~" else "?" for sign in text))
    _shown = text


def short_title(text: str) -> str:
    """The form of at most 15 bytes: ``gateways:2 3/4``, or ``gw:12 leaving`` where that is long."""
    found = _PARTS.match(text)
    if not found:
        return text[:_LARGEST_NAME]
    kind, number, doing = found.groups()
    if kind != "worker":
        return "gateways" if kind == "supervisor" else f"gateways:{kind}"[:_LARGEST_NAME]
    names = [f"{start}:{number} {doing}" for start in ("gateways", "gw")]
    return next((name for name in names if len(name) <= _LARGEST_NAME), names[-1][:_LARGEST_NAME])


def _find_way() -> Callable[[str], object]:
    if sys.platform == "darwin":
        return lambda text: None  # what setproctitle calls there does not survive a fork
    try:
        from setproctitle import setproctitle, setthreadtitle
    except ImportError:
        return _name_setter()

    def show(text: str) -> None:
        setproctitle(text)
        setthreadtitle(short_title(text))

    return show


def _name_setter() -> Callable[[str], object]:
    """By prctl(); /proc/self/comm would do, but not after a change of user, nor in a chroot."""
    if sys.platform != "linux":
        return lambda text: None
    return lambda text: syscalls.prctl(_PR_SET_NAME, short_title(text).encode())
