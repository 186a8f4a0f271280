"""The runner against a fake channel: every promise of PEP 3333, by its number in the checklist.

W-7's table of statuses and headers is in test_headers.py; W-12 (no 1xx is ever sent) is one of its
rows. What only shows on a real socket is in tests/end_to_end.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import logging
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.errors import ClientDisconnected, LimitExceeded, ProtocolError
from gateways.wsgi.body import EMPTY_BODY
from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.errorlog import ErrorStream
from gateways.wsgi.filewrapper import FileWrapper
from tests.wsgi.fakes import Counted, FailingBody, FakeChannel, answer, app

TEXT = ("Content-Type", "text/plain")


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> str:
    """What our log holds from ``level`` on, tracebacks and all."""
    return "\n".join(
        caplog.handler.format(record) for record in caplog.records if record.levelno >= level
    )


def exc_info_of(error: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    """What ``sys.exc_info()`` gives where ``error`` was caught."""
    try:
        raise error
    except BaseException:  # noqa: BLE001  # any error will do
        kind, value, traceback = sys.exc_info()
        assert kind is not None
        assert value is not None
        return kind, value, traceback


# -- W-1 … W-4, W-16, W-18: what the application is given --------------------------------------


def environ_of(
    variables: dict[str, str] | None = None, builder: EnvironBuilder | None = None
) -> dict[str, Any]:
    """The environ that an application sees."""
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    answer(application, builder=builder, variables=variables)
    return seen[0]


def test_w1_the_environ_is_a_real_dict_of_native_strings() -> None:
    environ = environ_of({"HTTP_X_NAME": "caf\xe9"})
    assert type(environ) is dict
    for name, value in environ.items():
        assert type(name) is str
        if not name.startswith("wsgi."):
            assert type(value) is str
            value.encode("latin-1")
    assert environ["HTTP_X_NAME"] == "caf\xe9"


@pytest.mark.parametrize("name", ["REMOTE_USER", "AUTH_TYPE", "CONTENT_TYPE", "HTTPS"])
def test_w1_what_is_empty_for_absent_is_absent(name: str) -> None:
    assert name not in environ_of({name: ""})


@pytest.mark.parametrize(
    ("name", "sent", "expected"),
    [
        ("SERVER_NAME", "", "localhost"),
        ("SERVER_PORT", "", "80"),
        ("SERVER_PROTOCOL", "", "HTTP/1.0"),
    ],
)
def test_w1_what_must_not_be_empty_is_not(name: str, sent: str, expected: str) -> None:
    assert environ_of({name: sent})[name] == expected


@pytest.mark.parametrize("multithread", [True, False])
@pytest.mark.parametrize("multiprocess", [True, False])
@pytest.mark.parametrize("run_once", [True, False])
def test_w2_the_wsgi_variables_tell_the_truth(
    multithread: bool, multiprocess: bool, run_once: bool
) -> None:
    environ = environ_of(
        builder=EnvironBuilder(
            multithread=multithread, multiprocess=multiprocess, run_once=run_once
        )
    )
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.multithread"] is multithread
    assert environ["wsgi.multiprocess"] is multiprocess
    assert environ["wsgi.run_once"] is run_once
    assert environ["wsgi.file_wrapper"] is FileWrapper


def test_w3_the_input_of_a_request_without_a_body_is_empty_however_it_is_read() -> None:
    stream = environ_of()["wsgi.input"]
    assert stream is EMPTY_BODY
    assert stream.read() == stream.read(10) == stream.read(None) == b""
    assert stream.readline() == stream.readline(10) == b""
    assert stream.readlines() == stream.readlines(10) == list(stream) == []


def test_w3_the_input_is_the_very_body_that_was_brought() -> None:
    body = io.BytesIO(b"data")

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert environ["wsgi.input"] is body
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    assert answer(application, body=body, method="POST").body == b"data"


class ApplicationObject:
    """Callable, and hostile to whoever looks closer."""

    def __call__(self, *args: Any) -> list[bytes]:
        _, start_response = args
        start_response("200 OK", [])
        return [b"object"]

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"somebody asked for {name}")

    def method(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """A bound method is an application, too."""
        start_response("200 OK", [])
        return [b"method"]


class ApplicationClass:
    """An application whose instances are the iterables."""

    def __init__(self, environ: dict[str, Any], start_response: Any) -> None:
        self._start_response = start_response

    def __iter__(self) -> Iterator[bytes]:
        self._start_response("200 OK", [])
        yield b"class"


def positional_only(e: dict[str, Any], s: Any, /) -> list[bytes]:
    s("200 OK", [])
    return [b"positional"]


def with_an_option(prefix: bytes, environ: Any, start_response: Any, more: Any = 1) -> list[bytes]:
    start_response("200 OK", [])
    return [prefix + b"tial"]


@pytest.mark.parametrize(
    ("application", "body"),
    [
        (ApplicationObject(), b"object"),
        (ApplicationObject().method, b"method"),
        (ApplicationClass, b"class"),
        (positional_only, b"positional"),
        (functools.partial(with_an_option, b"par"), b"partial"),
    ],
    ids=["object", "method", "class", "positional-only", "partial"],
)
def test_w4_any_callable_is_called_positionally(application: Any, body: bytes) -> None:
    assert answer(application).body == body


def test_w16_the_deployer_may_add_to_the_environ() -> None:
    environ = environ_of(
        builder=EnvironBuilder(extra={"app.config": "/etc/x", "SERVER_NAME": "mine"})
    )
    assert environ["app.config"] == "/etc/x"
    assert environ["SERVER_NAME"] == "mine"


def test_w18_the_input_is_said_to_end() -> None:
    assert environ_of()["wsgi.input_terminated"] is True


# -- W-5: when the head leaves -----------------------------------------------------------------


def test_w5_start_response_does_not_transmit() -> None:
    channel = FakeChannel()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        assert channel.events == []
        return [b"x"]

    answer(application, channel=channel)
    assert channel.kinds == ["head", "finish"]


def test_w5_the_head_leaves_with_the_first_bytes_that_are_not_empty() -> None:
    channel = FakeChannel()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b""
        yield b""
        assert channel.events == []
        yield b"first"
        assert channel.kinds == ["head", "body"]

    answer(application, channel=channel)
    assert channel.events == [("head", "200 OK", [TEXT]), ("body", b"first"), ("finish", b"")]


def test_w5_the_head_leaves_with_the_first_write() -> None:
    channel = FakeChannel()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        assert channel.events == []
        write(b"first")
        assert channel.kinds == ["head", "body"]
        return []

    answer(application, channel=channel)
    assert channel.events == [("head", "200 OK", [TEXT]), ("body", b"first"), ("finish", b"")]


@pytest.mark.parametrize(
    "returned", [[], (), [b""], [b"", b""], b"", lambda: iter([]), lambda: iter([b""])]
)
def test_w5_the_head_leaves_at_the_end_of_an_empty_body(returned: Any) -> None:
    channel = answer(app(returned, (TEXT,)))
    assert channel.events == [
        ("head", "200 OK", [TEXT, ("Content-Length", "0")]),
        ("finish", b""),
    ]


def test_w5_start_response_may_be_called_as_late_as_the_first_chunk() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("200 OK", [TEXT])
        yield b"late"

    assert answer(application).body == b"late"


# -- W-6: start_response again -----------------------------------------------------------------


def test_w6_twice_without_exc_info_is_a_fatal_error(caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return [b"x"]

    assert answer(application).status == "500 Internal Server Error"
    assert "start_response was called a second time without exc_info" in logged(caplog)


def test_w6_twice_is_fatal_even_if_the_first_call_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with pytest.raises(Exception, match="status"):
            start_response("bad", [])
        start_response("200 OK", [])
        return [b"x"]

    assert answer(application).status == "500 Internal Server Error"
    assert "start_response was called a second time without exc_info" in logged(caplog)


def test_w6_with_exc_info_before_the_head_it_replaces_status_and_headers() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Old", "1"), ("Content-Length", "1000")])
        start_response("503 Sorry", [TEXT], exc_info_of(ValueError("broken")))
        return [b"sorry"]

    channel = answer(application)
    assert channel.status == "503 Sorry"
    assert channel.headers == [TEXT, ("Content-Length", "5")]
    assert channel.body == b"sorry"


@pytest.mark.parametrize(
    ("first", "second"), [("204 No Content", "500 Oops"), ("304 Not Modified", "500 Oops")]
)
def test_w6_a_body_is_allowed_again_when_the_status_is_replaced(first: str, second: str) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(first, [])
        start_response(second, [], exc_info_of(ValueError("broken")))
        return [b"sorry"]

    assert answer(application).body == b"sorry"


def test_w6_with_exc_info_it_may_be_the_first_call() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("500 Oops", [TEXT], exc_info_of(ValueError("broken")))
        return [b"sorry"]

    assert answer(application).status == "500 Oops"


def test_w6_with_exc_info_after_the_head_it_raises_the_very_error() -> None:
    error = ValueError("broken in the middle")
    caught: list[BaseException] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b"first"
        exc_info = exc_info_of(error)
        try:
            start_response("500 Oops", [TEXT], exc_info)
        except ValueError as raised:
            caught.append(raised)
            names = []
            trace = raised.__traceback__
            while trace is not None:
                names.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            assert "exc_info_of" in names  # the original traceback
            raise

    channel = answer(application)
    assert caught == [error]
    assert channel.status == "200 OK"
    assert channel.kinds[-1] == "abort"


@pytest.mark.parametrize("committed", [False, True])
def test_w6_no_reference_to_exc_info_is_kept(committed: bool) -> None:
    class BrokenError(Exception):
        pass

    kept: list[weakref.ref[BaseException]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"x" if committed else b"")
        try:
            raise BrokenError
        except BrokenError as error:
            kept.append(weakref.ref(error))
            with pytest.raises(BrokenError) if committed else contextlib.nullcontext():
                start_response("500 Oops", [], sys.exc_info())
        return []

    gc.disable()
    try:
        answer(application)
        assert kept[0]() is None
    finally:
        gc.enable()


# -- W-7: validation is start_response's -------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "mistake"),
    [
        ("200", (), "the status must be three digits"),
        ("200 OK\r\nX: y", (), "the status must be three digits"),
        ("200 OK", None, "the headers must be a list"),
        ("200 OK", (("Status", "200 OK"),), "start_response's first argument"),
        ("200 OK", (("Connection", "close"),), "concerns the connection"),
        ("200 OK", (("X", "a\r\nSet-Cookie: b"),), "a line break"),
        ("200 OK", (("X\r\nY", "a"),), "not a valid header name"),
        ("200 OK", (("X", "5\u20ac"),), "outside latin-1"),
        ("100 Continue", (), "is not final"),
    ],
)
def test_w7_a_mistake_in_the_head_is_raised_in_the_application(
    caplog: pytest.LogCaptureFixture, status: str, headers: Any, mistake: str
) -> None:
    channel = answer(app([b"x"], headers, status))
    assert channel.status == "500 Internal Server Error"
    assert mistake in logged(caplog)
    assert "start_response(status, given)\n" in logged(caplog)  # where it was made
    assert mistake in channel.errors
    assert mistake.encode() not in channel.body


def test_w7_what_was_checked_is_what_is_sent() -> None:
    headers = [TEXT]

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        headers.append(("X", "a\r\nSet-Cookie: b"))
        return [b"x"]

    assert answer(application).headers == [TEXT, ("Content-Length", "1")]


def test_w7_the_applications_list_of_headers_is_left_alone() -> None:
    headers = [TEXT, ("Content-Length", "0")]

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("204 No Content", headers)
        return []

    answer(application)
    answer(app([b"x"], headers[:1]))
    assert headers == [TEXT, ("Content-Length", "0")]


# -- W-8: write(), and no buffering ------------------------------------------------------------


def test_w8_what_is_written_leaves_before_what_is_iterated() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        write(b"written ")
        write(b"")
        write(b"twice ")
        return [b"returned"]

    channel = answer(application)
    assert channel.body == b"written twice returned"
    assert channel.headers == [TEXT]  # one item, but not the whole body: no Content-Length


@pytest.mark.parametrize(
    ("data", "hint"),
    [("text", ".encode"), (None, "yield bytes"), (bytearray(b"x"), "bytes()"), (5, "bytes")],
)
def test_w8_write_takes_bytes_only(caplog: pytest.LogCaptureFixture, data: Any, hint: str) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(data)
        return []

    assert answer(application).status == "500 Internal Server Error"
    assert f"the response body holds a {type(data).__name__}, not bytes" in logged(caplog)
    assert hint in logged(caplog)


@pytest.mark.parametrize("headers", [(TEXT,), (("Content-Length", "9"),)])
def test_w8_each_chunk_is_handed_over_before_the_next_is_asked_for(headers: Any) -> None:
    channel = FakeChannel()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(headers))
        for chunk in (b"one", b"two"):
            yield chunk
            assert channel.events[-1] == ("body", chunk)
        yield b"end"

    answer(application, channel=channel)
    assert channel.body == b"onetwoend"


# -- W-9: close() ------------------------------------------------------------------------------

BROKEN = ValueError("broken")


@pytest.mark.parametrize(
    ("situation", "chunks", "headers", "method", "leaves_after"),
    [
        ("completion", [b"a", b"b"], (), "GET", None),
        ("an empty body", [], (), "GET", None),
        ("an error in the first step", [BROKEN], (), "GET", None),
        ("an error in the middle", [b"a", BROKEN], (), "GET", None),
        ("the application exits", [b"a", SystemExit(3)], (), "GET", None),
        ("a chunk that is no bytes", [b"a", "text", b"c"], (), "GET", None),
        ("the client leaves at once", [b"a", b"b"], (), "GET", 0),
        ("the client leaves mid-way", [b"a", b"b", b"c"], (), "GET", 1),
        ("HEAD", [b"a", b"b"], (), "HEAD", None),
        ("Content-Length reached", [b"ab"], (("Content-Length", "2"),), "GET", None),
        ("Content-Length exceeded", [b"abc", b"d"], (("Content-Length", "2"),), "GET", None),
        ("Content-Length missed", [b"a"], (("Content-Length", "2"),), "GET", None),
    ],
)
def test_w9_close_is_called_exactly_once(
    situation: str, chunks: list[object], headers: Any, method: str, leaves_after: int | None
) -> None:
    for error_in_close in (None, OSError("close failed"), SystemExit(1)):
        returned = Counted(chunks, error_in_close)
        channel = FakeChannel(leaves_after)
        answer(app(returned, headers), channel=channel, method=method)
        assert returned.closed == 1
        assert returned.iterator_closed == 0, "that is the returned object's to do"
        assert channel.ended


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_w9_close_is_called_exactly_once_where_no_body_may_be(status: str) -> None:
    returned = Counted([b"a", b"b"])
    answer(app(returned, (), status))
    assert returned.closed == 1


def test_w9_close_is_called_when_start_response_never_was() -> None:
    returned = Counted([b"a"])
    channel = answer(lambda environ, start_response: returned)
    assert returned.closed == 1
    assert channel.status == "500 Internal Server Error"


def test_w9_close_is_called_when_iteration_never_began() -> None:
    class NotIterable(Counted):
        def __iter__(self) -> Any:
            raise ValueError("cannot be iterated")

    returned = NotIterable()
    channel = answer(app(returned))
    assert returned.closed == 1
    assert channel.status == "500 Internal Server Error"


def test_w9_a_generator_sees_its_end() -> None:
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"a"
            yield b"b"
            seen.append("never reached")
        finally:
            seen.append("closed")

    answer(application, channel=FakeChannel(leaves_after=1))
    assert seen == ["closed"]


def test_w9_close_runs_after_the_end_has_been_sent() -> None:
    channel = FakeChannel()

    class Closing(Counted):
        def close(self) -> None:
            super().close()
            assert channel.ended

    returned = Closing([b"a"])
    answer(app(returned), channel=channel)
    assert returned.closed == 1


@pytest.mark.parametrize("error", [OSError("close failed"), SystemExit(1)])
def test_w9_an_error_in_close_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    channel = answer(app(Counted([b"whole"], error)))
    assert channel.body == b"whole"
    assert not channel.aborted
    assert "close() of the response of GET '/page' failed" in logged(caplog)
    assert "in close" in logged(caplog)


def test_w9_an_iterable_that_cannot_even_be_asked_for_close_is_no_disaster(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Strange(Counted):
        @property
        def close(self) -> Any:
            raise RuntimeError("no close for you")

    assert answer(app(Strange([b"whole"]))).body == b"whole"
    assert "no close for you" in logged(caplog)


@pytest.mark.parametrize("length", [TypeError("no length"), RuntimeError("no length"), 5, 0])
def test_w9_len_counts_only_if_it_works(length: Any) -> None:
    class Sized(Counted):
        def __len__(self) -> int:
            if isinstance(length, Exception):
                raise length
            return int(length)

    channel = answer(app(Sized([b"whole"]), (TEXT,)))
    assert channel.body == b"whole"
    assert channel.headers == [TEXT]


# -- W-10: Content-Length ----------------------------------------------------------------------


class SizedOnce(Counted):
    """An iterable that knows that it has one item."""

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("returned", [[b"four"], (b"four",), b"four", SizedOnce([b"four"])])
def test_w10_one_item_gets_a_content_length(returned: Any) -> None:
    channel = answer(app(returned, (TEXT,)))
    assert channel.events == [
        ("head", "200 OK", [TEXT, ("Content-Length", "4")]),
        ("finish", b"four"),
    ]


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "CONTENT-LENGTH"])
def test_w17_a_content_length_is_found_in_any_case(name: str) -> None:
    channel = answer(app([b"four"], ((name, "4"),)))
    assert channel.headers == [(name, "4")]
    assert channel.events[-1] == ("finish", b"four")


def test_w17_repeated_headers_are_kept_in_order() -> None:
    headers = (("Set-Cookie", "b=1"), TEXT, ("Set-Cookie", "a=2"), ("set-cookie", "c=3"))
    assert answer(app(iter([b"x"]), headers)).headers == list(headers)


def test_w10_the_end_leaves_with_the_last_promised_bytes_and_the_generator_runs_on() -> None:
    channel = FakeChannel()
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "6")])
        yield b"one"
        yield b"two"
        seen.extend(channel.kinds)
        seen.append("after the last yield")

    answer(application, channel=channel)
    assert seen == ["head", "body", "finish", "after the last yield"]
    assert channel.body == b"onetwo"


def test_w10_an_error_after_the_last_promised_bytes_is_logged_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = answer(app(Counted([b"ab", BROKEN]), (("Content-Length", "2"),)))
    assert channel.kinds == ["head", "finish"]
    assert "ValueError: broken" in logged(caplog)


@pytest.mark.parametrize("chunks", [[b"a"], [b"a", b"b"], [b"", b"ab"]])
def test_w10_too_little_is_cut_short_visibly(
    caplog: pytest.LogCaptureFixture, chunks: list[bytes]
) -> None:
    channel = answer(app(chunks, (("Content-Length", "5"),)))
    assert channel.kinds[-1] == "abort"
    missing = 5 - len(b"".join(chunks))
    assert f"{missing} bytes less than its Content-Length" in logged(caplog)
    assert f"{missing} bytes less than its Content-Length" in channel.errors


def test_w10_nothing_at_all_of_what_was_promised_is_an_error_page() -> None:
    channel = answer(app([], (("Content-Length", "5"),)))
    assert channel.status == "500 Internal Server Error"


@pytest.mark.parametrize(
    "chunks", [[b"abcdef"], [b"abcd", b"ef"], [b"ab", b"cdef"], [b"abcd", b"", b"e", b"f", b"g"]]
)
def test_w10_too_much_is_cut_and_warned_of_once(
    caplog: pytest.LogCaptureFixture, chunks: list[bytes]
) -> None:
    returned = Counted(chunks)
    channel = answer(app(returned, (("Content-Length", "4"),)))
    assert channel.body == b"abcd"
    assert not channel.aborted
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "more than its Content-Length" in warnings[0].getMessage()


def test_w10_iteration_stops_where_there_is_too_much() -> None:
    returned = Counted([b"abcdef", b"g", b"h"])
    answer(app(returned, (("Content-Length", "4"),)))
    assert returned.taken == 1


def test_w10_too_much_written_is_cut_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "4")])
        for chunk in (b"abc", b"def", b"ghi", b"jkl"):
            write(chunk)
        return [b"mno"]

    channel = answer(application)
    assert channel.body == b"abcd"
    assert len(caplog.records) == 1


def test_w10_a_body_where_none_was_promised_is_cut() -> None:
    channel = answer(app([b"x"], (("Content-Length", "0"),)))
    assert channel.events == [("head", "200 OK", [("Content-Length", "0")]), ("finish", b"")]


# -- W-11: what a body may consist of ----------------------------------------------------------


async def coroutine() -> list[bytes]:
    return []


@pytest.mark.parametrize(
    ("returned", "mistake"),
    [
        ("text", "returned str instead of an iterable of bytes; return [body.encode('utf-8')]"),
        ("", "returned str instead of an iterable of bytes"),
        (lambda: None, "returned NoneType instead of an iterable of bytes"),
        (7, "returned int instead of an iterable of bytes"),
        (coroutine, "returned coroutine instead of an iterable of bytes"),
        ({"a": 1}, "returned dict instead of an iterable of bytes"),
        (bytearray(b"ab"), "holds a int, not bytes; a bytes object was returned where"),
        (["text"], "holds a str, not bytes; encode it"),
        ([None], "holds a NoneType, not bytes"),
        ([7], "holds a int, not bytes"),
        ([bytearray(b"ab")], "holds a bytearray, not bytes; wrap it in bytes()"),
        ([memoryview(b"ab")], "holds a memoryview, not bytes; wrap it in bytes()"),
        (("text", b"x"), "holds a str, not bytes"),
        (lambda: iter(["text"]), "holds a str, not bytes"),
        (io.StringIO("text"), "holds a str, not bytes"),
    ],
)
def test_w11_what_is_no_bytes_is_named(
    caplog: pytest.LogCaptureFixture, returned: object, mistake: str
) -> None:
    channel = answer(app(returned))
    assert channel.status == "500 Internal Server Error"
    assert mistake in logged(caplog)
    assert mistake in channel.errors


def test_w11_after_good_bytes_a_bad_chunk_cuts_the_response_short() -> None:
    channel = answer(app([b"good", "bad"]))
    assert channel.kinds == ["head", "body", "errors", "abort"]


def test_w11_bare_bytes_are_the_one_chunk_they_are() -> None:
    assert answer(app(b"whole")).events[-1] == ("finish", b"whole")


def test_w11_a_subclass_of_bytes_will_do() -> None:
    class Markup(bytes):
        pass

    assert answer(app([Markup(b"<p>")])).body == b"<p>"
    assert answer(app(iter([Markup(b""), Markup(b"<p>")]))).body == b"<p>"


def test_w11_empty_chunks_are_never_sent() -> None:
    channel = answer(app([b"", b"a", b"", b"b", b""]))
    assert channel.events[1:] == [("body", b"a"), ("body", b"b"), ("finish", b"")]


# -- HEAD, 204, 304 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "headers", "sent"),
    [
        ([b"four"], (TEXT,), [TEXT, ("Content-Length", "4")]),
        ([b"a", b"b"], (TEXT,), [TEXT]),
        ([b"four"], (("Content-Length", "4"),), [("Content-Length", "4")]),
        ([], (("Content-Length", "4"),), [("Content-Length", "4")]),
        ([], (TEXT,), [TEXT]),
        ([b""], (TEXT,), [TEXT]),
    ],
)
def test_head_has_the_headers_of_get_and_no_body(
    caplog: pytest.LogCaptureFixture, returned: Any, headers: Any, sent: Any
) -> None:
    channel = answer(app(returned, headers), method="HEAD")
    assert channel.events == [("head", "200 OK", sent), ("finish", b"")]
    assert not logged(caplog)


def test_head_after_write_has_no_body() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        write(b"a")
        write(b"b")
        return [b"c"]

    channel = answer(application, method="HEAD")
    assert channel.events == [("head", "200 OK", [TEXT]), ("finish", b"")]


def test_head_of_an_application_that_fails() -> None:
    channel = answer(app(Counted([BROKEN])), method="HEAD")
    assert channel.status == "500 Internal Server Error"
    assert channel.body == b""
    assert int(dict(channel.headers)["Content-Length"]) > 0


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("returned", [[], [b""], [b"body"], [b"bo", b"dy"], SizedOnce([b"body"])])
def test_a_status_without_a_body_has_none(
    caplog: pytest.LogCaptureFixture, status: str, returned: Any
) -> None:
    with_body = returned not in ([], [b""])
    channel = answer(app(returned, (("ETag", '"1"'),), status))
    assert channel.events == [("head", status, [("ETag", '"1"')]), ("finish", b"")]
    assert ("a body was given with the status" in logged(caplog)) is with_body
    assert len(caplog.records) <= 1


def test_204_has_no_content_length_but_304_may_tell_one() -> None:
    headers = (("Content-Length", "12"),)
    assert answer(app([], headers, "204 No Content")).headers == []
    assert answer(app([], headers, "304 Not Modified")).headers == list(headers)


# -- W-14: applications that fail --------------------------------------------------------------


def fails_at_once(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    secret = "hunter2"  # noqa: F841  # a local that no page may show
    raise ValueError("the <password> is hunter2")


def fails_after_start_response(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [TEXT])
    raise ValueError("the <password> is hunter2")


def fails_in_its_first_step(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    yield b""
    raise ValueError("the <password> is hunter2")


@pytest.mark.parametrize(
    "application", [fails_at_once, fails_after_start_response, fails_in_its_first_step]
)
def test_w14_before_the_head_a_failure_is_a_plain_500_page(
    caplog: pytest.LogCaptureFixture, application: Any
) -> None:
    channel = answer(application)
    assert channel.status == "500 Internal Server Error"
    assert ("Content-Type", "text/html; charset=utf-8") in channel.headers
    assert ("Content-Length", str(len(channel.body))) in channel.headers
    assert b"<h1>Internal Server Error</h1>" in channel.body
    for secret in (b"hunter2", b"ValueError", b"Traceback", b".py"):
        assert secret not in channel.body
    for log in (logged(caplog), channel.errors):
        assert "GET '/page'" in log
        assert "Traceback (most recent call last)" in log
        assert "ValueError: the <password> is hunter2" in log
    assert channel.kinds == ["errors", "head", "finish"]


def test_w14_after_the_head_a_failure_cuts_the_response_short(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = answer(app(Counted([b"a", BROKEN])))
    assert channel.kinds == ["head", "body", "errors", "abort"]
    assert "ValueError: broken" in channel.errors
    assert "ValueError: broken" in logged(caplog)


@pytest.mark.parametrize(
    "error", [SystemExit(3), SystemExit(None), KeyboardInterrupt(), GeneratorExit(), MemoryError()]
)
def test_w14_leaving_the_process_ends_the_request_only(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise error

    assert answer(application).status == "500 Internal Server Error"
    assert type(error).__name__ in logged(caplog)


def test_w14_the_page_of_a_debugging_server_shows_the_escaped_traceback() -> None:
    channel = answer(fails_at_once, debug=True)
    assert channel.status == "500 Internal Server Error"
    page = channel.body.decode()
    assert "Traceback (most recent call last)" in page
    assert "ValueError: the &lt;password&gt; is hunter2" in page
    assert "<password>" not in page
    assert ("Content-Length", str(len(channel.body))) in channel.headers


def test_w14_a_debugging_server_shows_any_traceback() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ValueError("\ud800 \u20ac \0")

    assert "\u20ac" in answer(application, debug=True).body.decode()


def test_w14_a_failure_whose_text_cannot_be_made_is_a_failure_like_others() -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise UnspeakableError

    assert answer(application).status == "500 Internal Server Error"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LimitExceeded("too large", 413), "413 Content Too Large"),
        (ProtocolError("nonsense"), "400 Bad Request"),
        (ClientDisconnected("cut short"), "400 Bad Request"),
        (ClientDisconnected("too late", 408), "408 Request Timeout"),
    ],
)
def test_w14_an_error_of_the_body_is_the_peers_fault_not_the_applications(
    caplog: pytest.LogCaptureFixture, error: Exception, status: str
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"not reached"]

    channel = answer(application, method="POST", body=FailingBody(error))
    assert channel.status == status
    assert channel.errors == ""
    assert "Traceback" not in logged(caplog)


def test_w14_an_error_of_the_body_after_the_head_cuts_the_response_short() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        yield environ["wsgi.input"].read()

    channel = answer(application, body=FailingBody(LimitExceeded("too large", 413)))
    assert channel.kinds == ["head", "body", "abort"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("", "/app", "400 Bad Request"), ("GET", "/other", "404 Not Found")],
)
def test_a_request_that_cannot_be_built_never_reaches_the_application(
    method: str, path: str, status: str
) -> None:
    builder = EnvironBuilder(script_name="/app")
    channel = answer(fails_at_once, builder=builder, method=method, variables={"PATH_INFO": path})
    assert channel.status == status


def test_a_client_that_left_is_no_error_of_anybodys(caplog: pytest.LogCaptureFixture) -> None:
    channel = answer(app([b"a", b"b", b"c"]), channel=FakeChannel(leaves_after=1))
    assert channel.kinds == ["head", "body", "abort"]
    assert not logged(caplog)


def test_an_application_that_goes_on_writing_to_a_client_that_left_is_stopped_each_time() -> None:
    refused: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        for _ in range(3):
            try:
                write(b"x")
            except OSError as error:
                refused.append(str(error))
        return []

    channel = answer(application, channel=FakeChannel(leaves_after=0))
    assert refused == ["the peer has left"] * 3
    assert channel.ended


def test_bytes_before_start_response_are_named(caplog: pytest.LogCaptureFixture) -> None:
    channel = answer(lambda environ, start_response: [b"x"])
    assert channel.status == "500 Internal Server Error"
    assert "gave body bytes before it called start_response" in logged(caplog)


def test_a_missing_start_response_is_named(caplog: pytest.LogCaptureFixture) -> None:
    channel = answer(lambda environ, start_response: [])
    assert channel.status == "500 Internal Server Error"
    assert "returned without a (successful) call of start_response" in logged(caplog)


def test_something_else_may_answer_for_an_application_that_failed() -> None:
    asked: list[tuple[int, bool, BaseException | None]] = []

    def respond(
        channel: Any, request: Any, code: int, is_head: bool = False, detail: str = ""
    ) -> None:
        asked.append((code, is_head, sys.exc_info()[1]))
        channel.send_head(request, "500 Mine", [])
        channel.finish(request, b"mine")

    channel = answer(app(Counted([BROKEN])), respond=respond)
    assert channel.status == "500 Mine"
    assert asked == [(500, False, BROKEN)]


def test_write_after_the_request_is_over_is_harmless(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Any] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(start_response("200 OK", []))
        return [b"x"]

    channel = answer(application)
    before = list(channel.events)
    kept[0](b"late")
    assert channel.events == before
    assert "more than its Content-Length" in logged(caplog)


# -- W-15: wsgi.file_wrapper -------------------------------------------------------------------


def wrapped(make: Any, headers: Any = (TEXT,), *blksize: int) -> FakeChannel:
    """The answer of an application that wraps what ``make`` gives."""
    channel = FakeChannel()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(headers))
        iterable = environ["wsgi.file_wrapper"](make(), *blksize)
        assert channel.events == [], "nothing is sent before it is returned"
        return iterable

    return answer(application, channel=channel)


class ReadOnly:
    """The least that PEP 3333 asks of a file-like object: no ``close``, no ``fileno``."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.sizes: list[int] = []

    def read(self, size: int) -> bytes:
        """Read."""
        self.sizes.append(size)
        return self._file.read(size)


