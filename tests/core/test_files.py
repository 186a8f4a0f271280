"""Files as response bodies: what the kernel sends by itself, and what becomes of it on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.protocols.encoders import encode_scgi_head, encode_uwsgi_head
from tests.core.serving import POLLERS, LogLines, Peer, Serving, eventually, serving
from tests.end_to_end.applications import FILES
from tests.protocols.vectors import replies, request

MEBI = 1 << 20
CONTENT = random.Random(2).randbytes(3 * MEBI + 12345)
GET = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/"}
REQUESTS = {
    "fcgi": request(1, GET, keep=False),
    "uwsgi": encode_uwsgi_head(GET.items()),
    "scgi": encode_scgi_head([("CONTENT_LENGTH", "0"), ("SCGI", "1"), *GET.items()]),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}

protocols = pytest.mark.parametrize("protocol", REQUESTS)
pollers = pytest.mark.parametrize("poller", POLLERS)


def body_of(received: bytes, protocol: str) -> bytes:
    """The body of a response that came to its end."""
    if protocol == "fcgi":
        received = replies(received)[1].stdout
    head, _, body = received.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    content = b""
    while size := int(body[: body.index(b"\r\n")], 16):
        start = body.index(b"\r\n") + 2
        content += body[start : start + size]
        assert body[start + size : start + size + 2] == b"\r\n"
        body = body[start + size + 2 :]
    return content


def ask(served: Serving, protocol: str) -> bytes:
    """All that comes until the server closes."""
    with served.connect() as peer:
        peer.send(REQUESTS[protocol])
        assert peer.is_closed()
        return bytes(peer.received)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with ``CONTENT``."""
    made = tmp_path / "file"
    made.write_bytes(CONTENT)
    return made


class Application:
    """Sends the file at ``path``; notes how often it was closed."""

    def __init__(
        self,
        path: Path,
        length: int | None = None,
        kind: str = "buffered",
        status: str = "200 OK",
    ) -> None:
        self.path = path
        self.status = status
        self.headers = [] if length is None else [("Content-Length", str(length))]
        self.kind = kind
        self.closed = 0
        self.file: Any = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer."""
        start_response(self.status, self.headers)
        self.file = FILES[self.kind](str(self.path))
        wrapper = environ["wsgi.file_wrapper"](self.file)
        close = wrapper.close

        def counted() -> None:
            self.closed += 1
            close()

        wrapper.close = counted
        return wrapper


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each call of sendfile took."""
    real = os.sendfile
    sizes: list[int] = []

    def counting(*arguments: Any) -> int:
        sizes.append(real(*arguments))
        return sizes[-1]

    monkeypatch.setattr(os, "sendfile", counting)
    return sizes


@protocols
@pollers
@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_kernel_sends_nearly_all_of_a_file(
    tmp_path: Path,
    path: Path,
    handed: list[int],
    protocol: str,
    poller: str,
    declared: bool,
    tcp: bool,
) -> None:
    app = Application(path, len(CONTENT) if declared else None)
    with serving(app, tmp_path, poller=poller, tcp=tcp, threads=1, protocol=protocol) as served:
        assert body_of(ask(served, protocol), protocol) == CONTENT
        worker = served.server._workers[0]
        eventually(lambda: worker.served == 1, "the end of the request")
        assert (worker.sent, app.closed, app.file.closed) == (len(CONTENT), 1, True)
    assert len(CONTENT) - sum(handed) < 131072


@protocols
@pytest.mark.parametrize("kind", ["in memory", "a pipe", "compressed"])
def test_what_is_not_the_file_itself_is_read(
    tmp_path: Path, path: Path, handed: list[int], protocol: str, kind: str
) -> None:
    if kind == "compressed":
        import gzip

        path.write_bytes(gzip.compress(CONTENT, 0))
    with serving(Application(path, None, kind), tmp_path, protocol=protocol) as served:
        assert body_of(ask(served, protocol), protocol) == CONTENT
    assert handed == []


@protocols
def test_a_file_that_the_kernel_cannot_send_is_copied(
    tmp_path: Path, path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: Any) -> int:
        raise OSError(errno.EINVAL, "not with this file")

    monkeypatch.setattr(os, "sendfile", refuses)
    with serving(Application(path), tmp_path, protocol=protocol) as served:
        assert body_of(ask(served, protocol), protocol) == CONTENT


