"""What a process that serves holds in memory: no module that only a start or a mistake needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateways.cli.group import describe_version
from gateways.client import request
from tests.process.running import running

APPLICATION = """
import sys

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(sys.modules).encode()]
"""

# Each would cost every worker between 0.1 and 2 MiB, and every start some milliseconds.
UNWANTED = {
    *("click", "gateways.cli.group", "gateways.cli.options", "gateways.cli.configuration"),
    *("inspect", "ast", "dis", "dataclasses", "pickle", "argparse"),
    *("asyncio", "email", "http.client", "urllib.parse", "ssl", "datetime", "calendar", "random"),
    *("pathlib", "shutil", "tempfile", "shlex", "copy", "difflib", "platform", "sysconfig", "uuid"),
    *("subprocess", "multiprocessing", "concurrent", "logging.config", "logging.handlers"),
    *("importlib.metadata", "tomllib", "html", "unittest"),
}


@pytest.mark.parametrize("protocol", ["fcgi", "uwsgi", "scgi", "http"])
@pytest.mark.parametrize("options", [(), ("-w", "0")], ids=["a worker", "a process alone"])
def test_who_serves_has_loaded_nothing_that_is_not_needed_for_it(
    tmp_path: Path, protocol: str, options: tuple[str, ...]
) -> None:
    with running(tmp_path, *options, protocol=protocol, source=APPLICATION) as server:
        loaded = set(request(f"{protocol}:{server.address}", "/").body.decode().split())
    # An editable installation has a finder that the interpreter itself begins with.
    bare = subprocess.check_output([sys.executable, "-c", "import sys; print(*sys.modules)"])
    loaded -= set(bare.decode().split())
    unwanted = UNWANTED | ({"ctypes"} if "compiled" in describe_version() else set())
    assert loaded & unwanted == set()
