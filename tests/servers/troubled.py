"""Applications that show a mistake of the deployment; served by name, like ``flaskapp``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from wsgiref.util import application_uri

from flask import Flask, redirect, url_for

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.wrappers import Response as BaseResponse

# It has the prefix in its own routes, so nobody else may add it.
prefixed = Flask(__name__, static_folder=None)


@prefixed.get("/yourapplication/old")
def old() -> BaseResponse:
    return redirect(url_for("new"))


@prefixed.get("/yourapplication/new")
def new() -> str:
    return "here"


def redirecting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Sends everybody to an absolute URL, made of what the web server says of itself."""
    location = application_uri(environ).rstrip("/") + "/login"
    start_response("302 Found", [("Location", location), ("Content-Type", "text/plain")])
    return [b"this way\n"]


def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Lets in whoever sends a password, whichever."""
    if "HTTP_AUTHORIZATION" not in environ:
        start_response("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="x"')])
        return []
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"welcome\n"]


def sleepy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Would take an hour, in steps at which it can be interrupted."""
    for _ in range(360_000):
        time.sleep(0.01)
    start_response("200 OK", [])
    return []
