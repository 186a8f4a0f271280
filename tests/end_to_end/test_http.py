"""HTTP over real sockets: the standard library's client, and raw bytes where that is too polite."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from gateways.config import Config
from gateways.core.listener import tcp_listener
from gateways.wsgi.runner import Application, StartResponse
from tests.end_to_end.client import DEADLINE
from tests.end_to_end.conftest import POLLERS, running

pytest.importorskip("httptools")

Environ = dict[str, Any]
Serve = Callable[..., tuple[str, int]]

MEGABYTES_10 = 10 << 20
PIECE = bytes(range(256)) * 256


@pytest.fixture(params=[("epoll", 1), ("epoll", 4), ("select", 4)], ids=str)
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """``serve(application, **options)`` starts a server and returns its address."""
    poller, threads = request.param
    with contextlib.ExitStack() as stack:

        def start(application: Application, **options: Any) -> tuple[str, int]:
            config = Config(threads=threads, graceful_timeout_seconds=DEADLINE, **options)
            listener = tcp_listener("127.0.0.1", 0, 128)
            listener.protocol = "http"
            address = stack.enter_context(running(application, POLLERS[poller](), listener, config))
            assert isinstance(address, tuple)
            return address

        yield start


@contextlib.contextmanager
def connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    """A raw connection."""
    with socket.create_connection(address, DEADLINE) as sock:
        yield sock


def client(address: tuple[str, int]) -> contextlib.closing[http.client.HTTPConnection]:
    """The standard library's client."""
    return contextlib.closing(http.client.HTTPConnection(*address, timeout=DEADLINE))


def read_all(sock: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while data := sock.recv(1 << 16):
        received += data
    return received


def read_until(sock: socket.socket, end: bytes) -> bytes:
    """Everything up to ``end``, which must be the last that has been sent."""
    received = b""
    while not received.endswith(end):
        data = sock.recv(1 << 16)
        assert data, f"closed after {received[-200:]!r}"
        received += data
    return received


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The body, or without one the path."""
    body = environ["wsgi.input"].read() or environ["PATH_INFO"].encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


def streamed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The body piece by piece, and of unknown length."""
    start_response("200 OK", [])
    return iter(lambda: environ["wsgi.input"].read(65536), b"")


def test_a_connection_is_kept(serve: Serve) -> None:
    with client(serve(echo)) as connection:
        ports = set()
        for path in ("/a", "/b", "/c"):
            connection.request("GET", path)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, path.encode())
            assert response.getheader("Content-Length") == "2"
            assert response.getheader("Date", "").endswith(" GMT")
            ports.add(connection.sock.getsockname())
        assert len(ports) == 1


def test_connection_close_is_honoured(serve: Serve) -> None:
    with connected(serve(echo)) as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
        assert body == b"/x"
        assert b"\r\nConnection: close" in head


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    with connected(serve(echo)) as sock:
        requests = [
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n<%04d>" % number
            for number in range(200)
        ]
        last = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        sock.sendall(b"".join(requests) + last)
        received = read_all(sock)
    assert received.count(b"HTTP/1.1 200 OK") == 201
    positions = [received.index(b"<%04d>" % number) for number in range(200)]
    assert positions == sorted(positions)
    assert received.endswith(b"/end")


def test_chunked_both_ways(serve: Serve) -> None:
    with client(serve(streamed)) as connection:
        for _ in range(2):
            connection.request("POST", "/", iter([b"some", b"more", b""]), encode_chunked=True)
            response = connection.getresponse()
            assert response.getheader("Transfer-Encoding") == "chunked"
            assert response.read() == b"somemore"


def test_a_response_of_unknown_length_to_http_1_0_ends_with_the_connection(serve: Serve) -> None:
    with connected(serve(streamed)) as sock:
        sock.sendall(b"POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody")
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
        assert body == b"body"
        assert b"Transfer-Encoding" not in head


