"""Who a worker is, and what it can see of the file system: --user, --group, --umask, --chroot.

Names are resolved once, when the server starts, so that a mistake ends the start and not a worker.
Each worker applies the result before it loads the application, and then tries to take it back:
privileges that can be regained have not been given up.
"""

from __future__ import annotations

import importlib
import logging
import os
import pwd
import sys
import time
import traceback

from gateways.config import Config
from gateways.core.peers import find_gid, find_uid, group_name, groups_of, user_name
from gateways.errors import ConfigError
from gateways.values import Value

logger = logging.getLogger("gateways.process")

# What the package and the standard library import when they first need it: for an error page, a
# date, a spooled body, a host name, an access log. A jail does not hold their files.
NEEDED_IN_A_JAIL = (
    "ast",
    "ctypes",
    "gateways.core.codecs",
    "gateways.core.httpdate",
    "gateways.core.server",
    "gateways.protocols.auto",
    "gateways.protocols.http",
    "gateways.protocols.scgi",
    "gateways.protocols.uwsgi",
    "gateways.wsgi.loading",
    "html",
    "importlib.metadata",
    "inspect",
    "json",
    "linecache",
    "logging.config",
    "logging.handlers",
    "pkgutil",
    "resource",
    "tempfile",
    "tokenize",
    "tracemalloc",
    "unicodedata",
)
_CODECS = ("ascii", "idna", "latin-1", "punycode", "unicode-escape", "utf-8", "utf-8-sig", "utf-16")


