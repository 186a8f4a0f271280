"""CPU time and memory of a process and its descendants, read from the operating system (Linux).

/proc/<pid>/stat counts user and system time in ticks of 10 ms. A server that needs 5 µs for a
request spends few of these in a second, so the time of a living process is read from its CPU clock
instead: the same sum, in nanoseconds, of all its threads, those that have ended included. Only what
children that are gone have spent exists in ticks alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2  # linux/posix-timers.h: the precise clock, of the whole thread group


def tree_seconds(pid: int) -> float:
    """User and system time so far of ``pid``, its living descendants and all they waited for."""
    return sum(seconds_by_process(pid).values())


def tree_ticks(pid: int) -> float:
    """The same from the ticks of /proc/<pid>/stat alone: coarse, and a second source."""
    fields = [_stat_fields(each) for each in process_tree(pid)]
    return sum(sum(map(int, each[11:15])) for each in fields if each) * _TICK_SECONDS


def tree_bytes(pid: int) -> int:
    """The resident memory of ``pid`` and its descendants, what they share counted each time."""
    return sum(resident_bytes(each) for each in process_tree(pid))


def resident_bytes(pid: int) -> int:
    """The resident memory of one process."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def seconds_by_process(pid: int) -> dict[int, float]:
    """``tree_seconds``, apart for each process."""
    return {each: _process_seconds(each) for each in process_tree(pid)}


def busiest(pid: int, since: Mapping[int, float]) -> int:
    """The process below ``pid``, itself included, that has used most ``since``: the worker.

    Not the most of all: that may well be what was used for starting, by a supervisor.
    """
    now = seconds_by_process(pid)
    return max(now, key=lambda each: now[each] - since.get(each, 0.0))


def machine_seconds() -> float:
    """The time so far that the cores were busy, or that the host kept them from us (steal)."""
    with Path("/proc/stat").open(encoding="ascii") as stat:
        user, nice, system, _idle, _iowait, *rest = map(int, stat.readline().split()[1:])
    return (user + nice + system + sum(rest[:3])) * _TICK_SECONDS  # irq, softirq, steal


def process_tree(pid: int) -> list[int]:
    """``pid`` and its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat_fields(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree = [pid]
    for each in tree:  # grows while it is walked: breadth first
        tree.extend(children.get(each, ()))
    return tree


def _process_seconds(pid: int) -> float:
    fields = _stat_fields(pid)
    if not fields:
        return 0.0  # ended, and counted with the children of its parent
    waited_for = (int(fields[13]) + int(fields[14])) * _TICK_SECONDS
    try:
        return waited_for + time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return waited_for


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on (number 3 in proc(5)); [] if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
