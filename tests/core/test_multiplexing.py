"""Many requests at once: on one connection, on many, and on more than there are threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from gateways.protocols.records import FCGI_ABORT_REQUEST, pack_record
from tests.core.serving import DEADLINE, POLLERS, LogLines, eventually, serving
from tests.protocols.vectors import begin, params, request, stdin

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answers with its path and its body."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1") + b" " + body]


def body_of(stdout: bytes) -> bytes:
    return stdout.partition(b"\r\n\r\n")[2]


def interleaved(count: int) -> bytes:
    """``count`` requests with bodies, in records of one byte each, dealt out in turns."""
    streams = []
    for number in range(1, count + 1):
        variables = {**GET, "PATH_INFO": f"/{number}", "CONTENT_LENGTH": str(len(str(number)))}
        records = [begin(number)]
        encoded = params(number, variables, cut=1)
        size = len(pack_record(4, number, b"x"))
        records += [encoded[at : at + size] for at in range(0, len(encoded), size)]
        encoded = stdin(number, str(number).encode(), cut=1)
        records += [encoded[at : at + size] for at in range(0, len(encoded), size)]
        streams.append(records)
    turns = max(map(len, streams))
    return b"".join(
        records[turn] for turn in range(turns) for records in streams if turn < len(records)
    )


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("threads", [1, 4])
def test_two_hundred_interleaved_requests_get_their_own_answers(
    tmp_path: Path, poller: str, threads: int
) -> None:
    with serving(echo, tmp_path, poller=poller, threads=threads) as served:
        with served.connect() as peer:
            sender = threading.Thread(target=peer.send, args=(interleaved(200),))
            sender.start()
            answers = peer.replies(200)
            sender.join()
        assert {number: body_of(reply.stdout) for number, reply in answers.items()} == {
            number: f"/{number} {number}".encode() for number in range(1, 201)
        }


@pytest.mark.parametrize("poller", POLLERS)
def test_a_second_request_is_answered_while_the_first_one_runs(tmp_path: Path, poller: str) -> None:
    release = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/slow" and not release.wait(DEADLINE):
            return [b"late"]
        return [environ["PATH_INFO"].encode()]

    with serving(app, tmp_path, poller=poller, threads=2) as served:
        with served.connect() as peer:
            peer.send(request(1, {**GET, "PATH_INFO": "/slow"}))
            eventually(lambda: any(w.connection for w in served.server._workers))
            peer.send(request(2, {**GET, "PATH_INFO": "/quick"}))
            assert body_of(peer.replies(1)[2].stdout) == b"/quick"
            release.set()
            assert body_of(peer.replies(2)[1].stdout) == b"/slow"


@pytest.mark.parametrize("poller", POLLERS)
def test_connections_without_number_share_a_few_threads(tmp_path: Path, poller: str) -> None:
    with serving(echo, tmp_path, poller=poller, threads=2) as served:
        peers = [served.connect() for _ in range(300)]
        for number, peer in enumerate(peers):
            peer.send(request(1, {**GET, "PATH_INFO": f"/{number}"}))
        for number, peer in enumerate(peers):
            assert body_of(peer.reply().stdout) == b"/%d " % number
        for peer in peers:
            peer.sock.close()
        eventually(lambda: served.connections() == 0, "all connections closed")


@pytest.mark.parametrize("poller", POLLERS)
def test_an_aborted_request_learns_of_it_and_its_connection_goes_on(
    tmp_path: Path, poller: str
) -> None:
    seen: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/next":
            start_response("200 OK", [])
            return [b"next"]
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(str(error))
            raise
        return []

    with serving(app, tmp_path, poller=poller, threads=1) as served:
        with served.connect() as peer:
            peer.send(begin(1) + params(1, GET) + stdin(1, b"half", cut=4)[:-8])
            eventually(lambda: any(w.connection for w in served.server._workers))
            peer.send(pack_record(FCGI_ABORT_REQUEST, 1))
            assert peer.replies(1)[1].app_status == 0
            peer.send(request(2, {**GET, "PATH_INFO": "/next"}))
            assert body_of(peer.replies(2)[2].stdout) == b"next"
    assert seen == ["the web server aborted the request"]


@pytest.mark.parametrize("poller", POLLERS)
def test_a_peer_that_leaves_ends_a_response_that_runs_for_long(tmp_path: Path, poller: str) -> None:
    closed = threading.Event()
    left = threading.Event()

    class Ticks:
        def __iter__(self) -> Any:
            yield b"first"
            left.wait(DEADLINE)
            while True:
                yield b"more"

        def close(self) -> None:
            closed.set()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return Ticks()

    with LogLines() as log, serving(app, tmp_path, poller=poller, threads=1) as served:
        with served.connect() as peer:
            peer.send(request(1, GET))
            while b"first" not in peer.received:
                peer.received += peer.sock.recv(65536)
        left.set()
        assert closed.wait(DEADLINE)
        eventually(lambda: served.connections() == 0)
    assert log.texts(30) == []  # a client that leaves is nothing to warn of


def test_requests_beyond_the_queue_are_answered_503(tmp_path: Path) -> None:
    release = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        release.wait(DEADLINE)
        start_response("200 OK", [])
        return [b"ok"]

    with serving(app, tmp_path, threads=1, max_queued_requests=3) as served:
        with served.connect() as peer:
            peer.send(b"".join(request(number, GET) for number in range(1, 11)))
            release.set()
            answers = peer.replies(10)
    statuses = [answers[number].stdout.partition(b"\r\n")[0] for number in range(1, 11)]
    assert statuses.count(b"Status: 503 Service Unavailable") == 6
    assert statuses.count(b"Status: 200 OK") == 4


def test_without_multiplexing_the_second_request_is_refused(tmp_path: Path) -> None:
    with serving(echo, tmp_path, multiplex=False) as served, served.connect() as peer:
        peer.send(begin(1) + params(1, GET) + request(2, GET) + stdin(1, b""))
        answers = peer.replies(2)
    assert answers[2].protocol_status == 1
    assert answers[1].stdout.startswith(b"Status: 200")
