"""The environment that the application sees: its variables, and its virtual environment.

What a process manager says to the supervisor is not the application's: a library that finds
NOTIFY_SOCKET would tell systemd that the service is ready. --clear-env starts from next to nothing,
as php-fpm does.
"""

from __future__ import annotations

import io
import os
import re
import site
import sys
import time
from collections.abc import Iterator, Mapping

from gateways.config import Config
from gateways.errors import ConfigError

# What --clear-env leaves: what programs cannot do without, and what says how to talk.
KEPT = frozenset({"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"})
KEPT |= {"VIRTUAL_ENV"}
# A process manager's words to the process that it started.
SUPERVISORS_OWN = frozenset(
    {"LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID"}
    | {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def read_environment(config: Config) -> dict[str, str]:
    """The variables of --env-file and --env, the latter winning. Raises ConfigError.

    To be called before the privileges are given up: such files are often root's alone.
    """
    variables: dict[str, str] = {}
    for path in config.env_files:
        variables.update(_read_file(path))
    for number, text in enumerate(config.env, 1):
        name, equals, value = text.partition("=")
        problem = _problem(name, equals, value)
        if problem:
            raise ConfigError(f"--env, number {number} of {len(config.env)}: {problem}")
        variables[name] = value
    return variables


def apply_environment(config: Config, variables: Mapping[str, str] | None = None) -> None:
    """Give this process the application's environment.

    ``variables`` are what ``read_environment`` gave before the privileges were given up.
    """
    if variables is None:
        variables = read_environment(config)
    zone = os.environ.get("TZ")
    for name in list(os.environ):
        kept = not config.clear_env or name in KEPT or name.startswith("LC_")
        if not kept or name in SUPERVISORS_OWN:
            del os.environ[name]
    os.environ.update(variables)
    if os.environ.get("TZ") != zone:
        time.tzset()


def check_environment(config: Config) -> None:
    """Raise ConfigError for what ``read_environment`` or ``activate_venv`` would refuse."""
    read_environment(config)
    if config.venv:
        find_site_packages(config.venv)


def _read_file(path: str) -> dict[str, str]:
    try:
        # As os.environ decodes; a byte order mark is not part of the first name.
        with open(path, "rb") as file:
            text = file.read().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ConfigError(f"--env-file {path}: {error.strerror}") from error
    variables = {}
    for number, line in _logical_lines(os.fsdecode(text)):
        try:
            name, equals, value = _take_apart(line)
            problem = _problem(name, equals, value)
        except ValueError as error:
            problem = f"{str(error)[0].lower()}{str(error)[1:]}"
        if problem:
            raise ConfigError(f"--env-file {path}, line {number}: {problem}")
        variables[name] = value
    return variables


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line), where quotes that stay open take the next line along."""
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), 1)
    for number, line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            whole = line
            while _is_open(whole):
                following = next(lines, None)
                if following is None:
                    break
                whole += f"\n{following[1]}"
            yield number, whole


def _is_open(line: str) -> bool:
    try:
        _take_apart(line)
    except ValueError as error:
        return "quotation" in str(error)
    return False


def _take_apart(line: str) -> tuple[str, str, str]:
    """(name, "=", value) of ``[export ]NAME=VALUE``, quoted as for a shell; nothing is expanded."""
    import shlex

    source = io.StringIO(line)
    words = shlex.shlex(source, posix=True)
    words.whitespace_split = True
    words.commenters = ""  # it would take a # in the middle of a word for one
    word = words.get_token() or ""
    if word == "export":
        word = words.get_token() or ""
    rest = source.read().strip()
    if rest and not rest.startswith("#"):
        raise ValueError("there is more behind the value; one with spaces needs quotes")
    name, equals, value = word.partition("=")
    return name, equals, value


def _problem(name: str, equals: str, value: str) -> str | None:
    """What is wrong, in words that repeat nothing: what is out of place may be a secret."""
    if not equals:
        return "there is no '='; give NAME=VALUE"
    if not _NAME.fullmatch(name):
        return "what is before the '=' is no name of a variable; give NAME=VALUE"
    return "a value cannot hold the character NUL" if "\0" in value else None


# The virtual environment


def prepare_venv() -> None:
    """Import what ``activate_venv`` takes, while the process may read all of Python's files."""
    import importlib.metadata  # noqa: F401
    import sysconfig  # noqa: F401


def activate_venv(directory: str) -> None:
    """Use the packages of a virtual environment, as its own interpreter would. Raises ConfigError.

    To be called when the privileges have been given up: .pth files in there may hold code. Modules
    that this process has imported already stay what they are.
    """
    places = find_site_packages(directory)
    directory = os.path.abspath(directory)
    bin_directory = os.path.join(directory, "bin")
    if os.path.realpath(directory) != os.path.realpath(sys.prefix):
        others = [entry for entry in sys.path if _is_site_packages(entry)]
        before = list(sys.path)
        for place in places:
            if place in before:  # it may be there, but too far behind
                before.remove(place)
                sys.path.remove(place)
            site.addsitedir(place)
        added = [entry for entry in sys.path if entry not in before]
        if not _includes_system(directory):
            ours = _own_site_packages()
            before = [entry for entry in before if entry not in others]
            others = [entry for entry in others if os.path.realpath(entry) in ours]
            before += others
        first = next((at for at, entry in enumerate(before) if entry in others), len(before))
        sys.path[:] = [*before[:first], *added, *before[first:]]
        sys.prefix = sys.exec_prefix = directory
        python = os.path.join(bin_directory, "python")
        if os.path.exists(python):
            sys.executable = python  # what applications start helpers with
    os.environ["VIRTUAL_ENV"] = directory
    os.environ.pop("PYTHONHOME", None)
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if path[0] != bin_directory:
        os.environ["PATH"] = os.pathsep.join([bin_directory, *path])


def find_site_packages(directory: str) -> list[str]:
    """Where a virtual environment keeps the packages for this interpreter. Raises ConfigError."""
    import sysconfig

    directory = os.path.abspath(directory)
    base = {"base": directory, "platbase": directory, "installed_base": directory}
    wanted = [sysconfig.get_path(kind, "venv", vars=base) for kind in ("purelib", "platlib")]
    found = [path for path in dict.fromkeys(wanted) if os.path.isdir(path)]
    if found:
        return found
    if not os.path.isdir(directory):
        raise ConfigError(f"--venv {directory}: there is no such directory")
    made_for = _version_of(directory)
    if not made_for:
        raise ConfigError(
            f"--venv {directory}: that is no virtual environment, as there is no {wanted[0]}; name "
            "the directory that holds bin/ and lib/"
        )
    mine = "{}.{}".format(*sys.version_info[:2])
    raise ConfigError(
        f"--venv {directory}: it was made for Python {made_for}, and this is Python {mine} "
        f"({sys.executable}). Run gateways from that environment: {directory}/bin/python -m pip "
        f"install gateways, then {directory}/bin/gateways; or make it anew: python{mine} -m venv"
    )


def _version_of(directory: str) -> str:
    from pathlib import Path

    for path in sorted(Path(directory).glob("lib*/*/site-packages")):
        found = re.fullmatch(r"[a-z]+([0-9][0-9.]*t?)", path.parent.name)
        if found:
            return found[1]
    # The layout of another system (Windows) still says it here.
    found = re.match(r"[0-9]+\.[0-9]+", _settings(directory).get("version", ""))
    return found[0] if found else ""


def _settings(directory: str) -> dict[str, str]:
    """What pyvenv.cfg says; empty where there is none, as in conda's environments."""
    try:
        with open(os.path.join(directory, "pyvenv.cfg"), encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _includes_system(directory: str) -> bool:
    return _settings(directory).get("include-system-site-packages", "").lower() == "true"


def _is_site_packages(entry: str) -> bool:
    return os.path.basename(entry) in ("site-packages", "dist-packages")


def _own_site_packages() -> set[str]:
    """Where this package is installed: what it needs must stay within reach, behind all else."""
    from importlib.metadata import distributions

    found = distributions(name="gateways")
    return {os.path.realpath(str(distribution.locate_file(""))) for distribution in found}