class Privileges(Value):
    """What to become; None and '' leave things as they are. ``groups`` are all, gid included."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    umask: int | None = None
    chroot: str = ""

    @classmethod
    def from_config(cls, config: Config) -> Privileges:
        """What the options ask for. Raises ConfigError where there is no such thing, or no right.

        Without --group they are the user's groups; with it, that is the primary one, and the
        user's supplementary groups are kept.
        """
        uid, gid, groups = _find_ids(config.user, config.group)
        _check_rights(config, uid, gid)
        chroot = os.path.realpath(config.chroot) if config.chroot else ""
        if chroot and not os.path.isdir(chroot):
            raise ConfigError(
                f"--chroot {config.chroot}: there is no such directory; create it, owned by root "
                "and with what the application reads inside"
            )
        umask = int(config.umask.removeprefix("0o") or "0", 8) if config.umask else None
        return cls(uid, gid, groups, umask, chroot)

    def apply(self) -> None:
        """Become that, for good; in a worker, while it has one thread. Raises ConfigError."""
        if self.chroot:
            self._enter_jail()
        before = os.geteuid()
        try:
            if os.geteuid() == 0 and self.gid is not None:
                os.setgroups(self.groups)
                os.setgid(self.gid)
            if self.uid is not None:
                os.setuid(self.uid)
        except OSError as error:
            raise ConfigError(
                f"cannot become user {user_name(os.geteuid() if self.uid is None else self.uid)}"
                f"{'' if self.gid is None else f', group {group_name(self.gid)}'}: "
                f"{error.strerror}; the process needs the capabilities CAP_SETUID and CAP_SETGID "
                "(a container or a unit may withhold them: CapabilityBoundingSet=, --cap-drop)"
            ) from error
        if self.uid is not None:
            _verify_loss(self.uid)
            _update_home(before, self.uid)
        if self.umask is not None:
            os.umask(self.umask)

    def inside(self, path: str) -> str:
        """``path`` as the worker names it: without the jail in front, where it lies in there."""
        if not self.chroot or not os.path.isabs(path):
            return path
        for known in (path, os.path.realpath(path)):
            if known == self.chroot or known.startswith(self.chroot.rstrip("/") + "/"):
                return "/" + known[len(self.chroot) :].lstrip("/")
        return path

    def warn_if_root(self) -> None:
        """One warning where it is root that will serve, and nobody has said that it is meant."""
        if self.uid is not None or os.geteuid() != 0:
            return
        jail = "; root can leave --chroot, too" if self.chroot else ""
        logger.warning(
            "serving as root: whoever gets into the application owns this machine%s. Give --user "
            "(as --user www-data; the sockets are bound before), or --user root if it is meant",
            jail,
        )

    def _enter_jail(self) -> None:
        load_what_a_jail_lacks()
        try:
            directory = os.getcwd()
        except OSError:
            directory = "/"
        inside = self.inside(directory)
        sys_path = [self.inside(os.path.abspath(entry)) for entry in sys.path]
        try:
            os.chroot(self.chroot)
            os.chdir(inside if inside != directory and os.path.isdir(inside) else "/")
        except OSError as error:
            raise ConfigError(
                f"--chroot {self.chroot}: {error.strerror}; only root may do that, with the "
                "capability CAP_SYS_CHROOT"
            ) from error
        sys.path[:] = sys_path
        # They know the directories from outside, and would not look again.
        sys.path_importer_cache.clear()


def load_what_a_jail_lacks() -> None:
    """Import and initialise what will be needed and cannot be found in a chroot."""
    for name in NEEDED_IN_A_JAIL:
        importlib.import_module(name)
    for codec in _CODECS:
        "a".encode(codec)
    time.localtime()  # libc reads the time zone once, while it can be read
    try:
        raise LookupError(str(1 + len(_CODECS)))
    except LookupError as error:  # formatting imports more, which differs between versions
        traceback.format_exception(error)


def _find_ids(user: str, group: str) -> tuple[int | None, int | None, tuple[int, ...]]:
    uid = gid = None
    groups: tuple[int, ...] = ()
    if group:
        try:
            gid = find_gid(group)
        except ConfigError as error:
            raise ConfigError(f"--group: {error}") from None
        groups = (gid,)
    if not user:
        return uid, gid, groups
    try:
        uid = find_uid(user)
    except ConfigError as error:
        raise ConfigError(f"--user: {error}") from None
    try:
        entry = pwd.getpwuid(uid) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        if gid is None:
            raise ConfigError(
                f"--user {user}: no user of this machine has that number, so its groups are not "
                "known; give --group too, which may be a number as well"
            ) from None
        return uid, gid, groups
    if gid is None:
        return uid, entry.pw_gid, tuple(sorted(groups_of(entry)))
    return uid, gid, tuple(sorted(os.getgrouplist(entry.pw_name, gid)))


def _check_rights(config: Config, uid: int | None, gid: int | None) -> None:
    if os.geteuid() == 0:
        return
    me = user_name(os.geteuid())
    if uid is not None and (uid != os.geteuid() or uid != os.getuid()):
        raise ConfigError(
            f"--user {config.user}: only root may become somebody else, and this process is "
            f"{me}; start it as root, or leave --user to what starts it (systemd: User=)"
        )
    if config.group and gid != os.getegid():
        raise ConfigError(
            f"--group {config.group}: only root may change its group, and this process is "
            f"{me}; start it as root, or leave --group to what starts it (systemd: Group=)"
        )
    if config.chroot:
        raise ConfigError(
            f"--chroot {config.chroot}: only root may do that, and this process is {me}; start "
            "it as root with --user, or leave it to what starts it (systemd: RootDirectory=)"
        )


def _verify_loss(uid: int) -> None:
    """Raise ConfigError if the process could become root again."""
    if uid == 0:
        return
    try:
        os.setuid(0)
    except PermissionError:
        if os.getuid() == os.geteuid() == uid:
            return
    raise ConfigError(
        f"--user {uid}: the process could become root again, so it does not serve; something "
        "lets it keep CAP_SETUID (systemd: AmbientCapabilities=, SecureBits=). Start it as plain "
        "root, or as that user without --user"
    )


def _update_home(before: int, uid: int) -> None:
    """HOME, USER and LOGNAME follow the user, unless they were set to something else on purpose."""
    if before == uid:
        return
    old, new = _entry(before), _entry(uid)
    variables = {"HOME": "pw_dir", "USER": "pw_name", "LOGNAME": "pw_name"}
    for name, field in variables.items():
        current = os.environ.get(name)
        if current is not None and old is not None and current != getattr(old, field):
            continue
        if new is not None:
            os.environ[name] = getattr(new, field)
        elif name == "HOME":
            os.environ[name] = "/"
        else:
            os.environ.pop(name, None)


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None
