"""What ``start_response`` takes and what it refuses (W-7), with errors that name the mistake."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.errors import ApplicationError
from gateways.wsgi import headers as module
from gateways.wsgi.headers import check_headers, check_status


@pytest.mark.parametrize(
    "status",
    [
        "200 OK",
        "404 Not Found",
        "599 Whatever",
        "200 ",  # RFC 9112, section 4: the reason may be empty
        "200 Tr\xe8s bien",
        "451 Unavailable\tFor Legal Reasons",
    ],
)
def test_a_status_that_may_be_sent(status: str) -> None:
    check_status(status)


@pytest.mark.parametrize(
    ("status", "mistake"),
    [
        (200, "must be a str such as '200 OK', not int"),
        (b"200 OK", "must be a str such as '200 OK', not bytes"),
        (None, "must be a str such as '200 OK', not NoneType"),
        ("", "three digits, a space and a reason"),
        ("200", "three digits, a space and a reason"),
        ("OK", "three digits, a space and a reason"),
        ("20 OK", "three digits, a space and a reason"),
        ("2000 OK", "three digits, a space and a reason"),
        ("099 Low", "three digits, a space and a reason"),
        ("200-OK", "three digits, a space and a reason"),
        (" 200 OK", "three digits, a space and a reason"),
        ("\u0662\u0660\u0660 OK", "three digits, a space and a reason"),
        ("200 OK\n", "not '200 OK\\n'"),
        ("200 OK\r\nSet-Cookie: a=b", "not '200 OK\\r\\nSet-Cookie: a=b'"),
        ("200 OK\0", "not '200 OK\\x00'"),
        ("200 \x7f", "three digits, a space and a reason"),
        ("200 5\u20ac", "three digits, a space and a reason"),
        ("100 Continue", "is not final"),
        ("101 Switching Protocols", "is not final"),
    ],
)
def test_a_status_that_is_refused(status: Any, mistake: str) -> None:
    with pytest.raises(ApplicationError) as caught:
        check_status(status)
    assert mistake in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], None),
        ([("Content-Type", "text/plain")], None),
        ([("Content-Length", "0")], 0),
        ([("content-LENGTH", "12")], 12),
        ([("Content-Length", "007")], 7),
        ([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], None),
        ([("X-Empty", "")], None),
        ([("X-Tab", "a\tb")], None),
        ([("X-Latin", "caf\xe9 \x80\xff")], None),
        ([("!#$%&'*+-.^_`|~09azAZ", "every character of a token")], None),
        ([("X-Connection", "close"), ("Keep-Alive-Not", "1"), ("X-Status", "1")], None),
    ],
)
def test_headers_that_may_be_sent(headers: list[tuple[str, str]], length: int | None) -> None:
    assert check_headers(headers) == length


@pytest.mark.parametrize(
    ("headers", "mistake"),
    [
        # types
        ((("A", "b"),), "the headers must be a list of (name, value) tuples, not tuple"),
        ({"A": "b"}, "the headers must be a list of (name, value) tuples, not dict"),
        (None, "the headers must be a list of (name, value) tuples, not NoneType"),
        ([("A", "b", "c")], "a header must be a (name, value) tuple of two str"),
        ([("A",)], "a header must be a (name, value) tuple of two str"),
        ([None], "a header must be a (name, value) tuple of two str"),
        ([7], "a header must be a (name, value) tuple of two str"),
        (["ab"], "a header must be a (name, value) tuple of two str, not 'ab'"),
        ([["A", "b"]], "a header must be a (name, value) tuple of two str, not ['A', 'b']"),
        ([(["A"], "b")], "a header must be a (name, value) tuple of two str"),
        ([(b"A", "b")], "a header name must be a str, not bytes"),
        ([(None, "b")], "a header name must be a str, not NoneType"),
        ([("A", b"b")], "the value of the header A must be a str, not bytes"),
        ([("A", 1)], "the value of the header A must be a str, not int"),
        ([("A", None)], "the value of the header A must be a str, not NoneType"),
        # names
        ([("", "b")], "'' is not a valid header name"),
        ([("A:", "b")], "'A:' is not a valid header name"),
        ([("A B", "b")], "'A B' is not a valid header name"),
        ([(" A", "b")], "' A' is not a valid header name"),
        ([("A\n", "b")], "'A\\n' is not a valid header name"),
        ([("A\r\nSet-Cookie: x", "b")], "is not a valid header name"),
        ([("A\0", "b")], "is not a valid header name"),
        ([("\xc4", "b")], "is not a valid header name"),
        ([("\u20ac", "b")], "is not a valid header name"),
        # values
        ([("A", "b\nSet-Cookie: x")], "the header A holds a line break or another control"),
        ([("A", "b\r")], "the header A holds a line break or another control"),
        ([("A", "b\r\n c")], "the header A holds a line break or another control"),
        ([("A", "b\0")], "the header A holds a line break or another control"),
        ([("A", "\x1b[1m")], "the header A holds a line break or another control"),
        ([("A", "\x7f")], "the header A holds a line break or another control"),
        ([("A", "\xe9\n")], "the header A holds a line break or another control"),
        ([("A", "5\u20ac")], "a character outside latin-1; encode it (RFC 8187"),
        ([("A", "\ud800")], "a character outside latin-1"),
        ([("A", "\u2028")], "a character outside latin-1"),
        # what is the web server's
        ([("Status", "200 OK")], "the status is start_response's first argument"),
        ([("status", "200 OK")], "the status is start_response's first argument"),
        ([("Connection", "close")], "the header Connection concerns the connection"),
        ([("keep-alive", "1")], "concerns the connection"),
        ([("Proxy-Authenticate", "Basic")], "concerns the connection"),
        ([("Proxy-Authorization", "Basic x")], "concerns the connection"),
        ([("TE", "trailers")], "concerns the connection"),
        ([("Trailer", "X")], "concerns the connection"),
        ([("Trailers", "X")], "concerns the connection"),
        ([("Transfer-Encoding", "chunked")], "concerns the connection"),
        ([("UPGRADE", "h2c")], "concerns the connection"),
        # Content-Length
        ([("Content-Length", "")], "Content-Length is '', not a number of bytes"),
        ([("Content-Length", "-1")], "Content-Length is '-1', not a number of bytes"),
        ([("Content-Length", "+1")], "not a number of bytes"),
        ([("Content-Length", "1.0")], "not a number of bytes"),
        ([("Content-Length", " 1")], "not a number of bytes"),
        ([("Content-Length", "0x1")], "not a number of bytes"),
        ([("Content-Length", "1_0")], "not a number of bytes"),
        ([("Content-Length", "\xb2")], "not a number of bytes"),
        ([("Content-Length", "9" * 5000)], "not a number of bytes"),
        ([("Content-Length", "1"), ("content-length", "2")], "two Content-Length"),
    ],
)
def test_headers_that_are_refused(headers: Any, mistake: str) -> None:
    for _ in range(2):  # what is remembered of a name must not let it pass the second time
        with pytest.raises(ApplicationError) as caught:
            check_headers(headers)
        assert mistake in str(caught.value)


@given(st.text(), st.text())
def test_whatever_passes_cannot_break_out_of_its_line(name: str, value: str) -> None:
    try:
        check_headers([(name, value)])
    except ApplicationError:
        return
    line = f"{name}: {value}".encode("latin-1")
    assert not set(b"\r\n\0") & set(line)
    assert name
    assert name.isascii()
    assert ":" not in name


@given(st.text())
def test_a_status_that_passes_cannot_break_out_of_its_line(status: str) -> None:
    try:
        check_status(status)
    except ApplicationError:
        return
    assert not set(b"\r\n\0") & set(status.encode("latin-1"))


def test_an_application_that_makes_names_up_does_not_fill_the_memory() -> None:
    for number in range(2 * module._MAX_KINDS):
        check_headers([(f"X-Made-Up-{number}", "1")])
    assert len(module._kinds) <= module._MAX_KINDS
    with pytest.raises(ApplicationError):
        check_headers([("Connection", "close")])
    assert check_headers([("Content-Length", "3")]) == 3


def test_lengths_that_an_application_makes_up_do_not_pile_up() -> None:
    for number in range(module._MAX_KINDS + 100):
        assert check_headers([("Content-Length", str(number))]) == number
    assert len(module._lengths) <= module._MAX_KINDS
    with pytest.raises(ApplicationError):
        check_headers([("Content-Length", "1x")])
