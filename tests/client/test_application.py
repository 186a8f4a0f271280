"""``WSGIApplication``: a WSGI application that forwards, between a validator and a real server."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from gateways.client import ConnectionLost, WSGIApplication
from gateways.client.application import request_target
from tests.client.answering import Answering, answer
from tests.client.test_exchange import Environ, StartResponse, serving

SCHEMES = ["fcgi", "uwsgi", "scgi", "http"]


def call(application: Any, body: bytes = b"", **variables: Any) -> tuple[str, Any, bytes, str]:
    """Status, headers, body and error log of one call by a validating server."""
    environ: Environ = {"wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO()}
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    environ |= {"QUERY_STRING": "", **variables}
    setup_testing_defaults(environ)
    started: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[..., Any]:
        started[:] = [status, headers]
        return lambda data: None

    log = environ["wsgi.errors"]
    result: Any = validator(application)(environ, start_response)
    try:
        data = b"".join(result)
    finally:
        result.close()
    return started[0], started[1], data, log.getvalue()


def show(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The variables, a line each, and the body."""
    environ["wsgi.errors"].write("seen\n")
    body = environ["wsgi.input"].read()
    start_response("200 Fine", [("Content-Type", "text/plain"), ("Set-Cookie", "a")])
    lines = [f"{name}={value}" for name, value in environ.items() if isinstance(value, str)]
    return ["\n".join(sorted(lines)).encode("latin-1"), b"\n\n", body]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_request_is_forwarded(scheme: str, tmp_path: Path) -> None:
    with serving(show, scheme, str(tmp_path / "s")) as target:
        status, headers, body, log = call(
            WSGIApplication(target),
            b"abc",
            REQUEST_METHOD="PUT",
            SCRIPT_NAME="/a",
            PATH_INFO="/b c",
            QUERY_STRING="d=e",
            CONTENT_TYPE="text/x",
            HTTP_X_A="1",
            HTTP_HOST="example.test",
            HTTP_PROXY="evil",
            HTTP_TRANSFER_ENCODING="chunked",
            HOME_OF_THE_PROCESS="x",
        )
    assert status == "200 Fine"
    assert ("Set-Cookie", "a") in headers
    assert not any(name.lower() in ("connection", "transfer-encoding") for name, _ in headers)
    text, _, rest = body.decode().partition("\n\n")
    lines = set(text.split("\n"))
    assert rest == "abc"
    expected = {
        "REQUEST_METHOD=PUT",
        "QUERY_STRING=d=e",
        "CONTENT_TYPE=text/x",
        "CONTENT_LENGTH=3",
        "HTTP_X_A=1",
        "HTTP_HOST=example.test",
    }
    if scheme == "http":
        expected |= {"SCRIPT_NAME=", "PATH_INFO=/a/b c"}
    else:
        expected |= {"SCRIPT_NAME=/a", "PATH_INFO=/b c"}
    assert expected <= lines
    assert not any(line.startswith(("HTTP_PROXY", "HTTP_TRANSFER", "HOME_OF")) for line in lines)
    assert log == ("seen\n" if scheme == "fcgi" else "")


def test_what_else_is_forwarded_is_a_choice(tmp_path: Path) -> None:
    variables: Environ = {"MY_VARIABLE": "x", "lower": "y"}
    with serving(show, "fcgi", str(tmp_path / "s")) as target:
        application = WSGIApplication(target, filter_environ=False, params={"REMOTE_USER": "me"})
        _, _, body, _ = call(application, **variables)
    lines = body.decode().split("\n")
    assert "MY_VARIABLE=x" in lines
    assert "REMOTE_USER=me" in lines
    assert "lower=y" not in lines


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_body_without_a_length_ends_where_the_input_does(scheme: str, tmp_path: Path) -> None:
    with serving(show, scheme, str(tmp_path / "s")) as target:
        environ: Environ = {"wsgi.input": io.BytesIO(b"abc"), "REQUEST_METHOD": "POST"}
        _, _, body, _ = call(WSGIApplication(target), **environ)
        assert body.endswith(b"\n\n")
        environ["wsgi.input_terminated"] = True
        _, _, body, _ = call(WSGIApplication(target), **environ)
        assert body.endswith(b"\n\nabc")


def test_connections_are_kept_on_request(tmp_path: Path) -> None:
    with serving(show, "fcgi", str(tmp_path / "s")) as target:
        application = WSGIApplication(target, keep=True)
        for _ in range(3):
            assert call(application)[0] == "200 Fine"
        assert application._client.connections_opened == 1
        application.close()


def test_a_server_that_is_not_there_is_a_502(tmp_path: Path) -> None:
    status, _, body, log = call(WSGIApplication(f"fcgi:{tmp_path / 's'}"))
    assert status == "502 Bad Gateway"
    assert str(tmp_path).encode() not in body
    assert "there is no such file" in log


def test_a_server_that_takes_too_long_is_a_504(tmp_path: Path) -> None:
    with Answering(tmp_path / "s", [answer(drain=True)]) as server:
        status, _, _, log = call(WSGIApplication(f"scgi:{server.path}", timeout=0.05))
    assert status == "504 Gateway Timeout"
    assert "0.05 seconds" in log


def test_a_response_that_breaks_off_is_not_passed_on_as_complete(tmp_path: Path) -> None:
    cut = b"Status: 200 OK\r\nContent-Type: a/b\r\nContent-Length: 9\r\n\r\nabc"
    with Answering(tmp_path / "s", [answer(cut)]) as server:
        with pytest.raises(ConnectionLost, match="6 bytes"):
            call(WSGIApplication(f"scgi:{server.path}"))


def test_a_response_that_nobody_wants_is_given_up(tmp_path: Path) -> None:
    ended = []

    def endless(connection: socket.socket) -> bytes:
        connection.recv(65536)
        connection.sendall(b"Content-Type: a/b\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 65536)
        except OSError as error:
            ended.append(error)
        return b""

    with Answering(tmp_path / "s", [endless]) as server:
        environ: Environ = {"wsgi.errors": sys.stderr}
        setup_testing_defaults(environ)
        application = WSGIApplication(f"scgi:{server.path}")
        result: Any = application(environ, lambda status, headers: None)
        assert next(iter(result))
        result.close()
    assert len(ended) == 1


@pytest.mark.parametrize(
    ("variables", "target"),
    [
        ({"SCRIPT_NAME": "", "PATH_INFO": ""}, "/"),
        ({"SCRIPT_NAME": "/a", "PATH_INFO": "/b \xc3\xa9?"}, "/a/b%20%C3%A9%3F"),
        ({"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb?x", "QUERY_STRING": "x"}, "/a%2Fb?x"),
        ({"PATH_INFO": "/changed", "REQUEST_URI": "/a%2Fb"}, "/changed"),
    ],
)
def test_the_path_of_an_http_request(variables: dict[str, str], target: str) -> None:
    assert request_target(variables) == target
