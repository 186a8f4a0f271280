"""Fixtures of every web server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import room
from .scripts import script_directory

pytest.register_assert_rewrite("tests.servers.flasksuite")


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory for the sockets, logs and configurations of one test module."""
    with room() as path:
        yield path


@pytest.fixture
def own_directory() -> Iterator[Path]:
    """A directory for the servers that one test starts for itself."""
    with room() as path:
        yield path


@pytest.fixture(scope="session")
def scripts() -> Iterator[Path]:
    """Executable scripts with all that they import, for the web servers that start them."""
    with room() as path:
        yield script_directory(path / "scripts")
