"""Becoming another user, in another root directory: in forked children, as root."""

from __future__ import annotations

import ast
import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gateways
from gateways.config import Config
from gateways.errors import ConfigError
from gateways.process.privileges import NEEDED_IN_A_JAIL, Privileges
from tests.core.forks import NOBODY, become, in_child, needs_root
from tests.core.serving import LogLines

as_root = pytest.mark.skipif(os.geteuid() != 0, reason=needs_root)
NO_USER = 54321


def apply(**options: str) -> None:
    """Become what the options say; in a child only."""
    Privileges.from_config(Config(**options)).apply()  # type: ignore[arg-type]


def ids() -> tuple[int, int, int, int, list[int]]:
    """Who this process is."""
    return os.getuid(), os.geteuid(), os.getgid(), os.getegid(), sorted(os.getgroups())


def user_with_groups() -> pwd.struct_passwd:
    """A user with supplementary groups; made up where the machine has none."""
    for group in grp.getgrall():
        for name in group.gr_mem:
            entry = pwd.getpwnam(name)
            if entry.pw_uid and entry.pw_gid != group.gr_gid:
                return entry
    pytest.skip("no user of this machine has supplementary groups")


@as_root
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"user": "nobody"}, (NOBODY, NOBODY, NOBODY, NOBODY, [NOBODY])),
        ({"user": str(NOBODY)}, (NOBODY, NOBODY, NOBODY, NOBODY, [NOBODY])),
        ({"user": "nobody", "group": "daemon"}, (NOBODY, NOBODY, 1, 1, [1])),
        ({"user": str(NO_USER), "group": "77"}, (NO_USER, NO_USER, 77, 77, [77])),
        ({"group": "daemon"}, (0, 0, 1, 1, [1])),
        ({"user": "root"}, (0, 0, 0, 0, [0])),
    ],
    ids=str,
)
def test_who_it_becomes(options: dict[str, str], expected: object) -> None:
    def work() -> object:
        os.setgroups([4, 6])  # what root had must not come along
        apply(**options)
        return ids()

    assert in_child(work) == str(expected)


@as_root
def test_the_supplementary_groups_are_the_users() -> None:
    user = user_with_groups()

    def work() -> object:
        apply(user=user.pw_name)
        return sorted(os.getgroups())

    assert in_child(work) == str(sorted(os.getgrouplist(user.pw_name, user.pw_gid)))


@as_root
def test_a_given_group_leaves_the_users_supplementary_ones() -> None:
    user = user_with_groups()

    def work() -> object:
        apply(user=user.pw_name, group="99")
        return os.getgid(), sorted(os.getgroups())

    assert in_child(work) == str((99, sorted(os.getgrouplist(user.pw_name, 99))))


@as_root
def test_it_cannot_be_undone() -> None:
    def work() -> object:
        apply(user="nobody")
        ways: list[tuple[Callable[[Any], None], Any]] = [
            (os.setuid, 0),
            (os.seteuid, 0),
            (os.setgid, 0),
            (os.setgroups, [0]),
        ]
        for way, to in ways:
            try:
                way(to)
            except PermissionError:
                continue
            return f"by {way.__name__}"
        return "no"

    assert in_child(work) == "no"


def became_nobody(*setpriv: str) -> subprocess.CompletedProcess[str]:
    """How it goes under ``setpriv`` with these options."""
    script = (
        "from gateways.config import Config\n"
        "from gateways.process.privileges import Privileges\n"
        "Privileges.from_config(Config(user='nobody')).apply()"
    )
    command = ["setpriv", *setpriv, sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True)


@as_root
def test_capabilities_that_survive_the_change_are_noticed() -> None:
    # SECBIT_NO_SETUID_FIXUP: the kernel leaves the capabilities alone when the uid changes.
    ended = became_nobody("--securebits", "+no_setuid_fixup")
    assert "could become root again" in ended.stderr
    assert ended.returncode == 1


@as_root
def test_without_the_capability_the_error_says_so() -> None:
    ended = became_nobody("--inh-caps=-setuid", "--bounding-set=-setuid")
    assert "needs the capabilities CAP_SETUID and CAP_SETGID" in ended.stderr


@as_root
@pytest.mark.parametrize(
    ("before", "user", "after"),
    [
        (("/root", "root", "root"), "www-data", ("/var/www", "www-data", "www-data")),
        ((None, None, None), "www-data", ("/var/www", "www-data", "www-data")),
        (("/srv/app", "shop", "root"), "www-data", ("/srv/app", "shop", "www-data")),
        (("/root", "root", "root"), str(NO_USER), ("/", None, None)),
        (("/root", "root", "root"), "root", ("/root", "root", "root")),
    ],
)
def test_home_follows_the_user_unless_it_was_set_on_purpose(
    before: tuple[str | None, ...], user: str, after: tuple[str | None, ...]
) -> None:
    names = ("HOME", "USER", "LOGNAME")

    def work() -> object:
        for name, value in zip(names, before, strict=True):
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        apply(user=user, group="daemon")
        return tuple(os.environ.get(name) for name in names)

    assert in_child(work) == str(after)


@pytest.mark.parametrize(
    ("text", "mask"), [("027", 0o27), ("0o77", 0o77), ("2", 0o2), ("0", 0), ("0o", 0)]
)
def test_the_umask(text: str, mask: int) -> None:
    def work() -> object:
        os.umask(0o123)
        apply(umask=text)
        return os.umask(0)

    assert in_child(work) == str(mask)


