"""Chromium without a window, told what to do by the DevTools protocol over two pipes.

One page at a time. What it asked for and what it complained of is kept: the answers of the
server, and all errors and warnings of the console.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.servers.harness import DEADLINE_SECONDS, require

# The protocol's descriptors are 3 and 4. Those that are inherited lie above them.
_ON_3_AND_4 = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_LOWEST_DESCRIPTOR = 10

_OPTIONS = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",  # which is small in containers
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
]


class Chromium:
    """One browser with one page; ``chromium`` starts and ends it."""

    def __init__(self, commands: int, events: int) -> None:
        self._commands = commands
        self._events = events
        self._received = b""
        self._number = 0
        self._session: str | None = None
        self._waiting: list[dict[str, Any]] = []
        # Since the page was opened: address and status of all answers, and all that went wrong.
        self.answers: list[tuple[str, int]] = []
        self.complaints: list[str] = []

    def open_page(self) -> None:
        """The page; all else is about it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command and its result; what else is reported meanwhile is kept."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        data = json.dumps(command).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                break
            self._waiting.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        result: dict[str, Any] = message["result"]
        return result

    def go(self, url: str) -> None:
        """Open an address, and wait until all that the page loads is there."""
        self._waiting.clear()
        result = self.call("Page.navigate", url=url)
        if "errorText" in result:
            raise RuntimeError(f"{url}: {result['errorText']}")
        self._wait_for("Page.loadEventFired")

    def click(self, selector: str) -> None:
        """Click on what leads to another page, and wait until that is loaded."""
        self._waiting.clear()
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        self._wait_for("Page.loadEventFired")

    def type(self, selector: str, text: str) -> None:
        """Write into a field."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose the file to upload."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is waited for."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def _wait_for(self, method: str) -> None:
        while not any(message.get("method") == method for message in self._waiting):
            self._waiting.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while b"\0" not in self._received:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._events], [], [], left)[0]:
                raise TimeoutError("the browser says nothing")
            piece = os.read(self._events, 1 << 16)
            if not piece:
                raise EOFError("the browser has ended")
            self._received += piece
        line, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, given: dict[str, Any]) -> None:
        if method == "Network.responseReceived":
            self._answered(given["response"])
        elif method == "Network.requestWillBeSent" and "redirectResponse" in given:
            self._answered(given["redirectResponse"])
        elif method == "Network.loadingFailed":
            self.complaints.append(f"not loaded: {given['errorText']} ({given['type']})")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(f"not caught: {given['exceptionDetails']}")
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning"):
            self.complaints.append(f"console: {given['args']}")
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {given['entry']}")

    def _answered(self, response: dict[str, Any]) -> None:
        if response["url"].startswith("http"):  # not data: and about:
            self.answers.append((response["url"], response["status"]))


@contextlib.contextmanager
def chromium(directory: Path) -> Iterator[Chromium]:
    """A browser whose profile is in ``directory``; what it says is in ``chromium.log`` there."""
    program = require("chromium", "chromium")
    options = [*_OPTIONS, f"--user-data-dir={directory / 'profile'}"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # it refuses to start as root with one
    command_end, our_commands = _pipe()
    our_events, event_end = _pipe()
    shim = [sys.executable, "-c", _ON_3_AND_4, str(command_end), str(event_end)]
    with (directory / "chromium.log").open("ab") as log:
        process = subprocess.Popen(
            [*shim, program, *options, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(directory)},
            pass_fds=(command_end, event_end),
            start_new_session=True,
        )
    os.close(command_end)
    os.close(event_end)
    try:
        browser = Chromium(our_commands, our_events)
        browser.open_page()
        yield browser
    finally:
        # Without its commands it leaves; its helpers are in the same group.
        os.close(our_commands)
        os.close(our_events)
        try:
            process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _pipe() -> tuple[int, int]:
    """A pipe on high descriptors: its end to read from, its end to write to."""
    low = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR) for end in low)
    for end in low:
        os.close(end)
    return read, write
