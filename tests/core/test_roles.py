"""Filters and authorizers over a real socket, and what the server says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateways.fcgi import authorizer
from gateways.protocols.records import FCGI_AUTHORIZER, FCGI_FILTER
from gateways.protocols.variables import decode_pairs
from tests.core.serving import POLLERS, serving
from tests.protocols.vectors import (
    begin,
    filter_data,
    get_values,
    params,
    request,
    split_records,
    stdin,
)

GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}


def joins(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Reads its second input before its first, which comes before it on the wire."""
    data = environ["gateways.data"].read()
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [environ["FCGI_ROLE"].encode(), b" ", body, b" ", data]


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("size", [5, 300_000])
def test_a_filter_reads_two_streams(tmp_path: Path, poller: str, size: int) -> None:
    body, data = b"b" * size, b"d" * size
    variables = {**GET, "CONTENT_LENGTH": str(size), "FCGI_DATA_LENGTH": str(size)}
    with serving(joins, tmp_path, poller=poller, threads=1, roles=("filter",)) as served:
        with served.connect() as peer:
            peer.send(begin(1, FCGI_FILTER) + params(1, variables) + stdin(1, body))
            peer.send(filter_data(1, data))
            assert peer.reply().body == b"FILTER " + body + b" " + data


def test_a_responder_is_no_authorizer(tmp_path: Path) -> None:
    """Its 200 would let everybody in."""
    with serving(joins, tmp_path) as served, served.connect() as peer:
        peer.send(request(1, GET, role=FCGI_AUTHORIZER))
        assert peer.reply().protocol_status == 3


def test_an_authorizer_is_served_in_its_role_alone(tmp_path: Path) -> None:
    @authorizer
    def check(environ: dict[str, Any]) -> Any:
        if environ["REQUEST_URI"] == "/in":
            return "200 OK", [("Variable-USER", "zoe")], b""
        return "403 Forbidden", [], b"no"

    with serving(check, tmp_path) as served, served.connect() as peer:
        # Authorizers get no SCRIPT_NAME and no PATH_INFO (section 6.3).
        for number, path in enumerate(("/in", "/out"), 1):
            asked = {"REQUEST_METHOD": "GET", "REQUEST_URI": path}
            peer.send(request(number, asked, role=FCGI_AUTHORIZER))
        peer.send(request(3, GET))
        answers = peer.replies(3)
    assert answers[1].status == "200 OK"
    assert b"Variable-USER: zoe\r\n" in answers[1].stdout
    assert (answers[2].status, answers[2].body) == ("403 Forbidden", b"no")
    assert answers[3].protocol_status == 3


@pytest.mark.parametrize("multiplex", [True, False])
def test_the_values_are_the_real_numbers(tmp_path: Path, multiplex: bool) -> None:
    options: dict[str, Any] = {"max_connections": 77, "threads": 3, "max_queued_requests": 20}
    with serving(joins, tmp_path, multiplex=multiplex, **options) as served:
        with served.connect() as peer:
            peer.send(get_values("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS", "OTHER"))
            ((kind, request_id, content),) = split_records(peer.sock.recv(65536))
    assert (kind, request_id) == (10, 0)
    assert decode_pairs(content) == {
        "FCGI_MAX_CONNS": "77",
        "FCGI_MAX_REQS": "23",
        "FCGI_MPXS_CONNS": "1" if multiplex else "0",
    }
