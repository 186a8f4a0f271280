"""The Date field of HTTP."""

from __future__ import annotations

import email.utils

import pytest

from gateways.core.httpdate import http_date


@pytest.mark.parametrize(
    "second",
    [0, 784111777, 951782400, 1709251199, 4102444800, *range(86400, 10**9, 79 * 86400 + 7)],
)
def test_a_date_is_written_as_http_wants_it(second: int) -> None:
    assert http_date(second) == email.utils.formatdate(second, usegmt=True)
