"""Bodies and responses larger than any buffer, and peers that read and write as they like."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from gateways.protocols.records import pack_stream
from tests.core.serving import DEADLINE, POLLERS, LogLines, Peer, eventually, serving
from tests.protocols.vectors import begin, params, request, stdin

MEBI = 1 << 20
POST = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "SCRIPT_NAME": ""}


def post(length: int) -> dict[str, str]:
    return {**POST, "CONTENT_LENGTH": str(length)}


def send_body(peer: Peer, length: int, piece: bytes = bytes(65536), request_id: int = 1) -> None:
    """A body of ``length`` bytes as STDIN records, ended."""
    for at in range(0, length, len(piece)):
        out: list[Any] = []
        pack_stream(5, request_id, piece[: length - at], out)
        for buffer in out:
            peer.send(bytes(buffer))
    peer.send(stdin(request_id, b""))


def ignores_and_answers(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Reads nothing and answers 10 MB."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [b"x" * (10 * MEBI)]


def ignores_and_streams(environ: dict[str, Any], start_response: Any) -> Any:
    """Reads nothing and streams 10 MB."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (b"x" * 65536 for _ in range(160))


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("app", [ignores_and_answers, ignores_and_streams])
@pytest.mark.parametrize("tcp", [False, True])
def test_a_peer_that_writes_everything_before_it_reads_is_no_deadlock(
    tmp_path: Path, poller: str, keep: bool, app: Any, tcp: bool
) -> None:
    with serving(app, tmp_path, poller=poller, tcp=tcp, threads=1) as served:
        with served.connect() as peer:
            peer.send(begin(1, keep=keep) + params(1, post(10 * MEBI)))
            send_body(peer, 10 * MEBI)
            reply = peer.reply()
            assert len(reply.stdout.partition(b"\r\n\r\n")[2]) == 10 * MEBI
            if not keep:
                assert peer.is_closed()


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_streams_to_its_reader(tmp_path: Path, poller: str, declared: bool) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        digest = hashlib.sha256()
        while data := environ["wsgi.input"].read(50_000):
            digest.update(data)
        start_response("200 OK", [])
        return [digest.hexdigest().encode()]

    piece = bytes(range(256)) * 128
    with serving(app, tmp_path, poller=poller, threads=1) as served, served.connect() as peer:
        peer.send(begin(1) + params(1, post(20 * MEBI) if declared else POST))
        send_body(peer, 20 * MEBI, piece)
        reply = peer.reply()
    expected = hashlib.sha256(piece * (20 * MEBI // len(piece))).hexdigest()
    assert reply.stdout.endswith(expected.encode())


def test_a_small_slow_upload_holds_no_thread(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    with serving(app, tmp_path, threads=1) as served:
        with served.connect() as slow, served.connect() as quick:
            slow.send(begin(1) + params(1, post(6)) + stdin(1, b"abc")[:-8])
            quick.send(request(1, POST))
            assert quick.reply().stdout.startswith(b"Status: 200")
            slow.send(stdin(1, b"def"))
            assert slow.reply().stdout.endswith(b"abcdef")


def test_a_body_cut_short_is_an_error_to_its_reader(tmp_path: Path) -> None:
    errors: list[OSError] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            errors.append(error)
            raise
        return []

    with serving(app, tmp_path) as served, served.connect() as peer:
        peer.send(begin(1) + params(1, post(10)) + stdin(1, b"abc"))
        assert peer.reply().stdout.startswith(b"Status: 400")
    assert str(errors[0]) == "the request body ended after 3 of 10 bytes"


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_answered_413(tmp_path: Path, declared: bool) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return []

    with LogLines() as log, serving(app, tmp_path, max_body_bytes=1000) as served:
        with served.connect() as peer:
            peer.send(begin(1) + params(1, post(2000) if declared else POST))
            peer.send(stdin(1, bytes(2000)))
            assert peer.reply().stdout.startswith(b"Status: 413 ")
            peer.send(request(2, POST))
            assert peer.replies(2)[2].stdout.startswith(b"Status: 200")
    assert any("--max-body allows 1000" in text for text in log.texts(30))


@pytest.mark.parametrize("poller", POLLERS)
def test_a_slow_reader_of_a_finished_response_holds_no_thread(tmp_path: Path, poller: str) -> None:
    with serving(ignores_and_answers, tmp_path, poller=poller, threads=1) as served:
        with served.connect() as slow, served.connect() as quick:
            slow.send(request(1, POST))
            slow.received += slow.sock.recv(100)
            quick.send(request(1, POST))
            assert len(quick.reply().stdout) > 10 * MEBI
            assert len(slow.reply().stdout) > 10 * MEBI


def test_a_response_in_the_making_waits_for_its_reader(tmp_path: Path) -> None:
    produced = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        for number in range(200):
            produced.append(number)
            yield bytes(65536)

    with serving(app, tmp_path, threads=1) as served, served.connect() as peer:
        peer.send(request(1, POST))
        eventually(lambda: produced)
        worker = served.server._workers[0]
        eventually(lambda: worker.connection is not None and worker.connection.unsent > 65536)
        assert len(produced) < 100
        assert len(peer.reply().stdout) > 200 * 65536


def test_the_kernel_takes_more_of_a_long_response(tmp_path: Path) -> None:
    """Of its own accord it does so for TCP alone."""

    def room() -> int:
        (connection,) = served.server.connections
        (fd,) = [at for at, each in served.server.handlers.items() if each is connection]
        with socket.socket(fileno=os.dup(fd)) as end:
            return end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [bytes(int(environ["CONTENT_LENGTH"]))]

    with serving(app, tmp_path) as served, served.connect() as peer:
        peer.send(begin(1) + params(1, post(1000)) + stdin(1, bytes(1000)) + stdin(1, b""))
        assert peer.reply().stdout.endswith(bytes(1000))
        usual = room()
        peer.send(begin(2) + params(2, post(MEBI)))
        send_body(peer, MEBI, request_id=2)
        assert peer.replies(2)[2].stdout.endswith(bytes(MEBI))
        most = int(Path("/proc/sys/net/core/wmem_max").read_text())
        assert room() == max(usual, 2 * min(most, 212992))


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("tcp", [False, True])
def test_an_unread_body_does_not_cost_the_response(tmp_path: Path, poller: str, tcp: bool) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [])
        return [b"no"]

    with serving(app, tmp_path, poller=poller, tcp=tcp) as served, served.connect() as peer:
        peer.send(begin(1, keep=False) + params(1, post(5 * MEBI)))
        send_body(peer, 5 * MEBI)  # a close with unread bytes would fail this with a reset
        assert peer.reply().stdout.endswith(b"no")
        peer.sock.shutdown(socket.SHUT_WR)
        assert peer.is_closed()


def test_a_lingering_close_comes_to_an_end(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    with serving(app, tmp_path, linger_timeout_seconds=0.1) as served, served.connect() as peer:
        peer.send(begin(1, keep=False) + params(1, post(MEBI)) + stdin(1, bytes(70_000))[:-8])
        assert peer.reply().stdout.endswith(b"ok")
        eventually(lambda: served.connections() == 0)


def test_memory_stays_flat_while_a_gigabyte_goes_in_and_out(tmp_path: Path) -> None:
    gigabyte = 1 << 30

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        received = 0
        while data := environ["wsgi.input"].read(65536):
            received += len(data)
        start_response("200 OK", [("X-Received", str(received))])
        piece = bytes(65536)
        return (piece for _ in range(gigabyte // len(piece)))

    with serving(app, tmp_path, threads=1) as served, served.connect() as peer:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        received = [0, b""]

        def drain() -> None:
            while data := peer.sock.recv(MEBI):
                if not received[1]:
                    received[1] = data[:200]
                received[0] += len(data)  # type: ignore[operator]

        reader = threading.Thread(target=drain)
        peer.send(begin(1, keep=False) + params(1, post(gigabyte)))
        reader.start()
        send_body(peer, gigabyte)
        reader.join(DEADLINE * 3)
        assert b"X-Received: 1073741824" in received[1]  # type: ignore[operator]
        assert received[0] > gigabyte  # type: ignore[operator]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 30 * 1024  # KiB


@pytest.mark.parametrize("poller", POLLERS)
def test_who_reads_after_the_response_has_ended_finds_the_end_of_the_body(
    tmp_path: Path, poller: str
) -> None:
    errors: list[OSError] = []

    class Drains(list[bytes]):
        def __init__(self, environ: dict[str, Any]) -> None:
            super().__init__([b"ok"])
            self.environ = environ

        def close(self) -> None:
            try:
                self.environ["wsgi.input"].read()
            except OSError as error:
                errors.append(error)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return Drains(environ)

    with serving(app, tmp_path, poller=poller, threads=1) as served, served.connect() as peer:
        peer.send(begin(1) + params(1, post(200_000)) + stdin(1, bytes(100_000))[:-8])
        assert peer.reply().body == b"ok"
        peer.send(stdin(1, bytes(100_000)))
        peer.send(request(2, {**POST, "CONTENT_LENGTH": "0"}))
        assert peer.replies(2)[2].body == b"ok"
    assert "response ended before" in str(errors[0])
