"""Titles, as ps shows them of a real process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateways.process.titles import short_title

WORKER = "gateways: worker 2 [myapp:app] 3/4 busy, GET /slow 12 s"

SHOW = """
import os, sys
if sys.argv[2] == "without":
    sys.modules["setproctitle"] = None
from gateways.process.titles import set_title
set_title("gateways: supervisor [myapp:app] unix:/run/app.sock")
pid = os.fork()
if not pid:
    os.environ.clear()
    set_title(sys.argv[1])
    set_title(sys.argv[1])
    line = open("/proc/self/cmdline").read().rstrip("\\0").replace("\\n", " ")
    print(line, open("/proc/self/comm").read().strip(), "env" in os.environ, sep="|", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
line = open("/proc/self/cmdline").read().rstrip("\\0").replace("\\n", " ")
print(line[:51], open("/proc/self/comm").read().strip(), "setproctitle" in sys.modules, sep="|")
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


def shown(title: str, how: str) -> list[str]:
    """(title, name, …) of a worker and then of the supervisor that forked it."""
    padding = "x" * 200  # the memory of the command line is all the room that a title has
    command = [sys.executable, "-c", SHOW, title, how, padding]
    return subprocess.check_output(command, text=True).splitlines()


@linux
@pytest.mark.parametrize(
    ("title", "text", "name"),
    [
        (WORKER, WORKER, "gateways:2 3/4"),
        ("gateways: worker 1 [a] idle", "gateways: worker 1 [a] idle", "gateways:1 idle"),
        (
            "gateways: worker 1 [a] GET /\x1b[2Jü",
            "gateways: worker 1 [a] GET /?[2J?",
            "gateways:1 GET",
        ),
    ],
)
def test_a_whole_line_with_setproctitle(title: str, text: str, name: str) -> None:
    assert shown(title, "with") == [
        f"{text}|{name}|False",
        "gateways: supervisor [myapp:app] unix:/run/app.sock|gateways|True",
    ]


@linux
def test_a_name_without_it() -> None:
    worker, supervisor = shown(WORKER, "without")
    assert worker.rsplit("|", 2)[1] == "gateways:2 3/4"
    assert supervisor.rsplit("|", 2)[1] == "gateways"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gateways: supervisor [myapp:app] unix:/run/app.sock", "gateways"),
        ("gateways: template [myapp:app]", "gateways:templa"),
        (WORKER, "gateways:2 3/4"),
        ("gateways: worker 12 [a] idle", "gw:12 idle"),
        ("gateways: worker 12 [a] 10/16 busy, GET / 3 s", "gw:12 10/16"),
        ("gateways: worker 1234 [a] 1000/1600 busy", "gw:1234 1000/16"),
        ("gateways: worker 2 [a:make(['x'])] leaving, 2 busy", "gw:2 leaving"),
        ("something else altogether", "something else "),
    ],
)
def test_what_fits_into_a_name(text: str, name: str) -> None:
    assert short_title(text) == name
    assert len(name) <= 15
