"""Applications that fail: what the visitor, the web server's error log and our log get to see."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.core.serving import eventually
from tests.end_to_end.client import DEADLINE, Client, ask
from tests.end_to_end.conftest import Serve

SECRET = "hunter2"


def fails(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ValueError(f"the <password> is {SECRET}")


def fails_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("X-Token", SECRET)])
    yield b""
    raise ValueError(f"the <password> is {SECRET}")


def exits(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise SystemExit(f"the <password> is {SECRET}")


def our_log(caplog: pytest.LogCaptureFixture) -> str:
    """What our log holds, tracebacks and all."""
    return "\n".join(
        caplog.handler.format(record)
        for record in caplog.records
        # The listener may rightly say that a web server could not enter pytest's folders.
        if record.levelno >= logging.WARNING and record.name != "gateways.listener"
    )


@pytest.mark.parametrize("application", [fails, fails_late, exits])
def test_a_failure_is_a_plain_page_for_the_visitor_and_a_traceback_for_both_logs(
    serve: Serve, caplog: pytest.LogCaptureFixture, application: Any
) -> None:
    with Client(serve(application)) as client:
        for _ in range(2):  # the connection and the thread are as good as before
            caplog.clear()
            client.send()
            answer = client.answer()
            assert answer.status == "500 Internal Server Error"
            assert answer.header("Content-Type") == "text/html; charset=utf-8"
            assert answer.header("Content-Length") == str(len(answer.body))
            assert b"<h1>Internal Server Error</h1>" in answer.body
            for secret in (SECRET, "password", "Traceback", "ValueError", __file__):
                assert secret.encode() not in answer.stdout
            assert answer.complete
            for log in (answer.stderr, our_log(caplog)):
                assert "GET '/page'" in log
                assert "Traceback (most recent call last)" in log
                assert f"the <password> is {SECRET}" in log


def test_a_debugging_server_shows_the_traceback(serve: Serve) -> None:
    page = ask(serve(fails, debug=True)).body.decode()
    assert "Traceback (most recent call last)" in page
    assert f"the &lt;password&gt; is {SECRET}" in page
    assert "<password>" not in page


def test_head_of_a_failure_has_no_body(serve: Serve) -> None:
    answer = ask(serve(fails), {"REQUEST_METHOD": "HEAD"})
    assert answer.code == 500
    assert answer.body == b""


@pytest.mark.parametrize("keep", [True, False])
def test_a_failure_in_the_middle_is_seen_as_one(serve: Serve, keep: bool) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"half"
        raise ValueError("broken")

    with Client(serve(application)) as client:
        client.send(keep=keep)
        answer = client.answer()
    assert answer.body == b"half"
    assert not answer.complete
    assert "ValueError: broken" in answer.stderr


@pytest.mark.parametrize(
    ("returned", "mistake"),
    [
        ("text", "the application returned str instead of an iterable of bytes"),
        (None, "the application returned NoneType instead of an iterable of bytes"),
        (["text"], "the response body holds a str, not bytes; encode it"),
    ],
)
def test_the_mistake_is_named(
    serve: Serve, caplog: pytest.LogCaptureFixture, returned: Any, mistake: str
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return returned

    answer = ask(serve(application))
    assert answer.code == 500
    assert mistake in answer.stderr
    assert mistake in our_log(caplog)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK\r\nSet-Cookie: forged=1", []),
        ("200 OK", [("X", "a\r\nSet-Cookie: forged=1")]),
        ("200 OK", [("X", "a\nSet-Cookie: forged=1")]),
        ("200 OK", [("X: a\r\nSet-Cookie", "forged=1")]),
        ("200 OK\r\n\r\nforged=1", []),
    ],
)
def test_a_header_cannot_be_forged(serve: Serve, status: str, headers: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, headers)
        return [b"x"]

    answer = ask(serve(application))
    assert answer.code == 500
    assert b"forged" not in answer.stdout


def test_a_body_over_the_limit_is_the_visitors_fault(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    address = serve(application, max_body_bytes=1000)
    assert ask(address, body=b"x" * 1000).body == b"x" * 1000
    assert ask(address, body=b"x" * 1001).code == 413
    assert ask(address, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": ""}, b"x" * 1001).code == 413
    assert "Traceback" not in our_log(caplog)


def test_a_body_that_is_cut_short_is_the_visitors_fault(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    answer = ask(serve(application), {"CONTENT_LENGTH": "10"}, b"short")
    assert answer.code == 400
    assert answer.stderr == ""
    assert not our_log(caplog)


def test_an_error_in_close_changes_nothing_for_the_visitor(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Response(list[bytes]):
        def close(self) -> None:
            raise OSError("close failed")

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return Response([b"whole"])

    with Client(serve(application)) as client:
        client.send()
        answer = client.answer()
        assert answer.body == b"whole"
        assert answer.complete
    eventually(lambda: "OSError: close failed" in our_log(caplog), "it is logged")


def test_a_client_that_leaves_is_no_error(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    stopped = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 1000
        finally:
            stopped.set()

    with Client(serve(application)) as client:
        client.send()
        client.read_until(b"xxx")
    assert stopped.wait(DEADLINE)
    assert not our_log(caplog)
