"""What counts as a change of a file, and a process that watches directories and does not linger."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.errors import ConfigError
from gateways.process.watch import CodeWatcher, Touch, _Filter, require_watchfiles
from tests.core.forks import start_child
from tests.core.serving import eventually

pytest.importorskip("watchfiles", reason="pip install 'gateways[reload]'")


def touch_again(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace(path: Path, text: str) -> None:
    """As editors save: a new file, renamed onto the old one."""
    beside = path.with_name(f"{path.name}.new~")
    beside.write_text(text)
    beside.rename(path)


def is_gone(pid: int) -> bool:
    """No process, or one that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class TestTouch:
    @pytest.mark.parametrize(
        ("change", "counts"),
        [
            (lambda path: None, False),
            (touch_again, True),
            (lambda path: replace(path, "x"), True),
            (lambda path: path.unlink(), False),
        ],
        ids=["nothing", "touched", "replaced", "removed"],
    )
    def test_a_file_that_was_there(self, tmp_path: Path, change, counts) -> None:  # type: ignore[no-untyped-def]
        path = tmp_path / "reload"
        path.write_text("x")
        touch = Touch([str(path)])
        assert touch.changed() == []
        change(path)
        assert touch.changed() == ([str(path)] if counts else [])
        assert touch.changed() == []

    def test_a_file_that_appears_and_one_that_comes_back(self, tmp_path: Path) -> None:
        path = tmp_path / "reload"
        touch = Touch([str(path)])
        assert touch.changed() == []
        for _ in range(2):
            path.write_text("")
            assert touch.changed() == [str(path)]
            path.unlink()
            assert touch.changed() == []


