"""The command: its options, derived from Config, and the order and the outcome of a start.

What is about options runs in this process; what is about a start runs the command as an operator
would, and waits for the process, a connection or its end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateways.cli.group import gateways
from gateways.cli.main import SERVING
from gateways.cli.options import FIELDS, build_config, config_options, flag, read_size, show_size
from gateways.cli.serve import COMMANDS
from gateways.config import Config
from gateways.errors import ConfigError
from gateways.process.loading import prepare_paths
from tests.servers.harness import DEADLINE_SECONDS

COMMAND = (sys.executable, "-m", "gateways", "fcgi")
APPLICATION = """
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]
"""


def parse(*arguments: str) -> Config:
    """The Config that a command with these arguments would get."""
    configs = []

    @click.command()
    @config_options()
    def command(**values: Any) -> None:
        configs.append(build_config(values))

    command.main(list(arguments), standalone_mode=False)
    return configs[0]


def invoke(*arguments: str) -> Result:
    """What the group ``gateways`` answers to the arguments."""
    return CliRunner().invoke(gateways, list(arguments), prog_name="gateways", terminal_width=100)


# Options


def test_without_options_the_config_is_the_default_one() -> None:
    assert parse() == Config()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-b /tmp/a -b @b", {"bind": ("/tmp/a", "@b")}),
        ("--bind /tmp/a", {"bind": ("/tmp/a",)}),
        ("--allow 10.0.0.0/8 --allow user:www", {"allow": ("10.0.0.0/8", "user:www")}),
        ("--pythonpath a --pythonpath b", {"pythonpath": ("a", "b")}),
        ("--role authorizer --role filter", {"roles": ("authorizer", "filter")}),
        ("-t 9", {"threads": 9}),
        ("--threads=9", {"threads": 9}),
        ("--backlog 0", {"backlog": 0}),
        ("--script-name=", {"script_name": ""}),
        ("--script-name /shop", {"script_name": "/shop"}),
        ("--no-multiplex --debug", {"multiplex": False, "debug": True}),
        ("--no-trust-remote-user", {"trust_remote_user": False}),
        ("--log-level DEBUG", {"log_level": "DEBUG"}),
        ("--graceful-timeout 1.5", {"graceful_timeout_seconds": 1.5}),
        ("--max-body 10m", {"max_body_bytes": 10 << 20}),
        ("--body-spool 2G", {"body_spool_bytes": 2 << 30}),
        ("--max-variables-bytes 8k", {"max_variables_bytes": 8192}),
        ("--max-variables 8", {"max_variables": 8}),
    ],
)
def test_an_option_sets_its_field(arguments: str, expected: dict[str, Any]) -> None:
    assert parse(*arguments.split(" ")) == Config(**expected)


@pytest.mark.parametrize("name", FIELDS)
def test_the_help_lists_every_field_with_its_text_and_default(name: str) -> None:
    shown = " ".join(invoke("serve", "--help").output.split())
    field = FIELDS[name]
    assert f"{flag(name)} " in shown
    assert " ".join(field.metadata["help"].split()) in shown
    for short in field.metadata["flags"].split():
        assert short in shown


@pytest.mark.parametrize(
    "text",
    [
        "[default: 4]",
        "[default: 64k]",
        "[default: 1g]",
        "[default: 75]",
        "[default: responder]",
        "[default: info]",
        "--graceful-timeout SECONDS",
        "--max-body BYTES",
        "--role ROLE",
        "--multiplex / --no-multiplex",
    ],
)
def test_the_help_shows_units_and_defaults(text: str) -> None:
    assert text in " ".join(invoke("fcgi", "--help").output.split())


def test_no_two_fields_share_a_flag() -> None:
    assert len({flag(name) for name in FIELDS}) == len(FIELDS)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--threads", "0", "at least 1"),
        ("--threads", "-1", "at least 1"),
        ("--threads", "many", "many"),
        ("--max-connections", "0", "at least 1"),
        ("--backlog", "-1", "at least 0"),
        ("--graceful-timeout", "-0.5", "at least 0"),
        ("--idle-timeout", "nan", "finite"),
        ("--idle-timeout", "inf", "finite"),
        ("--idle-timeout", "soon", "soon"),
        ("--max-body", "-1", "not a size"),
        ("--max-body", "10x", "not a size"),
        ("--max-body", "", "not a size"),
        ("--max-body", "1.5m", "not a size"),
        ("--script-name", "shop", "'/shop'"),
        ("--script-name", "/shop/", "give '/shop'"),
        ("--script-name", "/", "give ''"),
        ("--role", "reponder", "responder, authorizer, filter"),
        ("--log-level", "loud", "debug, info, warning, error, critical"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_option(
    option: str, value: str, told: str
) -> None:
    result = invoke("fcgi", option, value, "app:app")
    assert result.exit_code == 2
    assert f"'{option}'" in result.output
    assert told in result.output


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"threads": 0}, "threads: must be at least 1, not 0"),
        ({"write_timeout_seconds": -1}, "write_timeout_seconds: must be at least 0"),
        ({"script_name": "x"}, "script_name: must be '' or start with '/'"),
        ({"script_name": "//"}, "script_name: must not end in '/'"),
        ({"roles": ("responder", "other")}, "roles: 'other' is no FastCGI role"),
        ({"roles": ()}, "roles: is empty"),
        ({"bind": "/tmp/x"}, "bind: takes several: give ('/tmp/x',)"),
        ({"log_level": ""}, "log_level: '' is none of"),
    ],
)
def test_a_config_refuses_what_cannot_be_meant(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**values)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1023", 1023), ("1k", 1024), ("64k", 65536), ("10m", 10 << 20), ("1g", 1 << 30)],
)
def test_a_size_reads_back_as_it_is_shown(text: str, size: int) -> None:
    assert read_size(text) == size
    assert show_size(size) == text


def test_an_unknown_option_is_refused_with_the_one_meant() -> None:
    result = invoke("fcgi", "--thread", "3", "app:app")
    assert result.exit_code == 2
    assert "--threads" in result.output


def test_without_an_application_the_usage_shows_how_to_name_one() -> None:
    result = invoke("fcgi")
    assert result.exit_code == 2
    assert "Which application?" in result.output
    assert "gateways fcgi --bind /run/app.sock myapp:app" in result.output


def test_the_version_names_the_build_and_the_python() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    version = ".".join(map(str, sys.version_info[:3]))
    assert result.output.startswith("gateways 0.1.0 (")
    assert result.output.rstrip().endswith(f" {version})")


def test_help_and_version_import_neither_the_core_nor_the_loader() -> None:
    script = (
        "import sys, gateways.cli.group\n"
        "try:\n    gateways.cli.group.gateways(['fcgi', '--help'])\n"
        "except SystemExit: pass\n"
        "late = [m for m in sys.modules if m.startswith(('gateways.core', 'gateways.wsgi'))]\n"
        "sys.exit(repr(late) if late else 0)"
    )
    subprocess.run((sys.executable, "-c", script), check=True, stdout=subprocess.DEVNULL)


def test_every_command_that_serves_is_read_in_a_process_apart() -> None:
    assert {each.name for each in COMMANDS} == SERVING


# Paths


@pytest.fixture
def search_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A sys.path and a working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/usr/bin", "/usr/lib/python"])
    return sys.path


def test_the_pythonpath_comes_first_and_then_the_directory_changed_to(
    search_path: list[str], tmp_path: Path
) -> None:
    for name in ("site/a", "site/b"):
        (tmp_path / name).mkdir(parents=True)
    prepare_paths(Config(chdir="site", pythonpath=("a", "b")))
    site = str(tmp_path / "site")
    assert os.getcwd() == site
    expected = [f"{site}/a", f"{site}/b", site, "/usr/bin", "/usr/lib/python"]
    assert search_path == expected


def test_a_directory_that_is_on_the_path_already_moves_to_the_front(
    search_path: list[str], tmp_path: Path
) -> None:
    search_path.append(str(tmp_path))
    prepare_paths(Config())
    assert search_path == [str(tmp_path), "/usr/bin", "/usr/lib/python"]


@pytest.mark.parametrize("config", [Config(chdir="gone"), Config(pythonpath=("gone",))])
@pytest.mark.usefixtures("search_path")
def test_a_directory_that_is_not_there_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match="gone: "):
        prepare_paths(config)


# A start, as an operator makes it

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``gateways fcgi`` with the arguments in tmp_path; what still runs is killed."""
    (tmp_path / "shop.py").write_text(textwrap.dedent(APPLICATION))
    (tmp_path / "broken.py").write_text("import not_here\n")
    processes = []

    def start_command(*arguments: str) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start_command
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit status, stderr) of a process that ends by itself."""
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, errors


def connect(path: Path, process: subprocess.Popen[str]) -> socket.socket:
    """A connection to the socket, as soon as the server listens on it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(DEADLINE_SECONDS)
        try:
            peer.connect(str(path))
        except OSError:
            peer.close()
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.01)  # nothing announces a socket; this is the pace of asking
        else:
            return peer


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("broken:app", "No module named 'not_here'"),
        ("nowhere:app", "No module named 'nowhere'"),
        ("shop:aplication", "has no 'aplication'"),
    ],
)
def test_an_application_that_does_not_load_ends_the_start_before_anything_is_bound(
    reference: str, told: str, start: Start, tmp_path: Path
) -> None:
    status, errors = outcome(start("--bind", "./x.sock", reference))
    assert status == 3
    assert f"gateways: error: cannot load {reference}" in errors
    assert told in errors
    assert f"Interpreter: {sys.executable}" in errors
    assert f"Working directory: {tmp_path}" in errors
    assert not (tmp_path / "x.sock").exists()


