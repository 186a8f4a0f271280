"""A record for each request, in each format, which no request can forge."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from gateways.config import Config
from gateways.core.accessformat import FIELDS, LOOKUPS, _Second, parse_format
from gateways.core.accesslog import LOGGER_NAME, AccessLog, make_access_log
from gateways.core.connection import Connection
from gateways.core.observer import Outcome
from gateways.errors import ConfigError
from gateways.protocols.base import Request
from gateways.wsgi.runner import StartResponse
from tests.core.serving import Peer, Serving, eventually, serving
from tests.protocols.vectors import request

Environ = dict[str, Any]

DOCUMENTATION = Path(__file__).parents[2] / "docs/logging.md"
NO_CONNECTION = cast(Connection, None)

VARIABLES = {
    "REMOTE_ADDR": "192.0.2.7",
    "REMOTE_PORT": "4711",
    "REMOTE_USER": "frank",
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/a/b%20c?q=1",
    "SCRIPT_NAME": "/a",
    "PATH_INFO": "/b c",
    "QUERY_STRING": "q=1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "example.org:8080",
    "HTTP_REFERER": "http://example.com/start here",
    "HTTP_USER_AGENT": "Mozilla/4.08 [en] (Win98; I ;Nav)",
    "HTTP_X_REQUEST_ID": "abc-1",
    "CONTENT_TYPE": "text/plain",
    "SSL_PROTOCOL": "TLSv1.3",
}


class Records(logging.Handler):
    """Collects what is written to the access log."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def has(self, count: int) -> bool:
        """Whether there are that many."""
        return len(self.records) >= count

    @property
    def lines(self) -> list[str]:
        """What our own handler would write for each."""
        return [record.getMessage() for record in self.records]


@pytest.fixture
def records() -> Iterator[Records]:
    """The access log."""
    logger = logging.getLogger(LOGGER_NAME)
    before = logger.level, logger.propagate
    handler = Records()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before[0])
    logger.propagate = before[1]


