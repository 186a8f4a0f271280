"""Large pieces of a body are framed as they are: not copied, and not even seen where in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateways.protocols.base import Codec, FilePart, Request
from gateways.protocols.encoders import encode_scgi_head, encode_uwsgi_head
from gateways.protocols.scgi import Scgi
from gateways.protocols.uwsgi import Uwsgi

from .driver import Run
from .http_driver import Run as HTTPRun
from .oneshot_driver import Run as OneShotRun
from .vectors import GET, replies, request

SIZE = 1_000_001
CONTENT = (bytes(range(251)) * (SIZE // 251 + 1))[:SIZE]
HTTP_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

Run_ = Run | OneShotRun | HTTPRun


def _fastcgi() -> Run_:
    run = Run()
    run.feed(request(1, GET))
    return run


def _uwsgi() -> Run_:
    return OneShotRun(Uwsgi).feed(encode_uwsgi_head(GET.items()))


def _scgi() -> Run_:
    pairs = [("CONTENT_LENGTH", "0"), ("SCGI", "1"), *GET.items()]
    return OneShotRun(Scgi).feed(encode_scgi_head(pairs))


def _http() -> Run_:
    run = HTTPRun()
    run.feed(HTTP_GET)
    return run


LENGTH = [("Content-Length", str(2 * SIZE))]
RUNS: dict[str, tuple[Callable[[], Run_], list[tuple[str, str]]]] = {
    "fcgi": (_fastcgi, LENGTH),
    "uwsgi": (_uwsgi, LENGTH),
    "scgi": (_scgi, LENGTH),
    "http": (_http, LENGTH),
    "http, chunked": (_http, []),
}
runs = pytest.mark.parametrize("case", RUNS.values(), ids=RUNS.keys())


def sent(case: tuple[Callable[[], Run_], list[tuple[str, str]]], *chunks: Any) -> list[Any]:
    """What becomes of a response with these pieces."""
    make, headers = case
    run = make()
    codec: Codec = run.codec
    ready: Request = run.ready[0]
    codec.send_head(ready, "200 OK", list(headers))
    for chunk in chunks:
        codec.send_body(ready, chunk)
    codec.end(ready)
    return codec.output


@runs
def test_a_large_chunk_is_not_copied(case: Any) -> None:
    own = 0
    for buffer in sent(case, CONTENT, CONTENT):
        if buffer is not CONTENT and getattr(buffer, "obj", None) is not CONTENT:
            own += len(buffer)
    assert own < 1000


@runs
def test_a_piece_of_a_file_is_framed_unseen(case: Any) -> None:
    file = object()  # nothing can be read of it
    output = sent(case, FilePart(file, 1000, SIZE), FilePart(file, 1000 + SIZE, SIZE))
    parts = [each for each in output if isinstance(each, FilePart)]
    assert all(each.file is file for each in parts)
    position = 1000
    for part in parts:
        assert part.offset == position
        position += part.size
    assert position == 1000 + 2 * SIZE
    assert sum(len(each) for each in output if not isinstance(each, FilePart)) < 1000


@runs
@pytest.mark.parametrize("size", [1, 8, 16384, 61440, 61441, 65536, SIZE])
def test_its_frames_are_those_of_the_bytes_themselves(case: Any, size: int) -> None:
    def content(buffer: Any) -> bytes:
        if isinstance(buffer, FilePart):
            return CONTENT[buffer.offset : buffer.offset + buffer.size]
        return bytes(buffer)

    # HTTP must be told the right length, the others do not look.
    headers = [("Content-Length", str(size))] if case[1] else []
    received = b"".join(map(content, sent((case[0], headers), FilePart(None, 0, size))))
    if case[0] is _fastcgi:
        assert replies(received)[1].body == CONTENT[:size]
        assert len(received) % 8 == 0
    else:
        assert received == b"".join(map(bytes, sent((case[0], headers), CONTENT[:size])))