def test_an_address_that_cannot_be_bound_is_a_usage_error(start: Start) -> None:
    status, errors = outcome(start("--bind", "no-address-at-all", "shop:app"))
    assert status == 2
    assert errors.count("gateways: error: ") == 1
    assert "no-address-at-all" in errors
    assert "Traceback" not in errors


def test_a_directory_that_is_not_there_is_a_usage_error(start: Start) -> None:
    status, errors = outcome(start("--chdir", "gone", "--bind", "./x.sock", "shop:app"))
    assert status == 2
    assert errors == "gateways: error: --chdir gone: there is no such directory\n"


def record(kind: int, content: bytes) -> bytes:
    """A FastCGI record of request 1."""
    return bytes((1, kind, 0, 1, len(content) >> 8, len(content) & 255, 0, 0)) + content


def request(peer: socket.socket) -> bytes:
    """All that the server answers to a GET, until it closes the connection."""
    pairs = {b"REQUEST_METHOD": b"GET", b"SCRIPT_NAME": b"", b"PATH_INFO": b"/"}
    params = b"".join(bytes((len(k), len(v))) + k + v for k, v in pairs.items())
    begin = record(1, b"\0\1\0\0\0\0\0\0")
    peer.sendall(begin + record(4, params) + record(4, b"") + record(5, b""))
    return b"".join(iter(lambda: peer.recv(65536), b""))


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_served_request_and_a_clean_end(
    stop: signal.Signals, start: Start, tmp_path: Path
) -> None:
    process = start("--bind", "./x.sock", "shop:app")
    with connect(tmp_path / "x.sock", process) as peer:
        assert b"served" in request(peer)
    process.send_signal(stop)
    status, errors = outcome(process)
    assert status == 0, errors
    assert "Traceback" not in errors


