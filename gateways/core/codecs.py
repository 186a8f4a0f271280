"""Which codec a new connection gets: from a listener's protocol to a factory, made once.

A codec's module is imported when a listener needs it, so that a FastCGI server has no HTTP parser.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterable

from gateways.config import Config
from gateways.core.addresses import auto_protocols
from gateways.core.listener import Listener
from gateways.errors import ConfigError
from gateways.protocols.base import CodecFactory
from gateways.protocols.fastcgi import FastCGI
from gateways.protocols.fastcgi_state import ROLE_NAMES, FastCGISettings
from gateways.protocols.records import FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateways.protocols.familiar import Prepare


class Codecs:
    """The codecs of one server, with its limits.

    ``roles`` are the FastCGI roles that the application itself asks for, if it does;
    ``draining`` says whether the server is about to stop; ``prepare`` is what it does with the
    variables of every request (see ``EnvironBuilder.prepare``).
    """

    def __init__(
        self,
        config: Config,
        roles: Iterable[str] | None,
        max_connections: int,
        draining: Callable[[], bool],
        prepare: Prepare | None = None,
    ) -> None:
        self._config = config
        self._draining = draining
        max_active = config.threads + config.max_queued_requests
        self._fastcgi = FastCGISettings(
            draining=draining,
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
            prepare=prepare,
        )

    def factory(self, listener: Listener) -> CodecFactory:
        """What makes the codecs of the connections of ``listener``."""
        allowed = auto_protocols(listener.protocol)
        if allowed is None:
            return self._fixed(listener.protocol, listener)
        from gateways.protocols.auto import Auto

        factories = {name: self._fixed(name, listener) for name in allowed}
        return functools.partial(Auto, factories)

    def _fixed(self, protocol: str, listener: Listener) -> CodecFactory:
        makers = {
            "fcgi": self._fastcgi_factory,
            "uwsgi": self._uwsgi_factory,
            "scgi": self._scgi_factory,
            "http": self._http_factory,
        }
        if protocol not in makers:
            known = ", ".join(makers)
            raise ConfigError(f"no such protocol: {protocol!r}; there are {known} and auto")
        return makers[protocol](listener)

    def _fastcgi_factory(self, listener: Listener) -> CodecFactory:
        return functools.partial(FastCGI, self._fastcgi)

    def _uwsgi_factory(self, listener: Listener) -> CodecFactory:
        from gateways.protocols.uwsgi import Uwsgi

        return functools.partial(Uwsgi, self._fastcgi)

    def _scgi_factory(self, listener: Listener) -> CodecFactory:
        from gateways.protocols.scgi import Scgi

        return functools.partial(Scgi, self._fastcgi)

    def _http_factory(self, listener: Listener) -> CodecFactory:
        from gateways.core.httpdate import HTTPDate
        from gateways.protocols.http import HTTP, HTTPSettings, require_httptools

        require_httptools()
        config = self._config
        settings = HTTPSettings(
            server_address=listener.socket.getsockname(),
            date=HTTPDate().now,
            trusted=trusted_proxies(config.forwarded_allow_ips),
            draining=self._draining,
            max_head_bytes=config.max_variables_bytes,
            max_fields=config.max_variables,
            max_body_bytes=config.max_body_bytes,
            body_memory_bytes=config.body_memory_bytes,
            max_requests=config.max_requests_per_connection,
        )
        return functools.partial(HTTP, settings)


def trusted_proxies(allowed: Iterable[str]) -> Callable[[str], bool]:
    """Whether an address is that of a proxy that may tell who its client is; "" is a Unix peer.

    Each of ``allowed`` may be several, with commas between them. Raises ConfigError.
    """
    entries = [entry.strip() for text in allowed for entry in text.split(",") if entry.strip()]
    everybody = "*" in entries
    unix = everybody or "unix" in entries
    try:
        networks = [
            ipaddress.ip_network(entry, strict=False)
            for entry in entries
            if entry not in ("*", "unix")
        ]
    except ValueError as error:
        raise ConfigError(f"--forwarded-allow-ips: {error}; or give unix, or *") from None

    @functools.lru_cache(maxsize=1024)
    def trusted(address: str) -> bool:
        if not address:
            return unix
        if everybody:
            return True
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in networks)

    return trusted


def _role_numbers(names: Iterable[str]) -> frozenset[int]:
    numbers = {name.lower(): number for number, name in ROLE_NAMES.items()}
    try:
        return frozenset(numbers[name] for name in names)
    except KeyError as error:
        raise ConfigError(
            f"no such FastCGI role: {error}; there are {', '.join(numbers)}"
        ) from None
