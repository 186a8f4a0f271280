"""The applications that every server of the benchmark serves; they do next to nothing.

This directory is put on ``sys.path`` by itself, so that no server finds a gateways in the working
directory in place of the one that is installed with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the module does not exist while the program runs
    from wsgiref.types import StartResponse, WSGIEnvironment

TRIVIAL_BODY = b"Hello, World!\n"
MEGABYTE = 1_000_000
PIECE_BYTES = 64 * 1024
SMALL_CHUNK = b"x" * 100

_MEGABYTE = b"x" * MEGABYTE
_PIECE = b"x" * PIECE_BYTES
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


def bodies(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """What the last part of the path says: ``whole``, ``pieces``, ``file``, ``upload``, ``chunks``.

    The number in the query string is that of the bytes, or of the chunks.
    """
    kind = environ["PATH_INFO"].rpartition("/")[2]
    count = int(environ.get("QUERY_STRING") or 0)
    if kind == "upload":
        return _upload(environ, start_response)
    headers = [("Content-Type", "application/octet-stream")]
    if kind == "chunks":
        start_response("200 OK", headers)
        return (SMALL_CHUNK for _ in range(count))
    headers.append(("Content-Length", str(count)))
    start_response("200 OK", headers)
    if kind == "whole":
        return [_MEGABYTE[:count]]
    if kind == "file":
        file = open(os.environ["BENCHMARK_FILE"], "rb")  # noqa: SIM115  # the server closes it
        wrapper = environ.get("wsgi.file_wrapper")
        return wrapper(file, PIECE_BYTES) if wrapper else iter(lambda: file.read(PIECE_BYTES), b"")
    return _pieces(count)


def _pieces(count: int) -> Iterator[bytes]:
    for _ in range(count // PIECE_BYTES):
        yield _PIECE
    yield _PIECE[: count % PIECE_BYTES]


def _upload(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read the body as applications do; the answer is how much there was."""
    read = environ["wsgi.input"].read
    left = int(environ["CONTENT_LENGTH"])
    received = 0
    while left > received and (piece := read(min(PIECE_BYTES, left - received))):
        received += len(piece)
    body = str(received).encode("ascii")
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