def test_the_application_is_found_by_the_directory_changed_to(start: Start, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/market.py").write_text(textwrap.dedent(APPLICATION))
    process = start("--chdir", "site", "--bind", "./x.sock", "market:app")
    # The other paths are, as in any command, relative to where it is called.
    with connect(tmp_path / "x.sock", process) as peer:
        assert b"served" in request(peer)


def test_a_renewal_is_logged_though_the_application_configured_logging(
    start: Start, tmp_path: Path
) -> None:
    configure = "import logging.config\nlogging.config.dictConfig({'version': 1})\n"
    (tmp_path / "loud.py").write_text(configure + textwrap.dedent(APPLICATION))
    process = start("--workers", "0", "--bind", "./x.sock", "loud:app")
    with connect(tmp_path / "x.sock", process) as peer:
        assert b"served" in request(peer)
    process.send_signal(signal.SIGHUP)
    with connect(tmp_path / "x.sock", process) as peer:
        assert b"served" in request(peer)
    process.terminate()
    _, errors = outcome(process)
    assert f"[{process.pid}] INFO renewing this process: SIGHUP" in errors


@pytest.mark.parametrize(
    "options",
    [
        ("--allow", "nobody in particular"),
        ("--protocol", "auto[]"),
        ("--protocol", "auto[nonsense]"),
    ],
)
def test_nothing_is_left_behind_by_a_server_that_cannot_be_made(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "fine.py").write_text("def application(environ, start_response): ...")
    path = tmp_path / "app.sock"
    command = [sys.executable, "-m", "gateways", "serve", "--chdir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--bind", str(path), *options, "fine"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 2
    assert "gateways: error:" in done.stderr
    assert not path.exists()
