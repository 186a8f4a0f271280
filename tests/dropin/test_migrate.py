"""``gateways migrate``: the edits, byte by byte, and the command that does the same."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gateways.cli.equivalent import equivalent_commands
from gateways.cli.migration import Script
from gateways.errors import ConfigError
from gateways.flup.standin import TARGETS

from .serving import RUN, SCRIPTS, Place, serving

MULTIPROCESS = "wsgi.multiprocess"


def migrated(source: str) -> str:
    script = Script("script.fcgi", source.encode())
    result = script.migrate().decode()
    assert script.notes == []
    return result


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from flup.server.fcgi import WSGIServer", "from gateways.fcgi import WSGIServer"),
        (
            "from flup.server.scgi import WSGIServer as W",
            "from gateways.scgi import WSGIServer as W",
        ),
        ("from flup.server.cgi import WSGIServer", "from gateways.cgi import WSGIServer"),
        (
            "from  flup.server.fcgi_fork \\\n import (WSGIServer, # é\n)",
            "from  gateways.flup.fcgi_fork \\\n import (WSGIServer, # é\n)",
        ),
        ("import flup.server.fcgi as f", "import gateways.fcgi as f"),
        (
            "import os, flup.server.scgi_fork;x = flup.server.scgi_fork.WSGIServer",
            "import os, gateways.flup.scgi_fork;x = gateways.flup.scgi_fork.WSGIServer",
        ),
        (
            "é = 1; import flup.server.fcgi\nif é: ü = 'ß', flup . server.fcgi.WSGIServer",
            "é = 1; import gateways.fcgi\nif é: ü = 'ß', gateways.fcgi.WSGIServer",
        ),
        ("from flup.server import fcgi", "from gateways import fcgi"),
        ("from flup.server import fcgi, scgi as s", "from gateways import fcgi, scgi as s"),
        ("from flup.server import (fcgi_fork,)", "from gateways.flup import (fcgi_fork,)"),
        ("if 1: from flup.server import NoDefault", "if 1: from gateways.scgi import NoDefault"),
        (
            "if 1: from flup.server import fcgi, fcgi_fork as f",
            "if 1: from gateways import fcgi; from gateways.flup import fcgi_fork as f",
        ),
        (
            "\ufefffrom flup.server.fcgi import a\r\nx=1\r",
            "\ufefffrom gateways.fcgi import a\r\nx=1\r",
        ),
        ("x = 'from flup.server.fcgi import'", "x = 'from flup.server.fcgi import'"),
    ],
)
def test_imports_are_replaced_and_nothing_else(before: str, after: str) -> None:
    assert migrated(before) == after


def test_the_encoding_of_a_script_is_kept() -> None:
    source = "# coding: latin-1\nx = 'é'; from flup.server.fcgi import WSGIServer # ü\n"
    after = source.replace("flup.server", "gateways").encode("latin-1")
    assert Script("x", source.encode("latin-1")).migrate() == after


@pytest.mark.parametrize(
    ("source", "note"),
    [
        ("from flup.server.ajp import WSGIServer", "line 1: gateways does not speak AJP"),
        ("\nimport flup.middleware.gzip", "line 2: flup.middleware.gzip stays"),
        ("from flup import server", "import the server's module itself"),
        ("import flup.server.fcgi\nx(flup)", "line 2: the name flup is used for more"),
        ("__import__('flup.server.fcgi')", "'flup.server.fcgi' is a text"),
    ],
)
def test_what_is_left_to_do_is_said(source: str, note: str) -> None:
    script = Script("x", source.encode())
    script.migrate()
    assert any(note in each for each in script.notes), script.notes


def test_a_script_for_python_2_is_refused() -> None:
    with pytest.raises(ConfigError, match="2to3"):
        Script("old.fcgi", b"print 'x'")


@pytest.mark.parametrize("name", TARGETS)
def test_every_module_that_is_stood_in_for_can_be_migrated(name: str) -> None:
    text = migrated(f"import flup.server.{name} as found")
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=False)
    assert done.stderr == b""


FCGI = "from flup.server.fcgi import WSGIServer\nfrom my.web import app\n"
FORK = FCGI.replace("fcgi", "fcgi_fork")
SCGI = FCGI.replace("fcgi", "scgi")


@pytest.mark.parametrize(
    ("source", "command"),
    [
        (FCGI + "WSGIServer(app).run()", "gateways fcgi my.web:app"),
        (
            FCGI + "WSGIServer(app, bindAddress='/run/x', umask=0o7, maxThreads=9).run()",
            "gateways fcgi --bind 'unix:/run/x?mode=770' --threads 9 my.web:app",
        ),
        (
            FCGI + "WSGIServer(app, None, False, False, ('::1', 90, 0, 0), debug=True)",
            "gateways fcgi --bind '[::1]:90' --threads 1 --debug my.web:app",
        ),
        (
            FCGI + "x = 1\nWSGIServer(app, bindAddress=x)",
            "gateways fcgi --bind ADDRESS my.web:app",
        ),
        (
            FORK + "WSGIServer(app, None, 'a', timeout=9, **{'maxChildren': 7, 'maxRequests': 8})",
            "gateways fcgi --bind unix:a --workers 1:7 --threads 1 --max-requests 8 --timeout 9 "
            "my.web:app",
        ),
        (
            SCGI + "WSGIServer(app, '/a/', allowedServers=['::1', '10.1.1.1'])",
            "gateways scgi --bind localhost:4000 --script-name /a --allow ::1 --allow 10.1.1.1 "
            "my.web:app",
        ),
        (
            "import sys; sys.path.insert(0, '/srv/a b')\n" + FCGI + "WSGIServer(app)",
            "gateways fcgi --pythonpath '/srv/a b' my.web:app",
        ),
        (
            "import flup.server.fcgi as f, web\nf.WSGIServer(web.make_app()).run()",
            "gateways fcgi 'web:make_app()'",
        ),
        (
            "import flup.server.fcgi\ndef a(e, s): pass\nflup.server.fcgi.WSGIServer(a).run()",
            "gateways fcgi script.fcgi:a",
        ),
        (
            "from flup.server import fcgi_single as f\nfrom a import b\nf.WSGIServer(b)",
            "gateways fcgi --threads 1 a:b",
        ),
        (
            "from flup.server.cgi import WSGIServer\nfrom a import b\nWSGIServer(b)",
            "gateways cgi a:b",
        ),
    ],
)
def test_the_command_that_does_the_same(source: str, command: str) -> None:
    assert equivalent_commands(Script("script.fcgi", source.encode())) == [command]


@pytest.mark.parametrize(
    "call",
    [
        "def serve(app): WSGIServer(app).run()",
        "WSGIServer(lambda e, s: []).run()",
        "WSGIServer(make(1)).run()",
    ],
)
def test_an_application_without_a_name_is_asked_for_one(call: str) -> None:
    source = f"from flup.server.fcgi import WSGIServer\n{call}\n"
    script = Script("script.fcgi", source.encode())
    assert equivalent_commands(script) == ["gateways fcgi script.fcgi:NAME"]
    assert "line 2: give the application a name" in script.notes[0]


@pytest.mark.parametrize("name", ["fork_one.fcgi", "scgi_threads.py", "socket.fcgi"])
def test_the_command_answers_as_the_script_does(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path)
    script = place.script(name)
    protocol = "scgi" if "scgi" in name else "fcgi"
    address = place.address((SCRIPTS / name).read_text())
    with serving(place, [*RUN, script], protocol, address) as served:
        answers = served.answers()
    (command,) = equivalent_commands(Script(str(script), script.read_bytes()))
    words = [*RUN[:-1], *shlex.split(command)[1:], "--pythonpath", str(place.folder)]
    with serving(place, words, protocol, address) as served:
        again = served.answers()
        assert served.stop() == 0
    assert [answer.status for answer in again] == [answer.status for answer in answers]
    for one, other in zip(answers[:3], again[:3], strict=True):
        assert varying(one.body) == varying(other.body)


def varying(body: bytes) -> dict[str, object]:
    """What a visitor sees of it: the command always says that there may be other processes."""
    seen: dict[str, object] = json.loads(body or b"{}")
    return {name: value for name, value in seen.items() if name not in ("mine", MULTIPROCESS)}


def test_the_command_prints_the_script_and_says_the_rest(tmp_path: Path) -> None:
    script = tmp_path / "a.fcgi"
    script.write_text(FCGI + "WSGIServer(app).run()\n")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateways", "migrate", *words, script.name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run()
    assert done.stdout == script.read_text().replace("flup.server", "gateways")
    assert done.stderr == "The same without the script: gateways fcgi my.web:app\n"
    assert done.returncode == 0
    lines = run("--diff").stdout.splitlines()
    assert [line for line in lines if line[0] in "+-" and line[1] not in "+-"] == [
        "-from flup.server.fcgi import WSGIServer",
        "+from gateways.fcgi import WSGIServer",
    ]
    assert "flup.server" in script.read_text(), "the file itself is not touched"
    script.write_text("from flup.server.ajp import WSGIServer\n")
    done = run()
    assert (done.returncode, done.stdout) == (1, script.read_text())
    assert "a.fcgi, line 1: gateways does not speak AJP" in done.stderr
