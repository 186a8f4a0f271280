"""``make run``: the demo application over FastCGI, with an answer to look at, until Ctrl-C.

With nginx on the machine, nginx is started on it as well, on contrib/nginx/root.conf in a temporary
directory, and the URL is printed. Without, one request is sent here and the exchange is shown
record by record; ``--without-nginx`` asks for that.
"""

from __future__ import annotations

import contextlib
import os
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

from gateways.cli import templates
from gateways.client import Client

HERE = Path(__file__).resolve().parent
NGINX_FILES = HERE.parent / "nginx"
FASTCGI_PARAMS = Path("/etc/nginx/fastcgi_params")
FIRST_PORT = 8000
DEADLINE_SECONDS = 10.0


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
    target.write_text(templates.fill(source.read_text(), values))


def nginx_command(nginx: str, directory: Path, port: int, backend: str) -> list[str]:
    """Set up nginx in ``directory``; returns how to start it there."""
    values = {"ROOT": str(directory), "LISTEN": f"127.0.0.1:{port}", "BACKEND": backend}
    values["SERVER_NAME"] = "localhost"
    (directory / "conf.d").mkdir()
    fill(NGINX_FILES / "nginx.conf", directory / "nginx.conf", values)
    fill(NGINX_FILES / "root.conf", directory / "conf.d" / "root.conf", values)
    shutil.copy(FASTCGI_PARAMS, directory)
    log = str(directory / "error.log")
    return [nginx, "-c", str(directory / "nginx.conf"), "-e", log, "-g", "daemon off;"]


def exchange(path: str) -> None:
    """Send one request to the server, and show every record of both directions."""
    with Client(f"fcgi:{path}", keep=False, timeout=DEADLINE_SECONDS, trace=print) as client:
        for _ in client.request("/hello?name=you"):
            pass  # the trace shows it


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
