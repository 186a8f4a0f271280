"""Command line, environment and file: which goes first, what is refused, and what is printed."""

from __future__ import annotations

import datetime
import functools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateways.cli.commands import HEADING
from gateways.cli.configfile import read_file, toml
from gateways.cli.configuration import (
    Setup,
    name_source,
    show,
    understand,
    unknown_variables,
)
from gateways.cli.foreign import REMEDIES
from gateways.cli.group import gateways
from gateways.cli.options import FIELDS, TABLES, flag, keys
from gateways.cli.serve import COMMANDS, make_start, read_again
from gateways.cli.sources import variable
from gateways.cli.start import Location
from gateways.config import Config
from gateways.errors import ConfigError
from tests.servers.harness import DEADLINE_SECONDS

DOCS = Path(__file__).parents[2] / "docs"
APPLICATION = "def app(environ, start_response): ...\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with nothing in it, and an environment without options."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GATEWAYS_")]:
        monkeypatch.delenv(name)
    return tmp_path


def write(text: str, name: str = "gateways.toml") -> None:
    Path(name).write_text(text, encoding="utf-8")


def context(*arguments: str, command: str = "serve") -> click.Context:
    (found,) = (each for each in COMMANDS if each.name == command)
    return found.make_context(command, list(arguments))


