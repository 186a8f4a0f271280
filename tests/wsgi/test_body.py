"""``wsgi.input``: what a file would give, however the bytes arrive and wherever they wait."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.errors import ClientDisconnected, LimitExceeded
from gateways.wsgi.body import EMPTY_BODY, Body
from tests.servers.harness import DEADLINE_SECONDS

UNLIMITED = 1 << 30


def make_body(
    length: int | None,
    pieces: Iterable[bytes] = (),
    *,
    memory: int = 65536,
    spool: int = UNLIMITED,
    end: bool = True,
) -> Body:
    """A body whose ``wait`` brings the next of ``pieces``, then the end of the stream."""
    coming = iter(pieces)
    lock = threading.Lock()

    def wait(body: Body) -> None:
        with lock:
            for piece in coming:
                body.feed(piece)
                return
            if not end:
                raise AssertionError("the reader waits for what will never come")
            body.end()

    return Body(length, lock, wait, memory, spool)


def held(body: Body) -> IO[bytes] | None:
    """The temporary file."""
    return body._file


# -- reading as from a file --------------------------------------------------------------------

TEXT = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"line\n", b"x" * 50]), max_size=30)
SIZE = st.one_of(st.none(), st.integers(-1, 60))
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), SIZE),
        st.tuples(st.just("readline"), SIZE),
        st.tuples(st.just("readlines"), SIZE),
    ),
    max_size=12,
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Pieces of these sizes, repeated as often as it takes."""
    pieces: list[bytes] = []
    position = 0
    while position < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[position : position + size])
        position += size
    return pieces


@settings(deadline=None)
@given(
    text=TEXT,
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    calls=CALLS,
    known=st.booleans(),
    memory=st.sampled_from([0, 10, 65536]),
    early=st.integers(0, 40),
)
def test_every_way_to_read_gives_what_a_file_gives(
    text: list[bytes],
    sizes: list[int],
    calls: list[tuple[str, int | None]],
    known: bool,
    memory: int,
    early: int,
) -> None:
    data = b"".join(text)
    pieces = cut(data, sizes)
    body = make_body(len(data) if known else None, pieces[early:], memory=memory)
    for piece in pieces[:early]:
        body.feed(piece)
    like = io.BytesIO(data)
    for name, size in calls:
        assert getattr(body, name)(size) == getattr(like, name)(size), (name, size)
    assert list(body) == list(like)
    assert (body.read(), body.read(5), body.readline(), body.readlines()) == (b"", b"", b"", [])
    assert body.unread == 0
    body.close()


@pytest.mark.parametrize("name", ["read", "readline", "readlines"])
@pytest.mark.parametrize("size", range(-1, 16))
@pytest.mark.parametrize("cut_size", [1, 2, 3, 5, 13])
def test_a_size_is_kept_exactly(name: str, size: int, cut_size: int) -> None:
    data = b"one\ntwo\n\nfour"
    body = make_body(len(data), cut(data, [cut_size]))
    like = io.BytesIO(data)
    for _ in range(5):
        assert getattr(body, name)(size) == getattr(like, name)(size)


@pytest.mark.parametrize("name", ["read", "readline", "readlines"])
def test_the_size_may_be_left_out(name: str) -> None:
    body = make_body(None, [b"one\ntw", b"o\nthree"])
    like = io.BytesIO(b"one\ntwo\nthree")
    for _ in range(4):
        assert getattr(body, name)() == getattr(like, name)()


def test_a_line_is_whole_across_any_number_of_pieces() -> None:
    body = make_body(None, [b"a"] * 100 + [b"\n", b"b"])
    assert body.readline() == b"a" * 100 + b"\n"
    assert body.readline() == b"b"
    assert body.readline() == b""


def test_reading_interleaved_with_feeding_takes_no_more_than_it_needs() -> None:
    body = make_body(10, end=False)
    body.feed(b"abc")
    assert body.read(2) == b"ab"
    body.feed(b"de")
    assert body.read(3) == b"cde"
    body.feed(b"f\ngh")
    assert body.readline() == b"f\n"
    body.feed(b"i")
    assert body.read() == b"ghi", "ten bytes have come, it does not wait for an eleventh"
    assert body.read() == b""


def test_a_read_of_no_bytes_waits_for_nothing() -> None:
    body = make_body(10, end=False)
    assert (body.read(0), body.readline(0)) == (b"", b"")


def test_nothing_is_waited_for_beyond_the_declared_length() -> None:
    body = make_body(3, [b"abcdef", b"ghi"], end=False)
    assert body.read() == b"abc"
    assert (body.read(), body.received) == (b"", 3)


def test_a_body_of_no_length_waits_for_nothing() -> None:
    assert make_body(0, end=False).read() == b""


# -- where it is held --------------------------------------------------------------------------


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """The temporary files that were made."""
    made: list[IO[bytes]] = []
    make = tempfile.TemporaryFile

    def record(*args: Any, **kwargs: Any) -> IO[bytes]:
        file: IO[bytes] = make(*args, **kwargs)
        made.append(file)
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", record)
    return made


