"""The scoreboard: what threads write when a request begins and ends, and what others read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateways.process.scoreboard import Scoreboard

GET = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "/app",
    "PATH_INFO": "/p",
    "REMOTE_ADDR": "192.0.2.1",
}


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    """Two workers of two threads each."""
    found = Scoreboard(2, 2)
    yield found
    found.close()


def test_a_slot_says_what_runs_then_what_ran_last(board: Scoreboard) -> None:
    recorder = board.recorder(1)
    recorder.begin(2, GET, 123.5)
    (idle, slot) = board.slots(1)
    assert slot[3:] == ("GET", "/app/p", "192.0.2.1")
    assert (slot.busy, slot.requests, slot.since) == (True, 1, 123.5)
    assert slot.describe(135.5) == "GET /app/p (from 192.0.2.1, 12.0 s)"
    assert (idle.busy, idle.requests, idle.path) == (False, 0, "")
    assert (board.busy(0), board.busy(1), board.requests(1)) == (0, 1, 1)
    recorder.end(2)
    assert board.slots(1)[1] == slot._replace(busy=False)
    recorder.begin(2, {}, 200.0)
    assert board.slots(1)[1][2:] == (2, "", "", "")
    board.clear(1)
    assert board.slots(1)[1][:3] == (False, 0.0, 0)


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"PATH_INFO": "/" + "x" * 999}, ("GET", "/app/" + "x" * 213, "192.0.2.1")),
        ({"REQUEST_METHOD": "M" * 999}, ("M" * 16, "/app/p", "192.0.2.1")),
        ({"REMOTE_ADDR": "a" * 999}, ("GET", "/app/p", "a" * 48)),
        ({"PATH_INFO": "/\xe9"}, ("GET", "/app/\xe9", "192.0.2.1")),
        ({"PATH_INFO": "/\u20ac"}, ("GET", "/app/?", "192.0.2.1")),
    ],
    ids=["a long path", "a long method", "a long client", "latin-1", "not latin-1"],
)
def test_one_text_does_not_hide_another(
    board: Scoreboard, variables: dict[str, str], shown: tuple[str, str, str]
) -> None:
    board.recorder(0).begin(1, {**GET, **variables}, 1.0)
    assert board.slots(0)[0][3:] == shown
    assert board.slots(0)[1].requests == 0  # nothing of it has got into the next slot
