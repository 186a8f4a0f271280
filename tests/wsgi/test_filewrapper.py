"""Which files are handed to the kernel, and from where."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateways.wsgi.filewrapper import FileWrapper

SIZE = 300_000


class _Subclass(io.FileIO):
    """Its read() could do anything."""


def _written(path: Path) -> Any:
    file = path.open("r+b")
    file.seek(0, os.SEEK_END)
    file.write(b"more")
    file.seek(100)
    return file


def _unflushed(path: Path) -> Any:
    file = path.open("r+b")
    file.write(b"x" * 100)
    return file


def _read(path: Path) -> Any:
    file = path.open("rb")
    file.read(100)
    return file


def _at(position: int) -> Callable[[Path], Any]:
    def opened(path: Path) -> Any:
        file = path.open("rb")
        file.seek(position)
        return file

    return opened


def _temporary(path: Path) -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(bytes(SIZE))
    file.seek(100)
    return file


def _closed(path: Path) -> Any:
    file = path.open("rb")
    file.close()
    return file


# how it is opened, Content-Length (-1: none) -> position and size, None: it is read
FILES: dict[str, tuple[Callable[[Path], Any], int, tuple[int, int] | None]] = {
    "a file": (lambda path: path.open("rb"), -1, (0, SIZE)),
    "unbuffered": (lambda path: path.open("rb", buffering=0), -1, (0, SIZE)),
    "it has been read from": (_read, -1, (100, SIZE - 100)),
    "it has been written to": (_written, -1, (100, SIZE - 96)),
    "what was written is in its buffer": (_unflushed, -1, (100, SIZE - 100)),
    "a temporary one": (_temporary, -1, (100, SIZE - 100)),
    "its length": (_at(0), SIZE, (0, SIZE)),
    "more than its length": (_at(0), SIZE + 1, (0, SIZE)),
    "less than its length": (_at(10), SIZE - 20, (10, SIZE - 20)),
    "little is wanted": (_at(0), 1000, None),
    "nothing is wanted": (_at(0), 0, None),
    "little is left": (_at(SIZE - 10), -1, None),
    "behind its end": (_at(SIZE + 10), -1, None),
    "compressed": (gzip.open, -1, None),
    "buffered, compressed": (lambda path: io.BufferedReader(gzip.GzipFile(path)), -1, None),
    "in memory": (lambda path: io.BytesIO(bytes(SIZE)), -1, None),
    "spooled": (lambda path: tempfile.SpooledTemporaryFile(SIZE), -1, None),  # noqa: SIM115
    "text": (lambda path: path.open(), -1, None),
    "a subclass": (lambda path: _Subclass(path), -1, None),
    "a subclass, buffered": (lambda path: io.BufferedReader(_Subclass(path)), -1, None),
    "closed": (_closed, -1, None),
    "only for writing": (lambda path: path.open("ab", buffering=0), -1, None),
    "a device": (lambda path: Path("/dev/zero").open("rb"), -1, None),  # noqa: SIM115
    "no file at all": (lambda path: object(), -1, None),
}


@pytest.mark.parametrize("case", FILES.values(), ids=FILES.keys())
def test_what_the_kernel_may_send(
    tmp_path: Path, case: tuple[Callable[[Path], Any], int, tuple[int, int] | None]
) -> None:
    make, limit, expected = case
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    file = make(path)
    try:
        found = FileWrapper(file).rest(limit)
        if expected is None:
            assert found is None
            return
        assert found is not None
        assert found == (file.fileno(), *expected)
        assert os.fstat(file.fileno()).st_size >= sum(expected), "not in a buffer"
    finally:
        getattr(file, "close", str)()


@pytest.mark.parametrize("kind", ["it has been read from", "unbuffered", "a temporary one"])
def test_iteration_goes_on_behind_what_was_sent(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)) * 3000)
    with FILES[kind][0](path) as file:
        expected = FileWrapper(file)
        position = file.tell()
        wrapper = FileWrapper(file)
        wrapper.skip(250_000)
        assert file.tell() == position + 250_000
        assert sum(map(len, wrapper)) == SIZE - 250_000 - position
        assert list(expected) == []
