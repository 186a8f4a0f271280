"""The referees: ``wsgiref.validate`` and werkzeug's lint see nothing wrong with what we do.

Both stand between the application and us. What they find they raise or warn of; a warning is an
error in this suite, so either ends as a 500 page with the finding in the log.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.middleware.lint import LintMiddleware

from tests.end_to_end.client import Answer, Client
from tests.end_to_end.conftest import Serve

TEXT = ("Content-Type", "text/plain")

Application = Callable[..., Any]


def lint(application: Application) -> Application:
    """Werkzeug's referee."""
    return LintMiddleware(application)


REFEREES = pytest.mark.parametrize("referee", [validator, lint])


def ask_under(
    serve: Serve,
    referee: Callable[[Application], Application],
    application: Application,
    method: str = "GET",
    body: bytes = b"",
) -> Answer:
    """The answer to the second request of a connection; what the first was guilty of is known."""
    variables = {"REQUEST_METHOD": method}
    if body:
        variables |= {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "text/plain"}
    with Client(serve(referee(application))) as client:
        for _ in range(2):
            client.send(variables, body)
            answer = client.answer()
    return answer


def no_finding(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither log holds anything, and the response is whole."""
    assert answer.complete
    assert answer.stderr == ""
    assert [record.getMessage() for record in findings(caplog)] == []


def findings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What our log holds, but for the listener's view of pytest's folders."""
    return [
        record
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name != "gateways.listener"
    ]


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "5")])
    return [b"hello"]


def without_length(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT])
    return [b"hel", b"", b"lo"]


def streaming(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    yield b"hel"
    yield b"lo"


def writing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    write = start_response("200 OK", [TEXT])
    write(b"hel")
    return [b"lo"]


@REFEREES
@pytest.mark.parametrize("application", [hello, without_length, streaming, writing])
def test_get(
    serve: Serve, caplog: pytest.LogCaptureFixture, referee: Any, application: Any
) -> None:
    answer = ask_under(serve, referee, application)
    assert answer.body == b"hello"
    no_finding(answer, caplog)


@REFEREES
def test_head(serve: Serve, caplog: pytest.LogCaptureFixture, referee: Any) -> None:
    answer = ask_under(serve, referee, hello, "HEAD")
    assert answer.body == b""
    assert answer.header("Content-Length") == "5"
    no_finding(answer, caplog)


@REFEREES
def test_post(serve: Serve, caplog: pytest.LogCaptureFixture, referee: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        # Werkzeug's referee thinks ill of readline(), and of a read() without a size.
        lines = [stream.read(2), *stream, stream.read(100)]
        start_response("200 OK", [TEXT])
        return lines

    answer = ask_under(serve, referee, application, "POST", b"one\ntwo\nthree\n")
    assert answer.body == b"one\ntwo\nthree\n"
    no_finding(answer, caplog)


@REFEREES
def test_complaints(serve: Serve, caplog: pytest.LogCaptureFixture, referee: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("a\n")
        environ["wsgi.errors"].writelines(["b\n", "c\n"])
        environ["wsgi.errors"].flush()
        return hello(environ, start_response)

    answer = ask_under(serve, referee, application)
    assert answer.body == b"hello"
    assert answer.stderr == "a\nb\nc\n"


@REFEREES
def test_file_wrapper(
    serve: Serve, caplog: pytest.LogCaptureFixture, referee: Any, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 10_000)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [TEXT, ("Content-Length", "100000")])
        return environ["wsgi.file_wrapper"](path.open("rb"), 8192)

    answer = ask_under(serve, referee, application)
    assert answer.body == path.read_bytes()
    no_finding(answer, caplog)


@REFEREES
def test_an_error_answered_with_exc_info(
    serve: Serve, caplog: pytest.LogCaptureFixture, referee: Any
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        try:
            raise ValueError("broken")
        except ValueError:
            start_response("500 Oops", [TEXT], sys.exc_info())
        return [b"sorry"]

    answer = ask_under(serve, referee, application)
    assert (answer.status, answer.body) == ("500 Oops", b"sorry")
    no_finding(answer, caplog)


@REFEREES
@pytest.mark.parametrize("after", [False, True])
def test_an_application_that_raises_is_all_that_is_found(
    serve: Serve, caplog: pytest.LogCaptureFixture, referee: Any, after: bool
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        if after:
            yield b"half"
        raise ValueError("broken")

    with Client(serve(referee(application))) as client:
        client.send()
        answer = client.answer()
    assert answer.complete is not after
    assert answer.code == (200 if after else 500)
    (found,) = findings(caplog)
    assert found.exc_info is not None
    assert isinstance(found.exc_info[1], ValueError)


@REFEREES
def test_a_status_without_a_body(
    serve: Serve, caplog: pytest.LogCaptureFixture, referee: Any
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("304 Not Modified", [("ETag", '"1"')])
        return []

    answer = ask_under(serve, referee, application)
    assert answer.code == 304
    no_finding(answer, caplog)


@pytest.mark.parametrize("referee", [lint])
def test_a_referee_that_finds_something_is_heard(serve: Serve, referee: Any) -> None:
    """Or none of the above would mean anything."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT, ("ETag", "unquoted")])
        return [b"x"]

    with Client(serve(referee(application))) as client:
        client.send()
        answer = client.answer()
    assert answer.code == 500
    assert "Unquoted etag emitted" in answer.stderr
