"""Records to bytes: the golden vectors, sizes at the boundaries, and never an empty piece."""

from __future__ import annotations

import pytest

from gateways.protocols.base import Buffer
from gateways.protocols.head import status_head
from gateways.protocols.records import (
    FCGI_STDIN,
    FCGI_STDOUT,
    pack_end_request,
    pack_record,
    pack_stream,
    pack_unknown_type,
)

from .vectors import Reply, begin, replies, split_records, stdin

STREAM_SIZES = [1, 7, 8, 9, 16383, 16384, 16385, 65527, 65528, 65529, 65535, 65536, 66000, 200_000]


@pytest.mark.parametrize(
    ("size", "header", "padding"),
    [
        (0, "0105012c00000000", 0),
        (1, "0105012c00010700", 7),
        (127, "0105012c007f0100", 1),
        (128, "0105012c00800000", 0),
        (465, "0105012c01d10700", 7),
        (65528, "0105012cfff80000", 0),
        (65535, "0105012cffff0100", 1),
    ],
)
def test_a_record_is_its_golden_header_its_content_and_padding_to_eight(
    size: int, header: str, padding: int
) -> None:
    content = b"x" * size
    assert pack_record(FCGI_STDIN, 300, content) == bytes.fromhex(header) + content + bytes(padding)


@pytest.mark.parametrize(
    ("packed", "golden"),
    [
        (begin(1, role=1, keep=True), "0101000100080000 0001010000000000"),
        (begin(0xFFFF, role=3, keep=False), "0101ffff00080000 0003000000000000"),
        (pack_end_request(1, 0, 0), "0103000100080000 0000000000000000"),
        (pack_end_request(258, 0x01020304, 3), "0103010200080000 0102030403000000"),
        (pack_end_request(1, 0xFFFFFFFF, 1), "0103000100080000 ffffffff01000000"),
        (pack_unknown_type(99), "010b000000080000 6300000000000000"),
    ],
)
def test_fixed_records_are_their_golden_bytes(packed: bytes, golden: str) -> None:
    assert packed == bytes.fromhex(golden)


def test_the_stream_of_66000_bytes_is_the_golden_one() -> None:
    data = bytes(range(250)) * 264
    assert stdin(300, data) == (
        bytes.fromhex("0105012cffff0100")
        + data[:65535]
        + bytes(1)
        + bytes.fromhex("0105012c01d10700")
        + data[65535:]
        + bytes(7)
        + bytes.fromhex("0105012c00000000")
    )


@pytest.mark.parametrize("size", STREAM_SIZES)
def test_a_piece_of_a_stream_comes_out_as_it_went_in(size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    out: list[Buffer] = []
    pack_stream(FCGI_STDOUT, 7, data, out)
    packed = b"".join(out)
    records = split_records(packed)
    assert all(0 < len(content) <= 65535 for _, _, content in records)
    assert {(kind, request_id) for kind, request_id, _ in records} == {(FCGI_STDOUT, 7)}
    assert b"".join(content for _, _, content in records) == data
    assert len(packed) % 8 == 0, "padded to multiples of eight"


def test_a_piece_of_no_bytes_is_no_record() -> None:
    out: list[Buffer] = []
    pack_stream(FCGI_STDOUT, 7, b"", out)
    assert out == []


def test_a_large_piece_is_not_copied() -> None:
    data = bytes(200_000)
    out: list[Buffer] = []
    pack_stream(FCGI_STDOUT, 7, data, out)
    views = [part for part in out if isinstance(part, memoryview)]
    assert all(view.obj is data for view in views)
    assert sum(map(len, views)) == len(data)


def test_a_head_begins_with_the_status_and_keeps_order_and_latin_1() -> None:
    headers = [("Set-Cookie", "a=1"), ("X-Name", "caf\xe9"), ("Set-Cookie", "b=2")]
    assert status_head("404 Not Found", headers) == (
        b"Status: 404 Not Found\r\nSet-Cookie: a=1\r\nX-Name: caf\xe9\r\nSet-Cookie: b=2\r\n\r\n"
    )


@pytest.mark.parametrize("end", [7, 8, 9, 15])
def test_the_test_decoder_refuses_half_records(end: int) -> None:
    with pytest.raises(ValueError, match="cut off"):
        split_records(pack_record(FCGI_STDOUT, 1, b"12345678")[:end])


def test_the_test_decoder_refuses_a_reply_that_no_web_server_would_take() -> None:
    head = pack_record(FCGI_STDOUT, 1, b"Status: 200 OK\r\n\r\nbody")
    end = pack_end_request(1, 0, 0)
    closed = pack_record(FCGI_STDOUT, 1)
    with pytest.raises(ValueError, match="stream open"):
        replies(head + end)
    with pytest.raises(ValueError, match="after the end of its stream"):
        replies(head + closed + head)
    with pytest.raises(ValueError, match="type 5"):
        replies(stdin(1, b"x"))
    assert replies(head + closed + end)[1] == Reply(
        b"Status: 200 OK\r\n\r\nbody", b"", 0, 0, frozenset({FCGI_STDOUT})
    )