class Watching:
    """A watcher of ``folder`` and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.watcher = CodeWatcher.start(
            [str(folder), str(folder / "later")], [str(folder / "gateways.toml")]
        )
        eventually(lambda: self.read() == [] and self.watcher.watching, "it watches")

    def read(self) -> list[str]:
        """All that has been told until now."""
        self.told += [os.path.relpath(path, self.folder) for path in self.watcher.read()]
        return self.told

    def tells(self, *names: str) -> None:
        """Wait until ``names`` are told; then a marker, before which nothing else may come."""
        eventually(lambda: set(names) <= set(self.read()), f"{names}: {self.told}")
        marker = self.folder / "marker.py"
        replace(marker, f"{os.urandom(8)!r}")
        eventually(lambda: "marker.py" in self.read(), f"the marker: {self.told}")
        self.told.remove("marker.py")
        assert sorted(self.told) == sorted(names)
        self.told.clear()


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    (tmp_path / "app.py").write_text("1")
    (tmp_path / "gateways.toml").write_text("")
    (tmp_path / ".venv" / "lib").mkdir(parents=True)
    result = Watching(tmp_path)
    yield result
    result.watcher.stop()
    assert is_gone(result.watcher.pid)


class TestCodeWatcher:
    def test_a_module_is_written(self, watching: Watching) -> None:
        (watching.folder / "app.py").write_text("2")
        watching.tells("app.py")

    def test_a_module_is_replaced_as_editors_do(self, watching: Watching) -> None:
        replace(watching.folder / "app.py", "2")
        watching.tells("app.py")

    def test_a_module_is_removed(self, watching: Watching) -> None:
        (watching.folder / "app.py").unlink()
        watching.tells("app.py")

    def test_a_new_package(self, watching: Watching) -> None:
        package = watching.folder / "package" / "inner"
        package.mkdir(parents=True)
        (package / "module.py").write_text("1")
        watching.tells("package/inner/module.py")

    def test_a_package_is_moved_in(self, watching: Watching, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
        package = tmp_path_factory.mktemp("elsewhere") / "package"
        package.mkdir()
        (package / "module.py").write_text("1")
        package.rename(watching.folder / "package")
        watching.tells("package/module.py")

    def test_the_configuration_is_replaced(self, watching: Watching) -> None:
        replace(watching.folder / "gateways.toml", "threads = 2")
        watching.tells("gateways.toml")

    def test_what_is_no_code_of_the_application(self, watching: Watching) -> None:
        (watching.folder / "upload.txt").write_text("x")
        (watching.folder / ".#app.py").symlink_to("nowhere")
        (watching.folder / ".venv" / "lib" / "module.py").write_text("x")
        for name in ("__pycache__", ".git", "node_modules"):
            (watching.folder / name).mkdir()
            (watching.folder / name / "module.py").write_text("x")
        watching.tells()

    def test_signals_of_the_terminal_do_not_end_it(self, watching: Watching) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(watching.watcher.pid, number)
        (watching.folder / "app.py").write_text("2")
        watching.tells("app.py")

    def test_the_supervisor_has_no_thread_more(self, tmp_path: Path) -> None:
        before = set(os.listdir("/proc/self/task"))
        watcher = CodeWatcher.start([str(tmp_path)], [])
        try:
            eventually(lambda: watcher.read() or watcher.watching, "it watches")
            assert set(os.listdir("/proc/self/task")) <= before
        finally:
            watcher.stop()

    def test_it_dies(self, watching: Watching, caplog: pytest.LogCaptureFixture) -> None:
        os.kill(watching.watcher.pid, signal.SIGKILL)
        eventually(lambda: watching.watcher.read() or caplog.records, "the end is noticed")
        assert "watches no more" in caplog.text
        assert watching.watcher.read() == []
        assert len(caplog.records) == 1


def test_a_file_is_news_once_in_each_state(tmp_path: Path) -> None:
    module = tmp_path / "app.py"
    news = _Filter([str(tmp_path)], 0.0)
    module.write_text("1")
    for _ in range(2):
        assert news.news([str(module), str(tmp_path)]) == [str(module)]
        assert news.news([str(module)]) == news.news([str(tmp_path)]) == []
        replace(module, "longer")
        touch_again(module)
    module.unlink()
    assert news.news([str(module)]) == [str(module)]
    assert news.news([str(module)]) == []


def test_what_is_saved_before_the_watching_has_begun_is_told(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("1")
    watcher = CodeWatcher.start([str(tmp_path)], [])
    seen: list[str] = []
    try:
        saved = tmp_path / "app.py"
        saved.write_text("2")
        os.utime(saved, (time.time(), time.time()))  # the kernel's own clock is a tick behind

        def told() -> bool:
            seen.extend(watcher.read())
            return bool(seen)

        eventually(told, "the module is told")
        assert set(seen) == {str(saved)}
    finally:
        watcher.stop()


def test_a_directory_that_appears_later(tmp_path: Path) -> None:
    later = tmp_path / "later"
    watcher = CodeWatcher.start([str(later)], [])
    try:
        eventually(lambda: watcher.read() == [] and watcher.watching)
        later.mkdir()
        seen: list[str] = []

        def told() -> bool:
            (later / "app.py").write_text(os.urandom(4).hex())
            seen.extend(watcher.read())
            return bool(seen)

        eventually(told, "the module is told")
        assert set(seen) == {str(later / "app.py")}
    finally:
        watcher.stop()


def test_it_leaves_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    report, tell = os.pipe()

    def be_supervisor() -> None:
        watcher = CodeWatcher.start([str(tmp_path)], [])
        eventually(lambda: watcher.read() == [] and watcher.watching)
        os.write(tell, str(watcher.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)

    result = start_child(be_supervisor)
    pid = int(os.read(report, 32))
    with pytest.raises(AssertionError):
        result()  # it was killed: it says nothing
    eventually(lambda: is_gone(pid), "the watcher leaves")
    os.close(report)
    os.close(tell)


def test_it_holds_no_listener(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    watcher = CodeWatcher.start([str(tmp_path)], [])
    try:
        eventually(lambda: watcher.read() == [] and watcher.watching)
        inode = os.fstat(listener.fileno()).st_ino
        links = [os.readlink(path) for path in Path(f"/proc/{watcher.pid}/fd").iterdir()]
        assert f"socket:[{inode}]" not in links
    finally:
        watcher.stop()
        listener.close()


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigError, match=r"gateways\[reload\]"):
        require_watchfiles()