def test_the_client_is_told_to_continue_when_its_body_is_read(serve: Serve) -> None:
    with connected(serve(echo)) as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"body")
        assert b"200 OK" in read_until(sock, b"body")


def test_the_client_is_not_told_to_continue_when_nobody_reads(serve: Serve) -> None:
    def refusing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("403 Forbidden", [])
        return [b"no"]

    with connected(serve(refusing)) as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        received = read_all(sock)
        assert received.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"Connection: close" in received


def test_a_stream_arrives_event_by_event(serve: Serve) -> None:
    seen = threading.Semaphore(0)

    def events(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        for number in range(5):
            yield b"data: %d\n\n" % number
            assert seen.acquire(timeout=DEADLINE)  # no further before the client has seen this one

    with client(serve(events)) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
        for number in range(5):
            assert response.readline() == b"data: %d\n" % number
            assert response.readline() == b"\n"
            seen.release()
        assert response.read() == b""


def test_head_has_no_body_and_the_connection_goes_on(serve: Serve) -> None:
    with client(serve(echo)) as connection:
        connection.request("HEAD", "/path")
        response = connection.getresponse()
        assert response.getheader("Content-Length") == "5"
        assert response.read() == b""
        connection.request("GET", "/next")
        assert connection.getresponse().read() == b"/next"


@pytest.mark.parametrize("chunked", [False, True])
def test_10_mb_both_ways_at_once(serve: Serve, chunked: bool) -> None:
    body = PIECE * (MEGABYTES_10 // len(PIECE))
    with client(serve(streamed)) as connection:
        sent: Any = io.BytesIO(body) if chunked else body
        # The client sends everything before it reads anything.
        connection.request("POST", "/", sent, encode_chunked=chunked)
        assert connection.getresponse().read() == body


def test_10_mb_that_nobody_reads_and_10_mb_that_are_answered(serve: Serve) -> None:
    body = PIECE * (MEGABYTES_10 // len(PIECE))

    def ignoring(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with client(serve(ignoring)) as connection:
        connection.request("POST", "/", body)
        assert connection.getresponse().read() == body


def test_a_large_body_that_is_refused_does_not_reset_the_response(serve: Serve) -> None:
    with client(serve(echo, max_body_bytes=1000)) as connection:
        # 2 MB are less than the socket buffers hold, but the server reads none of it for itself.
        connection.request("POST", "/", PIECE * 32)
        response = connection.getresponse()
        assert response.status == 413
        assert response.getheader("Connection") == "close"
        assert b"larger" in response.read()


def test_a_bad_request_is_answered_and_closed(serve: Serve) -> None:
    with connected(serve(echo)) as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        received = read_all(sock)
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert received.count(b"HTTP/1.1") == 1


def test_bad_chunks_are_answered_400(serve: Serve) -> None:
    with connected(serve(echo)) as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"
        )
        assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_client_that_sends_byte_by_byte(serve: Serve) -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\n\r\n"
    with connected(serve(echo)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])
        assert read_until(sock, b"slow").startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_half_close_gets_its_answer(serve: Serve) -> None:
    with connected(serve(echo)) as sock:
        sock.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        received = read_all(sock)
    assert received.count(b"200 OK") == 2
    assert received.endswith(b"/2")


def test_an_application_that_fails_in_a_stream_is_seen_to(serve: Serve) -> None:
    def failing(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"some"
        raise ValueError("on purpose")

    with client(serve(failing)) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_the_environ_is_that_of_a_cgi_request(serve: Serve) -> None:
    seen: list[Environ] = []

    def looking(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(dict(environ))
        return echo(environ, start_response)

    address = serve(looking)
    with client(address) as connection:
        connection.request("GET", "/a%20b?c=d", headers={"X-Forwarded-For": "192.0.2.7"})
        connection.getresponse().read()
    environ = seen[0]
    assert environ["REMOTE_ADDR"] == "192.0.2.7"  # loopback peers are believed
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["SERVER_PORT"] == str(address[1])
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/a b")
    assert environ["wsgi.url_scheme"] == "http"
