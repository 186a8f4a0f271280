"""What a connection leaves behind: nothing, as soon as it is closed."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.core import transport
from gateways.core.connection import Connection
from gateways.protocols.encoders import encode_scgi_head, encode_uwsgi_head
from gateways.wsgi.body import Body
from tests.core.forks import in_child
from tests.core.serving import eventually, serving
from tests.protocols.vectors import request

POST = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/", "CONTENT_LENGTH": "5"}
REQUESTS = {
    "fcgi": request(1, POST, b"hello", keep=False),
    "uwsgi": encode_uwsgi_head(POST.items()) + b"hello",
    "scgi": encode_scgi_head({"CONTENT_LENGTH": "5", **POST, "SCGI": "1"}.items()) + b"hello",
    "http": b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
    "auto": b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
}


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is freed but by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("protocol", REQUESTS)
def test_a_closed_connection_needs_no_garbage_collector(tmp_path: Path, protocol: str) -> None:
    def left() -> list[object]:
        # By type(): what an object says of its class itself may be a proxy's, which asks another.
        return [each for each in gc.get_objects() if issubclass(type(each), Connection | Body)]

    before = len(left())
    with serving(echo, tmp_path, protocol=protocol) as served:
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(served.address)
                peer.sendall(REQUESTS[protocol])
                answer = b""
                while data := peer.recv(4096):
                    answer += data
                assert b"hello" in answer
        eventually(lambda: len(left()) <= before, "the end of the connections")


def test_a_worker_is_none_that_has_forked_because_its_parent_has() -> None:
    # Who has forked shuts each connection down before the close, which is one more system call.
    in_child(lambda: None)
    assert transport._forked
    assert in_child(lambda: bool(transport._forked)) == "False"
