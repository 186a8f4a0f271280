"""``flup.server.paste_factory``: the server runners of Paste Deploy configurations.

Their arguments are texts; each serves until a signal ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateways.errors import ConfigError
from gateways.flup import fcgi, fcgi_fork, scgi, scgi_fork
from gateways.wsgi.runner import Application

__all__ = ["run_fcgi_fork", "run_fcgi_thread", "run_scgi_fork", "run_scgi_thread"]

_TRUE = ("true", "yes", "on", "y", "t", "1")
_FALSE = ("false", "no", "off", "n", "f", "0")
_NUMBERS = ("minSpare", "maxSpare", "maxThreads", "maxChildren", "maxRequests")


def run_fcgi_thread(wsgi_app: Application, global_conf: Mapping[str, str], **kw: Any) -> None:
    """``use = egg:flup#fcgi_thread``."""
    _run_fcgi(fcgi.WSGIServer, wsgi_app, global_conf, kw)


def run_fcgi_fork(wsgi_app: Application, global_conf: Mapping[str, str], **kw: Any) -> None:
    """``use = egg:flup#fcgi_fork``."""
    _run_fcgi(fcgi_fork.WSGIServer, wsgi_app, global_conf, kw)


def run_scgi_thread(wsgi_app: Application, global_conf: Mapping[str, str], **kw: Any) -> None:
    """``use = egg:flup#scgi_thread``."""
    _run_scgi(scgi.WSGIServer, wsgi_app, global_conf, kw)


def run_scgi_fork(wsgi_app: Application, global_conf: Mapping[str, str], **kw: Any) -> None:
    """``use = egg:flup#scgi_fork``."""
    _run_scgi(scgi_fork.WSGIServer, wsgi_app, global_conf, kw)


def _run_fcgi(
    server: Callable[..., Any], app: Application, conf: Mapping[str, str], kw: dict[str, Any]
) -> None:
    host, port, path = (kw.pop(name, None) for name in ("host", "port", "socket"))
    address: str | tuple[str, int] | None = path or None
    if path and (host or port):
        raise ConfigError("give either socket or host and port")
    if host:
        if port is None:
            raise ConfigError("host needs a port")
        address = (host, int(port))
    umask = kw.pop("umask", None)
    server(
        app,
        bindAddress=address,
        umask=None if umask is None else int(umask),
        multiplexed=_truth(kw.pop("multiplexed", False)),
        **_common(conf, kw),
    ).run()


def _run_scgi(
    server: Callable[..., Any], app: Application, conf: Mapping[str, str], kw: dict[str, Any]
) -> None:
    address = (kw.pop("host", "localhost"), int(kw.pop("port", 4000)))
    allowed = kw.pop("allowedServers", "127.0.0.1")
    servers = allowed.split() if isinstance(allowed, str) else list(allowed or ())
    server(app, bindAddress=address, allowedServers=servers or None, **_common(conf, kw)).run()


def _common(conf: Mapping[str, str], kw: dict[str, Any]) -> dict[str, Any]:
    debug = _truth(kw.pop("debug", conf.get("debug", False)))
    numbers = {name: int(kw.pop(name)) for name in _NUMBERS if kw.get(name) is not None}
    rest = {name: value for name, value in kw.items() if name not in _NUMBERS}
    return {"debug": debug, **numbers, **rest}


def _truth(value: Any) -> bool:
    if not isinstance(value, str):
        return bool(value)
    word = value.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise ConfigError(f"{value!r} is neither true nor false")
    return word in _TRUE
