"""How many connections a process may have open, by the limit of descriptors."""

from __future__ import annotations

import resource

# Descriptors that are not connections: standard streams, listeners, poller, files of the
# application; what is left of RLIMIT_NOFILE bounds the connections.
_RESERVED_DESCRIPTORS = 64


def possible_connections(wanted: int) -> int:
    """What the limit of descriptors allows; the soft limit is raised as far as that needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(1, min(wanted, soft - _RESERVED_DESCRIPTORS))
    return wanted