def test_w15_a_file_is_sent_in_blocks_and_closed() -> None:
    file = io.BytesIO(b"a" * 10)
    channel = wrapped(lambda: file, (TEXT,), 4)
    assert [event[1] for event in channel.of("body")] == [b"aaaa", b"aaaa", b"aa"]
    assert file.closed


def test_w15_a_real_file_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)
    assert wrapped(lambda: path.open("rb")).body == path.read_bytes()


def test_w15_a_file_is_sent_from_where_it_stands() -> None:
    file = io.BytesIO(b"skipped|sent")
    file.seek(8)
    assert wrapped(lambda: file).body == b"sent"


def test_w15_read_is_all_that_is_needed_and_the_block_size_reaches_it() -> None:
    file = ReadOnly(b"abc")
    assert wrapped(lambda: file, (TEXT,), 1234).body == b"abc"
    assert set(file.sizes) == {1234}
    assert not hasattr(FileWrapper(file), "close")


def test_w15_content_length_is_honoured() -> None:
    file = io.BytesIO(b"abcdef")
    channel = wrapped(lambda: file, (("Content-Length", "4"),), 3)
    assert channel.body == b"abcd"
    assert not channel.aborted
    assert file.closed


def test_w15_a_file_in_text_mode_is_named(caplog: pytest.LogCaptureFixture) -> None:
    channel = wrapped(lambda: io.StringIO("text"))
    assert channel.status == "500 Internal Server Error"
    assert "was opened in text mode: open it with 'rb'" in logged(caplog)


