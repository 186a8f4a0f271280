"""How many CPUs this process may use: fewer than there are, in a container or under taskset."""

from __future__ import annotations

import math
import os

_V2 = "/sys/fs/cgroup/cpu.max"
_V1 = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"


def available_cpus(root: str = "/") -> int:
    """By affinity and by the quota of the control group (v2 or v1), rounded up; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota, period = _read_quota(root)
    if quota > 0 and period > 0:
        cpus = min(cpus, math.ceil(quota / period))
    return max(1, cpus)


def _read_quota(root: str) -> tuple[int, int]:
    """Microseconds of CPU time in a period of so many; (0, 0) if there is no quota."""
    both = _read(root, _V2).split()  # "max 100000" or "50000 100000"
    if len(both) != 2:
        both = [_read(root, path).strip() for path in _V1]  # "-1" says that there is none
    if all(text.isdigit() for text in both):
        return int(both[0]), int(both[1])
    return 0, 0


def _read(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path.lstrip("/")), encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
