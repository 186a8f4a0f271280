"""Name-value pairs to variables: lengths, names that are refused, names that repeat."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.errors import LimitExceeded, ProtocolError
from gateways.protocols.variables import (
    content_length,
    decode_pairs,
    encode_pairs,
    iter_pairs,
    largest_pair,
)


@pytest.mark.parametrize(
    ("size", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "80000080"),
        (1000, "800003e8"),
        (65535, "8000ffff"),
        (66000, "800101d0"),
    ],
)
def test_a_length_is_its_golden_bytes_in_both_directions(size: int, encoded: str) -> None:
    text = "v" * size
    as_value = b"\x01" + bytes.fromhex(encoded) + b"N" + text.encode()
    assert encode_pairs([("N", text)]) == as_value
    assert decode_pairs(as_value) == {"N": text}
    as_name = bytes.fromhex(encoded) + b"\x01" + text.encode() + b"v"
    assert encode_pairs([(text, "v")]) == as_name
    assert decode_pairs(as_name) == ({text: "v"} if text else {})
    both = bytes.fromhex(encoded) * 2 + text.encode() * 2
    assert encode_pairs([(text, text)]) == both
    assert decode_pairs(both) == ({text: text} if text else {})


@pytest.mark.parametrize("name_form", [b"\x01", b"\x80\x00\x00\x01"])
@pytest.mark.parametrize("value_form", [b"\x02", b"\x80\x00\x00\x02"])
def test_a_small_length_may_take_four_bytes(name_form: bytes, value_form: bytes) -> None:
    pair = name_form + value_form + b"Nvw"
    assert decode_pairs(pair + encode_pairs([("M", "x")])) == {"N": "vw", "M": "x"}
    assert list(iter_pairs(pair * 2)) == [("N", "vw")] * 2


WELL_FORMED = encode_pairs([("REQUEST_METHOD", "GET"), ("LONG", "v" * 200), ("n" * 130, "w")])


@pytest.mark.parametrize("end", range(1, len(WELL_FORMED)))
def test_pairs_that_are_cut_off_are_an_error_or_fewer_pairs(end: int) -> None:
    try:
        decoded = decode_pairs(WELL_FORMED[:end])
    except ProtocolError:
        return
    assert end in (19, 228)  # between two pairs
    assert decoded.items() < decode_pairs(WELL_FORMED).items()


@pytest.mark.parametrize(
    "data",
    [
        b"\x01",
        b"\x05\x00NAME",
        b"\x01\x05Nv",
        b"\x80",
        b"\x80\x00\x00",
        b"\xff\xff\xff\xff\xff\xff\xff\xffN",
        b"\x80\x00\x00\x01",
        b"\x00\x80\x00\x00",
        b"\x01\x01NvX",
    ],
)
def test_a_pair_that_runs_past_the_end_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="past the end") as caught:
        decode_pairs(data)
    assert caught.value.status == 400


def test_the_wire_is_latin_1() -> None:
    assert decode_pairs(encode_pairs([("HTTP_X", b"caf\xe9\xff")])) == {"HTTP_X": "caf\xe9\xff"}
    assert decode_pairs(encode_pairs([("HTTP_X", "é".encode())])) == {"HTTP_X": "Ã©"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A=B",
        "A\0B",
        "A\rB",
        "A\nB",
        "wsgi.url_scheme",
        "wsgi.input",
        "wsgi.",
        "gateways.data",
        "gateways.",
    ],
)
def test_a_name_that_only_we_may_set_or_that_breaks_lines_is_dropped(name: str) -> None:
    data = encode_pairs([("A", "1"), (name, "forged"), ("B", "2")])
    assert decode_pairs(data) == {"A": "1", "B": "2"}


@pytest.mark.parametrize("name", ["HTTP_X.DOT", "HTTP_WSGI.INPUT", "X_wsgi.", "WSGI.", "a b"])
def test_an_odd_name_that_harms_nobody_is_kept(name: str) -> None:
    assert decode_pairs(encode_pairs([(name, "v")])) == {name: "v"}


@pytest.mark.parametrize("bad", ["\0", "\r", "\n", "x\r\nSet-Cookie: a", "end\0"])
def test_a_value_that_would_break_a_line_is_refused(bad: str) -> None:
    with pytest.raises(ProtocolError, match="the value of HTTP_X") as caught:
        decode_pairs(encode_pairs([("A", "1"), ("HTTP_X", bad)]))
    assert caught.value.status == 400


def test_values_may_hold_what_a_shell_would_split() -> None:
    assert decode_pairs(encode_pairs([("QUERY_STRING", "a=1&b==;\t'")])) == {
        "QUERY_STRING": "a=1&b==;\t'"
    }


@pytest.mark.parametrize(
    ("name", "values", "combined"),
    [
        ("HTTP_X_DUP", ["1", "2"], "1, 2"),
        ("HTTP_X_DUP", ["1", "2", "3"], "1, 2, 3"),
        ("HTTP_X_DUP", ["1", "1"], "1"),
        ("HTTP_COOKIE", ["a=1", "b=2"], "a=1; b=2"),
        ("HTTP_COOKIE", ["a=1", "a=1"], "a=1"),
        ("SCRIPT_NAME", ["/whole/path", "/app"], "/app"),
        ("SCRIPT_NAME", ["/whole/path", ""], ""),
        ("CONTENT_LENGTH", ["5", "5"], "5"),
        ("REMOTE_USER", ["", "u"], "u"),
    ],
)
def test_repeated_names_combine(name: str, values: list[str], combined: str) -> None:
    pairs = [("A", "1"), *((name, value) for value in values), ("Z", "9")]
    assert decode_pairs(encode_pairs(pairs)) == {"A": "1", name: combined, "Z": "9"}


def test_two_different_lengths_of_one_body_are_refused() -> None:
    with pytest.raises(ProtocolError, match="two different CONTENT_LENGTH") as caught:
        decode_pairs(encode_pairs([("CONTENT_LENGTH", "5"), ("CONTENT_LENGTH", "6")]))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("value", "length", "left"),
    [
        (None, None, None),
        ("", None, None),
        ("-1", None, None),
        ("0", 0, "0"),
        ("5", 5, "5"),
        ("0005", 5, "5"),
        ("0" * 17 + "7", 7, "7"),
        ("9" * 18, 10**18 - 1, "9" * 18),
    ],
)
def test_a_content_length_is_normalised(
    value: str | None, length: int | None, left: str | None
) -> None:
    variables = {} if value is None else {"CONTENT_LENGTH": value}
    assert content_length(variables) == length
    assert variables.get("CONTENT_LENGTH") == left


@pytest.mark.parametrize(
    "value",
    ["+5", "x", "-5", " 5", "5 ", "1_000", "5, 5", "0x5", "5.0", "\xb2", "\u0665", "9" * 19, "-"],
)
def test_a_content_length_that_int_might_take_is_refused(value: str) -> None:
    with pytest.raises(ProtocolError, match="CONTENT_LENGTH") as caught:
        content_length({"CONTENT_LENGTH": value})
    assert caught.value.status == 400


def test_what_is_refused_is_told_in_one_line_of_bounded_length() -> None:  # it is logged
    for pairs in ([("N" * 5000, "\n")], [("CONTENT_LENGTH", "\x1b[2J\x85" + "9" * 5000)]):
        with pytest.raises(ProtocolError) as caught:
            content_length(decode_pairs(encode_pairs(pairs)))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("limit", [0, 3, 4])
def test_variables_up_to_the_limit_are_taken(limit: int) -> None:
    assert len(decode_pairs(encode_pairs([(f"N{n}", "v") for n in range(3)]), limit)) == 3


def test_more_variables_than_allowed_are_refused_and_the_limit_is_named() -> None:
    data = encode_pairs([(f"N{n}", "v") for n in range(4)])
    with pytest.raises(LimitExceeded, match=r"4 variables, --max-variables allows 3") as caught:
        decode_pairs(data, 3)
    assert caught.value.status == 431


@pytest.mark.parametrize(
    ("pairs", "cut", "expected"),
    [
        ([("A", "12"), ("B", "123"), ("C", "1")], None, ("B", 3)),
        ([("A", "12"), ("HTTP_COOKIE", "c" * 500)], 100, ("HTTP_COOKIE", 500)),
        ([("A", "12"), ("HTTP_COOKIE", "c" * 500)], 7, ("A", 2)),
        ([], None, ("", 0)),
    ],
)
def test_the_largest_variable_is_found_even_where_it_is_cut_off(
    pairs: list[tuple[str, str]], cut: int | None, expected: tuple[str, int]
) -> None:
    assert largest_pair(encode_pairs(pairs)[:cut]) == expected


NAMES = st.one_of(
    st.sampled_from(["HTTP_A", "HTTP_COOKIE", "B", "C", "", "wsgi.x", "D=", "long" * 40]),
    st.text(st.characters(max_codepoint=255), max_size=140),
)
VALUES = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=5),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), min_size=120, max_size=140),
)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_pairs_go_through_and_the_quick_way_agrees_with_the_careful_one(
    pairs: list[tuple[str, str]],
) -> None:
    data = encode_pairs(pairs)
    assert list(iter_pairs(data)) == pairs
    expected: dict[str, str] = {}
    for name, value in pairs:
        if not name or set(name) & set("=\0\r\n") or name.startswith(("wsgi.", "gateways.")):
            continue
        before = expected.get(name)
        if before is not None and before != value and name.startswith("HTTP_"):
            value = before + ("; " if name == "HTTP_COOKIE" else ", ") + value
        expected[name] = value
    assert decode_pairs(data) == expected


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_a_protocol_error(data: bytes) -> None:
    largest_pair(data)
    try:
        decoded = decode_pairs(data)
    except ProtocolError:
        return
    assert all(isinstance(name, str) for name in decoded)
