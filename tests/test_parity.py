"""The compiled modules and their sources: the same results, error types and messages for all input.

In a pure build there is nothing to compare, and every test here is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.cli.group import describe_version
from gateways.protocols.encoders import encode_scgi_head, encode_uwsgi_head
from tests.protocols import vectors
from tests.pure import built, pure

pytestmark = pytest.mark.skipif(
    "(compiled, " not in describe_version(), reason="a pure build: there is nothing to compare"
)

GET = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/a",
    "QUERY_STRING": "q=1",
    "SERVER_NAME": "example.test",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_COOKIE": "c" * 200,
}
POST = {**GET, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5", "SCGI": "1"}

FASTCGI = {
    "a get": vectors.request(1, GET),
    "a post": vectors.request(1, POST, b"hello"),
    "two at once": vectors.begin(1) + vectors.request(2, GET) + vectors.params(1, GET),
    "a filter": vectors.begin(3, 3) + vectors.params(3, POST) + vectors.stdin(3, b"hello"),
    "an abort": vectors.begin(1) + vectors.abort(1),
    "values": vectors.get_values("FCGI_MAX_CONNS", "FCGI_MPXS_CONNS", "X"),
    "an unknown type": vectors.record(99, 0) + vectors.record(99, 7),
    "an unknown role": vectors.begin(1, 9) + vectors.params(1, GET),
    "begun twice": vectors.begin(1) + vectors.begin(1),
    "out of order": vectors.begin(1) + vectors.stdin(1, b"x"),
    "a bad version": vectors.record(1, 1, bytes(8), version=2),
    "bad pairs": vectors.begin(1) + vectors.stream(4, 1, b"\x7f\x01x"),
    "a break in a value": vectors.begin(1) + vectors.params(1, {"A": "b\nc"}),
    "a bad length": vectors.begin(1) + vectors.params(1, {**GET, "CONTENT_LENGTH": "x"}),
}
UWSGI = {
    "a get": encode_uwsgi_head(GET.items()),
    "a post": encode_uwsgi_head(POST.items()) + b"hello and more",
    "a ping": b"\x64\0\0\0",
    "modifier 30": encode_uwsgi_head({**GET, "SCRIPT_NAME": "/a"}.items(), 30),
    "modifier 22": encode_uwsgi_head(GET.items(), 22),
    "cut off": b"\0\x05\0\0\x02\0AB\x09",
}
SCGI = {
    "a get": encode_scgi_head({"CONTENT_LENGTH": "0", **GET, "SCGI": "1"}.items()),
    "a post": encode_scgi_head(POST.items()) + b"hello",
    "no length": encode_scgi_head(GET.items()),
    "no comma": encode_scgi_head(POST.items())[:-1] + b";",
    "no netstring": b"abc",
    "version 2": encode_scgi_head({**POST, "SCGI": "2"}.items()),
}
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
HTTP = {
    "a get": b"GET /a%20b?c HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\n\r\n",
    "a post": b"POST / HTTP/1.1\r\nHost: x:80\r\nContent-Length: 5\r\n\r\nhelloGET",
    "chunks": CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n",
    "a bad chunk": CHUNKED + b"\r\n3\r\nabcd",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a bare LF": b"GET / HTTP/1.1\nHost: x\r\n\r\n",
    "both lengths": CHUNKED + b"Content-Length: 1\r\n\r\n",
    "forwarded": b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    "pipelined": b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
}


class Sink:
    """A body that keeps what it is told."""

    def __init__(self, request: object, length: int | None) -> None:
        self.told: list[object] = [length]

    def feed(self, data: bytes) -> None:
        """Append."""
        self.told.append(bytes(data))

    def end(self) -> None:
        """The stream has ended."""
        self.told.append("end")

    def fail(self, error: BaseException) -> None:
        """No more will come."""
        self.told.append((type(error).__name__, str(error)))

    def close(self) -> None:
        """Nothing is held."""


def value(thing: Any) -> Any:
    """A result in a form in which those of the two builds compare."""
    if isinstance(thing, BaseException):
        return type(thing).__name__, str(thing), getattr(thing, "status", None)
    if isinstance(thing, memoryview):
        return bytes(thing)
    if isinstance(thing, list | tuple):
        return [value(item) for item in thing]
    if hasattr(thing, "variables"):
        return (
            thing.variables,
            list(thing.variables),
            thing.content_length,
            thing.aborted,
            thing.ended,
            value(thing.refusal),
            thing.body and thing.body.told,
            thing.data and thing.data.told,
        )
    return thing


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns or raises."""
    try:
        return value(call())
    except Exception as error:  # noqa: BLE001  # whatever it is, it must be the same
        return value(error)