def setup(*arguments: str, command: str = "serve") -> Setup:
    """What `gateways serve` with these arguments understands."""
    return understand(context(*arguments, command=command))


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(folder: Path) -> Run:
    """Run the command, as an operator would."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateways", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )

    return run_command


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(gateways, list(arguments), prog_name="gateways", terminal_width=100)


# Which goes first

# Of each kind of value: the field; as an argument, in a variable and in the file; what they mean.
KINDS: dict[str, tuple[str, list[str], str, str, tuple[Any, Any, Any]]] = {
    "a number": ("threads", ["--threads", "7"], "8", "9", (7, 8, 9)),
    "seconds": ("idle_timeout_seconds", ["--idle-timeout=1.5"], "2.5", "3", (1.5, 2.5, 3.0)),
    "a size": ("max_body_bytes", ["--max-body", "1k"], "2m", '"3g"', (1 << 10, 2 << 20, 3 << 30)),
    "a bare size": ("max_rss_bytes", ["--max-rss", "1"], "2", "3", (1, 2, 3)),
    "a text": ("chdir", ["--chdir", "/a"], "/b", '"/c"', ("/a", "/b", "/c")),
    "a number as text": ("workers", ["-w", "2"], "0:4", "5", ("2", "0:4", "5")),
    "a text or none": ("script_name", ["--script-name="], "/b", '"/c"', ("", "/b", "/c")),
    "turned on": ("debug", ["--debug"], "no", "false", (True, False, False)),
    "turned off": ("multiplex", ["--no-multiplex"], "true", "true", (False, True, True)),
    "a list": (
        "bind",
        ["-b", "/a", "-b", "@b"],
        "/c  '/d e'",
        '["/f", ":1"]',
        (("/a", "@b"), ("/c", "/d e"), ("/f", ":1")),
    ),
    "a list of one": (
        "roles",
        ["--role=filter"],
        "authorizer",
        '"responder"',
        (("filter",), ("authorizer",), ("responder",)),
    ),
    "prefixes": (
        "mounts",
        ["--mount", "/a=a:app", "--mount=/b=b:make(x='=')"],
        "/c=c:app '/d e=d.wsgi'",
        '["/f=f:app"]',
        (("/a=a:app", "/b=b:make(x='=')"), ("/c=c:app", "/d e=d.wsgi"), ("/f=f:app",)),
    ),
    "variables": (
        "env",
        ["--env", "A=1 2"],
        "A=3 'B=4 5'",
        '["A=6"]',
        (("A=1 2",), ("A=3", "B=4 5"), ("A=6",)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, arguments, text, written, (first, second, third) = KINDS[kind]

    def found(*given: str) -> tuple[Any, str]:
        now = setup(*given)
        return getattr(now.config, name), now.origins[name]

    assert found() == (getattr(Config(), name), "default")
    write(f"{keys(name)[0]} = {written}")
    assert found() == (third, "gateways.toml")
    monkeypatch.setenv(variable(keys(name)[0]), text)
    assert found() == (second, f"environment {variable(keys(name)[0])}")
    assert found(*arguments) == (first, "command line")


def test_the_application_may_come_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert setup().reference is None
    write('application = "file:app"')
    assert setup().reference == "file:app"
    monkeypatch.setenv("GATEWAYS_APPLICATION", "variable:app")
    assert setup().reference == "variable:app"
    assert setup("argument:app").reference == "argument:app"


@pytest.mark.parametrize("key", ["graceful-timeout", "graceful_timeout"])
def test_a_key_is_the_flag_with_dashes_or_underscores(key: str) -> None:
    write(f"{key} = 5")
    assert setup().config.graceful_timeout_seconds == 5


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_has_a_key_and_a_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = show(Setup(None, Config(), dict.fromkeys((*FIELDS, *TABLES, "application"), "")))
    values = tomllib.loads(written)
    key = keys(name)[0]
    assert key in values or name == "script_name"
    monkeypatch.setenv(variable(key), "\x01")
    try:
        assert setup().origins[name] == f"environment {variable(key)}"
    except click.ClickException as error:
        assert str(error).startswith(f"{variable(key)}: ")  # noqa: PT017  # either will do


def test_an_option_with_two_names_has_two_keys_and_two_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write('forwarded-allow-ips = "10.0.0.1"')
    assert setup().config.forwarded_allow_ips == ("10.0.0.1",)
    monkeypatch.setenv("GATEWAYS_FORWARDED_ALLOW_IPS", "10.0.0.2")
    assert setup().config.forwarded_allow_ips == ("10.0.0.2",)
    assert setup().origins["forwarded_allow_ips"] == "environment GATEWAYS_FORWARDED_ALLOW_IPS"


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    write("threads = 9")
    monkeypatch.setenv("GATEWAYS_THREADS", "")
    assert setup().config.threads == 9


def test_an_empty_script_name_in_the_environment_is_the_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAYS_SCRIPT_NAME", "")
    assert setup().config.script_name == ""


def test_a_table_of_variables_is_a_list_of_them() -> None:
    write('[env]\nA = "1 = 2"\nB = ""\n')
    assert setup().config.env == ("A=1 = 2", "B=")


def test_a_table_of_prefixes_is_a_list_of_them() -> None:
    write('[mount]\n"/a" = "a:app"\n"/b" = "b:make(x=1)"\n')
    now = setup()
    assert now.config.mounts == ("/a=a:app", "/b=b:make(x=1)")
    assert now.origins["mounts"] == "gateways.toml"
    assert tomllib.loads(show(now))["mount"] == ["/a=a:app", "/b=b:make(x=1)"]


def test_where_everything_is_mounted_no_application_is_needed() -> None:
    write('mount = "/a=a:app"')
    location = Location("gateways.toml", "gateways.toml", required=True)
    start = make_start(context(), setup())._replace(location=location)
    assert start.reference == ""
    assert read_again(start)[1].mounts == ("/a=a:app",)
    write("")
    with pytest.raises(ConfigError, match="no application is named any more"):
        read_again(start)


def test_the_tables_of_the_file_are_in_the_config() -> None:
    write('[hooks]\non_start = "m:f"\n[logging]\nversion = 1\n')
    now = setup()
    assert now.config.hooks == {"on_start": "m:f"}
    assert now.config.logging == {"version": 1}
    assert now.origins["hooks"] == "gateways.toml"


# Which file


def test_the_file_may_be_named_by_option_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    write("threads = 1")
    write("threads = 2", "two.toml")
    write("threads = 3", "three.toml")
    assert setup().config.threads == 1
    monkeypatch.setenv("GATEWAYS_CONFIG", "two.toml")
    assert setup().origins["threads"] == "two.toml"
    assert setup("-c", "three.toml").config.threads == 3
    assert setup("--config", "/dev/null").config.threads == Config().threads


def test_a_file_that_is_named_must_be_there() -> None:
    result = invoke("serve", "--config", "gone.toml", "a:b")
    assert result.exit_code == 2
    assert "gone.toml: cannot be read: No such file" in result.output


def test_help_is_shown_beside_a_file_that_is_wrong() -> None:
    write("threads = ")
    assert invoke("serve", "--help").exit_code == 0


@pytest.mark.parametrize("command", ["cgi", "request"])
def test_other_commands_read_neither_file_nor_environment(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("threads = ")
    monkeypatch.setenv("GATEWAYS_DEBUG", "nonsense")
    result = invoke(command, "no_such_module:app")
    assert "gateways.toml" not in result.output
    assert "GATEWAYS_DEBUG" not in result.output


# What is refused


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("threads = 0", ": threads: must be at least 1, not 0"),
        ('threads = "3"', ': threads: must be a whole number, not "3"'),
        ("threads = true", ": threads: must be a whole number, not true"),
        ("threads = 1.5", ": threads: must be a whole number, not 1.5"),
        ("debug = 1", ": debug: must be true or false, not 1"),
        ('timeout = "5"', ': timeout: must be a number of seconds, not "5"'),
        ("idle_timeout = nan", ": idle_timeout: must be a finite number"),
        ("max-body = -1", ": max-body: '-1' is not a size"),
        ('max-body = "10x"', ": max-body: '10x' is not a size"),
        ("max-body = 1.5", ': max-body: must be a number of bytes, or as "64k", not 1.5'),
        ("umask = 0o27", ": umask: must be a string, in quotes, not 23"),
        ('umask = "9"', ": umask: '9' is not understood"),
        ("bind = 80", ": bind: must be a list of strings"),
        ("bind = [80]", ": bind: must be a list of strings"),
        ("[bind]", ": bind: must be a value, not a table"),
        ('role = "any"', ": role: 'any' is no FastCGI role"),
        ('protocol = "ftp"', ": protocol: 'ftp' is not understood"),
        ('log-level = "loud"', ": log-level: 'loud' is none of"),
        ('script-name = "x"', ": script-name: must be '' or start with '/'"),
        ('env = ["secret"]', ": env: number 1 of 1 is not NAME=VALUE"),
        ("[env]\nA = 1", ": env: A must be a string"),
        ('mount = "a:app"', ": mount: 'a:app' is not understood; give /prefix=module:name"),
        ('[mount]\n"/a=b" = "c"', ": mount: '/a=b' cannot be a prefix"),
        ('[mount]\n"/a/" = "c"', ": mount: the prefix in '/a/=c' must not end in '/': give '/a'"),
        ('[mount]\n"/a" = 1', ": mount: /a must be a string"),
        ('[env]\n"A=B" = "1"', ": env: 'A=B' cannot be the name of a variable"),
        ("application = 1", ": application: must be a string"),
        ("hooks = 1", ": hooks: must be a table, [hooks]"),
        ('[hooks]\non_stop = "a:b"', ": [hooks] 'on_stop' is no hook; there are on_start,"),
        ('[hooks]\non_exit = "a"', ": [hooks] on_exit = 'a' is not understood"),
        ("threds = 1", ": there is no 'threds'; did you mean threads?"),
        ("graceful_timeout_seconds = 1", "; did you mean graceful-timeout?"),
        ("roles = []", "; did you mean role?"),
        ("xyzzy = 1", ": there is no 'xyzzy'; `gateways serve --help` lists"),
        ('wsgi-file = "x"', "; name the application as the argument"),
        ("[hook]", ": there is no table [hook]; did you mean [hooks]?"),
        ("[server]", ": there is no table [server]; there are [env], [mount], [hooks], [logging]"),
        ("max-body = 1\nmax_body = 2", ": max_body is the same as max-body; give one"),
        ("a = 1\nb = \n", ", line 2, column 5: Invalid value"),
        ('a = "x', ", line 1, column 7: Unterminated string"),
    ],
)
def test_an_error_in_the_file_names_file_and_key(text: str, told: str) -> None:
    write(text)
    result = invoke("serve", "a:b")
    assert result.exit_code == 2
    assert result.output.startswith("gateways: error: gateways.toml")
    assert told in result.output.removeprefix("gateways: error: gateways.toml")


@pytest.mark.parametrize("check", [(), ("--check-config",)], ids=["start", "check"])
@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("user", "nobody-of-that-name", ": there is no user"),
        ("chdir", "/nowhere", " /nowhere: there is no such directory"),
        ("venv", "/nowhere", " /nowhere: there is no"),
        ("pidfile", "/nowhere/pid", " /nowhere/pid: "),
        ("access-format", "%q", ": '%q' names nothing of a request"),
    ],
)
def test_what_only_a_start_finds_wrong_is_named_as_it_was_given(
    run: Run, key: str, value: str, told: str, check: tuple[str, ...], folder: Path
) -> None:
    (folder / "a.py").write_text(APPLICATION)
    arguments = ("serve", "--bind", "./x.sock", *check, "a:app")
    write(f"{key} = '{value}'")
    assert run(*arguments).stderr.startswith(f"gateways: error: gateways.toml: {key}{told}")
    write("")
    done = run(*arguments[:-1], f"--{key}", value, "a:app")
    assert done.stderr.startswith(f"gateways: error: --{key}{told}")


def test_it_is_named_by_the_variable_that_gave_it() -> None:
    origins = {"user": "environment GATEWAYS_USER"}
    text = name_source("gateways: error: --user: there is no user", origins)
    assert text == "gateways: error: GATEWAYS_USER: there is no user"


def test_a_file_in_another_encoding_is_refused_with_the_place() -> None:
    Path("gateways.toml").write_bytes(b"a = 1\nb = \xe4\n")
    assert "gateways.toml, line 2, column 5: the text is not UTF-8" in invoke("serve").output


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("GATEWAYS_THREADS", "0", "must be at least 1, not 0"),
        ("GATEWAYS_THREADS", "many", "'many' is not a valid integer"),
        ("GATEWAYS_DEBUG", "perhaps", "'perhaps' is not a valid boolean"),
        ("GATEWAYS_MAX_BODY", "10x", "'10x' is not a size"),
        ("GATEWAYS_ROLE", "filter any", "'any' is no FastCGI role"),
        ("GATEWAYS_ENV", "A=1 'B", "no closing quotation; it is split as in a shell"),
        ("GATEWAYS_MOUNT", "/a=x /a=y", "/a is given twice"),
        (
            "GATEWAYS_MOUNT",
            "/=x",
            "the prefix in '/=x' must not end in '/': the root is that of APP",
        ),
        ("GATEWAYS_MOUNT", "/a%20b=x", "the prefix in '/a%20b=x' is compared with the decoded"),
        ("GATEWAYS_MOUNT", "/a=", "'/a=' is not understood; give /prefix=module:name"),
        ("GATEWAYS_ENV", "A=1 B", "number 2 of 2 is not NAME=VALUE"),
        ("GATEWAYS_FORWARDED_ALLOW_IPS", "'", "no closing quotation"),
    ],
)
def test_an_error_in_a_variable_names_it(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    result = invoke("serve", "a:b")
    assert result.exit_code == 2
    assert result.output.startswith(f"gateways: error: {name}: {told}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("GATEWAYS_THRADS", "; did you mean GATEWAYS_THREADS?"),
        ("GATEWAYS_XYZZY", ""),
        ("GATEWAYS_THREADS", None),
        ("GATEWAYS_APPLICATION", None),
        ("GATEWAYS_CONFIG", None),
        ("GATEWAYS_PURE", None),
        ("GATEWAYS_REQUIRE_COMPILED", None),
        ("GATEWAYS_SERVICE_HOST", None),
        ("GATEWAYS_SERVICE_PORT", None),
        ("GATEWAYS_SERVICE_PORT_HTTP", None),
        ("GATEWAYS_PORT", None),
        ("GATEWAYS_PORT_80_TCP_ADDR", None),
        ("OTHER", None),
    ],
)
def test_a_variable_that_is_no_option_is_a_warning_unless_it_is_known(
    name: str, told: str | None
) -> None:
    expected = [] if told is None else [f"the environment variable {name} is not known{told}"]
    assert unknown_variables({name: "secret"}) == expected


@pytest.mark.parametrize(
    ("command", "address", "told"),
    [
        ("fcgi", "http:127.0.0.1:80", "FastCGI; for http:127.0.0.1:80 use `gateways serve` or"),
        (
            "http",
            "fcgi:/run/x",
            "`gateways http` serves HTTP; for fcgi:/run/x use `gateways serve`",
        ),
        ("uwsgi", "scgi:/run/x", "or `gateways scgi`"),
        ("scgi", "auto:/run/x", "for auto:/run/x use `gateways serve`"),
        ("fcgi", "htttp:127.0.0.1:80", "did you mean http:127.0.0.1:80?"),
        ("fcgi", "fastcgi:/run/x", "did you mean fcgi:/run/x?"),
        ("fcgi", "aut[fcgi]:/run/x", "did you mean auto[fcgi]:/run/x?"),
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_an_address_of_another_protocol_than_the_command_is_refused(
    command: str, address: str, told: str, by_file: bool
) -> None:
    write(f'bind = "{address}"' if by_file else "")
    result = invoke(command, *(() if by_file else ("--bind", address)), "a:b")
    assert result.exit_code == 2
    assert told in result.output


def test_the_command_goes_before_the_protocol_of_the_file() -> None:
    write('protocol = "http"\nbind = "fcgi:/run/x"')
    assert setup().config.protocol == "http"
    now = setup(command="fcgi")
    assert (now.config.protocol, now.origins["protocol"]) == ("fcgi", "gateways fcgi")


@pytest.mark.parametrize("name", REMEDIES)
def test_a_flag_of_another_server_is_explained(name: str) -> None:
    result = invoke("serve", name, "x", "a:b")
    assert result.exit_code == 2
    assert f"There is no {name}; {REMEDIES[name]}." in result.output


@pytest.mark.parametrize("remedy", sorted(set(REMEDIES.values())))
def test_a_remedy_names_options_that_there_are(remedy: str) -> None:
    known = {flag(name) for name in FIELDS} | {"--config"}
    assert set(re.findall(r"--[a-z-]+", remedy)) <= known


# What is printed


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a:b", "-b", 'unix:/a "b"\\?mode=660', "-b", "@é", "--max-body", "10m", "--debug"),
        ("a:b", "--idle-timeout", "0.1", "--script-name=", "--workers", "2:8", "--max-rss", "7"),
        ("--no-multiplex", "--umask", "027", "--access-format", "{client} \x7f\t\x01"),
    ],
)
def test_what_is_printed_means_the_same_as_a_file(arguments: tuple[str, ...]) -> None:
    write(
        '[hooks]\non_start = "m:f"\n[logging]\nversion = 1\n[logging.handlers."a b"]\n'
        'class = "C"\nlevel = 3\nargs = [1.5, {x = true}]\n',
        "tables.toml",
    )
    before = setup("--config", "tables.toml", *arguments)
    result = invoke("serve", "--config", "tables.toml", *arguments, "--print-config")
    assert result.exit_code == 0, result.output
    write(result.stdout)
    after = setup()
    assert after.config == before.config
    assert after.reference == before.reference


def test_what_is_printed_says_where_each_value_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    write("threads = 3\nmax_body = 1024\n")
    monkeypatch.setenv("GATEWAYS_TIMEOUT", "5")
    lines = invoke("fcgi", "--print-config", "--debug", "a:b").stdout.splitlines()
    rows = [re.split(" +# ", line) for line in lines]
    for row in (
        ['application = "a:b"', "command line"],
        ["threads = 3", "gateways.toml"],
        ['max-body = "1k"', "gateways.toml"],
        ["timeout = 5", "environment GATEWAYS_TIMEOUT"],
        ["debug = true", "command line"],
        ["idle-timeout = 75", "default"],
        ['protocol = "fcgi"', "gateways fcgi"],
    ):
        assert row in rows


def test_the_values_of_the_environment_are_not_printed() -> None:
    printed = invoke("serve", "--print-config", "--env", "TOKEN=hunter2", "--env", "B=x").stdout
    assert '# env = ["TOKEN=…", "B=…"]' in printed
    assert "hunter2" not in printed


VALUES = ["", 'a"b\\', "é😀\n\x7f", 0, -5, 1.0, 1e-9, True, [], [1, ["x"]], {"a b": {"c": [False]}}]
DATES = [datetime.datetime(2030, 1, 2, 3, 4, 5), datetime.date(2030, 1, 2)]


@pytest.mark.parametrize("value", [*VALUES, *DATES])
def test_a_value_is_written_as_it_is_read(value: Any) -> None:
    assert tomllib.loads(f"x = {toml(value)}") == {"x": value}


# Checking


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("shop:app",), 0, "ok"),
        (("shop:none",), 3, "cannot load shop:none"),
        (("--bind", "99", "shop:app"), 2, "for a port give 127.0.0.1:99"),
        (("--bind", "auto[x]:/a", "shop:app"), 2, "no such protocol: 'x'"),
        (("--env-file", "gone", "shop:app"), 2, "--env-file gone: it does not exist"),
        (("--venv", "gone", "shop:app"), 2, "--venv gone: there is no directory gone"),
        (("--pidfile", "gone/x", "shop:app"), 2, "--pidfile gone/x: there is no directory gone"),
        (("--access-log", "-", "--error-log", "log", "shop:app"), 0, "ok"),
        (("--threads", "0", "shop:app"), 2, "at least 1"),
        ((), 2, "Which application?"),
    ],
)
def test_a_check_loads_the_application_and_listens_nowhere(
    arguments: tuple[str, ...], status: int, told: str, run: Run
) -> None:
    write(APPLICATION, "shop.py")
    done = run("serve", "--check-config", "--bind", "./x.sock", *arguments)
    assert done.returncode == status, done.stderr
    assert told in done.stdout + done.stderr
    assert not Path("x.sock").exists()


# Reload


def reader(*arguments: str, command: str = "serve") -> Callable[[], tuple[str, Config]]:
    """What a reload has a process apart call, after a start with these arguments."""
    found = context(*arguments, command=command)
    return functools.partial(read_again, make_start(found, understand(found)))


def test_a_reload_sees_the_file_as_it_is_then() -> None:
    write('application = "a:b"\nthreads = 3\nbacklog = 5')
    again = reader("--backlog", "7")
    assert again() == ("a:b", Config(threads=3, backlog=7))
    write('application = "c:d"\nthreads = 4\nbacklog = 6')
    assert again() == ("c:d", Config(threads=4, backlog=7))
    assert again() == ("c:d", Config(threads=4, backlog=7))


def test_a_reload_reads_the_file_of_the_start_wherever_the_server_is_now(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("threads = 3")
    again = reader("a:b")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    write("threads = 5")
    assert again()[1].threads == 3


def test_a_reload_keeps_the_protocol_of_the_command() -> None:
    again = reader("a:b", command="scgi")
    assert again()[1].protocol == "scgi"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: write("threads = 0"), "gateways.toml: threads: must be at least 1"),
        (lambda: write("threads = "), "gateways.toml, line 1, column 11: Invalid value"),
        (lambda: Path("gateways.toml").unlink(), "gateways.toml: cannot be read: No such file"),
        (lambda: write('bind = "http:/x"'), "`gateways fcgi` serves FastCGI"),
        (lambda: write(""), "no application is named any more"),
    ],
)
def test_a_reload_onto_a_wrong_file_is_an_error_and_no_exit(
    change: Callable[[], None], told: str
) -> None:
    write('application = "a:b"')
    again = reader(command="fcgi")
    change()
    with pytest.raises(ConfigError, match=re.escape(told)):
        again()


# Help


@pytest.mark.parametrize("command", [each.name for each in COMMANDS])
def test_the_help_has_each_option_once_under_its_heading(command: str) -> None:
    heading = ""
    found: dict[str, list[str]] = {}
    for line in invoke(command, "--help").output.splitlines():
        if re.fullmatch(r"[A-Z].*:", line):
            heading = line[:-1]
        match = re.match(r"  (?:-[\w-]+, )*(--[a-z0-9-]+)", line)
        if match:
            found.setdefault(match[1], []).append(heading)
    groups = {flag(name): [field.metadata["group"]] for name, field in FIELDS.items()}
    if command != "serve":
        del groups["--protocol"]
    others = ("--config", "--check-config", "--print-config", "--help")
    assert found == groups | {name: [HEADING] for name in others}


# The page about it


def test_the_example_of_the_page_is_understood() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    write(example)
    now = setup()
    assert now.reference == "myapp:app"
    assert now.config.env == ("DJANGO_SETTINGS_MODULE=myapp.settings",)
    assert now.config.max_body_bytes == 20 << 20
    assert now.config.hooks == {"on_ready": "myapp.hooks:warm_up"}
    assert now.config.logging["loggers"]["gateways"]["level"] == "WARNING"


def test_a_file_that_need_not_be_there_is_none() -> None:
    assert read_file(Location("x", "/nowhere/x", required=False)) is None
