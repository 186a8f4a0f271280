"""The client against the real server, in every protocol that it serves, and against odd ones."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.client import (
    Client,
    ClientError,
    ClientTimeout,
    ConnectError,
    ConnectionLost,
    parse_target,
    request,
)
from gateways.client.connection import connect
from gateways.config import Config
from gateways.core.listener import open_listeners
from gateways.core.server import Server
from gateways.process.single import SingleProcess
from gateways.protocols.records import FCGI_END_REQUEST, FCGI_STDOUT, pack_record
from tests.client.answering import DEADLINE, Answering, answer
from tests.core.serving import POLLERS, eventually

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
BIG = os.urandom(1 << 20) * 6


@contextlib.contextmanager
def serving(application: Any, scheme: str, address: str) -> Iterator[str]:
    """A real server; yields the target."""
    config = Config(graceful_timeout_seconds=5.0)
    (listener,) = open_listeners([f"{scheme}:{address}"], 128)
    name = listener.socket.getsockname()
    target = f"{scheme}:{name}" if isinstance(name, str) else f"{scheme}:{name[0]}:{name[1]}"
    server = Server(application, [listener], config, poller=POLLERS["epoll"]())
    process = SingleProcess(server)
    with running(process):
        yield target


@contextlib.contextmanager
def running(process: SingleProcess) -> Iterator[None]:
    """Run it in a thread, and stop it."""
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        yield
    finally:
        process.stop()
        thread.join(DEADLINE)
        assert not thread.is_alive()


@pytest.fixture(params=["fcgi", "uwsgi", "scgi", "http"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "127.0.0.1:0" if request.param == "tcp" else str(tmp_path / "app.sock")


def show(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What came: the variables that the path became, and the body."""
    body = environ["wsgi.input"].read()
    start_response(
        "201 Made",
        [
            ("Content-Type", "text/plain"),
            ("X-Path", f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}"),
            ("X-Query", environ["QUERY_STRING"]),
            ("X-Method", environ["REQUEST_METHOD"]),
            ("X-Header", environ.get("HTTP_X_HEADER", "")),
        ],
    )
    return [body]


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answers while the body is still coming."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    while piece := environ["wsgi.input"].read(65536):
        yield piece


