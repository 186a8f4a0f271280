"""One request, one environ: whatever protocol carries it from nginx.

What differs is listed here, each with its reason; anything else that differs is a failure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .frontends import nginx
from .harness import gateway

PROTOCOLS = {"fcgi": "root.conf", "uwsgi": "uwsgi.conf", "scgi": "scgi.conf", "http": "http.conf"}

# Variables that one protocol's parameters in nginx have and another's have not.
ONLY_SOME_SEND = {
    "DOCUMENT_ROOT",  # not over HTTP, which has no field for it
    "DOCUMENT_URI",  # the same
    "GATEWAY_INTERFACE",  # never missing, set by us where it is not sent
    "REDIRECT_STATUS",  # fastcgi_params, for PHP
    "REMOTE_USER",  # fastcgi_params
    "SERVER_ADDR",  # fastcgi_params alone
    "SERVER_SOFTWARE",  # fastcgi_params: nginx; we do not claim to be it
    "FCGI_ROLE",
    "SCGI",
    "HTTP_X_FORWARDED_FOR",  # proxy_set_header
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
    "HTTP_CONNECTION",  # of the hop before nginx; over HTTP nginx has a hop of its own
    "HTTP_TE",
    "gateways.original_path_info",
    "gateways.original_script_name",
}
# Variables that all have, with values that cannot be the same.
OF_THE_CONNECTION = {
    "REMOTE_PORT",  # over HTTP, that of nginx's connection: no forwarded field tells the client's
    "HTTP_HOST",  # Debian's fastcgi_params, uwsgi_params and scgi_params leave out the port
    "SERVER_NAME",
}

PROBES: dict[str, dict[str, Any]] = {
    "a path with everything": {
        "method": "GET",
        "path": "/environ/a%20b/%C3%A9/d;p=1?q=1&e=%2F%20+x",
        "headers": {"X-Dup": "1, 2", "Cookie": "a=1; b=2", "X-Lat1": "caf\xe9", "Proxy": "evil"},
    },
    "an encoded percent sign": {"method": "GET", "path": "/environ/%2541"},
    "authorization": {
        "method": "GET",
        "path": "/environ",
        "headers": {"Authorization": "Bearer abc"},
    },
    "a form": {
        "method": "POST",
        "path": "/environ",
        "body": b"a=1",
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    },
    "an empty POST": {"method": "POST", "path": "/environ", "headers": {"Content-Length": "0"}},
}


@pytest.fixture(scope="module")
def sites(directory: Path) -> Iterator[dict[str, Any]]:
    """The same application behind nginx, once for each protocol."""
    with contextlib.ExitStack() as stack:
        found = {}
        for protocol, conf in PROTOCOLS.items():
            where = directory / protocol
            where.mkdir()
            _, path = stack.enter_context(gateway(where, protocol=protocol))
            found[protocol] = stack.enter_context(nginx(where, conf, BACKEND=f"unix:{path}"))
        yield found


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES.keys())
def test_the_environ_is_the_same_over_every_protocol(
    sites: dict[str, Any], probe: dict[str, Any]
) -> None:
    environs = {}
    for protocol, site in sites.items():
        answer = site.request(**probe)
        assert answer.status == 200, answer.text
        environ = answer.json()
        assert environ.pop("SERVER_PORT") == str(site.port)
        if protocol == "scgi" and probe["method"] == "GET":
            assert environ.pop("CONTENT_LENGTH") == "0"  # SCGI has it in every request
        environs[protocol] = {
            name: value
            for name, value in environ.items()
            if name not in ONLY_SOME_SEND | OF_THE_CONNECTION
        }
    for protocol, environ in environs.items():
        assert environ == environs["fcgi"], protocol


def test_only_http_shows_a_path_as_it_was_sent(sites: dict[str, Any]) -> None:
    """The gateway protocols carry a path that nginx has decoded, merged and resolved."""
    for protocol, site in sites.items():
        path = site.get("/environ/a/../b%2Fc").json()["PATH_INFO"]
        assert path == ("/environ/a/../b/c" if protocol == "http" else "/environ/b/c"), protocol
