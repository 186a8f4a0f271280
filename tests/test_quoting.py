"""``%XX`` is decoded as the standard library does it."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.quoting import unquote

PIECES = st.lists(
    st.sampled_from(["%", "%2", "%2f", "%C3%A9", "%zz", "%1_", "% 1", "%+1", "é", "a"])
)


@given(text=PIECES.map("".join) | st.text(st.characters(max_codepoint=255)))
def test_it_is_what_the_standard_library_makes_of_it(text: str) -> None:
    assert unquote(text) == unquote_to_bytes(text.encode("latin-1")).decode("latin-1")


@pytest.mark.parametrize(("text", "decoded"), [("", ""), ("/a%20b", "/a b"), ("%e9%", "\xe9%")])
def test_a_few(text: str, decoded: str) -> None:
    assert unquote(text) == decoded
