"""The application that ``make run`` serves: it shows what the server makes of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

PAGE = """<!DOCTYPE html>
<title>gateways</title>
<h1>It works</h1>
<p>This page came from a WSGI application over FastCGI. Its environ:</p>
<table>{rows}</table>
"""


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer every path with a table of the environ; a client that takes no HTML gets lines."""
    items = sorted((name, str(value)) for name, value in environ.items())
    if "text/html" in environ.get("HTTP_ACCEPT", ""):
        rows = "\n".join(f"<tr><th>{escape(name)}<td>{escape(value)}" for name, value in items)
        kind, text = "text/html", PAGE.format(rows=rows)
    else:
        kind, text = "text/plain", "".join(f"{name}: {value}\n" for name, value in items)
    body = text.encode()
    start_response(
        "200 OK",
        [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]
