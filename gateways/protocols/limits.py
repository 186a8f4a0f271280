"""The limits that every codec of a gateway protocol keeps."""

from __future__ import annotations


class RequestLimits:
    """What all connections of a server have in common; sizes are in bytes, 0 is no limit.

    ``body_memory_bytes`` of a body are awaited before its request may run.
    """

    __slots__ = ("body_memory_bytes", "max_body_bytes", "max_variables", "max_variables_bytes")

    def __init__(
        self,
        *,
        max_variables: int = 1000,
        max_variables_bytes: int = 65536,
        max_body_bytes: int = 0,
        body_memory_bytes: int = 65536,
    ) -> None:
        self.max_variables = max_variables
        self.max_variables_bytes = max_variables_bytes
        self.max_body_bytes = max_body_bytes
        self.body_memory_bytes = body_memory_bytes
