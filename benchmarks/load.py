"""What is asked of a server, and by whom: wrk through nginx, or FastCGI spoken to it directly.

Both check every response, and both send the request of a browser that comes back to a site.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.apps import TRIVIAL_BODY
from benchmarks.fcgiclient import Client
from benchmarks.processes import BenchmarkError

TARGET = "/articles/2024/a-page?page=2&sort=date"

# Twelve headers, Host included, which is why wrk is not left to add one of its own.
HEADERS = {
    "Host": "www.example.org",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://www.example.org/articles/2024/",
    "Cookie": "session=Zq3tV0n8hU2mXr6L; csrftoken=5f1d0c7be2a94f63; theme=dark; _ga=GA1.2.9071.8",
    "Connection": "keep-alive",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}

_SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
_RESULT = re.compile(r"^result (.+)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Answered:
    """How many right responses came in how long."""

    requests: int
    seconds: float


def run_wrk(url: str, seconds: int, connections: int) -> Answered:
    """Load ``url`` with wrk; raises BenchmarkError for anything but right responses."""
    program = shutil.which("wrk")
    if program is None:
        raise BenchmarkError("wrk is missing: apt-get install wrk")
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    headers = [f"{name}: {value}" for name, value in HEADERS.items()]
    script = ["--script", str(_SCRIPT), url.rstrip("/") + TARGET, "--"]
    command = [program, *options, *script, TRIVIAL_BODY.decode("ascii"), *headers]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + 30
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError("wrk did not come to its end") from None
    match = _RESULT.search(result.stdout)
    if match is None:
        raise BenchmarkError(f"wrk failed: {result.stderr.strip() or result.stdout.strip()}")
    counts = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", match[1])}
    requests, microseconds = counts.pop("requests"), counts.pop("microseconds")
    problems = [f"{count} {name}" for name, count in counts.items() if count]
    if problems or not requests:
        raise BenchmarkError(f"of {requests} requests: {', '.join(problems) or 'none answered'}")
    return Answered(requests, microseconds / 1e6)


def run_direct(path: Path, seconds: float, connections: int) -> Answered:
    """Speak FastCGI over kept connections to the socket ``path``, without nginx.

    A request goes out on every connection before the first response is read, so that the server
    has as much to do at once as it has behind nginx.
    """
    requests = 0
    start = now = time.monotonic()
    try:
        with Client(path, connections, _variables(), TRIVIAL_BODY) as client:
            while now - start < seconds:
                client.round()
                requests += connections
                now = time.monotonic()
    except OSError as error:
        raise BenchmarkError(f"FastCGI spoken directly: {error}") from None
    return Answered(requests, now - start)


def _variables() -> dict[str, str]:
    """The variables that nginx.conf makes of the request."""
    path, _, query = TARGET.partition("?")
    variables = {
        "QUERY_STRING": query,
        "REQUEST_METHOD": "GET",
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "",
        "REQUEST_URI": TARGET,
        "DOCUMENT_URI": path,
        "DOCUMENT_ROOT": "/usr/share/nginx/html",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "nginx/1.22.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "54321",
        "REMOTE_USER": "",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_NAME": "",
        "REDIRECT_STATUS": "200",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
    }
    for name, value in HEADERS.items():
        variables["HTTP_" + name.upper().replace("-", "_")] = value
    return variables
