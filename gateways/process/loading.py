"""From the operator's options to a loaded application, in the process that is going to run it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence

from gateways.config import Config
from gateways.errors import ConfigError
from gateways.wsgi.loading import Application, explain_failure, load_application
from gateways.wsgi.mounts import Mounts


class LoadFailure(Exception):
    """The application could not be loaded; the text, of several lines, says why."""


def prepare_paths(config: Config) -> None:
    """Change directory, then put --pythonpath and the working directory in front of sys.path."""
    if config.chdir:
        try:
            os.chdir(config.chdir)
        except OSError as error:
            raise ConfigError(f"--chdir {config.chdir}: {error.strerror}") from error
    try:
        here = os.getcwd()
    except OSError as error:
        raise ConfigError(
            f"the working directory cannot be read ({error.strerror}); give one with --chdir"
        ) from error
    for directory in config.pythonpath:
        if not os.path.isdir(directory):
            raise ConfigError(f"--pythonpath {directory}: there is no such directory")
    first = [*map(os.path.abspath, config.pythonpath), here]
    sys.path[:] = [*first, *(entry for entry in sys.path if entry not in first)]


def check_paths(config: Config) -> None:
    """Raise the ConfigError that ``prepare_paths`` would, from where it will be called."""
    if config.chroot:
        return  # they are told as the jail sees them
    if config.chdir and not os.path.isdir(config.chdir):
        raise ConfigError(f"--chdir {config.chdir}: there is no such directory")
    for directory in config.pythonpath:
        if not os.path.isdir(os.path.join(config.chdir, directory)):
            raise ConfigError(f"--pythonpath {directory}: there is no such directory")


def load(reference: str, mounts: Sequence[str], inside: Callable[[str], str]) -> Application:
    """The application that ``reference`` names; with ``mounts`` a table of all of them.

    ``inside`` makes of a path what it is in a chroot. Raises LoadFailure.
    """
    from gateways.process.logs import restore_logging

    label = reference
    try:
        if not mounts:
            return load_application(inside(reference))
        applications = {}
        for prefix, each in _places(reference, mounts):
            label = f"{each}, mounted at {prefix or '/'}"
            applications[prefix] = _without_roles(load_application(inside(each)))
        return Mounts(applications)
    except ConfigError as error:
        text = f"gateways: error: cannot load {label}\n\n{explain_failure(error)}"
        raise LoadFailure(text) from error
    finally:
        restore_logging()


def _places(reference: str, mounts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Prefixes, each with what is mounted there."""
    if reference:
        yield "", reference
    for text in mounts:
        prefix, _, each = text.partition("=")
        yield prefix, each


def _without_roles(application: Application) -> Application:
    """An authorizer is asked about the paths of others, so its own place would mean nothing."""
    if getattr(application, "fcgi_roles", None) is not None:
        raise ConfigError(
            "It asks for a FastCGI role of its own, as an authorizer does, and cannot be served "
            "beside other applications; serve it alone, at another address, without --mount"
        )
    return application
