"""The application's environment: variables and virtual environments, in real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from gateways.config import Config
from gateways.errors import ConfigError
from gateways.process.environment import (
    apply_environment,
    check_environment,
    find_site_packages,
    read_environment,
)
from tests.core.forks import in_child

MINE = "{}.{}".format(*sys.version_info[:2])


def applied(before: dict[str, str], **options: object) -> dict[str, str]:
    """The environment of a worker that was started with ``before``."""

    def work() -> str:
        os.environ.clear()
        os.environ.update(before)
        apply_environment(Config(**options))  # type: ignore[arg-type]
        return json.dumps(dict(os.environ))

    result: dict[str, str] = json.loads(in_child(work))
    return result


# Variables

STARTED_WITH = {
    "PATH": "/bin",
    "HOME": "/srv",
    "LC_TIME": "C",
    "TMPDIR": "/t",
    "SECRET": "x",
    "LISTEN_ADDR": "mine",
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "WATCHDOG_USEC": "3",
    "WATCHDOG_PID": "1",
    "LISTEN_FDS": "1",
    "LISTEN_PID": "1",
    "LISTEN_FDNAMES": "a",
}
OF_THE_SYSTEM = {"PATH": "/bin", "HOME": "/srv", "LC_TIME": "C", "TMPDIR": "/t"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {**OF_THE_SYSTEM, "SECRET": "x", "LISTEN_ADDR": "mine"}),
        ({"clear_env": True}, OF_THE_SYSTEM),
        (
            {"clear_env": True, "env": ("HOME=/home/a", "A=", "B=1=2")},
            {**OF_THE_SYSTEM, "HOME": "/home/a", "A": "", "B": "1=2"},
        ),
        (
            {"clear_env": True, "env": ("NOTIFY_SOCKET=/mine",)},
            {**OF_THE_SYSTEM, "NOTIFY_SOCKET": "/mine"},
        ),
    ],
)
def test_what_the_application_gets(options: dict[str, object], expected: dict[str, str]) -> None:
    assert applied(STARTED_WITH, **options) == expected


def test_the_variables_that_were_read_before_are_used(tmp_path: Path) -> None:
    """A file that only root can read is gone from sight when the privileges have been given up."""
    file = tmp_path / "secrets"
    file.write_text("A=file\nB=file\n")
    config = Config(env_files=(str(file),), env=("B=option",))
    variables = read_environment(config)
    file.unlink()

    def work() -> object:
        apply_environment(config, variables)
        return os.environ["A"], os.environ["B"]

    assert in_child(work) == str(("file", "option"))


def test_a_time_zone_counts_at_once() -> None:
    script = (
        "import time; from gateways.config import Config\n"
        "from gateways.process.environment import apply_environment as apply\n"
        "time.localtime(); apply(Config(env=('TZ=UTC-9',))); print(time.localtime(0).tm_hour)"
    )
    environment = {**os.environ, "TZ": "UTC"}
    assert subprocess.check_output([sys.executable, "-c", script], env=environment) == b"9\n"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("  export   A=1  ", "1"),
        ("A=", ""),
        ("A=''", ""),
        ("A='a b'", "a b"),
        ('A="a \\"b\\" c"', 'a "b" c'),
        ("A='a'\"b\"c", "abc"),
        ("A=a\\ b", "a b"),
        ("A=abc#def", "abc#def"),
        ("A=abc # it's a comment", "abc"),
        ("# it's a comment\n\nA=1", "1"),
        ("A=$HOME", "$HOME"),
        ("A=postgres://u:p@h/db?x=1&y=2", "postgres://u:p@h/db?x=1&y=2"),
        ('A="-----BEGIN\nmore\n-----END"\nB=2', "-----BEGIN\nmore\n-----END"),
        ("A=1\r\nB=2\r\n", "1"),
        ("\ufeffA=1", "1"),
        ("A=ü", "ü"),
        ("A=1\nA=2", "2"),
    ],
)
def test_a_line_of_a_file(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / "env").write_bytes(line.encode())
    assert read_environment(Config(env_files=(f"{tmp_path}/env",)))["A"] == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\nB", "line 2: there is no '='; give NAME=VALUE"),
        ("A=1\n\n# x\nB=a b", "line 4: there is more behind the value; one with spaces needs"),
        ("A=1\nB='a\nb\n", "line 2: no closing quotation"),
        ("A=a\\", "line 1: no escaped character"),
        ("=1", "line 1: what is before the '=' is no name of a variable; give NAME=VALUE"),
        ("A B=1", "line 1: there is more behind the value"),
        ("1A=1", "line 1: what is before the '=' is no name of a variable"),
        ("export", "line 1: there is no '='"),
        ("A=\0", "line 1: a value cannot hold the character NUL"),
    ],
)
def test_a_line_that_cannot_be_meant(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "env"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        check_environment(Config(env_files=(str(file),)))
    assert f"--env-file {file}, {problem}" in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        check_environment(Config(env_files=(f"{tmp_path}/x",)))
    assert str(raised.value) == f"--env-file {tmp_path}/x: No such file or directory"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A B=1", "number 2 of 2: what is before the '=' is no name of a variable; give NAME="),
        ("1B=1", "number 2 of 2: what is before the '=' is no name of a variable; give NAME="),
    ],
)
def test_an_option_that_cannot_be_meant(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_environment(Config(env=("A=1", text)))
    assert f"--env, {problem}" in str(raised.value)


@pytest.mark.parametrize("line", ["s3cret", "A=1 s3cret", "s3cret/+=", "A='s3cret", "s3cret A=1"])
def test_no_secret_is_repeated(tmp_path: Path, line: str) -> None:
    (tmp_path / "env").write_text(line)
    with pytest.raises(ConfigError) as raised:
        check_environment(Config(env_files=(f"{tmp_path}/env",)))
    assert "s3cret" not in str(raised.value)


# Virtual environments

LOOK = """
import json, os, sys
from gateways.process.environment import activate_venv
activate_venv(sys.argv[1])
activate_venv(sys.argv[1])  # once is enough, and twice does no harm
import packaged
try:
    import everywhere
