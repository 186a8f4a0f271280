"""``--check-config``: everything that can be found out without binding or becoming anybody else."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gateways.config import Config
from gateways.errors import ConfigError


def check_addresses(config: Config) -> None:
    """Raise ConfigError for the first address that is not well formed."""
    from gateways.core.addresses import auto_protocols, parse_address, split_protocol

    for text in config.bind:
        protocol, address = split_protocol(text, config.protocol)
        auto_protocols(protocol)
        parse_address(address)


def check_files(config: Config) -> None:
    """Raise ConfigError for the first file or directory that must be there and is not.

    Relative names are taken from the working directory, before --chdir.
    """
    for option, path in _directories(config):
        if not os.path.isdir(path):
            raise ConfigError(f"{option}: there is no directory {path}; create it first")
    for path in config.env_files:
        if not os.access(path, os.R_OK):
            what = "cannot be read" if os.path.exists(path) else "does not exist"
            raise ConfigError(f"--env-file {path}: it {what}")


def _directories(config: Config) -> Iterator[tuple[str, str]]:
    """Pairs of an option and a directory that it needs."""
    if config.venv:
        yield f"--venv {config.venv}", config.venv
    if config.chroot:
        yield f"--chroot {config.chroot}", config.chroot
    files = {
        "--pidfile": config.pidfile,
        "--error-log": config.error_log,
        "--access-log": config.access_log,
    }
    for option, path in files.items():
        if path not in ("", "-"):
            yield f"{option} {path}", os.path.dirname(path) or os.curdir
