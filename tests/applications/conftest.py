"""What the tests of both applications need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.harness import room

from .installed import Code, install_code, prepare_papers


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory for the servers of one test module."""
    with room() as path:
        yield path


@pytest.fixture(scope="session")
def code() -> Iterator[Code]:
    """The applications, for the web servers that start them."""
    with room() as path:
        yield install_code(path / "code")


@pytest.fixture(scope="session")
def prepared_papers() -> Iterator[Path]:
    """The data of the archive of papers, which each deployment gets a copy of."""
    with room() as path:
        yield prepare_papers(path / "papers")
