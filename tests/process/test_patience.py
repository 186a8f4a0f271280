"""How long a worker's successor waits."""

from __future__ import annotations

import pytest

from gateways.process.patience import Patience

NOW = 1000.0
SOON, LATE = 0.5, 60.0  # seconds that a worker served


@pytest.mark.parametrize(
    ("deaths", "delay"),
    [
        ([LATE], 0),
        ([LATE, LATE, LATE], 0),
        ([SOON], 0),  # somebody's kill -9, for all that is known
        ([SOON, SOON], 0.2),
        ([SOON, SOON, SOON], 0.4),
        ([SOON, SOON, LATE], 0),
        ([SOON, SOON, LATE, SOON], 0),
        ([SOON] * 100, 30),
    ],
)
def test_a_death_is_answered_at_once_and_death_upon_death_with_growing_delay(
    deaths: list[float], delay: float
) -> None:
    patience = Patience()
    for lived in deaths:
        patience.on_death(NOW, lived)
    assert patience.until - NOW == pytest.approx(delay)


def test_what_cannot_be_made_ready_is_not_tried_again_at_once() -> None:
    patience = Patience()
    pauses = []
    for _ in range(3):
        patience.on_failure(NOW)
        pauses.append(patience.until - NOW)
    assert pauses == pytest.approx([0.2, 0.4, 0.8])
    patience.forget()
    patience.on_death(NOW, SOON)
    assert patience.until == NOW
