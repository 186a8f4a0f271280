"""Who waits for the outcome of a reload: commands that asked for it, and the service manager."""

from __future__ import annotations

from gateways.process.control import Client
from gateways.process.notify import Notifier

_LONGEST_OVERLAP_SECONDS = 2.0


class Audience:
    """Clients of the reload that is under way, and of the one that comes after it."""

    def __init__(self, notifier: Notifier) -> None:
        self.notes: list[str] = []  # on the reload that is under way
        self._notifier = notifier
        self._waiting: list[Client] = []
        self._later: list[Client] = []
        self._news: list[tuple[float, list[Client], str]] = []  # deadline, to whom, what

    def join(self, client: Client, *, later: bool) -> None:
        """``later``: what it has asked for comes after what is under way."""
        (self._later if later else self._waiting).append(client)

    def move_up(self) -> None:
        """The next reload is under way now."""
        self._waiting, self._later = self._later, []

    def fail(self, text: str) -> None:
        """It came to nothing."""
        for client in self._waiting:
            client.answer(ok=False, text=text)
        self._waiting = []

    def succeed(self, now: float, text: str) -> None:
        """A generation serves; that is told when nobody is answered by another one any more."""
        told = "\n".join([text, *self.notes])
        self._news.append((now + _LONGEST_OVERLAP_SECONDS, self._waiting, told))
        self._waiting = []

    def announce(self, now: float, overlaps: bool) -> float | None:
        """Tell what can be told; when the rest must be told at the latest."""
        while self._news:
            deadline, clients, text = self._news[0]
            if overlaps and now < deadline:
                return deadline
            del self._news[0]
            self._notifier.ready()
            for client in clients:
                client.answer(ok=True, text=text)
        return None

    def forget(self) -> None:
        """Close the descriptors: in a child."""
        told = [client for _, clients, _ in self._news for client in clients]
        for client in (*self._waiting, *self._later, *told):
            client.socket.close()