@pytest.fixture
def somewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Half an hour off, on a known day."""
    monkeypatch.setenv("TZ", "XXX-05:30")
    time.tzset()
    monkeypatch.setattr("gateways.core.accessformat._second", _Second(-1, "", "", ""))
    monkeypatch.setattr("gateways.core.accesslog.time.time", lambda: 971211336.25)
    yield
    monkeypatch.undo()
    time.tzset()


def new_log(format: str, **options: Any) -> AccessLog:
    log = make_access_log(Config(access_log="-", access_format=format, **options))
    assert log is not None
    return log


def told(log: AccessLog, variables: dict[str, str], outcome: Outcome | None = None) -> None:
    """One request, as the core tells of it."""
    running = Request()
    running.variables = dict(variables)
    log.begin(1, NO_CONNECTION, running)
    running.variables.clear()  # the application may do that
    log.end(1, NO_CONNECTION, running, outcome or Outcome("200 OK", 12))


# What a line holds

LINES = {
    "combined": (
        "combined",
        {},
        '192.0.2.7 - frank [11/Oct/2000:02:25:36 +0530] "GET /a/b%20c?q=1 HTTP/1.1" 200 12 '
        '"http://example.com/start here" "Mozilla/4.08 [en] (Win98; I ;Nav)"',
    ),
    "nothing is known": (
        "combined",
        dict.fromkeys(VARIABLES, ""),
        '- - - [11/Oct/2000:02:25:36 +0530] "- - -" 200 12 "-" "-"',
    ),
    "a time": ("{time}", {}, "2000-10-11T02:25:36.250+05:30"),
    "names": (
        "{client}:{port} {user} {method} {path} {query} {protocol} {host} {scheme} {script_name}",
        {},
        "192.0.2.7:4711 frank GET /a/b%20c?q=1 q=1 HTTP/1.1 example.org:8080 http /a",
    ),
    "a path without REQUEST_URI": (
        "{path} {query}",
        {"REQUEST_URI": "", "PATH_INFO": "/b c?\xc3\xa9"},
        "/a/b%20c%3F%C3%A9?q=1 q=1",
    ),
    "a path alone": ("{path}", {"REQUEST_URI": "", "QUERY_STRING": ""}, "/a/b%20c"),
    "https": ("{scheme}", {"HTTPS": "on"}, "https"),
    "https by uwsgi": ("{scheme}", {"UWSGI_SCHEME": "https"}, "https"),
    "no host": ("{host}", {"HTTP_HOST": "", "SERVER_NAME": "here"}, "here"),
    "headers": (
        "{header[X-Request-ID]} {header[content-type]} {header[x-none]}",
        {},
        "abc-1 text/plain -",
    ),
    "variables": ("{variable[SSL_PROTOCOL]} {variable[NONE]}", {}, "TLSv1.3 -"),
    "format specs": ("{method:>6}|{path:.4}|{status:05d}|{bytes:,}", {}, "   GET|/a/b|00200|12"),
    "braces": ("{{{status}}}", {}, "{200}"),
    "twice": ("{status} {status:x}", {}, "200 c8"),
    "numbers of the process": ("{worker} {thread}", {}, f"{os.getpid()} 1"),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.usefixtures("somewhere")
def test_a_line_holds_what_its_format_names(records: Records, name: str) -> None:
    format, changes, line = LINES[name]
    told(new_log(format), {**VARIABLES, **changes})
    assert records.lines == [line]


@pytest.mark.usefixtures("somewhere")
def test_the_time_goes_on(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    for moment in (971211336.25, 971211336.875, 971211337.0, 1000000000.5):
        monkeypatch.setattr("gateways.core.accesslog.time.time", lambda now=moment: now)
        told(new_log("{time} {time_local}"), VARIABLES)
    assert records.lines == [
        "2000-10-11T02:25:36.250+05:30 11/Oct/2000:02:25:36 +0530",
        "2000-10-11T02:25:36.875+05:30 11/Oct/2000:02:25:36 +0530",
        "2000-10-11T02:25:37.000+05:30 11/Oct/2000:02:25:37 +0530",
        "2001-09-09T07:16:40.500+05:30 09/Sep/2001:07:16:40 +0530",
    ]


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome("204 No Content"), "204 0"),
        (Outcome("200 OK", 7, aborted=True), "499 7"),
        (Outcome(aborted=True), "499 0"),
        (Outcome("504 Gateway Timeout", 100, failed=True), "504 100"),
        (Outcome(failed=True), "500 0"),
    ],
)
def test_the_status_tells_how_it_ended(records: Records, outcome: Outcome, line: str) -> None:
    told(new_log("{status} {bytes}"), VARIABLES, outcome)
    assert records.lines == [line]


def test_a_json_record_has_every_field(records: Records) -> None:
    told(new_log("json"), VARIABLES)
    found = json.loads(records.lines[0])
    assert set(found) == set(FIELDS) - {"time_local"}
    expected = {"status": 200, "bytes": 12, "worker": os.getpid(), "thread": 1, "port": "4711"}
    assert {name: found[name] for name in expected} == expected
    assert found["peak_rss"] > 1 << 20
    assert 0 <= found["cpu_time"] <= found["request_time"] + 0.1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", found["time"])


def test_json_says_null_for_what_is_not_known(records: Records) -> None:
    told(new_log("json"), {})
    found = json.loads(records.lines[0])
    assert found["client"] is None
    assert found["user_agent"] is None


def test_the_cpu_time_is_that_of_the_thread(records: Records) -> None:
    log = new_log("{cpu_time:.3f} {request_time:.3f}")
    running = Request()
    log.begin(1, NO_CONNECTION, running)
    started = time.thread_time()
    while time.thread_time() - started < 0.05:
        pass
    log.end(1, NO_CONNECTION, running, Outcome("200 OK"))
    cpu, elapsed = map(float, records.lines[0].split())
    assert 0.05 <= cpu <= elapsed + 0.01


@pytest.mark.parametrize(("format", "shown"), [("{cpu_time}", "nan"), ("json", '"cpu_time":null')])
def test_a_thread_that_was_given_up_has_no_cpu_time(
    records: Records, format: str, shown: str
) -> None:
    log, running = new_log(format), Request()
    thread = threading.Thread(target=log.begin, args=(1, NO_CONNECTION, running))
    thread.start()
    thread.join()
    log.end(1, NO_CONNECTION, running, Outcome("504 Gateway Timeout"))
    assert shown in records.lines[0]


def test_a_user_whom_nobody_checked_is_not_logged(records: Records) -> None:
    told(new_log("{user} {client}", trust_remote_user=False), VARIABLES)
    assert records.lines == ["- 192.0.2.7"]


def test_a_record_carries_its_fields_for_handlers_of_the_operators(records: Records) -> None:
    told(new_log("{status} {path} {user_agent}"), {**VARIABLES, "HTTP_USER_AGENT": "caf\xc3\xa9"})
    (record,) = records.records
    assert record.__dict__["access"] == {
        "status": 200,
        "path": "/a/b%20c?q=1",
        "user_agent": "café",
    }


def test_a_level_turns_it_off(records: Records) -> None:
    logging.getLogger(LOGGER_NAME).setLevel(logging.WARNING)
    told(new_log("combined"), VARIABLES)
    assert records.lines == []


# What a request may try

HOSTILE = {
    "a line of its own": '"\n127.0.0.1 - admin [x] "GET / HTTP/1.1" 200 1 "-" "',
    "the end of its quotes": 'x" 200 999 "',
    "a backslash before the quote": "x\\",
    "controls": "".join(map(chr, range(32))) + "\x7f",
    "not UTF-8": "caf\xe9 \xff\xfe \x85",
    "UTF-8": "caf\xc3\xa9",
    "a line separator, as UTF-8": "\xe2\x80\xa8",
    "what no web server sends": "\u2028\ud800",
    "braces": "{client} {0} {0.__class__} %s %(message)s",
}
ESCAPED = {
    "the end of its quotes": "x\\x22 200 999 \\x22",
    "a backslash before the quote": "x\\x5C",
    "not UTF-8": "caf\\xE9 \\xFF\\xFE \\x85",
    "UTF-8": "caf\\xC3\\xA9",
}
COMBINED = re.compile(
    r'([!-~]+) - ([!-~]+) \[[^]]+\] "([!#-~]+) ([!#-~]+) ([!#-~]+)" (\d{3}) (\d+) '
    r'"([ !#-~]+)" "([ !#-~]+)"'
)


@pytest.mark.parametrize(
    "variable",
    [
        *("REMOTE_ADDR", "REMOTE_USER", "REQUEST_METHOD", "REQUEST_URI", "SERVER_PROTOCOL"),
        *("HTTP_REFERER", "HTTP_USER_AGENT"),
    ],
)
@pytest.mark.parametrize("name", HOSTILE)
def test_no_value_forges_a_combined_line(records: Records, name: str, variable: str) -> None:
    told(new_log("combined"), {**VARIABLES, variable: HOSTILE[name]})
    (line,) = records.lines
    match = COMBINED.fullmatch(line)
    assert match is not None, line
    assert match[6] == "200"
    if name in ESCAPED:
        blank = " " if variable in ("HTTP_REFERER", "HTTP_USER_AGENT") else "\\x20"
        assert ESCAPED[name].replace(" ", blank) in line


@pytest.mark.parametrize("name", HOSTILE)
def test_no_value_forges_a_json_record(records: Records, name: str) -> None:
    value = HOSTILE[name]
    told(new_log("json"), dict.fromkeys(VARIABLES, value))
    (line,) = records.lines
    assert len(line.splitlines()) == 1
    assert line.isascii()
    found = json.loads(line)
    assert found["status"] == 200
    expected = {
        "not UTF-8": "caf\\xe9 \\xff\\xfe \\x85",
        "UTF-8": "café",
        "a line separator, as UTF-8": "\u2028",
    }
    assert found["user_agent"] == expected.get(name, value)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_value_forges_a_line_of_ones_own(records: Records, name: str) -> None:
    format = '{path}|{header[user-agent]}|"{variable[REMOTE_USER]}"|{status}'
    told(new_log(format), dict.fromkeys(VARIABLES, HOSTILE[name]))
    (line,) = records.lines
    assert re.fullmatch(r'[!#-~]+"?\|[ !#-~]+\|"[ !#-~]+"\|200', line)


# Formats that cannot be used

WRONG = {
    "{statsu}": "{statsu} is unknown; did you mean {status}?",
    "{headers[accept]}": "did you mean {header[…]}?",
    "{}": "{} is unknown; there are time,",
    "{0}": "{0} is unknown; there are time,",
    "{path.__class__}": "{path.__class__} is unknown",
    "{header[a b]}": "is unknown",
    "{client[0]}": "{client[0]} is unknown",
    "{path!r}": "takes neither !r nor braces inside",
    "{path:{width}}": "nor braces inside",
    "{status:s}": "Unknown format code 's'",
    "{path:d}": "Unknown format code 'd'",
    "{path": "expected '}'",
    "path}": "Single '}'",
    "jsno": "did you mean json?",
    "none": "give combined, json or names in braces",
    "": "names nothing",
    "{path}\n{status}": "a record is one line",
}


@pytest.mark.parametrize("format", WRONG)
def test_a_format_that_cannot_be_used_is_refused_at_the_start(format: str) -> None:
    with pytest.raises(ConfigError, match=f"^--access-format: .*{re.escape(WRONG[format])}"):
        make_access_log(Config(access_format=format))


def test_a_format_may_hold_tabs_and_letters() -> None:
    assert parse_format("{status}\tgrößer {bytes}").template == "{0:}\tgrößer {1:}"


def test_there_is_an_access_log_where_one_is_wanted() -> None:
    assert make_access_log(Config()) is None
    assert make_access_log(Config(logging={"loggers": {"gateways": {}}})) is None
    assert make_access_log(Config(access_log="file")) is not None
    assert make_access_log(Config(logging={"loggers": {LOGGER_NAME: {}}})) is not None


def test_the_documentation_has_every_name() -> None:
    rows = re.findall(r"^\| `\{(\w+)(?:\[[^]]+\])?\}` \| (.+) \|$", DOCUMENTATION.read_text(), re.M)
    names = {name: field.help for name, field in FIELDS.items()}
    assert dict(rows) == {**names, **{name: text for name, (text, _) in LOOKUPS.items()}}


# Through a server

GET = {**VARIABLES, "SCRIPT_NAME": "", "PATH_INFO": "/"}


class Streaming:
    """An application that streams until its client has left."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        if environ["PATH_INFO"] == "/whole":
            start_response("200 OK", [("Content-Length", "5")])
            yield b"whole"
            return
        start_response("200 OK", [("Content-Type", "text/plain")])
        while True:
            self.begun.set()
            yield b"x" * 65536


