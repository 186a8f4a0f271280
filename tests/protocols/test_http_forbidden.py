"""The quick look for bytes that a head may not hold finds what the exact expression finds."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateways.errors import ProtocolError
from gateways.protocols import http_head

PIECES = st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"a: b", b"\0", b"\x7f", b"\x80"])


@given(st.lists(PIECES | st.binary(max_size=3), max_size=8).map(b"".join))
@example(b"a: b\r\n c\r\n\r\n")
@settings(max_examples=500, deadline=None)
def test_what_is_forbidden_is_found(block: bytes) -> None:
    head = http_head.parse_request_line(b"GET / HTTP/1.0")
    forbidden = http_head._FORBIDDEN.search(block)
    try:
        http_head.parse_fields(head, block, 0)
    except ProtocolError as error:
        found = str(error).startswith("the head holds ")
    else:
        found = False
    assert found == (forbidden is not None)
