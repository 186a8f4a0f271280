"""What the codecs of the gateway protocols share: the limits, and the names that they know."""

from __future__ import annotations

from gateways.protocols.familiar import FIELDS, PAIRS, VARS
from gateways.protocols.variables import new_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateways.protocols.familiar import Prepare


class RequestLimits:
    """What all connections of a server have in common; sizes are in bytes, 0 is no limit.

    ``body_memory_bytes`` of a body are awaited before its request may run. ``prepare`` is what
    becomes of variables that the codecs hand out, and need not be done for each request;
    ``pairs``, ``vars`` and ``fields`` know those that it was done for.
    """

    __slots__ = (
        "body_memory_bytes",
        "fields",
        "max_body_bytes",
        "max_variables",
        "max_variables_bytes",
        "pairs",
        "vars",
    )

    def __init__(
        self,
        *,
        max_variables: int = 1000,
        max_variables_bytes: int = 65536,
        max_body_bytes: int = 0,
        body_memory_bytes: int = 65536,
        prepare: Prepare | None = None,
    ) -> None:
        self.max_variables = max_variables
        self.max_variables_bytes = max_variables_bytes
        self.max_body_bytes = max_body_bytes
        self.body_memory_bytes = body_memory_bytes
        self.pairs = new_names(PAIRS, prepare)
        self.vars = new_names(VARS, prepare)
        self.fields = new_names(FIELDS, prepare)