def http(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: here\r\nUser-Agent: test\r\n\r\n".encode()


def fcgi(path: str) -> bytes:
    return request(1, {**GET, "REQUEST_URI": path, "PATH_INFO": path})


SPEAK = {"http": http, "fcgi": fcgi}


@pytest.mark.parametrize("protocol", SPEAK)
def test_a_client_that_leaves_is_a_499(records: Records, tmp_path: Path, protocol: str) -> None:
    if protocol == "http":
        pytest.importorskip("httptools")
    application = Streaming()
    observers = {"observers": [new_log("{method} {path} {status}")]}
    with serving(application, tmp_path, protocol=protocol, server=observers) as served:
        leave(served, SPEAK[protocol]("/endless"), application.begun)
        eventually(lambda: records.lines, "its record")
    assert records.lines == ["GET /endless 499"]


def leave(served: Serving, data: bytes, begun: threading.Event) -> None:
    """Ask, and go in the midst of the answer."""
    with served.connect() as peer:
        peer.send(data)
        assert peer.sock.recv(1000)
        assert begun.is_set()
        peer.sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("protocol", SPEAK)
def test_each_request_has_its_record(records: Records, tmp_path: Path, protocol: str) -> None:
    if protocol == "http":
        pytest.importorskip("httptools")
    observers = {"observers": [new_log("{method} {path} {status} {bytes}")]}
    with serving(Streaming(), tmp_path, protocol=protocol, server=observers) as served:
        for number in range(1, 4):
            with served.connect() as peer:
                peer.send(SPEAK[protocol]("/whole"))
                read(peer, protocol)
            eventually(functools.partial(records.has, number), "its record")
    assert records.lines == ["GET /whole 200 5"] * 3


def read(peer: Peer, protocol: str) -> None:
    """The whole answer."""
    if protocol == "fcgi":
        assert peer.reply().body == b"whole"
    else:
        while not bytes(peer.received).endswith(b"whole"):
            peer.received += peer.sock.recv(1000)
