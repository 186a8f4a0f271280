"""What a process does between the fork and the application: its user, directories, environment.

Here is also how it says that it cannot serve, whoever it says it to.
"""

from __future__ import annotations

import dataclasses
import faulthandler
from collections.abc import Callable
from typing import TypeVar

from gateways.config import Config
from gateways.errors import ConfigError
from gateways.process.daemon import detach
from gateways.process.environment import activate_venv, apply_environment, read_environment
from gateways.process.hooks import HookFailed
from gateways.process.loading import LoadFailure, prepare_paths
from gateways.process.logs import capture_output, set_up_logging
from gateways.process.privileges import Privileges

Ready = TypeVar("Ready")

EXIT_SERVED = 0
EXIT_USAGE = 2
EXIT_LOAD = 3


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
    privileges.apply()
    config = dataclasses.replace(
        config,
        chdir=privileges.inside(config.chdir),
        pythonpath=tuple(map(privileges.inside, config.pythonpath)),
    )
    prepare_paths(config)
    apply_environment(config, variables)
    if config.venv:
        activate_venv(privileges.inside(config.venv))


def let_go_of_terminal(config: Config) -> None:
    """What a daemon's processes do when the start has come to its end."""
    if config.daemon:
        capture_output(config.error_log)
        detach(output=False)


def make_ready(prepare: Callable[[], Ready]) -> Ready:
    """What ``prepare`` returns; raises NotReady for what can be wrong with a set-up."""
    try:
        return prepare()
    except LoadFailure as error:
        raise NotReady(EXIT_LOAD, str(error)) from error
    except HookFailed as error:
        raise NotReady(EXIT_LOAD, f"gateways: error: {error}") from error
    except ConfigError as error:
        raise NotReady(EXIT_USAGE, f"gateways: error: {error}") from error
