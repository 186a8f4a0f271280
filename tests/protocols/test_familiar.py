"""Requests that are read by what they have in common with earlier ones: nothing may leak over."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable

import pytest

from gateways.errors import ProtocolError
from gateways.protocols.encoders import encode_uwsgi_vars
from gateways.protocols.variables import (
    clean,
    decode_fields,
    decode_pairs,
    decode_vars,
    encode_pairs,
)

Pairs = list[tuple[str, str]]


def encode_fields(pairs: Pairs) -> bytes:
    return b"".join(f"{name}\0{value}\0".encode("latin-1") for name, value in pairs)


WIRES: dict[str, tuple[Callable[[Pairs], bytes], Callable[[bytes], dict[str, str]]]] = {
    "fcgi": (encode_pairs, decode_pairs),
    "uwsgi": (encode_uwsgi_vars, decode_vars),
    "scgi": (encode_fields, decode_fields),
}


@pytest.fixture(params=WIRES)
def decode(request: pytest.FixtureRequest) -> Callable[[Pairs], dict[str, str]]:
    encode, read = WIRES[request.param]
    return lambda pairs: read(encode(pairs))


FINE = ["A", "B", "HTTP_A", "HTTP_B", "HTTP_COOKIE", "LONG" * 40]
NAMES = [*FINE, "wsgi.input", "X=Y", "UWSGI_FILE"]
VALUES = ["", "1", "2", "line\nbreak", "v" * 100, "v" * 200, "v" * 300]


def some_requests(seed: int) -> list[Pairs]:
    """A few kinds of requests, as they follow each other: mostly alike, sometimes not."""
    chance = random.Random(seed)
    kinds = [
        [(name, "") for name in chance.sample(NAMES, chance.randrange(len(NAMES)))]
        for _ in range(chance.randrange(1, 4))
    ]
    requests = []
    for _ in range(60):
        pairs = [(name, chance.choice(VALUES[:3])) for name, _ in chance.choice(kinds)]
        if chance.random() < 0.15:
            pairs.insert(chance.randrange(len(pairs) + 1), (chance.choice(NAMES), "3"))
        if pairs and chance.random() < 0.15:
            del pairs[chance.randrange(len(pairs))]
        if pairs and chance.random() < 0.15:
            at = chance.randrange(len(pairs))
            pairs[at] = (pairs[at][0], chance.choice(VALUES))
        requests.extend([pairs] * chance.randrange(1, 5))
    return requests


def expected(pairs: Pairs) -> dict[str, str] | str:
    try:
        return clean(pairs)
    except ProtocolError as error:
        return str(error)


def seen(decode: Callable[[Pairs], dict[str, str]], pairs: Pairs) -> dict[str, str] | str:
    try:
        return decode(pairs)
    except ProtocolError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("wire", WIRES)
def test_a_request_is_read_as_if_it_were_the_first(wire: str, seed: int) -> None:
    encode, decode = WIRES[wire]
    for pairs in some_requests(seed):
        wanted = expected(pairs)
        if wire == "uwsgi" and isinstance(wanted, dict):
            wanted.pop("UWSGI_FILE", None)
        assert seen(lambda given: decode(encode(given)), pairs) == wanted


def test_what_one_request_does_to_its_variables_no_other_one_sees(
    decode: Callable[[Pairs], dict[str, str]],
) -> None:
    pairs = [("A", "1"), ("HTTP_B", "2"), ("HTTP_COOKIE", "c")]
    for _ in range(50):
        variables = decode(pairs)
        assert variables == dict(pairs)
        variables["A"] = "changed"
        variables["ADDED"] = "1"
        del variables["HTTP_B"]


def test_a_value_that_comes_again_is_the_one_that_is_there(
    decode: Callable[[Pairs], dict[str, str]],
) -> None:
    pairs = [("SERVER_SOFTWARE", "some server/1"), ("HTTP_COOKIE", "of a client")]
    for _ in range(40):  # until it is expected
        decode(pairs)
    first, second = decode(pairs), decode(pairs)
    assert first["SERVER_SOFTWARE"] is second["SERVER_SOFTWARE"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_COOKIE", "session=1"),
        ("HTTP_AUTHORIZATION", "Basic eDp5"),
        ("REDIRECT_HTTP_AUTHORIZATION", "Basic eDp5"),
        ("HTTP_X_API_KEY", "some secret"),
        ("HTTP_X_AUTH_REQUEST_ACCESS_TOKEN", "some secret"),
        ("QUERY_STRING", "long=" + "x" * 300),
    ],
)
def test_no_secret_and_nothing_long_outlives_its_request(
    decode: Callable[[Pairs], dict[str, str]], name: str, value: str
) -> None:
    pairs = [("REQUEST_METHOD", "GET"), (name, value)]
    for _ in range(40):
        decode(pairs)
    first, second = decode(pairs), decode(pairs)
    assert first[name] == second[name] == value
    assert first[name] is not second[name]


def test_a_value_that_is_refused_is_not_remembered(
    decode: Callable[[Pairs], dict[str, str]],
) -> None:
    for _ in range(40):
        with pytest.raises(ProtocolError, match="line break"):
            decode([("A", "1"), ("HTTP_X", "a\r\nb")])


def test_threads_that_read_at_once_do_not_mix_their_requests(
    decode: Callable[[Pairs], dict[str, str]],
) -> None:
    wrong: list[object] = []
    start = threading.Barrier(4)

    def read(thread: int) -> None:
        requests = [
            [(f"HTTP_{letter}", f"{letter} {thread} {number % 3}") for letter in "ABCDEFGH"]
            for number in range(400)
        ]
        start.wait()
        for number, pairs in enumerate(requests):
            some = pairs[: 4 + number // 50 % 5]
            variables = decode(some)
            if variables != dict(some):
                wrong.append((some, variables))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    with contextlib.ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
    assert not wrong
