"""``make run``: the demo application over FastCGI, with an answer to look at, until Ctrl-C.

With nginx on the machine, nginx is started on it as well, on contrib/nginx/root.conf in a temporary
directory, and the URL is printed. Without, one request is sent here and the exchange is shown
record by record; ``--without-nginx`` asks for that.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_END_REQUEST,
    FCGI_PARAMS,
    FCGI_RESPONDER,
    FCGI_STDERR,
    FCGI_STDIN,
    FCGI_STDOUT,
    HEADER,
    pack_record,
)
from gateways.protocols.variables import encode_pairs, iter_pairs

HERE = Path(__file__).resolve().parent
NGINX_FILES = HERE.parent / "nginx"
FASTCGI_PARAMS = Path("/etc/nginx/fastcgi_params")
FIRST_PORT = 8000
DEADLINE_SECONDS = 10.0

NAMES = {
    FCGI_BEGIN_REQUEST: "BEGIN_REQUEST",
    FCGI_PARAMS: "PARAMS",
    FCGI_STDIN: "STDIN",
    FCGI_STDOUT: "STDOUT",
    FCGI_STDERR: "STDERR",
    FCGI_END_REQUEST: "END_REQUEST",
}
VARIABLES = {
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/hello?name=you",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/hello",
    "QUERY_STRING": "name=you",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
}


class StartError(Exception):
    """A server did not start."""


@contextlib.contextmanager
def running(name: str, command: list[str], ready: Callable[[], bool]) -> Iterator[None]:
    """A server, from when it is ready until SIGTERM has ended it."""
    # In a group of its own: Ctrl-C is for this script, which then ends the servers in order.
    process = subprocess.Popen(command, process_group=0)  # noqa: S603
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StartError(f"{name} did not start: {' '.join(command)}")
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait()


def accepts(address: str | tuple[str, int]) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as probe:
            probe.connect(address)
    except OSError:
        return False
    return True


def free_port() -> int:
    """The first free TCP port from 8000 on."""
    port = FIRST_PORT
    while accepts(("127.0.0.1", port)):
        port += 1
    return port


def fill(source: Path, target: Path, values: dict[str, str]) -> None:
    """Copy a configuration file, with ``@NAME@`` replaced by the value of ``NAME``."""
    target.write_text(re.sub("@([A-Z]+)@", lambda found: values[found[1]], source.read_text()))


def nginx_command(nginx: str, directory: Path, port: int, backend: str) -> list[str]:
    """Set up nginx in ``directory``; returns how to start it there."""
    values = {"ROOT": str(directory), "PORT": str(port), "BACKEND": backend}
    (directory / "conf.d").mkdir()
    fill(NGINX_FILES / "nginx.conf", directory / "nginx.conf", values)
    fill(NGINX_FILES / "root.conf", directory / "conf.d" / "root.conf", values)
    shutil.copy(FASTCGI_PARAMS, directory)
    log = str(directory / "error.log")
    return [nginx, "-c", str(directory / "nginx.conf"), "-e", log, "-g", "daemon off;"]


def show(arrow: str, data: bytes) -> None:
    """Print the records in ``data``."""
    while data:
        _, kind, number, length, padding = HEADER.unpack_from(data)
        content = data[HEADER.size : HEADER.size + length]
        data = data[HEADER.size + length + padding :]
        print(f"{arrow} {NAMES.get(kind, kind)}, request {number}, {length} bytes")
        if kind == FCGI_PARAMS:
            lines = [f"{name} = {value}" for name, value in iter_pairs(content)]
        elif kind in (FCGI_STDOUT, FCGI_STDERR):
            lines = content.decode(errors="replace").splitlines()
        else:
            lines = [content.hex(" ")] if content else []
        for line in lines:
            print(f"      {line}")


def exchange(path: str) -> None:
    """Send one request to the server, and show every record of both directions."""
    request = (
        pack_record(FCGI_BEGIN_REQUEST, 1, BEGIN_REQUEST.pack(FCGI_RESPONDER, 0))
        + pack_record(FCGI_PARAMS, 1, encode_pairs(VARIABLES.items()))
        + pack_record(FCGI_PARAMS, 1)
        + pack_record(FCGI_STDIN, 1)
    )
    show("-->", request)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_SECONDS)
        connection.connect(path)
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    show("<--", answer)


def find_nginx() -> str | None:
    """The path of nginx, which is often in a directory that only root has in PATH."""
    if "--without-nginx" in sys.argv[1:] or not FASTCGI_PARAMS.exists():
        return None
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def serve(directory: Path) -> None:
    """Serve until a KeyboardInterrupt."""
    path = str(directory / "demo.sock")
    bind = f"unix:{path}?mode=666"
    command = [sys.executable, "-m", "gateways", "fcgi", "--bind", bind]
    nginx = find_nginx()
    with contextlib.ExitStack() as servers:
        application = [*command, "--pythonpath", str(HERE), "demo:app"]
        servers.enter_context(running("gateways", application, lambda: accepts(path)))
        if nginx is None:
            print("Without nginx, so this script asks the server itself:\n")
            exchange(path)
            print(f"\nServing FastCGI on {path}. Ctrl-C ends it.", flush=True)
        else:
            port = free_port()
            web = nginx_command(nginx, directory, port, f"unix:{path}")
            servers.enter_context(running("nginx", web, lambda: accepts(("127.0.0.1", port))))
            url = f"http://127.0.0.1:{port}/"
            with urllib.request.urlopen(f"{url}hello?name=you", timeout=10) as response:  # noqa: S310
                print(f"GET {response.url} -> {response.status} {response.reason}\n")
                print(response.read().decode())
            print(f"Serving {url} through nginx. Ctrl-C ends it.", flush=True)
        signal.pause()


def main() -> None:
    """Serve in a temporary directory; end quietly on Ctrl-C and SIGTERM."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT as well: a shell starts background jobs with it ignored.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    with tempfile.TemporaryDirectory(prefix="gateways-demo-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's own user goes in
        try:
            serve(directory)
        except KeyboardInterrupt:
            print("\nStopped.")
        except StartError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