def test_a_small_body_stays_in_memory(files: list[IO[bytes]]) -> None:
    body = make_body(100, memory=100)
    for _ in range(10):
        body.feed(b"0123456789")
    assert body.unread == 100
    assert body.read() == b"0123456789" * 10
    assert files == []


def test_what_memory_does_not_hold_goes_to_one_file_and_comes_back_in_order(
    files: list[IO[bytes]],
) -> None:
    pieces = [bytes([n]) * 1000 for n in range(200)]
    body = make_body(200_000, memory=4096)
    for piece in pieces:
        body.feed(piece)
    assert len(files) == 1
    assert body.unread == 200_000
    assert body.read(1500) == b"".join(pieces)[:1500]
    assert body.read() == b"".join(pieces)[1500:]
    assert files[0].closed, "the file is given back when the reader has caught up"


def test_reading_and_feeding_take_turns_on_the_file(files: list[IO[bytes]]) -> None:
    body = make_body(None, memory=0)
    sent = received = b""
    for turn in range(300):
        for piece in (b"%d," % turn * 50, b"%d;" % turn * 40):
            body.feed(piece)
            sent += piece
        received += body.read(len(sent) - len(received) - 7 if turn % 3 else 10)
    body.end()
    assert received + body.read() == sent
    assert files


def test_what_comes_while_the_file_is_half_read_goes_behind_it(files: list[IO[bytes]]) -> None:
    body = make_body(None, memory=10_000)
    sent = [bytes([n]) * 10_000 for n in range(1, 10)]
    for piece in sent:
        body.feed(piece)
    received = body.read(len(sent[0]) + len(sent[1])) + body.read(1)  # of both, and of the file
    assert 0 < body.unread <= 10_000, "so little that memory would hold it"
    for piece in (b"then this", b"and this"):
        body.feed(piece)
        sent.append(piece)
    body.end()
    assert received + body.read() == b"".join(sent)
    assert len(files) == 1


def test_a_reader_that_keeps_up_never_needs_a_file(files: list[IO[bytes]]) -> None:
    body = make_body(None, [bytes(1000)] * 500, memory=2000)
    while body.read(1000):
        assert body.unread <= 2000
    assert files == []
    assert body.received == 500_000


def test_after_the_reader_has_caught_up_memory_is_used_again(files: list[IO[bytes]]) -> None:
    body = make_body(None, memory=10)
    for piece in (b"x" * 20, b"y" * 20):
        body.feed(piece)
    assert len(files) == 1
    assert body.read(40) == b"x" * 20 + b"y" * 20
    body.feed(b"z" * 5)
    assert held(body) is None
    body.end()
    assert body.read() == b"z" * 5


def test_close_gives_the_file_back_and_ends_the_body(files: list[IO[bytes]]) -> None:
    body = make_body(None, memory=0, end=False)
    for _ in range(3):
        body.feed(b"x" * 100)
    body.close()
    assert [file.closed for file in files] == [True]
    assert (body.read(), body.unread) == (b"", 0)
    body.feed(b"late")
    body.fail(ClientDisconnected("late"))
    body.close()
    assert body.read() == b"", "nothing comes after the close"


@pytest.mark.parametrize("size", [4, 9000])  # the file's own buffer holds 4, but not 9000
def test_a_full_disk_is_the_readers_to_learn_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    # Reading this device gives zeros without end, which must not be taken for the body either.
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, "/dev/full", "w+b"))
    body = make_body(None, memory=0, end=False)
    body.feed(b"in memory")
    for _ in range(3):
        body.feed(bytes(size))
    assert body.read(9) == b"in memory"
    with pytest.raises(OSError, match="No space left"):
        body.read(1)
    body.close()
    assert body.read() == b""


# -- bodies that go wrong ----------------------------------------------------------------------

READS: list[Callable[[Body], object]] = [
    lambda body: body.read(),
    lambda body: body.read(100),
    lambda body: body.readline(),
    lambda body: body.readlines(),
    lambda body: list(body),
]


@pytest.mark.parametrize("read", READS)
def test_a_body_that_is_cut_short_is_no_clean_end(read: Callable[[Body], object]) -> None:  # FC-24
    body = make_body(10, [b"only"])
    with pytest.raises(ClientDisconnected, match="ended after 4 of 10 bytes"):
        read(body)
    with pytest.raises(ClientDisconnected):
        body.read()


def test_what_came_before_the_cut_can_be_read() -> None:
    body = make_body(10, [b"one\nt"])
    assert body.readline() == b"one\n"
    assert body.read(1) == b"t"
    with pytest.raises(ClientDisconnected):
        body.read(1)


@pytest.mark.parametrize("length", [None, 10])
def test_a_peer_that_leaves_fails_the_read(length: int | None) -> None:
    body = make_body(length, end=False)
    body.feed(b"abc")
    body.fail(ClientDisconnected("the web server closed the connection"))
    body.fail(LimitExceeded("a later error does not hide the first"))
    body.feed(b"late")
    assert body.read(3) == b"abc"
    with pytest.raises(ClientDisconnected, match="closed the connection"):
        body.read(1)