def both(module: str, use: Callable[[Any], Any]) -> None:
    """Use either build of a module, and compare."""
    assert outcome(lambda: use(built(module))) == outcome(lambda: use(pure(module)))


def _fastcgi(find: Callable[[str], Any]) -> Any:
    state = find("protocols.fastcgi_state")
    values = {"FCGI_MAX_CONNS": "9", "FCGI_MPXS_CONNS": "1"}
    made = state.FastCGISettings(
        values=values, roles=frozenset({1, 2, 3}), max_body_bytes=50, max_variables_bytes=900
    )
    return find("protocols.fastcgi").FastCGI(made, Sink)


def _limits(find: Callable[[str], Any]) -> Any:
    return find("protocols.limits").RequestLimits(max_variables_bytes=900, max_body_bytes=50)


def _uwsgi(find: Callable[[str], Any]) -> Any:
    return find("protocols.uwsgi").Uwsgi(_limits(find), Sink)


def _scgi(find: Callable[[str], Any]) -> Any:
    return find("protocols.scgi").Scgi(_limits(find), Sink)


def _http(find: Callable[[str], Any]) -> Any:
    made = find("protocols.http").HTTPSettings(
        server_address=("192.0.2.9", 80), trusted=lambda address: True, max_body_bytes=50
    )
    return find("protocols.http").HTTP(made, Sink, ("192.0.2.7", 4711))


def _auto(find: Callable[[str], Any]) -> Any:
    made = {"fcgi": _fastcgi, "uwsgi": _uwsgi, "scgi": _scgi, "http": _http}
    factories = {name: lambda _body, _peer, new=new: new(find) for name, new in made.items()}
    return find("protocols.auto").Auto(factories, Sink, None)


CODECS = {
    "fcgi": (_fastcgi, FASTCGI),
    "uwsgi": (_uwsgi, UWSGI),
    "scgi": (_scgi, SCGI),
    "http": (_http, HTTP),
    "auto": (_auto, {**FASTCGI, **UWSGI, **SCGI, **HTTP}),
}
CASES = [
    pytest.param(new, data, id=f"{protocol}: {name}")
    for protocol, (new, cases) in CODECS.items()
    for name, data in cases.items()
]


def converse(new: Callable[[Any], Any], find: Callable[[str], Any], pieces: list[bytes]) -> Any:
    """Feed a codec, answer what it hands out, and note everything."""
    codec = new(find)
    noted: list[Any] = []
    for piece in [*pieces, b""]:
        ready = outcome(lambda piece=piece: codec.receive_data(piece))  # type: ignore[misc]
        noted.append(ready)
    codec = new(find)
    for piece in pieces:
        try:
            requests = codec.receive_data(piece)
        except find("errors").ProtocolError as error:
            noted.append(value(error))
            break
        for request in requests:
            codec.send_errors(request, "a line\n")
            codec.send_head(request, "200 OK", [("Content-Type", "text/plain")])
            codec.send_body(request, b"body")
            codec.send_body(request, b"x" * 70000)
            noted.append(outcome(lambda: codec.send_head(request, "200 OK", [])))  # noqa: B023
            codec.end(request)
            noted.append(outcome(lambda: codec.end(request)))  # noqa: B023
        if codec.queued:
            noted.append([value(request) for request in codec.next_requests()])
    noted.append(b"".join(codec.output))
    noted.append([codec.active, codec.requests_seen, codec.multiplexes, codec.closing])
    noted.append([codec.input_pending, codec.queued, int(codec.phase())])
    return noted


def compare(new: Callable[[Any], Any], pieces: list[bytes]) -> None:
    """The same conversation with both builds."""
    assert converse(new, built, pieces) == converse(new, pure, pieces)


@pytest.mark.parametrize(("new", "data"), CASES)
def test_a_codec_says_the_same_whole_and_byte_by_byte(
    new: Callable[[Any], Any], data: bytes
) -> None:
    compare(new, [data])
    compare(new, [data[index : index + 1] for index in range(len(data))])