except ImportError:
    everywhere = None
print(json.dumps({
    "from": packaged.__file__, "elsewhere": bool(everywhere), "path": sys.path,
    "prefix": [sys.prefix, sys.exec_prefix], "executable": sys.executable,
    "VIRTUAL_ENV": os.environ["VIRTUAL_ENV"], "PATH": os.environ["PATH"].split(":")[:2],
    "pth": getattr(sys, "pth", None), "doubles": len(sys.path) - len(set(sys.path)),
}))
"""


@pytest.fixture
def outer(tmp_path: Path) -> Path:
    """The interpreter's own packages, for a process that is started with them."""
    outer = tmp_path / "outer" / "site-packages"
    outer.mkdir(parents=True)
    (outer / "packaged.py").write_text("")
    (outer / "everywhere.py").write_text("")
    return outer


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A virtual environment of this very interpreter."""
    directory = tmp_path / "venv"
    make = [sys.executable, "-m", "venv", "--without-pip", str(directory)]
    subprocess.run(make, check=True)
    packages = directory / "lib" / f"python{MINE}" / "site-packages"
    (packages / "packaged.py").write_text("")
    (packages / "code.pth").write_text("import sys; sys.pth = 'ran'\n")
    (tmp_path / "linked").mkdir()
    (packages / "linked.pth").write_text(f"{tmp_path}/linked\n")
    return directory


def look(venv: str | Path, outer: Path, cwd: Path | None = None) -> dict[str, object]:
    """What a process sees that has activated ``venv``."""
    script = f"import sys; sys.path.append({str(outer)!r})\n{LOOK}"
    text = subprocess.check_output([sys.executable, "-c", script, venv], text=True, cwd=cwd)
    found: dict[str, object] = json.loads(text)
    return found


def test_the_packages_of_a_virtual_environment(venv: Path, outer: Path, tmp_path: Path) -> None:
    found = look(venv, outer)
    assert found["from"] == f"{venv}/lib/python{MINE}/site-packages/packaged.py"
    assert found["elsewhere"] is False
    assert found["prefix"] == [str(venv)] * 2
    assert found["executable"] == f"{venv}/bin/python"
    assert found["VIRTUAL_ENV"] == str(venv)
    assert found["PATH"] == [f"{venv}/bin", os.environ["PATH"].split(":")[0]]
    assert found["pth"] == "ran"
    path = found["path"]
    assert isinstance(path, list)
    assert path.index(sysconfig.get_path("stdlib")) < path.index(f"{tmp_path}/linked")
    assert found["doubles"] == 0


def test_one_that_includes_the_systems_packages(venv: Path, outer: Path) -> None:
    settings = (venv / "pyvenv.cfg").read_text().replace("= false", "= true")
    (venv / "pyvenv.cfg").write_text(settings)
    found = look(venv, outer)
    assert found["from"] == f"{venv}/lib/python{MINE}/site-packages/packaged.py"
    assert found["elsewhere"] is True


def test_a_relative_path_is_from_where_the_process_is(venv: Path, outer: Path) -> None:
    assert look(venv.name, outer, venv.parent)["prefix"] == [str(venv)] * 2


def test_gateways_own_packages_stay_within_reach(venv: Path, outer: Path) -> None:
    """As where it was installed by itself: its requirements are not the application's."""
    information = outer / "gateways-9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: gateways\nVersion: 9\n")
    found = look(venv, outer)
    assert found["elsewhere"] is True
    assert found["from"] == f"{venv}/lib/python{MINE}/site-packages/packaged.py"


def test_the_environment_that_runs_already(outer: Path) -> None:
    script = f"import sys; sys.path.append({str(outer)!r}); before = list(sys.path)\n{LOOK}"
    script += "assert sys.path == before\nassert sys.prefix == sys.argv[1]"
    subprocess.run(
        [sys.executable, "-c", script, sys.prefix], check=True, stdout=subprocess.DEVNULL
    )


def test_one_of_another_python(venv: Path) -> None:
    shutil.move(venv / "lib" / f"python{MINE}", venv / "lib" / "python3.4")
    with pytest.raises(ConfigError) as raised:
        check_environment(Config(venv=str(venv)))
    message = str(raised.value)
    assert f"it was made for Python 3.4, and this is Python {MINE} ({sys.executable})" in message
    assert f"Run gateways from that environment: {venv}/bin/python -m pip install" in message


@pytest.mark.parametrize(
    ("name", "problem"),
    [("missing", "there is no such directory"), ("", "that is no virtual environment")],
)
def test_a_directory_that_is_none(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        find_site_packages(f"{tmp_path}/{name}")
    assert problem in str(raised.value)
