"""The nginx in front of the servers: nginx.conf on free loopback ports."""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.processes import BenchmarkError, free_ports, running, wait_until_ready

_TEMPLATE = Path(__file__).resolve().parent / "nginx.conf"
_ATTEMPTS = 3

# In the order of the ports in nginx.conf.
_WAYS = ("fcgi kept", "fcgi new", "uwsgi new", "scgi new", "http kept", "http new")

# nginx's stock parameters, which are the same for the three protocols but for what each adds,
# written out so that every distribution sends the same.
_PARAMETERS = {
    "QUERY_STRING": "$query_string",
    "REQUEST_METHOD": "$request_method",
    "CONTENT_TYPE": "$content_type",
    "REQUEST_URI": "$request_uri",
    "DOCUMENT_URI": "$document_uri",
    "DOCUMENT_ROOT": "$document_root",
    "SERVER_PROTOCOL": "$server_protocol",
    "REQUEST_SCHEME": "$scheme",
    "HTTPS": "$https if_not_empty",
    "REMOTE_ADDR": "$remote_addr",
    "REMOTE_PORT": "$remote_port",
    "SERVER_ADDR": "$server_addr",
    "SERVER_PORT": "$server_port",
    "SERVER_NAME": "$server_name",
}
# SCRIPT_NAME and PATH_INFO: an application at the root of the site, as in contrib/nginx/.
# nginx itself puts CONTENT_LENGTH at the beginning of an SCGI request.
_ADDED = {
    "fastcgi": {
        "CONTENT_LENGTH": "$content_length",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "nginx/$nginx_version",
        "REMOTE_USER": "$remote_user",
        "REDIRECT_STATUS": "200",
        "SCRIPT_NAME": '""',
        "PATH_INFO": "$fastcgi_script_name",
    },
    "uwsgi": {"CONTENT_LENGTH": "$content_length", "PATH_INFO": "$document_uri"},
    "scgi": {"SCGI": "1", "SCRIPT_NAME": '""', "PATH_INFO": "$document_uri"},
}


@contextlib.contextmanager
def nginx_before(backend: Path, directory: Path, connections: int) -> Iterator[Mapping[str, str]]:
    """Run nginx before the socket ``backend``, of which it keeps ``connections`` open.

    Gives the URL of each protocol and connection: ``fcgi kept``.
    """
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BenchmarkError("nginx is missing: apt-get install nginx-light")
    configuration = directory / "nginx.conf"
    log = directory / "nginx.log"
    for attempt in range(1, _ATTEMPTS + 1):
        ports = free_ports(len(_WAYS))
        text = _fill(backend, directory, connections, ports)
        configuration.write_text(text, encoding="utf-8")
        command = [path, "-p", str(directory), "-c", str(configuration)]
        with running(command, log=log, directory=directory) as process:
            try:
                for port in ports:
                    wait_until_ready(process, functools.partial(_connect, port), log)
            except BenchmarkError as error:
                if attempt < _ATTEMPTS:
                    continue  # somebody may have taken a port meanwhile
                raise BenchmarkError(f"nginx {error}") from None
            urls = [f"http://127.0.0.1:{port}" for port in ports]
            yield dict(zip(_WAYS, urls, strict=True))
            return


def _fill(backend: Path, directory: Path, connections: int, ports: list[int]) -> str:
    parameters = [
        f"    {prefix}_param {name} {value};\n"
        for prefix, added in _ADDED.items()
        for name, value in {**_PARAMETERS, **added}.items()
    ]
    values = {
        "DIRECTORY": directory,
        "SOCKET": backend,
        "CONNECTIONS": connections,
        "PARAMETERS": "".join(parameters),
        **{f"PORT_{number}": port for number, port in enumerate(ports)},
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)
