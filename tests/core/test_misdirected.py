"""Peers that speak another protocol than the socket, and sockets that speak any."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from gateways.client import request as ask
from tests.core.serving import LogLines, serving

PROTOCOLS = ("fcgi", "uwsgi", "scgi", "http")


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode() + environ["wsgi.input"].read()]


@pytest.mark.parametrize(("spoken", "expected"), list(itertools.permutations(PROTOCOLS, 2)))
def test_the_wrong_protocol_is_answered_in_its_own(
    tmp_path: Path, spoken: str, expected: str
) -> None:
    with LogLines() as log, serving(hello, tmp_path, protocol=expected) as served:
        response = ask(f"{spoken}:{served.address}", "/")
        assert response.status in (400, 502)
        assert b"protocol" in response.body
    (line,) = log.texts(30)
    assert "this is " in line
    assert "bind " + spoken in line


def test_tls_is_told_from_garbage(tmp_path: Path) -> None:
    with LogLines() as log, serving(hello, tmp_path) as served, served.connect() as peer:
        peer.send(bytes.fromhex("16030100c8010000c40303") + bytes(40))
        assert peer.is_closed()
    assert "this is TLS" in log.texts(30)[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("allowed", ["auto", "auto[fcgi,http]"])
def test_auto_recognises_what_it_allows(tmp_path: Path, protocol: str, allowed: str) -> None:
    with serving(hello, tmp_path, protocol=allowed) as served:
        target = f"{protocol}:{served.address}"
        if allowed == "auto" or protocol in allowed:
            for _ in range(3):
                response = ask(target, "/path", method="POST", body=b"?")
                assert (response.status, response.body) == (200, b"/path?")
        else:
            response = ask(target, "/")
            assert response.status in (400, 502)
            response.close()