def begun(served: Serving, protocol: str) -> Peer:
    """A peer that has asked, has read the first bytes and reads no more."""
    peer = served.connect()
    peer.send(REQUESTS[protocol])
    peer.received += peer.sock.recv(1000)
    worker = served.server._workers[0]
    eventually(lambda: worker.connection is not None and worker.connection.self_polling, "a wait")
    return peer


def failures(lines: LogLines) -> list[str]:
    """What was logged as the application's fault."""
    return [
        f"{record.getMessage()}: {record.exc_info[1]}"
        for record in lines.records
        if record.name == "gateways.application" and record.exc_info
    ]


@protocols
@pytest.mark.parametrize("kept", [0, MEBI])
def test_a_file_that_becomes_shorter_is_an_error(
    tmp_path: Path, path: Path, protocol: str, kept: int
) -> None:
    app = Application(path, len(CONTENT))
    with (
        LogLines() as lines,
        serving(app, tmp_path, protocol=protocol, threads=1) as served,
        begun(served, protocol) as peer,
    ):
        os.truncate(path, kept)
        assert peer.is_closed()
        worker = served.server._workers[0]
        eventually(lambda: worker.served == 1, "the end of the request")
        assert (worker.errors, worker.aborted, app.closed) == (1, 0, 1)
        assert len(peer.received) < len(CONTENT)
    (failure,) = failures(lines)
    assert re.search("became shorter|less than its Content-Length", failure)
    assert protocol != "fcgi" or peer.received[-16:-14] != b"\1\3", "no end that is none"


@protocols
def test_a_file_that_becomes_longer_is_sent_up_to_its_new_end(
    tmp_path: Path, path: Path, protocol: str
) -> None:
    app = Application(path)
    with (
        serving(app, tmp_path, protocol=protocol, threads=1) as served,
        begun(served, protocol) as peer,
    ):
        with path.open("ab") as file:
            file.write(b"and more")
        assert peer.is_closed()
        assert body_of(bytes(peer.received), protocol) == CONTENT + b"and more"


@protocols
def test_the_file_may_be_closed_while_it_is_sent(tmp_path: Path, path: Path, protocol: str) -> None:
    app = Application(path)
    other = tmp_path / "other"
    other.write_bytes(bytes(len(CONTENT)))
    with (
        serving(app, tmp_path, protocol=protocol, threads=1) as served,
        begun(served, protocol) as peer,
    ):
        number = app.file.fileno()
        app.file.close()
        taken = os.open(other, os.O_RDONLY)
        try:
            assert taken == number, "another file has its descriptor now"
            assert peer.is_closed()
        finally:
            os.close(taken)
    assert bytes(100) not in peer.received


