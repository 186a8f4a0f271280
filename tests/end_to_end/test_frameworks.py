"""Flask and Werkzeug, where what they expect of a server goes beyond PEP 3333."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from flask.logging import default_handler
from werkzeug.wrappers import Request, Response

from tests.end_to_end.client import DEADLINE, Client, ask
from tests.end_to_end.conftest import Serve

FORM = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/x-www-form-urlencoded"}
BOUNDARY = "----boundary"
UPLOAD = (
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="title"\r\n\r\nA title\r\n'
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n'
    "Content-Type: text/plain\r\n\r\n" + "content " * 20_000 + f"\r\n--{BOUNDARY}--\r\n"
).encode()


def make_app() -> flask.Flask:
    """A small application with what is checked below."""
    app = flask.Flask(__name__)

    @app.post("/form")
    def form() -> dict[str, list[str]]:
        return {name: flask.request.form.getlist(name) for name in flask.request.form}

    @app.post("/upload")
    def upload() -> str:
        file = flask.request.files["file"]
        return f"{flask.request.form['title']}: {file.filename}, {len(file.read())} bytes"

    @app.post("/raw")
    def raw() -> bytes:
        return flask.request.get_data()

    @app.get("/stream")
    def stream() -> flask.Response:
        return flask.Response(str(number) for number in range(100))

    @app.get("/file")
    def file() -> flask.Response:
        return flask.send_file(io.BytesIO(b"0123456789"), download_name="a.bin", max_age=0)

    @app.get("/r\u00e9sum\u00e9")
    def unicode_path() -> str:
        return flask.request.path

    @app.get("/broken")
    def broken() -> str:
        raise ValueError("hunter2")

    return app


def lengths(body: bytes) -> list[dict[str, str]]:
    """The ways in which web servers tell the length of a body, or do not."""
    return [
        {"CONTENT_LENGTH": str(len(body))},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"},
    ]


HOW = ["declared", "empty", "minus one", "chunked"]


@pytest.mark.parametrize("how", HOW)
def test_a_form_is_parsed_whatever_is_said_of_its_length(serve: Serve, how: str) -> None:
    body = b"name=caf%C3%A9&tag=a&tag=b"
    variables = {**FORM, "PATH_INFO": "/form", **lengths(body)[HOW.index(how)]}
    answer = ask(serve(make_app()), variables, body)
    assert answer.code == 200
    assert flask.json.loads(answer.body) == {"name": ["caf\xe9"], "tag": ["a", "b"]}


@pytest.mark.parametrize("how", HOW)
def test_an_upload_is_parsed_whatever_is_said_of_its_length(serve: Serve, how: str) -> None:
    variables = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}",
        "PATH_INFO": "/upload",
        **lengths(UPLOAD)[HOW.index(how)],
    }
    assert ask(serve(make_app()), variables, UPLOAD).body == b"A title: a.txt, 160000 bytes"


@pytest.mark.parametrize("how", HOW)
def test_werkzeug_reads_a_whole_body_whatever_is_said_of_its_length(serve: Serve, how: str) -> None:
    @Request.application
    def application(request: Request) -> Response:
        return Response(request.get_data())

    body = b"0123456789" * 30_000
    variables = {"REQUEST_METHOD": "POST", **lengths(body)[HOW.index(how)]}
    assert ask(serve(application), variables, body).body == body


def test_a_request_without_a_body_has_none(serve: Serve) -> None:
    variables = {"REQUEST_METHOD": "POST", "PATH_INFO": "/raw", "CONTENT_LENGTH": ""}
    assert ask(serve(make_app()), variables).body == b""


def test_a_stream_and_a_file(serve: Serve) -> None:
    address = serve(make_app())
    assert ask(address, {"PATH_INFO": "/stream"}).body == "".join(map(str, range(100))).encode()
    file = ask(address, {"PATH_INFO": "/file"})
    assert file.body == b"0123456789"
    head = ask(address, {"PATH_INFO": "/file", "REQUEST_METHOD": "HEAD"})
    assert (head.code, head.body, head.header("Content-Length")) == (200, b"", "10")


def test_a_path_outside_ascii(serve: Serve) -> None:
    path = "/r\u00e9sum\u00e9"
    raw = path.encode().decode("latin-1")
    assert ask(serve(make_app()), {"PATH_INFO": raw}).body == path.encode()


def test_flask_logs_a_failure_to_the_web_server(serve: Serve) -> None:
    app = make_app()
    app.logger.addHandler(default_handler)  # Flask leaves it out where logging is set up already
    try:
        answer = ask(serve(app), {"PATH_INFO": "/broken"})
    finally:
        app.logger.removeHandler(default_handler)
    assert answer.code == 500
    assert b"hunter2" not in answer.stdout
    assert "ValueError: hunter2" in answer.stderr


def test_a_generator_of_flask_is_closed_when_its_client_is_gone(serve: Serve) -> None:
    closed = threading.Event()
    app = flask.Flask(__name__)

    @app.get("/page")
    def endless() -> flask.Response:
        def generate() -> Iterator[bytes]:
            while True:
                yield b"x" * 1000

        response = flask.Response(generate())
        response.call_on_close(closed.set)
        return response

    application: Any = app
    with Client(serve(application)) as client:
        client.send()
        client.read_until(b"xxx")
    assert closed.wait(DEADLINE)