def test_a_failed_read_is_an_oserror_as_frameworks_expect() -> None:
    with pytest.raises(OSError, match="ended after"):
        make_body(1).read()


def test_a_complete_body_stays_readable_when_the_peer_leaves() -> None:
    body = make_body(3, end=False)
    body.feed(b"abc")
    body.fail(ClientDisconnected("gone"))
    assert body.read() == b"abc"
    unknown = make_body(None, end=False)
    unknown.feed(b"abc")
    unknown.end()
    unknown.fail(ClientDisconnected("gone"))
    assert unknown.read() == b"abc"


def test_more_than_the_spool_holds_fails_the_read_and_names_the_limit() -> None:
    body = make_body(None, memory=10, spool=50, end=False)
    for _ in range(10):
        body.feed(b"0123456789")
    body.end()
    assert body.read(20) == b"0123456789" * 2
    with pytest.raises(LimitExceeded, match=r"--body-spool .*50") as caught:
        body.read()
    assert caught.value.status == 413
    with pytest.raises(LimitExceeded):
        body.read(1)
    body.close()


def test_the_spool_limit_is_for_what_is_unread() -> None:
    body = make_body(None, memory=10, spool=50)
    for _ in range(100):
        body.feed(b"0123456789" * 3)
        assert body.read(30) == b"0123456789" * 3
    body.end()
    assert body.read() == b""


def test_an_error_of_the_wait_reaches_the_reader() -> None:
    def wait(body: Body) -> None:
        raise ClientDisconnected("nothing came for 60 seconds")

    with pytest.raises(ClientDisconnected, match="60 seconds"):
        Body(5, threading.Lock(), wait, 10, 10).read()


@pytest.mark.parametrize(
    ("length", "fed", "ended", "failed", "waited_for"),
    [
        (None, b"", False, False, True),
        (5, b"", False, False, True),
        (None, b"x", False, False, False),
        (None, b"", True, False, False),
        (5, b"", False, True, False),
        (0, b"", False, False, False),
        (1, b"x", False, False, False),
    ],
)
def test_a_body_is_waited_for_only_while_more_may_come(
    length: int | None, fed: bytes, ended: bool, failed: bool, waited_for: bool
) -> None:
    body = make_body(length)
    if fed:
        body.feed(fed)
    if ended:
        body.end()
    if failed:
        body.fail(ClientDisconnected("gone"))
    assert body.is_waited_for is waited_for


def test_a_reader_in_another_thread_gets_every_byte() -> None:
    lock = threading.Lock()
    changed = threading.Condition(lock)

    def wait(body: Body) -> None:
        with lock:
            assert changed.wait_for(lambda: not body.is_waited_for, timeout=DEADLINE_SECONDS)

    body = Body(None, lock, wait, 5000, UNLIMITED)
    sent = [bytes([n % 256]) * (n % 700) for n in range(2000)]
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(body.read()))
    reader.start()
    for piece in sent:
        with lock:
            if piece:
                body.feed(piece)
            changed.notify_all()
    with lock:
        body.end()
        changed.notify_all()
    reader.join(30)
    assert not reader.is_alive()
    assert received == [b"".join(sent)]


def test_the_empty_body_is_an_empty_file() -> None:
    like = io.BytesIO()
    for size in (None, -1, 0, 5):
        assert EMPTY_BODY.read(size) == like.read(size)
        assert EMPTY_BODY.readline(size) == like.readline(size)
        assert EMPTY_BODY.readlines(size) == like.readlines(size)
    assert list(EMPTY_BODY) == []
    assert (EMPTY_BODY.read(), EMPTY_BODY.readline(), EMPTY_BODY.readlines()) == (b"", b"", [])


@pytest.mark.parametrize("memory", [0, 65536], ids=["in a file", "in memory"])
@pytest.mark.parametrize("at_once", [False, True], ids=["piece by piece", "at once"])
@pytest.mark.parametrize(
    "sizes",
    [
        (10, 15_000, 0, 20_000),
        (9_999, 1, 10_000, 10_001),
        (4_095, 4_096, 4_097, 25_000),
        (25_000, 4_999, 1, 1),
        (1, 9_999, 9_999, 9_999, 9_999),
    ],
)
def test_large_pieces_are_read_as_from_a_file(
    sizes: tuple[int, ...], at_once: bool, memory: int
) -> None:
    pieces = [bytes([number]) * 10_000 for number in range(3)]
    body = make_body(None, () if at_once else pieces, memory=memory)
    if at_once:
        for piece in pieces:
            body.feed(piece)
    file = io.BytesIO(b"".join(pieces))
    for size in sizes:
        assert body.read(size) == file.read(size)
    assert body.read() == file.read()
    assert body.unread == 0
    body.close()
