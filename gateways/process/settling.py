"""What a process does between the fork and the application: its user, directories, environment.

Here is also how it says that it cannot serve, whoever it says it to.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from gateways.config import Config
from gateways.core.peers import user_name
from gateways.errors import ConfigError
from gateways.process.daemon import detach
from gateways.process.environment import (
    activate_venv,
    apply_environment,
    prepare_venv,
    read_environment,
)
from gateways.process.hooks import HookFailed
from gateways.process.loading import LoadFailure, prepare_paths
from gateways.process.logs import capture_output, set_up_logging
from gateways.process.privileges import Privileges
from gateways.values import replace

Ready = TypeVar("Ready")

EXIT_SERVED = 0
EXIT_USAGE = 2
EXIT_LOAD = 3


_changed_user = False


class NotReady(Exception):
    """The process cannot serve; ``status`` is what to leave with, the text says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def settle(config: Config, privileges: Privileges) -> None:
    """Become what the process is meant to be: its user, directories and environment."""
    set_up_logging(config)
    faulthandler.enable()
    variables = read_environment(config)  # files that may be root's alone
    if config.venv:
        prepare_venv()
    green = config.worker_class == "gevent"
    if green and config.chroot:
        _patch()  # gevent itself is seldom in the jail, nor is what it imports late
        _make_hub()
    privileges.apply()
    if privileges.uid is not None:
        global _changed_user  # as global as the process's user
        _changed_user = True
    config = replace(
        config,
        chdir=privileges.inside(config.chdir),
        pythonpath=tuple(map(privileges.inside, config.pythonpath)),
    )
    try:
        prepare_paths(config)
    except ConfigError as error:
        raise ConfigError(f"{error}{_explain_rights(config.chdir, *config.pythonpath)}") from error
    apply_environment(config, variables)
    if config.venv:
        activate_venv(privileges.inside(config.venv))
    if green and not config.chroot:
        _patch()  # from the virtual environment, if it is there


def _patch() -> None:
    """Make greenlets of all threads from here on; nothing of the application is imported yet."""
    try:
        from gevent import monkey
    except ImportError as error:
        raise ConfigError(
            f"--worker-class gevent needs the package gevent, which {sys.executable} does not "
            f"have ({error}): pip install 'gateways[gevent]'{_explain_rights(*sys.path)}"
        ) from error
    monkey.patch_all()


def _make_hub() -> None:
    """Have gevent import what it does when it begins to wait, and to look up names."""
    import gevent

    import gateways.core.greenlets  # noqa: F401

    hub = gevent.get_hub()
    _ = hub.resolver, hub.threadpool  # properties that make them


def let_go_of_terminal(config: Config) -> None:
    """What a daemon's processes do when the start has come to its end."""
    if config.daemon:
        capture_output(config.error_log, warn=False)  # who started it says that once
        detach(output=False)


def make_ready(prepare: Callable[[], Ready]) -> Ready:
    """What ``prepare`` returns; raises NotReady for what can be wrong with a set-up."""
    try:
        return prepare()
    except LoadFailure as error:
        raise NotReady(EXIT_LOAD, f"{error}{_explain_rights(*sys.path)}") from error
    except HookFailed as error:
        raise NotReady(EXIT_LOAD, f"gateways: error: {error}") from error
    except ConfigError as error:
        raise NotReady(EXIT_USAGE, f"gateways: error: {error}") from error


def _explain_rights(*directories: str) -> str:
    """Which of these the user that the process has become cannot read, for that may be why."""
    if not _changed_user:
        return ""
    user = user_name(os.geteuid())
    found: dict[str, str] = {}
    for directory in directories:
        closed = _closed_directory(os.path.abspath(directory or "."))
        if closed:
            found.setdefault(closed, directory or ".")
    return "".join(
        f"\nUser {user} may not read {closed}"
        f"{'' if closed == directory else f', where {directory} lies'}; let it "
        f"(chmod o+rx {closed}), or install where everybody may read\n"
        for closed, directory in found.items()
    )


def _closed_directory(path: str) -> str:
    """The outermost directory on the way to ``path`` that is closed to this process; '': none."""
    parents = []
    while path != os.path.dirname(path):
        parents.append(path)
        path = os.path.dirname(path)
    target = parents[0] if parents else path
    for directory in [path, *reversed(parents)]:
        needed = os.R_OK | os.X_OK if directory == target else os.X_OK
        if os.path.isdir(directory) and not os.access(directory, needed):
            return directory
    return ""
