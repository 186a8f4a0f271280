"""A FastCGI authorizer: lets in whoever knows the word, and tells the application who that is."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from gateways.fcgi import authorizer

SESAME = "Basic " + b64encode(b"ali:sesame").decode()


@authorizer
def application(environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes] | None:
    """A word in the header X-Word (lighttpd), or a password that Apache has taken apart."""
    if environ.get("HTTP_X_WORD") == "nothing to add":
        return None
    if environ.get("HTTP_X_WORD") == "sesame" or environ.get("REMOTE_PASSWD") == "sesame":
        return "200 OK", [("Variable-VISITOR", "Ali"), ("Variable-CAVE", "open")], b""
    return (
        "403 Forbidden",
        [("Content-Type", "text/plain"), ("X-Gate", "shut"), ("Set-Cookie", "tried=1")],
        b"Open, barley!",
    )
