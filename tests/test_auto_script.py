"""``auto``: one socket for several protocols, over real sockets."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateways.scripting import ScriptServer
from gateways.uwsgi import WSGIServer
from tests.core.serving import LogLines
from tests.end_to_end.client import ask
from tests.oneshot_peer import VARIABLES, describe, exchange, packet, running


def server(address: str, protocol: str = "auto") -> ScriptServer:
    return WSGIServer(describe, bindAddress=address, protocol=protocol)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "app.sock")


def test_one_socket_serves_every_protocol(address: str) -> None:
    with running(server(address), address):
        for _ in range(2):
            body = b"\r\n\r\n /page 192.0.2.7 /page 3 "
            assert body in exchange(address, packet("uwsgi", VARIABLES, b"abc"))
            assert body in exchange(address, packet("scgi", VARIABLES, b"abc"))
            assert ask(address).body == b" /page 192.0.2.7 /page 0 0"
            request = b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            assert exchange(address, request).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("protocol", ["uwsgi", "scgi"])
def test_the_first_bytes_may_come_one_at_a_time(address: str, protocol: str) -> None:
    data = packet(protocol, VARIABLES, b"abc")
    with running(server(address), address):
        pieces = [data[index : index + 1] for index in range(40)]
        assert b" /page 192.0.2.7 /page 3 " in exchange(address, *pieces, data[40:])


def test_what_is_not_allowed_is_told_so_in_its_own_protocol(address: str) -> None:
    with LogLines() as lines, running(server(address, "auto[fcgi,scgi]"), address):
        assert exchange(address, packet("uwsgi", VARIABLES)).startswith(b"HTTP/1.0 502 ")
        assert exchange(address, packet("scgi", VARIABLES)).startswith(b"Status: 200 ")
    (line,) = lines.texts(logging.WARNING)
    assert "this is uwsgi, the socket takes auto[fcgi,scgi] only" in line


def test_garbage_is_closed_with_one_line(address: str) -> None:
    with LogLines() as lines, running(server(address), address):
        assert exchange(address, b"\xff\xff\xff\xff") == b""
    (line,) = lines.texts(logging.WARNING)
    assert "none of fcgi, http, scgi, uwsgi" in line