def test_without_options_nothing_changes() -> None:
    def work() -> object:
        os.umask(0o123)
        before = (ids(), os.umask(0o123), os.getcwd(), dict(os.environ))
        apply()
        return before == (ids(), os.umask(0o123), os.getcwd(), dict(os.environ))

    assert in_child(work) == "True"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "nosuchuser"}, "--user: there is no user 'nosuchuser' on this machine"),
        ({"group": "nosuchgroup"}, "--group: there is no group 'nosuchgroup' on this machine"),
        ({"user": str(NO_USER)}, "its groups are not known; give --group too"),
    ],
)
def test_who_is_not_there_ends_the_start(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Privileges.from_config(Config(**options))  # type: ignore[arg-type]
    assert message in str(raised.value)


@as_root
def test_a_jail_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such directory; create it, owned by root"):
        Privileges.from_config(Config(chroot=f"{tmp_path}/missing"))


@as_root
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "www-data"}, "only root may become somebody else, and this process is nobody"),
        ({"group": "daemon"}, "only root may change its group, and this process is nobody"),
        ({"chroot": "/tmp"}, "--chroot /tmp: only root may do that, and this process is nobody"),
        ({"user": "nobody", "group": "nogroup"}, "fine"),
    ],
)
def test_what_only_root_may(options: dict[str, str], message: str) -> None:
    def work() -> object:
        become(NOBODY, NOBODY, [])
        try:
            apply(**options)
        except ConfigError as error:
            return error
        return "fine"

    assert message in in_child(work)


# The jail


@pytest.fixture
def jail(tmp_path: Path) -> Path:
    """A directory with an application in it."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "inmate.py").write_text("where = __file__\n")
    tmp_path.chmod(0o755)
    return tmp_path


@as_root
@pytest.mark.parametrize(("start", "inside"), [("app", "/app"), ("", "/"), ("/usr", "/")])
def test_a_jail_is_all_there_is(jail: Path, start: str, inside: str) -> None:
    def work() -> object:
        os.chdir(jail / start)
        apply(chroot=str(jail), user="nobody")
        return os.getcwd(), os.listdir("/"), os.getuid()

    assert in_child(work) == str((inside, ["app"], NOBODY))


@as_root
def test_an_application_in_the_jail_is_found(jail: Path) -> None:
    def work() -> object:
        sys.path.insert(0, str(jail / "app"))
        sys.path_importer_cache["/app"] = None  # there is none outside
        apply(chroot=str(jail), user="nobody")
        import inmate  # type: ignore[import-not-found]

        return inmate.where

    assert in_child(work) == "/app/inmate.py"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/jail/app", "/app"),
        ("/jail", "/"),
        ("/jailed", "/jailed"),
        ("/usr/lib", "/usr/lib"),
        ("app", "app"),
        ("", ""),
    ],
)
def test_how_a_path_is_called_inside(path: str, inside: str) -> None:
    assert Privileges(chroot="/jail").inside(path) == inside


def lazy_imports() -> set[str]:
    """What the modules that a worker runs import inside of functions."""
    root = Path(gateways.__file__).parent
    others = {"core/cgi.py", "core/relay.py", "core/stdio.py"}  # never part of a worker
    found = set()
    for part in ("logs.py", "protocols", "wsgi", "core"):
        for path in [root / part] if part.endswith(".py") else sorted((root / part).glob("*.py")):
            if str(path.relative_to(root)) in others:
                continue
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef):
                    for node in ast.walk(function):
                        if isinstance(node, ast.Import):
                            found |= {alias.name for alias in node.names}
                        elif isinstance(node, ast.ImportFrom):
                            found.add(node.module or "")
    return found


def test_what_a_worker_imports_late_is_there_in_the_jail() -> None:
    script = (
        "import sys; from gateways.process.privileges import load_what_a_jail_lacks as load; "
        "load(); print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    with_gevent = {"gateways.core.greenlets"}  # it is imported before the jail is entered
    assert lazy_imports() - set(ended.stdout.split()) == with_gevent
    assert "html" in lazy_imports()
    assert list(NEEDED_IN_A_JAIL) == sorted(NEEDED_IN_A_JAIL)


JAILED = """
import sys, time
from gateways.config import Config
from gateways.process.privileges import Privileges
Privileges.from_config(Config(chroot=sys.argv[1], user="nobody")).apply()
import html, traceback, email.utils, tempfile, logging.handlers
try:
    missing.name
except NameError:
    text = traceback.format_exc()
"x.example".encode("idna")
email.utils.formatdate(usegmt=True)
import socket
try:
    socket.getaddrinfo("localhost", 80)
except OSError:
    pass
assert time.localtime(0).tm_hour == 9
try:
    import xmlrpc.client
except ImportError:
    print("nothing else is there;", text.splitlines()[-1])
"""


@as_root
def test_error_pages_dates_and_names_work_in_the_jail(jail: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", JAILED, str(jail)],
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "Asia/Tokyo"},
    )
    assert ended.stderr == ""
    assert ended.stdout == "nothing else is there; NameError: name 'missing' is not defined\n"


# The warning


@as_root
@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({}, ["serving as root: whoever gets into the application owns this machine. Give --user"]),
        ({"group": "daemon"}, ["serving as root"]),
        ({"chroot": "/tmp"}, ["root can leave --chroot, too. Give --user"]),
        ({"user": "nobody"}, []),
        ({"user": "root"}, []),
    ],
)
def test_serving_as_root_is_warned_of_once(options: dict[str, str], warned: list[str]) -> None:
    with LogLines() as lines:
        Privileges.from_config(Config(**options)).warn_if_root()  # type: ignore[arg-type]
    texts = lines.texts()
    assert len(texts) == len(warned)
    assert all(part in text for part, text in zip(warned, texts, strict=True))


@as_root
def test_somebody_else_is_not_warned() -> None:
    def work() -> object:
        become(NOBODY, NOBODY, [])
        with LogLines() as lines:
            Privileges.from_config(Config()).warn_if_root()
        return lines.texts()

    assert in_child(work) == "[]"
