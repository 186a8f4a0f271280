"""The applications that the web servers stand in front of: one of Flask, the others bare WSGI.

It is served by path or by name from outside this package, so it imports nothing of it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import struct
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, abort, jsonify, redirect, request, url_for

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.wrappers import Response as BaseResponse

BIG = 100 * 1024 * 1024
_BORN = time.monotonic_ns()
_NOISE = random.Random(3333).randbytes(65536)

app = Flask(__name__, static_folder=None)


def pattern(size: int) -> Iterator[bytes]:
    """``size`` bytes in pieces, no two of which are the same."""
    for number in range(0, size, len(_NOISE)):
        yield (struct.pack(">Q", number) + _NOISE[8:])[: size - number]


@functools.cache
def digest(size: int) -> str:
    """The SHA-256 of ``pattern(size)``, in hexadecimal."""
    sha256 = hashlib.sha256()
    for piece in pattern(size):
        sha256.update(piece)
    return sha256.hexdigest()


@app.get("/")
def index() -> str:
    return "Hello from Flask"


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@app.get("/image")
def image() -> str:
    """The process, and which of the programs that it has been one after the other."""
    return f"{os.getpid()} {_BORN}"


@app.post("/form")
def form() -> Response:
    files = {
        name: {"filename": file.filename, "text": file.read().decode()}
        for name, file in request.files.items()
    }
    return jsonify(fields=request.form.to_dict(flat=False), files=files)


@app.post("/upload")
def upload() -> Response:
    """Reads the body to its end; may say when it begins to."""
    if "begun" in request.args:
        with open(request.args["begun"], "wb", buffering=0) as begun:
            begun.write(b"begun")
    sha256 = hashlib.sha256()
    length = 0
    while piece := request.stream.read(65536):
        sha256.update(piece)
        length += len(piece)
    return jsonify(sha256=sha256.hexdigest(), length=length)


@app.post("/unread")
def unread() -> Response:
    """An answer of ``size`` bytes to a body that is never read."""
    return Response(pattern(int(request.args["size"])), mimetype="application/octet-stream")


@app.get("/download")
def download() -> Response:
    size = int(request.args["size"])
    response = Response(pattern(size), mimetype="application/octet-stream")
    if "length" in request.args:
        response.content_length = size
    return response


@app.get("/events")
def events() -> Response:
    """Three server-sent events; each but the first waits for a byte from the named pipe."""

    path = request.args["pipe"]

    def stream() -> Iterator[str]:
        with open(path, "rb", buffering=0) as pipe:
            for number in range(3):
                yield f"data: {number}\n\n"
                pipe.read(1)

    response = Response(stream(), mimetype=request.args.get("type", "text/event-stream"))
    if "unbuffered" in request.args:
        response.headers["X-Accel-Buffering"] = "no"  # nginx heeds it whatever its configuration
    return response


@app.get("/wait")
def wait() -> str:
    """Says that it has begun, then waits for a byte from the other pipe."""
    with open(request.args["begun"], "wb", buffering=0) as begun:
        begun.write(b"begun")
    with open(request.args["pipe"], "rb", buffering=0) as pipe:
        pipe.read(1)
    return "the wait was worth it"


@app.get("/endless")
def endless() -> Response:
    """A body without an end; says when it is closed."""

    path = request.args["pipe"]

    def stream() -> Iterator[bytes]:
        try:
            while True:
                yield _NOISE
        finally:
            with open(path, "wb", buffering=0) as pipe:
                pipe.write(b"closed")

    return Response(stream(), mimetype="application/octet-stream")


@app.get("/cookies")
def cookies() -> Response:
    response = jsonify(request.cookies)
    response.set_cookie("first", "1", httponly=True)
    response.set_cookie("second", "a b; c", path="/cookies")
    response.delete_cookie("third")
    return response


@app.route("/redirect", methods=["GET", "POST"])
def elsewhere() -> BaseResponse:
    return redirect(url_for("greet", name="Zoë"), code=303)


@app.get("/address")
def address() -> str:
    """A complete address, as a mail would have it."""
    return url_for("greet", name="x", _external=True)


@app.get("/greet/<name>")
def greet(name: str) -> str:
    return f"Hello {name}"


@app.get("/files/<path:name>")
def files(name: str) -> str:
    return name


@app.get("/raise")
def fall_over() -> str:
    raise RuntimeError("the application fell over")


@app.get("/teapot")
def teapot() -> str:
    abort(418)


@app.get("/nothing")
def nothing() -> tuple[str, int]:
    return "", 204


@app.get("/etag")
def etag() -> BaseResponse:
    response = Response("the same as ever", mimetype="text/plain")
    response.set_etag("v1")
    return response.make_conditional(request)


@app.get("/complain")
def complain() -> str:
    """Writes lines to the error log before it answers."""
    for number in range(int(request.args["lines"])):
        request.environ["wsgi.errors"].write(f"complaint {number} {'x' * 100}\n")
    return "done"


@app.route("/environ", methods=["GET", "POST", "OPTIONS"])
@app.route("/environ/<path:rest>")
@app.route("/private/environ")
def environ(rest: str = "") -> Response:
    """What the server made of the request: CGI variables, plain ``wsgi`` ones, and its body.

    Those that the query names are in the head of the response, which HEAD shows as well.
    """
    plain = {k: v for k, v in request.environ.items() if isinstance(v, (str, bool))}
    response = jsonify({**plain, "body": request.get_data(as_text=True)})
    chosen = {name: plain.get(name) for name in request.args.getlist("in-head")}
    response.headers["X-Environ"] = json.dumps(chosen)
    return response


def raising(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """An application of bare WSGI that raises before it has answered anything."""
    raise RuntimeError("the application fell over")


def reading_and_writing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Reads all of its body, without a thought of errors, and answers five million bytes."""
    stream: Any = environ["wsgi.input"]
    while stream.read(65536):
        pass
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return pattern(5_000_000)


def noting_the_body(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Reads its body; says through the pipe of the query what became of it."""
    outcome = "complete"
    with open(environ["QUERY_STRING"], "wb", buffering=0) as pipe:
        stream: Any = environ["wsgi.input"]
        pipe.write(b"begun")
        try:
            while stream.read(65536):
                pass
        except OSError as error:
            outcome = type(error).__name__
        pipe.write(outcome.encode())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [outcome.encode()]
