"""The web server ends TLS: the application knows, and makes addresses that begin with https.

Each is booted on the file of contrib/ that serves without TLS, and the lines that its README adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .certificate import Certificate, make_certificate
from .client import Site
from .test_same_environ import FRONT_ENDS, behind


@pytest.fixture(scope="module")
def certificate(directory: Path) -> Certificate:
    return make_certificate(directory)


@pytest.fixture(scope="module", params=FRONT_ENDS)
def site(
    request: pytest.FixtureRequest, directory: Path, scripts: Path, certificate: Certificate
) -> Iterator[Site]:
    with behind(request.param, directory / request.param, scripts, certificate) as running:
        yield running


def test_the_application_is_told(site: Site) -> None:
    environ = site.get("/environ").json()
    expected = {
        "wsgi.url_scheme": "https",
        "HTTPS": "on",
        "HTTP_HOST": f"127.0.0.1:{site.port}",
        "SERVER_PORT": str(site.port),
        "REMOTE_ADDR": "127.0.0.1",
    }
    assert {name: environ.get(name) for name in expected} == expected


def test_complete_addresses_begin_with_https(site: Site) -> None:
    assert site.get("/address").text == f"https://127.0.0.1:{site.port}/greet/x"


@pytest.mark.parametrize("name", ["X-Forwarded-Proto", "X-Forwarded-Scheme", "Forwarded", "Https"])
def test_a_client_cannot_say_that_it_is_not(site: Site, name: str) -> None:
    value = {"Forwarded": "proto=http", "Https": "off"}.get(name, "http")
    answer = site.request("GET", "/environ", headers={name: value})
    assert answer.json()["wsgi.url_scheme"] == "https"
