"""Variables that were prepared with earlier requests, through a whole server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateways.core.connection import Connection
from gateways.protocols.base import Request
from tests.core.serving import serving
from tests.protocols.vectors import request

GET = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "SCRIPT_NAME": "",
    "QUERY_STRING": "",
    "SERVER_NAME": "a.example",
    "HTTP_PROXY": "",
}
TIMES = 40


def test_all_requests_have_the_environ_of_the_first(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append({name: value for name, value in environ.items() if name != "wsgi.errors"})
        start_response("204 No Content", [])
        return []

    with serving(app, tmp_path, threads=1) as served, served.connect() as peer:
        for count in range(1, TIMES + 1):
            peer.send(request(1, GET))
            peer.replies(count)
    assert len(seen) == TIMES
    assert all(environ == seen[0] for environ in seen)
    assert seen[0]["SERVER_PORT"] == "80"
    assert "HTTP_PROXY" not in seen[0]


def test_who_takes_the_place_of_the_application_gets_what_was_sent(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def answer(connection: Connection, own: Request) -> None:
        seen.append(dict(own.variables))
        connection.respond(own, "200 OK", [], b"")

    options = {"run_request": answer}
    with serving(lambda *_: [], tmp_path, threads=1, server=options) as served:
        with served.connect() as peer:
            for count in range(1, TIMES + 1):
                peer.send(request(1, GET))
                peer.replies(count)
    assert seen == [{**GET, "FCGI_ROLE": "RESPONDER"}] * TIMES
