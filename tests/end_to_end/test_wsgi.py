"""What of PEP 3333 can be seen from the web server's side, over real sockets."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.client import DEADLINE, Client, ask
from tests.end_to_end.conftest import Serve

TEXT = ("Content-Type", "text/plain")


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT])
    return [b"hello"]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT])
    return [environ["wsgi.input"].read()]


def test_a_whole_response(serve: Serve) -> None:
    answer = ask(serve(hello))
    assert answer.head() == [("Status", "200 OK"), TEXT, ("Content-Length", "5")]
    assert answer.body == b"hello"
    assert answer.complete
    assert (answer.app_status, answer.protocol_status, answer.stderr) == (0, 0, "")


def test_w1_the_environ_is_what_the_web_server_said(serve: Serve) -> None:
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        return hello(environ, start_response)

    ask(serve(application), {"HTTP_X_NAME": "caf\xe9", "REMOTE_USER": "", "SERVER_NAME": "_"})
    (environ,) = seen
    assert type(environ) is dict
    assert environ["REQUEST_METHOD"] == "GET"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/page")
    assert environ["HTTP_X_NAME"] == "caf\xe9"
    assert environ["SERVER_NAME"] == "example.test"
    assert "REMOTE_USER" not in environ
    assert environ["wsgi.input_terminated"] is True
    assert environ["wsgi.multithread"] in (True, False)
    assert environ["wsgi.multiprocess"] is environ["wsgi.run_once"] is False


def test_w2_multithread_says_whether_it_is(serve: Serve, request: pytest.FixtureRequest) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [str(environ["wsgi.multithread"]).encode()]

    threads = request.node.callspec.params["serve"][1]
    assert ask(serve(application)).body == str(threads > 1).encode()


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 1_000_000])
def test_w3_a_body_of_any_size_is_read_to_its_end(serve: Serve, size: int) -> None:
    body = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    assert ask(serve(echo), body=body).body == body


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda s: [s.read(3), s.read(0), s.read(100), s.read(100)], "abc||\nde\nf|"),
        (lambda s: [s.read(), s.read(), s.read(5)], "abc\nde\nf||"),
        (lambda s: [s.read(None), s.read(-1)], "abc\nde\nf|"),
        (lambda s: [s.readline(), s.readline(), s.readline(), s.readline()], "abc\n|de\n|f|"),
        (lambda s: [s.readline(2), s.readline(2), s.readline(99)], "ab|c\n|de\n"),
        (lambda s: s.readlines(), "abc\n|de\n|f"),
        (lambda s: s.readlines(1), "abc\n"),
        (lambda s: list(s), "abc\n|de\n|f"),
    ],
)
def test_w3_a_body_may_be_read_in_any_way(serve: Serve, read: Any, expected: str) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"|".join(read(environ["wsgi.input"]))]

    assert ask(serve(application), body=b"abc\nde\nf").body.decode() == expected


def test_w5_the_head_waits_for_the_first_bytes(serve: Serve) -> None:
    go_on = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b""
        start_response("503 Sorry", [TEXT], (ValueError, ValueError(), None))
        yield b"first"
        assert go_on.wait(DEADLINE)

    with Client(serve(application)) as client:
        client.send()
        answer = client.read_until(b"first")
        assert answer.status == "503 Sorry"
        go_on.set()


@pytest.mark.parametrize("how", ["yield", "write"])
def test_w8_each_chunk_arrives_before_the_next_is_made(serve: Serve, how: str) -> None:
    arrived = [threading.Event() for _ in range(5)]

    def chunks() -> Iterator[bytes]:
        for number, event in enumerate(arrived):
            yield f"chunk {number}.".encode()
            assert event.wait(DEADLINE), "the chunk did not arrive"

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", [TEXT])
        if how == "yield":
            return chunks()
        for chunk in chunks():
            write(chunk)
        return []

    with Client(serve(application)) as client:
        client.send()
        for number, event in enumerate(arrived):
            client.read_until(f"chunk {number}.".encode())
            event.set()
        assert client.answer().complete


def test_w8_what_is_written_comes_first(serve: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        write(b"written ")
        return [b"returned"]

    answer = ask(serve(application))
    assert answer.body == b"written returned"
    assert answer.header("Content-Length") is None


class Closing:
    """A response that tells when it was closed; it is endless if it is not told otherwise."""

    def __init__(self, chunks: Any = None) -> None:
        self._chunks = chunks
        self.closed = threading.Semaphore(0)
        self.times = 0

    def __iter__(self) -> Iterator[bytes]:
        if self._chunks is not None:
            yield from self._chunks
            return
        while True:
            yield b"x" * 10_000

    def close(self) -> None:
        """Count."""
        self.times += 1
        self.closed.release()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Closing:
        start_response("200 OK", [TEXT])
        return self

    def wait(self) -> int:
        """How often it was closed, once it was."""
        assert self.closed.acquire(timeout=DEADLINE), "close() was never called"
        return self.times


@pytest.mark.parametrize("keep", [True, False])
def test_w9_close_is_called_once_when_the_client_leaves(serve: Serve, keep: bool) -> None:
    response = Closing()
    address = serve(response)
    with Client(address) as client:
        client.send(keep=keep)
        client.read_until(b"xxxx")
    assert response.wait() == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_w9_close_is_called_once_at_the_end(serve: Serve, method: str) -> None:
    response = Closing([b"a", b"b"])
    assert ask(serve(response), {"REQUEST_METHOD": method}).complete
    assert response.wait() == 1


@pytest.mark.parametrize("keep", [True, False])
def test_w10_a_response_that_is_too_short_is_seen_to_be(serve: Serve, keep: bool) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        return [b"short"]

    with Client(serve(application)) as client:
        client.send(keep=keep)
        answer = client.answer()
    assert answer.body == b"short"
    assert not answer.complete
    assert "5 bytes less than its Content-Length" in answer.stderr


def test_w10_a_response_that_is_too_long_is_cut(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        return [b"abc", b"def", b"ghi"]

    with Client(serve(application)) as client:
        for _ in range(2):  # the connection is as good as before
            client.send()
            answer = client.answer()
            assert answer.body == b"abcd"
            assert answer.complete
    cut = [record for record in caplog.records if "Content-Length" in record.getMessage()]
    assert len(cut) == 2


def test_w10_work_after_the_last_yield_delays_nobody(serve: Serve) -> None:
    answered = threading.Event()
    done = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        yield b"hello"
        if answered.wait(DEADLINE):
            done.set()

    assert ask(serve(application)).complete
    answered.set()
    assert done.wait(DEADLINE)


@pytest.mark.parametrize(
    ("status", "returned"),
    [("204 No Content", []), ("304 Not Modified", []), ("304 Not Modified", [b"body"])],
)
def test_a_status_without_a_body_has_none(serve: Serve, status: str, returned: list[bytes]) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [("ETag", '"1"')])
        return returned

    answer = ask(serve(application))
    assert answer.head() == [("Status", status), ("ETag", '"1"')]
    assert answer.body == b""
    assert answer.complete


def test_head_is_get_without_its_body(serve: Serve) -> None:
    address = serve(hello)
    answer = ask(address, {"REQUEST_METHOD": "HEAD"})
    assert answer.head() == ask(address).head()
    assert answer.body == b""


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_w15_a_file_is_sent_and_closed(serve: Serve, tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * (size // 10))
    files: list[io.BufferedReader] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [TEXT, ("Content-Length", str(size))])
        files.append(path.open("rb"))
        return environ["wsgi.file_wrapper"](files[0], 4096)

    with Client(serve(application)) as client:
        client.send()
        answer = client.answer()
        assert answer.body == path.read_bytes()
        assert answer.complete
        client.send({"REQUEST_METHOD": "HEAD"})  # the first request is over when this is served
        assert client.answer().body == b""
    for file in files:
        file.close()


def test_w17_cookies_stay_apart_and_in_order(serve: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Set-Cookie", "b=1"), TEXT, ("Set-Cookie", "a=2")])
        return [b""]

    head = ask(serve(application)).head()
    assert [value for name, value in head if name == "Set-Cookie"] == ["b=1", "a=2"]


def test_many_requests_on_one_connection_and_on_many(serve: Serve) -> None:
    address = serve(echo)
    with Client(address) as one, Client(address) as other:
        for number in range(50):
            body = str(number).encode() * number
            length = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body))}
            one.send(length, body)
            other.send(length, body)
            assert one.answer().body == other.answer().body == body


def test_w3_complaints_reach_the_web_server_and_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        print("first", "line", file=environ["wsgi.errors"])
        environ["wsgi.errors"].writelines(["caf\xe9 \u20ac \ud800\n", "partial"])
        return hello(environ, start_response)

    answer = ask(serve(application))
    assert answer.stderr == "first line\ncaf\xe9 \u20ac \\ud800\npartial\n"
    assert answer.body == b"hello"
    ours = [record for record in caplog.records if record.name == "gateways.application"]
    assert [record.getMessage() for record in ours] == [
        "first line",
        "caf\xe9 \u20ac \ud800",
        "partial",
    ]


def test_w3_complaints_leave_while_the_response_is_being_made(serve: Serve) -> None:
    seen = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        environ["wsgi.errors"].write("early\n")
        yield b"first"
        assert seen.wait(DEADLINE)
        yield b"last"

    with Client(serve(application)) as client:
        client.send()
        answer = client.read_until(b"first")
        assert answer.stderr == "early\n"
        seen.set()
        assert client.answer().stdout == b"last"
