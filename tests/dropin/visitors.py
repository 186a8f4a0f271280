"""The application of most scripts: says what it has been asked, and how it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

NAMES = (
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "HTTP_X_WORD",
)
HOW = ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "wsgi.url_scheme", "mine")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answers with JSON; /fail raises, /missing has no body."""
    path = environ.get("PATH_INFO", "")
    if path == "/fail":
        raise RuntimeError("it fails")
    if path == "/missing":
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("X-Word", "none")])
        return []
    length = int(environ.get("CONTENT_LENGTH") or 0)
    seen = {name: environ.get(name) for name in (*NAMES, *HOW)}
    if length:  # flup's read(0) is a str
        seen["body"] = environ["wsgi.input"].read(length).decode("latin-1")
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Word", "yes")])
    return [json.dumps(seen, sort_keys=True).encode()]
