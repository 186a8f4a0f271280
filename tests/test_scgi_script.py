"""``gateways.scgi``: flup's API for SCGI, over real sockets."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gateways
from gateways.errors import ConfigError
from gateways.scgi import NoDefault, WSGIServer, __version__
from tests.core.serving import LogLines
from tests.oneshot_peer import VARIABLES, describe, exchange, packet, running
from tests.servers.harness import free_port

HEAD = b"Status: 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The servers set the level of the package's logger."""
    logger = logging.getLogger("gateways")
    before = logger.level
    yield
    logger.setLevel(before)


def served(folder: Path, **options: Any) -> Any:
    path = str(folder / "app.sock")
    return running(WSGIServer(describe, bindAddress=path, **options), path)


def flups() -> Any:
    """The real ``flup.server.scgi``, whose own warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import flup.server.scgi

        return flup.server.scgi


def test_the_signature_is_flups() -> None:
    def plain(default: object) -> object:
        return "NoDefault" if getattr(default, "__name__", "") == "NoDefault" else default

    theirs = inspect.signature(flups().WSGIServer.__init__).parameters.values()
    ours = inspect.signature(WSGIServer.__init__).parameters.values()
    assert [(p.name, p.kind, plain(p.default)) for p in ours] == [
        (p.name, p.kind, plain(p.default)) for p in theirs
    ]
    assert __version__ == gateways.__version__


def test_the_attributes_have_flups_defaults() -> None:
    logger = logging.getLogger("scgi-wsgi")
    handlers, before = list(logger.handlers), logger.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = flups().WSGIServer(describe)
    finally:
        logger.handlers = handlers
        logger.setLevel(before)
    ours = WSGIServer(describe)
    for name in ("application", "environ", "multithreaded", "multiprocess", "debug"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.scriptName is NoDefault


def test_every_argument_may_be_given_by_position() -> None:
    environ = {"a": "b"}
    server = WSGIServer(
        describe, None, environ, False, True, ("localhost", 1), 0o77, ["192.0.2.1"], 30, True
    )
    assert server.environ is environ
    assert (server.multithreaded, server.multiprocess, server.debug) == (False, True, True)
    assert server.scriptName is None
    assert server._config.allow == ("192.0.2.1",)
    assert server._config.threads == 1


@pytest.mark.parametrize(
    ("script_name", "expected"), [("", ""), ("/app", "/app"), ("/app/", "/app"), ("/", "")]
)
def test_a_script_name_is_deprecated_and_honoured(script_name: str, expected: str) -> None:
    with pytest.warns(DeprecationWarning, match="script_name"):
        server = WSGIServer(describe, script_name)
    assert server._config.script_name == expected


@pytest.mark.parametrize("script_name", [None, NoDefault])
def test_without_a_script_name_the_web_server_says_it(script_name: Any) -> None:
    assert WSGIServer(describe, script_name)._config.script_name is None


def test_a_script_name_over_a_socket(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="script_name"):
        serving = served(tmp_path, scriptName="/app")
    with serving as address:
        variables = {**VARIABLES, "PATH_INFO": "/app/x", "REQUEST_URI": "/app/x"}
        assert b"\r\n\r\n/app /x " in exchange(address, packet("scgi", variables))


@pytest.mark.parametrize("half_close", [False, True])
def test_a_request_over_a_unix_socket(tmp_path: Path, half_close: bool) -> None:
    body = b"abc" * 100000
    with served(tmp_path) as address:
        answer = exchange(address, packet("scgi", VARIABLES, body), half_close=half_close)
    assert answer.startswith(HEAD)
    assert b"\r\n\r\n /page 192.0.2.7 /page 300000 " in answer


@pytest.mark.parametrize(
    ("servers", "allowed"),
    [(None, True), (["127.0.0.1"], True), ("192.0.2.1, 127.0.0.1", True), (["192.0.2.1"], False)],
)
def test_allowed_servers_are_those_that_may_connect(servers: Any, allowed: bool) -> None:
    address = ("127.0.0.1", free_port())
    with running(WSGIServer(describe, bindAddress=address, allowedServers=servers), address):
        try:
            answer = exchange(address, packet("scgi", VARIABLES))
        except ConnectionError:
            answer = b""
        assert answer.startswith(HEAD) == allowed


def test_allowed_servers_do_not_concern_unix_sockets(tmp_path: Path) -> None:
    with served(tmp_path, allowedServers=["192.0.2.1"]) as address:
        assert exchange(address, packet("scgi", VARIABLES)).startswith(HEAD)


@pytest.mark.parametrize("servers", [[], "", " , "])
def test_a_server_for_nobody_is_refused(servers: Any) -> None:
    with pytest.raises(ConfigError, match="nobody could connect"):
        WSGIServer(describe, allowedServers=servers)


def test_the_logging_level_is_set(tmp_path: Path) -> None:
    logger = logging.getLogger("gateways")
    logger.setLevel(logging.NOTSET)
    with served(tmp_path):
        assert logger.level == logging.INFO
    with served(tmp_path, loggingLevel=logging.ERROR):
        assert logger.level == logging.ERROR
    with served(tmp_path):
        assert logger.level == logging.ERROR, "the default undoes nothing"


def test_other_addresses_may_be_given_as_an_option(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with running(WSGIServer(describe, bind=(path,)), path):
        assert exchange(path, packet("scgi", VARIABLES)).startswith(HEAD)


@pytest.mark.parametrize("sent", [b"", b"7", packet("scgi", VARIABLES)[:50]])
def test_a_health_check_logs_nothing_above_debug(tmp_path: Path, sent: bytes) -> None:
    with LogLines() as lines, served(tmp_path) as address:
        assert exchange(address, sent, half_close=True) == b""
        said = lines.texts(logging.INFO)
    assert [line for line in said if not line.startswith("serving on ")] == []
