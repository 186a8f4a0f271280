"""``gateways.uwsgi``: a script's server over real sockets."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import pytest

import gateways
from gateways import fcgi
from gateways.errors import ConfigError
from gateways.uwsgi import WSGIServer, __version__
from tests.core.serving import LogLines
from tests.oneshot_peer import (
    VARIABLES,
    connect,
    describe,
    exchange,
    packet,
    running,
)
from tests.servers.harness import free_port

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def served(folder: Path, application: Any = describe, **options: Any) -> Any:
    path = str(folder / "app.sock")
    return running(WSGIServer(application, bindAddress=path, **options), path)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_the_arguments_are_those_of_the_fastcgi_server() -> None:
    ours = inspect.signature(WSGIServer.__init__).parameters
    theirs = inspect.signature(fcgi.WSGIServer.__init__).parameters
    assert list(theirs) == [
        *list(ours)[:-2],  # all but debug and the keywords
        "multiplexed",
        "debug",
        "roles",
        "forceCGI",
        "kw",
    ]
    assert all(ours[name].default == theirs[name].default for name in ours)
    assert __version__ == gateways.__version__


@pytest.mark.parametrize(
    ("keywords", "error", "said"),
    [
        ({"maxChildren": 5}, TypeError, "no argument maxChildren"),
        ({"bindAddress": 3031}, ConfigError, "bindAddress is a path"),
        ({"script_name": "app"}, ConfigError, "must be '' or start with '/'"),
    ],
)
def test_bad_arguments(keywords: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        WSGIServer(describe, **keywords)


def test_a_request_over_a_unix_socket(tmp_path: Path) -> None:
    with served(tmp_path, umask=0o077) as address:
        answer = exchange(address, packet("uwsgi", VARIABLES))
        assert answer.startswith(HEAD)
        assert body_of(answer) == b" /page 192.0.2.7 /page 0 0"
        assert Path(address).stat().st_mode & 0o777 == 0o700
    assert not Path(address).exists()


def test_a_request_over_tcp() -> None:
    address = ("127.0.0.1", free_port())
    with running(WSGIServer(describe, bindAddress=address), address):
        assert exchange(address, packet("uwsgi", VARIABLES)).startswith(HEAD)


def test_an_address_may_name_its_protocol(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with running(WSGIServer(describe, bind=(f"scgi:{path}", str(tmp_path / "other"))), path):
        assert exchange(path, packet("scgi", VARIABLES)).startswith(b"Status: 200 OK\r\n")
        other = str(tmp_path / "other")
        assert exchange(other, packet("uwsgi", VARIABLES)).startswith(HEAD)


@pytest.mark.parametrize("half_close", [False, True])
def test_a_large_body_arrives_whole(tmp_path: Path, half_close: bool) -> None:
    body = bytes(range(251)) * 5000
    with served(tmp_path) as address:
        data = packet("uwsgi", VARIABLES, body)
        answer = exchange(address, data[:7], data[7:100000], data[100000:], half_close=half_close)
    assert body_of(answer).split()[-2:] == [b"1255000", b"%d" % (sum(body) % 251)]


def test_a_client_that_closes_its_side_gets_its_answer(tmp_path: Path) -> None:
    with served(tmp_path) as address:
        answer = exchange(address, packet("uwsgi", VARIABLES, b"abc"), half_close=True)
    assert answer.startswith(HEAD)


def test_modifier_30_over_a_socket(tmp_path: Path) -> None:
    variables = {**VARIABLES, "SCRIPT_NAME": "/app", "PATH_INFO": "/app/x"}
    with served(tmp_path) as address:
        answer = exchange(address, packet("uwsgi", variables, modifier1=30))
    assert body_of(answer).startswith(b"/app /x ")


def test_a_ping(tmp_path: Path) -> None:
    with served(tmp_path) as address:
        assert exchange(address, b"\x64\0\0\0") == b"\x64\0\0\1"


def test_another_modifier_is_closed_with_one_line_that_names_it(tmp_path: Path) -> None:
    with LogLines() as lines, served(tmp_path) as address:
        assert exchange(address, packet("uwsgi", VARIABLES, modifier1=22)) == b""
    (line,) = lines.texts(logging.WARNING)
    assert "modifier 22 (eval)" in line


@pytest.mark.parametrize("sent", [b"", b"\0", packet("uwsgi", VARIABLES)[:50]])
def test_a_health_check_logs_nothing_above_debug(tmp_path: Path, sent: bytes) -> None:
    with LogLines() as lines, served(tmp_path) as address:
        assert exchange(address, sent, half_close=True) == b""
        said = lines.texts(logging.INFO)
    assert [line for line in said if not line.startswith("serving on ")] == []


def test_an_answer_that_does_not_wait_for_the_body_arrives(tmp_path: Path) -> None:
    def refuses(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"no" * 100000]

    with served(tmp_path, refuses) as address, connect(address) as sock:
        data = packet("uwsgi", VARIABLES, bytes(2_000_000))
        sock.sendall(data)  # all of it before the first byte of the answer is read
        received = bytearray()
        while piece := sock.recv(1 << 16):
            received += piece
    assert received.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert received.endswith(b"no" * 100000)


def test_a_limit_is_answered_and_named_in_the_log(tmp_path: Path) -> None:
    with LogLines() as lines, served(tmp_path, max_variables_bytes=100) as address:
        answer = exchange(address, packet("uwsgi", {**VARIABLES, "HTTP_LONG": "v" * 200}))
    assert answer.startswith(b"HTTP/1.0 431 ")
    assert any("'HTTP_LONG'" in line for line in lines.texts(logging.WARNING))
