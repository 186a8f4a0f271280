"""What connections need of the server that they belong to."""

from __future__ import annotations

from typing import Any, Protocol

from gateways.config import Config
from gateways.core.clock import Clock
from gateways.core.poller import Poller
from gateways.protocols.base import Request


class Host(Protocol):
    """A server, as its connections see it; these are handed back as what they are."""

    config: Config
    poller: Poller
    clock: Clock
    parting: bool  # it closes connections when they are idle

    def enqueue(self, connection: Any, requests: list[Request]) -> None:
        """Have other threads run these requests of ``connection``."""

    def forget(self, connection: Any, fd: int) -> None:
        """The connection is about to close ``fd``."""
