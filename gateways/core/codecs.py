"""Which codec a new connection gets: from a listener's protocol to a factory, made once.

A codec's module is imported when a listener needs it, so that a FastCGI server has no HTTP parser.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateways.config import Config
from gateways.core.addresses import auto_protocols
from gateways.core.listener import Listener
from gateways.errors import ConfigError
from gateways.protocols.base import Codec, CodecFactory, NewBody
from gateways.protocols.fastcgi import FastCGI
from gateways.protocols.fastcgi_state import ROLE_NAMES, FastCGISettings
from gateways.protocols.records import FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS


class Codecs:
    """The codecs of one server, with its limits.

    ``roles`` are the FastCGI roles that the application itself asks for, if it does.
    """

    def __init__(self, config: Config, roles: Iterable[str] | None, max_connections: int) -> None:
        self._config = config
        max_active = config.threads + config.max_queued_requests
        self._fastcgi = FastCGISettings(
            values={
                FCGI_MAX_CONNS: str(max_connections),
                FCGI_MAX_REQS: str(max_active),
                FCGI_MPXS_CONNS: "1" if config.multiplex else "0",
            },
            roles=_role_numbers(config.roles if roles is None else roles),
            multiplex=config.multiplex,
            max_active=max_active,
            max_variables=config.max_variables,
            max_variables_bytes=config.max_variables_bytes,
            max_body_bytes=config.max_body_bytes,
            body_memory_bytes=config.body_memory_bytes,
        )

    def factory(self, listener: Listener) -> CodecFactory:
        """What makes the codecs of the connections of ``listener``."""
        allowed = auto_protocols(listener.protocol)
        if allowed is None:
            return self._fixed(listener.protocol, listener)
        raise ConfigError("auto is not there yet")

    def _fixed(self, protocol: str, listener: Listener) -> CodecFactory:
        if protocol == "fcgi":
            return self._new_fastcgi
        raise ConfigError(f"no such protocol: {protocol!r}")

    def _new_fastcgi(self, new_body: NewBody, address: object) -> Codec:
        return FastCGI(new_body, self._fastcgi)


def _role_numbers(names: Iterable[str]) -> frozenset[int]:
    numbers = {name.lower(): number for number, name in ROLE_NAMES.items()}
    try:
        return frozenset(numbers[name] for name in names)
    except KeyError as error:
        raise ConfigError(
            f"no such FastCGI role: {error}; there are {', '.join(numbers)}"
        ) from None
