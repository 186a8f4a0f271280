"""The nginx in front of the servers: nginx.conf on free loopback ports."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import BenchmarkError, free_ports, running, wait_until_ready

_TEMPLATE = Path(__file__).resolve().parent / "nginx.conf"
_ATTEMPTS = 3


@dataclasses.dataclass(frozen=True)
class Nginx:
    """A running nginx; each URL leads to the same backend."""

    kept_url: str
    new_url: str


@contextlib.contextmanager
def nginx_before(backend: Path, directory: Path, connections: int) -> Iterator[Nginx]:
    """Run nginx before the socket ``backend``, of which it keeps ``connections`` open."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise BenchmarkError("nginx is missing: apt-get install nginx-light")
    configuration = directory / "nginx.conf"
    log = directory / "nginx.log"
    for attempt in range(1, _ATTEMPTS + 1):
        ports = free_ports(2)
        values = {
            "DIRECTORY": directory,
            "SOCKET": backend,
            "CONNECTIONS": connections,
            "KEPT_PORT": ports[0],
            "NEW_PORT": ports[1],
        }
        text = _TEMPLATE.read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        configuration.write_text(text, encoding="utf-8")
        command = [program, "-p", str(directory), "-c", str(configuration)]
        with running(command, log=log, directory=directory) as process:
            try:
                for port in ports:
                    wait_until_ready(process, functools.partial(_connect, port), log)
            except BenchmarkError as error:
                if attempt < _ATTEMPTS:
                    continue  # somebody may have taken a port meanwhile
                raise BenchmarkError(f"nginx {error}") from None
            kept_url, new_url = (f"http://127.0.0.1:{port}/" for port in ports)
            yield Nginx(kept_url=kept_url, new_url=new_url)
            return


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)