@protocols
def test_close_is_called_when_the_kernel_has_what_was_in_the_file(
    tmp_path: Path, path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.sendfile
    size = 983_040
    os.truncate(path, size)
    app = Application(path, size)
    done: list[int] = []  # at each call, how often the file had been closed
    hesitates = iter([True, False])

    def all_but_a_few(sock: int, file: int, offset: int, count: int) -> int:
        if offset + count == size and count <= 1000 and next(hesitates):
            raise BlockingIOError
        done.append(app.closed)
        return real(sock, file, offset, count - 1000 if count > 1000 else count)

    monkeypatch.setattr(os, "sendfile", all_but_a_few)
    with serving(app, tmp_path, protocol=protocol, threads=1) as served:
        assert body_of(ask(served, protocol), protocol) == CONTENT[:size]
        eventually(lambda: app.closed == 1)
    assert set(done) == {0}
    assert next(hesitates, None) is None


@protocols
def test_a_file_that_ends_where_a_piece_does_has_only_become_shorter(
    tmp_path: Path, path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing more was announced, so it is no other than a file that is read to its end."""
    real = os.sendfile
    piece = 983_040

    def shortens(sock: int, file: int, offset: int, count: int) -> int:
        sent = real(sock, file, offset, count)
        if offset + sent == piece:
            os.truncate(path, piece)
        return sent

    monkeypatch.setattr(os, "sendfile", shortens)
    # The next piece is announced when all of the last one is sent.
    options: dict[str, Any] = {"threads": 1, "write_buffer_bytes": 1}
    with serving(Application(path), tmp_path, protocol=protocol, **options) as served:
        assert body_of(ask(served, protocol), protocol) == CONTENT[:piece]


@protocols
def test_a_status_that_has_no_body_gets_none(
    tmp_path: Path, path: Path, handed: list[int], protocol: str
) -> None:
    app = Application(path, status="304 Not Modified")
    with serving(app, tmp_path, protocol=protocol, threads=1) as served:
        assert body_of(ask(served, protocol), protocol) == b""
        eventually(lambda: app.closed == 1)
    assert handed == []


@protocols
@pollers
def test_a_peer_that_leaves_ends_it(tmp_path: Path, path: Path, protocol: str, poller: str) -> None:
    app = Application(path, len(CONTENT))
    with (
        LogLines() as lines,
        serving(app, tmp_path, protocol=protocol, poller=poller, threads=1) as served,
    ):
        begun(served, protocol).sock.close()
        worker = served.server._workers[0]
        eventually(lambda: worker.served == 1, "the end of the request")
        assert (worker.errors, worker.aborted, app.closed) == (0, 1, 1)
    assert failures(lines) == []


@protocols
@pytest.mark.parametrize("option", ["timeout_streaming", "write_timeout_seconds"])
def test_a_peer_that_takes_nothing_is_given_up(
    tmp_path: Path, path: Path, protocol: str, option: str
) -> None:
    limits: dict[str, Any] = {"write_timeout_seconds": 0.2}
    if option == "timeout_streaming":
        limits = {"timeout_seconds": 0.2, "timeout_streaming": True}
    app = Application(path, len(CONTENT))
    with serving(app, tmp_path, protocol=protocol, threads=1, **limits) as served:
        with begun(served, protocol) as peer:
            worker = served.server._workers[0]
            eventually(lambda: worker.served == 1, "the end of the request")
            assert app.closed == 1
            assert peer.is_closed()
            assert len(peer.received) < len(CONTENT)
    assert (worker.errors, worker.aborted) == ((1, 0) if len(limits) == 2 else (0, 1))


def _descriptors_of(path: Path) -> int:
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{number}") == str(path)
    return found


@protocols
def test_descriptors_are_given_back(
    tmp_path: Path, path: Path, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Application(path), tmp_path, protocol=protocol, threads=1) as served:
        ask(served, protocol)
        with begun(served, protocol):
            assert _descriptors_of(path) == 2, "the application's and ours"
        eventually(lambda: served.server._workers[0].served == 2)
        caplog.clear()  # of the error, with all that its traceback holds
        assert _descriptors_of(path) == 0


def _file(environ: dict[str, Any], path: Path) -> Any:
    return environ["wsgi.file_wrapper"](path.open("rb"))


def _large_chunks(environ: dict[str, Any], path: Path) -> Iterator[bytes]:
    for _ in range(4):
        yield _CHUNK


_CHUNK = bytes(16 * MEBI)


@protocols
@pytest.mark.parametrize("make", [_file, _large_chunks])
def test_what_is_sent_is_not_copied(
    tmp_path: Path, protocol: str, make: Callable[[dict[str, Any], Path], Any]
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(len(_CHUNK) * 4)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return make(environ, path)

    with serving(app, tmp_path, protocol=protocol, threads=1) as served, served.connect() as peer:
        buffer = bytearray(MEBI)
        received = 0
        tracemalloc.start()
        try:
            peer.send(REQUESTS[protocol])
            while size := peer.sock.recv_into(buffer):
                received += size
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert received > len(_CHUNK) * 4
    assert peak < len(_CHUNK) // 8


def test_two_files_on_one_connection_stay_apart(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(len(CONTENT)))
    both = threading.Barrier(2)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        both.wait()
        return _file(environ, path if environ["PATH_INFO"] == "/" else other)

    with serving(app, tmp_path, threads=2) as served, served.connect() as peer:
        peer.send(request(1, GET) + request(2, {**GET, "PATH_INFO": "/other"}))
        answers = peer.replies(2)
    assert answers[1].body == CONTENT
    assert answers[2].body == bytes(len(CONTENT))
