"""The applications that every server of the benchmark serves; they do next to nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the module does not exist while the program runs
    from wsgiref.types import StartResponse, WSGIEnvironment

TRIVIAL_BODY = b"Hello, World!\n"

_TRIVIAL_HEADERS = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(TRIVIAL_BODY))),
]


def trivial(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the same few bytes, so that what is measured is the server."""
    # A list of its own for each request, as any application would give: flup and others keep or
    # change the one that they are given.
    start_response("200 OK", list(_TRIVIAL_HEADERS))
    return [TRIVIAL_BODY]