@pytest.mark.parametrize("protocol", CODECS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_codec_says_the_same_of_vectors_that_were_damaged(protocol: str, data: Any) -> None:
    new, cases = CODECS[protocol]
    message = bytearray(data.draw(st.sampled_from(sorted(cases.values()))))
    for _ in range(data.draw(st.integers(0, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(message)))
    compare(new, [piece for piece in (bytes(message[:cut]), bytes(message[cut:])) if piece])


@pytest.mark.parametrize("protocol", CODECS)
@given(pieces=st.lists(st.binary(min_size=1, max_size=60), max_size=5))
@settings(max_examples=150, deadline=None)
def test_a_codec_says_the_same_of_noise(protocol: str, pieces: list[bytes]) -> None:
    compare(CODECS[protocol][0], pieces)


@given(data=st.binary(max_size=300), most=st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_variables_are_decoded_alike(data: bytes, most: int) -> None:
    for name in ("decode_pairs", "decode_vars", "decode_fields"):
        both("protocols.variables", lambda module, name=name: getattr(module, name)(data, most))  # type: ignore[misc]
    both("protocols.variables", lambda module: module.largest_pair(data))


TEXT = st.text(st.characters(max_codepoint=255), max_size=12)
PAIRS = st.lists(
    st.tuples(st.sampled_from(["A", "HTTP_A", "CONTENT_LENGTH", "wsgi.x", "="]) | TEXT, TEXT)
)


@given(pairs=PAIRS)
@settings(max_examples=300, deadline=None)
def test_pairs_are_encoded_and_cleaned_alike(pairs: list[tuple[str, str]]) -> None:
    both("protocols.variables", lambda module: module.encode_pairs(pairs))
    both("protocols.variables", lambda module: module.clean(pairs))
    both("protocols.variables", lambda module: module.decode_pairs(module.encode_pairs(pairs)))


@given(
    kind=st.integers(0, 255),
    number=st.integers(0, 65535),
    data=st.binary(max_size=100) | st.sampled_from([bytes(16384), bytes(16385), bytes(140000)]),
)
@settings(max_examples=200, deadline=None)
def test_records_are_packed_alike(kind: int, number: int, data: bytes) -> None:
    def stream(module: Any) -> list[bytes]:
        out: list[Any] = []
        module.pack_stream(kind, number, data, out)
        module.pack_lines(kind, number, data[:9000], out)
        return [bytes(buffer) for buffer in out]

    both("protocols.records", stream)
    both("protocols.records", lambda module: module.pack_trailer(number, kind))
    both("protocols.records", lambda module: module.pack_end_request(number, 7, kind))
    both("protocols.records", lambda module: module.pack_unknown_type(kind))
    if len(data) < 65536:
        both("protocols.records", lambda module: module.pack_record(kind, number, data))


ANYTHING = TEXT | st.none() | st.integers() | st.binary(max_size=4) | st.text(max_size=4)
STATUSES = ANYTHING | st.sampled_from(["200 OK", "404 Not Found", "100 Continue", "200", "099 X"])
NAMES = ANYTHING | st.sampled_from(["Content-Type", "Content-Length", "Status", "Connection", "X"])


@given(status=STATUSES, headers=st.lists(st.tuples(NAMES, ANYTHING | st.just("5"))) | ANYTHING)
@settings(max_examples=400, deadline=None)
def test_statuses_and_headers_are_checked_alike(status: Any, headers: Any) -> None:
    both("wsgi.headers", lambda module: module.check_status(status))
    both("wsgi.headers", lambda module: module.check_headers(headers))


PATHS = st.sampled_from(
    ["", "/", "/a", "/a/b", "a", "/app", "/app/", "/app/x", "*", "/a%20b", "//"]
)
ENVIRON = st.fixed_dictionaries(
    {},
    optional={
        "REQUEST_METHOD": st.sampled_from(["GET", "HEAD", ""]),
        "SCRIPT_NAME": PATHS,
        "PATH_INFO": PATHS,
        "REQUEST_URI": PATHS,
        "DOCUMENT_URI": PATHS,
        "SERVER_NAME": st.sampled_from(["", "_", "x", "x:80", "[::1]"]),
        "SERVER_PORT": st.sampled_from(["", "80", "x"]),
        "SERVER_SOFTWARE": st.sampled_from(["lighttpd/1.4", "nginx"]),
        "HTTPS": st.sampled_from(["", "on", "off"]),
        "REMOTE_USER": TEXT,
        "CONTENT_TYPE": TEXT,
        "HTTP_PROXY": TEXT,
        "HTTP_HOST": TEXT,
        "REDIRECT_HTTP_AUTHORIZATION": TEXT,
    },
)


@given(variables=ENVIRON, mounted=st.none() | st.sampled_from(["", "/app"]), trusted=st.booleans())
@settings(max_examples=400, deadline=None)
def test_the_environ_is_built_alike(
    variables: dict[str, str], mounted: str | None, trusted: bool
) -> None:
    def build(module: Any) -> dict[str, Any]:
        builder = module.EnvironBuilder(script_name=mounted, trust_remote_user=trusted)
        environ: dict[str, Any] = builder.build(dict(variables), None, None)
        return {k: v for k, v in environ.items() if k not in ("wsgi.input", "wsgi.file_wrapper")}

    both("wsgi.environ", build)


@given(
    pieces=st.lists(st.binary(max_size=20)), sizes=st.lists(st.integers(-1, 30)), line=st.booleans()
)
@settings(max_examples=300, deadline=None)
def test_a_body_is_read_alike(pieces: list[bytes], sizes: list[int], line: bool) -> None:
    import threading

    def read(module: Any) -> list[bytes]:
        body = module.Body(None, threading.Lock(), lambda body: None, 16, 1000)
        for piece in pieces:
            body.feed(piece)
        body.end()
        read_some = body.readline if line else body.read
        found = [read_some(size) for size in sizes]
        return [*found, *body, body.read()]

    both("wsgi.body", read)


APPLICATIONS: dict[str, Callable[..., Any]] = {}


def application(function: Callable[..., Any]) -> Callable[..., Any]:
    """One of the applications that both builds run."""
    APPLICATIONS[function.__name__] = function
    return function


@application
def plain(environ: Any, start: Any) -> Any:
    """As it should be."""
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ab"]


@application
def chunks(environ: Any, start: Any) -> Any:
    """Without a length, and with the old way to write."""
    start("200 OK", [])(b"one")
    yield b""
    yield b"two"


@application
def too_much(environ: Any, start: Any) -> Any:
    """More than its length, and lines for the log."""
    environ["wsgi.errors"].write("a\nb")
    start("200 OK", [("Content-Length", "2")])
    return iter([b"a", b"bc", b"d"])


@application
def too_little(environ: Any, start: Any) -> Any:
    """Less than its length."""
    start("200 OK", [("Content-Length", "9")])
    return [b"a"]


@application
def text(environ: Any, start: Any) -> Any:
    """No bytes."""
    start("200 OK", [])
    return ["a"]


@application
def failing(environ: Any, start: Any) -> Any:
    """An error after the head."""
    start("204 No Content", [("Content-Length", "0")])
    raise ValueError("on purpose")


@application
def never_started(environ: Any, start: Any) -> Any:
    """No head."""
    return [b"a"]


@application
def changed_its_mind(environ: Any, start: Any) -> Any:
    """A second head, with and without the excuse for it."""
    import sys

    start("200 OK", [])
    try:
        raise KeyError
    except KeyError:
        start("500 Oh", [("X", "y")], sys.exc_info())
    start("200 OK", [])


def telling(channel: Any, notes: list[Any]) -> Any:
    """A channel of that class that notes what it is told, but for tracebacks and our objects."""

    def noting(name: str) -> Callable[..., int]:
        def note(self: object, request: object, *values: Any) -> int:
            if name == "note_running":
                values = (values[0] is None,)
            notes.append([name, *([] if name == "send_errors" else value(values))])
            return 0

        return note

    names = [name for name in dir(channel) if not name.startswith("_")]
    return type("Telling", (channel,), {name: noting(name) for name in names})()


@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_application_is_run_alike(name: str, method: str) -> None:
    def run(find: Callable[[str], Any]) -> list[Any]:
        notes: list[Any] = []
        told = telling(find("wsgi.channel").Channel, notes)
        builder = find("wsgi.environ").EnvironBuilder()
        variables = {**GET, "REQUEST_METHOD": method}
        find("wsgi.runner").run_application(
            APPLICATIONS[name], builder, told, object(), variables, None
        )
        return notes

    assert run(built) == run(pure)
