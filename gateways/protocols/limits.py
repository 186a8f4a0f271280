"""The limits that every codec of a gateway protocol keeps."""

from __future__ import annotations

from gateways.values import Value


class RequestLimits(Value, kw_only=True):
    """What all connections of a server have in common; sizes are in bytes, 0 is no limit.

    ``body_memory_bytes`` of a body are awaited before its request may run.
    """

    max_variables: int = 1000
    max_variables_bytes: int = 65536
    max_body_bytes: int = 0
    body_memory_bytes: int = 65536