def test_w15_a_file_that_fails_is_closed() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("bad sector")

    file = Failing()
    assert wrapped(lambda: file).status == "500 Internal Server Error"
    assert file.closed


# -- W-3: wsgi.errors --------------------------------------------------------------------------


def complaining(complain: Any) -> FakeChannel:
    """The answer of an application that calls ``complain`` with its ``wsgi.errors``."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        complain(environ["wsgi.errors"])
        start_response("200 OK", [])
        return [b"ok"]

    return answer(application)


@pytest.mark.parametrize(
    ("complain", "lines"),
    [
        (lambda errors: errors.write("one\n"), ["one"]),
        (lambda errors: errors.write("one\ntwo\n"), ["one", "two"]),
        (lambda errors: (errors.write("o"), errors.write("ne\nt"), errors.write("wo\n")),
         ["one", "two"]),
        (lambda errors: errors.write("no newline"), ["no newline"]),
        (lambda errors: (errors.write("a"), errors.flush(), errors.write("b\n")), ["a", "b"]),
        (lambda errors: errors.writelines(["one\n", "t", "wo\n"]), ["one", "two"]),
        (lambda errors: errors.writelines(str(n) + "\n" for n in range(2)), ["0", "1"]),
        (lambda errors: errors.write("a\n\nb\n"), ["a", "", "b"]),
        (lambda errors: print("printed", 1, file=errors), ["printed 1"]),
        (lambda errors: errors.flush(), []),
        (lambda errors: errors.write(""), []),
        (lambda errors: errors.write("1 % %s \u20ac \U0001f600\n"), ["1 % %s \u20ac \U0001f600"]),
        (lambda errors: errors.write("\ud800 \0 \x1b\n"), ["\ud800 \0 \x1b"]),
    ],
)  # fmt: skip
def test_w3_what_is_complained_of_reaches_both_logs(
    caplog: pytest.LogCaptureFixture, complain: Any, lines: list[str]
) -> None:
    channel = complaining(complain)
    assert [record.getMessage() for record in caplog.records] == lines
    assert {record.levelno for record in caplog.records} <= {logging.ERROR}
    assert channel.errors == "".join(line + "\n" for line in lines)
    assert channel.body == b"ok"


@pytest.mark.parametrize("text", [b"bytes", None, 5, ["list"]])
def test_w3_what_is_no_text_is_a_type_error(text: Any) -> None:
    channel = FakeChannel()
    errors = ErrorStream(channel, channel.request)
    with pytest.raises(TypeError, match=f"wsgi.errors takes str, not {type(text).__name__}"):
        errors.write(text)


def test_w3_write_tells_how_much_it_took() -> None:
    channel = FakeChannel()
    assert ErrorStream(channel, channel.request).write("1234\n5") == 6


def test_w3_complaints_leave_at_once_not_at_the_end() -> None:
    channel = FakeChannel()
    errors = ErrorStream(channel, channel.request)
    errors.write("now\npartial")
    assert channel.errors == "now\n"
    errors.flush()
    assert channel.errors == "now\npartial\n"


def test_w3_a_partial_line_leaves_before_the_end_of_the_response() -> None:
    channel = complaining(lambda errors: errors.write("partial"))
    assert channel.kinds[-1] == "finish"
    assert channel.errors == "partial\n"


def test_w3_what_is_complained_of_in_close_reaches_our_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"x"
        finally:
            environ["wsgi.errors"].write("at the very end")

    answer(application)
    assert "at the very end" in logged(caplog)


def test_w3_the_stream_may_be_used_after_the_end_of_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept: list[ErrorStream] = []
    channel = complaining(kept.append)
    before = list(channel.events)
    kept[0].write("late")
    kept[0].flush()
    kept[0].writelines(["later\n"])
    assert channel.events == before
    assert channel.late == [], "the channel may serve another request by now"
    assert [record.getMessage() for record in caplog.records] == ["late", "later"]
