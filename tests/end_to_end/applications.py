"""Applications that a test names, so that a CGI script can import them as well."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

from gateways.wsgi.mounts import Mounts

TEXT = ("Content-Type", "text/plain")


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT])
    return [b"hello"]


def pieces(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [TEXT])
    return iter([b"", b"one ", b"", b"two ", b"three"])


def writes(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    write = start_response("200 OK", [TEXT])
    write(b"written ")
    write(b"")
    return [b"and returned"]


def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT])
    return []


def no_content(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return [b"that must not be sent"]


def not_modified(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("304 Not Modified", [("ETag", '"v1"')])
    return []


def cookies(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Set-Cookie", "a=1"), TEXT, ("Set-Cookie", "b=2")])
    return [b"x"]


def changes_its_mind(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT])
    try:
        raise ValueError("too bad")
    except ValueError:
        start_response("503 Service Unavailable", [TEXT], sys.exc_info())
    return [b"sorry"]


def raises(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise RuntimeError("a secret of the application")


def str_body(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [TEXT])
    return ["text"]


def injects(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("X-Evil", "a\r\nSet-Cookie: forged=1")])
    return [b"x"]


def too_long(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "3")])
    return [b"four", b"more"]


def too_short(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "30")])
    return [b"four"]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [TEXT])
    return [body]


def digests(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    digest = hashlib.sha256()
    while piece := environ["wsgi.input"].read(60_000):
        digest.update(piece)
    start_response("200 OK", [TEXT])
    return [digest.hexdigest().encode()]


def large(environ: dict[str, Any], start_response: Any) -> Any:
    """10 MB, without a look at the body."""
    start_response("200 OK", [TEXT])
    return (bytes([number]) * 65536 for number in range(160))


def shows(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    plain = {name: value for name, value in environ.items() if isinstance(value, (str, bool))}
    return [json.dumps(plain).encode()]


mounted = Mounts({"": hello, "/shop": shows, "/shop/admin": shows})


def valid(environ: dict[str, Any], start_response: Any) -> Any:
    return validator(_valid)(environ, start_response)


def _valid(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read(10)
    environ["wsgi.errors"].write("a line\n")
    start_response("200 OK", [TEXT])
    return [b"valid " + body]


def _read_first(path: str) -> Any:
    file = open(path, "rb")  # noqa: SIM115  # the server closes it
    file.read(1000)
    return file


def _written(path: str) -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(b"of before")
    with open(path, "rb") as source:
        file.write(source.read())
    file.flush()
    file.seek(9)
    return file


def _pipe(path: str) -> Any:
    reader, writer = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(writer, "wb") as pipe:
            pipe.write(Path(path).read_bytes())

    threading.Thread(target=write).start()
    return open(reader, "rb")


FILES: dict[str, Callable[[str], Any]] = {
    "buffered": lambda path: Path(path).open("rb"),  # noqa: SIM115
    "unbuffered": lambda path: Path(path).open("rb", buffering=0),  # noqa: SIM115
    "read from": _read_first,
    "to write as well": lambda path: Path(path).open("r+b"),  # noqa: SIM115
    "temporary": _written,
    "in memory": lambda path: io.BytesIO(Path(path).read_bytes()),
    "compressed": gzip.open,
    "a pipe": _pipe,
}


def sends_a_file(environ: dict[str, Any], start_response: Any) -> Any:
    """What the query says: ``path``, ``kind`` of ``FILES``; ``start`` and ``length`` if wanted."""
    query = dict(urllib.parse.parse_qsl(environ["QUERY_STRING"]))
    file = FILES[query.get("kind", "buffered")](query["path"])
    if "start" in query:
        file.seek(int(query["start"]))
    headers = [("Content-Length", query["length"])] if "length" in query else []
    start_response("200 OK", [TEXT, *headers])
    return environ["wsgi.file_wrapper"](file, 65536)