def deaf(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answers at length and reads nothing."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [BIG]


@pytest.mark.parametrize(
    "body",
    [b"abc", lambda: iter([b"a", b"b", b"c"]), lambda: io.BytesIO(b"abc")],
    ids=["bytes", "iterator", "file"],
)
def test_a_request_and_its_response(scheme: str, address: str, body: Any) -> None:
    with serving(show, scheme, address) as target:
        response = request(
            target,
            "/a b/c?d=e",
            method="POST",
            headers=[("X-Header", "x")],
            body=body() if callable(body) else body,
        )
        assert (response.status, response.reason, response.body) == (201, "Made", b"abc")
    assert response.complete
    assert response.header("x-path") == "|/a b/c"
    assert response.header("X-Query") == "d=e"
    assert response.header("X-Method") == "POST"
    assert response.header("X-Header") == "x"
    assert response.header("X-None") is None


@pytest.mark.parametrize("scheme", ["fcgi", "uwsgi", "scgi"], indirect=True)
def test_variables_can_be_set(scheme: str, tmp_path: Path) -> None:
    with serving(show, scheme, str(tmp_path / "s")) as target:
        response = request(target, "/a/b", script_name="/a", params={"QUERY_STRING": "z"})
        assert response.header("X-Path") == "/a|/b"
        assert response.header("X-Query") == "z"
        response.close()


@pytest.mark.parametrize("application", [echo, deaf])
def test_big_bodies_both_ways_do_not_lock_up(scheme: str, address: str, application: Any) -> None:
    with serving(application, scheme, address) as target:
        response = request(target, "/", method="POST", body=BIG, timeout=DEADLINE)
        assert response.body == BIG


def test_head_has_no_body(scheme: str, tmp_path: Path) -> None:
    with serving(show, scheme, str(tmp_path / "s")) as target:
        response = request(target, "/", method="HEAD")
        assert (response.status, response.body) == (201, b"")


def test_a_response_streams(scheme: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        os.read(reading, 1)  # until the client has it
        yield b"second"

    with serving(slow, scheme, str(tmp_path / "s")) as target:
        pieces = iter(request(target))
        assert next(pieces) == b"first"
        os.write(writing, b"x")
        assert b"".join(pieces) == b"second"
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("scheme", ["fcgi", "http"], indirect=True)
def test_connections_are_kept(scheme: str, address: str) -> None:
    with serving(show, scheme, address) as target, Client(target) as client:
        for number in range(5):
            response = client.request(f"/{number}", method="PUT", body=b"x" * number)
            assert response.header("X-Path") == f"|/{number}"
            assert response.body == b"x" * number
        assert client.connections_opened == 1
        client.request("/").close()  # its body is not read, so its connection is of no more use
        assert client.request("/").body == b""
        assert client.connections_opened == 2


def test_text_for_the_error_log_is_kept_apart(tmp_path: Path) -> None:
    def complains(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.errors"].write("oops \u00e9\n")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    with serving(complains, "fcgi", str(tmp_path / "s")) as target:
        response = request(target)
        assert response.body == b"ok"
        assert response.errors == "oops \u00e9\n"
        assert response.take_errors() == "oops \u00e9\n"
        assert response.take_errors() == ""


def test_a_response_that_breaks_off_is_an_error(scheme: str, tmp_path: Path) -> None:
    def breaks(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
        yield b"abc"
        raise ValueError("oops")

    with serving(breaks, scheme, str(tmp_path / "s")) as target:
        response = request(target)
        with pytest.raises(ConnectionLost):
            _ = response.body


# Servers that do what ours does not

OK = (
    pack_record(FCGI_STDOUT, 1, b"Status: 200 OK\r\n\r\nok")
    + pack_record(FCGI_STDOUT, 1)
    + pack_record(FCGI_END_REQUEST, 1, bytes(8))
)
END_OF_STDIN = b"\x01\x05\x00\x01\x00\x00\x00\x00"


def test_a_kept_connection_that_was_closed_is_replaced(tmp_path: Path) -> None:
    once = answer(OK, until=END_OF_STDIN)
    with Answering(tmp_path / "s", [once, once]) as server, Client(f"fcgi:{server.path}") as client:
        assert client.request("/1").body == b"ok"
        eventually(lambda: not client._idle[0].is_idle(), "the server's close")
        # Seen to be closed before anything is sent, so that even this can go to a new one.
        assert client.request("/2", method="POST").body == b"ok"
    assert client.connections_opened == 2


@pytest.mark.parametrize(
    ("method", "body", "again"),
    [("GET", b"", True), ("PUT", b"x", True), ("PUT", [b"x"], False), ("POST", b"x", False)],
)
def test_a_request_is_sent_again_only_where_that_does_no_harm(
    tmp_path: Path, method: str, body: Any, again: bool
) -> None:
    def takes_and_closes(connection: socket.socket) -> bytes:
        heard = answer(OK, until=END_OF_STDIN)(connection)
        # The second request arrives on the open connection, and is not answered.
        return heard + answer(until=END_OF_STDIN)(connection)

    handlers = [takes_and_closes, answer(OK, until=END_OF_STDIN)]
    with Answering(tmp_path / "s", handlers) as server, Client(f"fcgi:{server.path}") as client:
        assert client.request("/1").body == b"ok"
        if again:
            assert client.request("/2", method=method, body=body).body == b"ok"
        else:
            with pytest.raises(ConnectionLost):
                client.request("/2", method=method, body=body)
    assert client.connections_opened == 1 + again


def test_an_answer_is_read_while_the_body_waits_to_be_sent(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG)
    with Answering(tmp_path / "s", [answer(head, BIG)]) as server:
        response = request(f"http:{server.path}", method="PUT", body=BIG, timeout=DEADLINE)
        assert response.body == BIG


def test_an_early_answer_ends_the_sending(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    with Answering(tmp_path / "s", [answer(refusal)]) as server:
        with Client(f"http:{server.path}") as client:
            response = client.request("/", method="POST", body=BIG)
            assert (response.status, response.body) == (413, b"no")
            assert client._idle == []


@pytest.mark.parametrize(
    ("scheme", "answers", "message"),
    [
        ("fcgi", b"HTTP/1.1 400 Bad Request\r\n\r\n", "try http:"),
        ("http", OK, "try fcgi:"),
        ("uwsgi", OK, "try fcgi:"),
        ("fcgi", b"", "does it speak FastCGI?"),
        ("scgi", b"Status: 200", "in the middle of the response's head"),
    ],
)
def test_a_peer_of_another_protocol_is_named(
    tmp_path: Path, scheme: str, answers: bytes, message: str
) -> None:
    with Answering(tmp_path / "s", [answer(answers)]) as server:
        with pytest.raises(ClientError) as caught:
            request(f"{scheme}:{server.path}")
    assert message in str(caught.value)


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with Answering(tmp_path / "s", [answer(drain=True)]) as server:
        with pytest.raises(ClientTimeout, match=r"0\.05 seconds") as caught:
            request(f"fcgi:{server.path}", timeout=0.05)
    assert caught.value.status == 504


def test_nobody_accepts(tmp_path: Path) -> None:
    target = parse_target(f"fcgi:{tmp_path / 's'}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(target.file)
        listener.listen(0)
        with contextlib.closing(connect(target, 0.05)), pytest.raises(ClientTimeout):
            connect(target, 0.05)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "there is no such file"),
        ("file", "no socket"),
        ("left", "its server has ended"),
        ("x" * 200, "too long"),
    ],
)
def test_what_cannot_be_connected_to_is_explained(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    with pytest.raises(ConnectError) as caught:
        request(f"fcgi:{tmp_path / name}")
    assert message in str(caught.value)


def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError, match="nothing listens there"):
            request(f"fcgi:127.0.0.1:{free.getsockname()[1]}")


def test_abstract_sockets() -> None:
    with pytest.raises(ConnectError, match="nothing listens there"):
        request(f"fcgi:@gateways-test-{os.getpid()}")
