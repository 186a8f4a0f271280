"""The way from nothing to a site, by the commands of README.md and docs/quickstart.md.

The word behind the kind of a fenced block says what becomes of it: ``sh stays`` runs until the next
one takes its place; ``sh check`` is tried with --check-config; ``sh root`` and ``sh network`` are
not for a test; ``python FILE`` and ``nginx FILE`` are files. What ``console`` answers is compared.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .client import Site
from .frontends import nginx
from .harness import DEADLINE_SECONDS, REPOSITORY, Server, require

_BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PORT = "8080"


def blocks() -> list[tuple[str, str, str]]:
    """Kind, further word and text of each block of the story."""
    readme = (REPOSITORY / "README.md").read_text()
    beginning = readme.partition("\n## Five minutes")[2].partition("\n## ")[0]
    return _BLOCK.findall(beginning + (REPOSITORY / "docs" / "quickstart.md").read_text())


class Newcomer:
    """Does what the pages say, in a directory that stands for /tmp as well."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._server: Server | None = None
        self._site: Site | None = None
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path}
        self._dealing: dict[tuple[str, str], Callable[[str], None]] = {
            ("sh", "network"): lambda text: None,
            ("sh", "root"): lambda text: None,
            ("sh", "stays"): self._start,
            ("sh", "check"): self._check,
            ("console", ""): self._compare,
            ("nginx", "myapp.conf"): self._configure,
            ("nginx", ""): self._try_out,
        }

    def follow(self, kind: str, word: str, text: str) -> None:
        """Do what one block says."""
        text = text.replace("/tmp/", f"{self._directory}/")
        if kind == "python":
            text = text.replace("#!/home/me/venv/bin/python", f"#!{sys.executable}")
            (self._directory / word).write_text(text)
            (self._directory / word).chmod(0o755)
        else:
            self._dealing[kind, word](text)

    def stop(self) -> None:
        """Ctrl-C."""
        if self._server is not None:
            assert self._server.stop(signal.SIGINT) == 0, self._server.log

    def _start(self, text: str) -> None:
        self.stop()
        self._server = Server(
            shlex.split(text), self._directory / "app.log", environment=self._environment
        )
        self._server.wait_until_accepting(str(self._directory / "myapp.sock"))

    def _check(self, text: str) -> None:
        answer = self._run(f"{text.strip()} --check-config")
        assert answer.endswith("ok\n"), answer

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        return done.stdout

    def _compare(self, text: str) -> None:
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            if self._site is not None:
                command = command.replace(f"localhost:{_PORT}", f"127.0.0.1:{self._site.port}")
            if command.startswith("curl"):
                command += " --silent"
            pattern = ".*".join(map(re.escape, expected.split("…\n")))
            answer = self._run(command)
            assert re.fullmatch(pattern, answer, re.DOTALL), f"{command}\n{answer}"

    def _configure(self, text: str) -> None:
        self._site = self._stack.enter_context(self._nginx("nginx-first", text))

    def _try_out(self, text: str) -> None:
        """A part of a ``server``: nginx must take it."""
        with self._nginx("nginx-part", f"server {{\nlisten {_PORT};\n{text}}}\n"):
            pass

    def _nginx(self, name: str, text: str) -> contextlib.AbstractContextManager[Site]:
        place = self._directory / name
        place.mkdir()
        assert f"listen {_PORT};" in text
        (place / "site").write_text(text.replace(f"listen {_PORT};", "listen 127.0.0.1:@PORT@;"))
        return nginx(place, str(place / "site"))


def test_the_commands_of_the_pages_lead_to_a_site(own_directory: Path) -> None:
    require("curl", "curl")
    found = blocks()
    assert [kind for kind, _, _ in found].count("console") >= 3
    with contextlib.ExitStack() as stack:
        newcomer = Newcomer(own_directory, stack)
        stack.callback(newcomer.stop)
        for block in found:
            newcomer.follow(*block)
