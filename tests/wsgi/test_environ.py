"""The environ builder: what each web server sends in, and what the application is told.

The rows are captures of the web servers' own traffic for the request below, for an application
meant to be mounted at /app. They go in as bytes, the way they come from the wire.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.middleware.lint import LintMiddleware

from gateways.errors import ProtocolError
from gateways.protocols.variables import content_length, decode_pairs, encode_pairs
from gateways.wsgi.body import EMPTY_BODY
from gateways.wsgi.environ import EnvironBuilder

Pairs = list[tuple[str, str]]
Paths = tuple[str, str]

URI = "/app/a%20b/%C3%A9//c/../d;p=1?q=1&e=%2F%20+x"
REST = "/a b/\xc3\xa9/d;p=1"
WHOLE = "/app" + REST
RAW_REST = "/a b/\xc3\xa9//c/../d;p=1"
RAW = "/app" + RAW_REST
THIS_FILE = str(Path(__file__).resolve())

ROOT = ("", WHOLE)
MOUNTED = ("/app", REST)
RAW_ROOT = ("", RAW)
RAW_MOUNTED = ("/app", RAW_REST)


def build(
    pairs: Iterable[tuple[str, str]],
    script_name: str | None = None,
    *,
    body: object = None,
    **options: Any,
) -> dict[str, Any]:
    """The environ of a request with these pairs, by way of the wire."""
    variables = decode_pairs(encode_pairs(list(pairs)))
    content_length(variables)
    builder = EnvironBuilder(script_name=script_name, **options)
    return builder.build(variables, body, io.StringIO())


def get(*pairs: tuple[str, str]) -> Pairs:
    """The pairs, after the one that every request has."""
    return [("REQUEST_METHOD", "GET"), *pairs]


def sent(**variables: str) -> Pairs:
    """Pairs of a GET for URI; variables replace or add to it."""
    return list({"REQUEST_METHOD": "GET", "REQUEST_URI": URI, **variables}.items())


# What the web server sends; then SCRIPT_NAME and PATH_INFO as they must be with script_name None,
# "" and "/app". None: the path is outside, 404.
FRONT_ENDS: dict[str, tuple[Pairs, Paths, Paths, Paths | None]] = {
    "nginx, stock fastcgi_params": (
        sent(SCRIPT_NAME=WHOLE, DOCUMENT_URI=WHOLE, SERVER_SOFTWARE="nginx/1.22.1"),
        ROOT,
        ROOT,
        MOUNTED,
    ),
    "nginx, stock fastcgi.conf": (
        sent(SCRIPT_NAME=WHOLE, DOCUMENT_URI=WHOLE, SCRIPT_FILENAME="/var/www/html" + WHOLE),
        ROOT,
        ROOT,
        MOUNTED,
    ),
    "nginx, SCRIPT_NAME '' and PATH_INFO after the include": (
        [*sent(SCRIPT_NAME=WHOLE, DOCUMENT_URI=WHOLE), ("SCRIPT_NAME", ""), ("PATH_INFO", WHOLE)],
        ROOT,
        ROOT,
        MOUNTED,
    ),
    "nginx, fastcgi_split_path_info after the include": (
        [
            *sent(SCRIPT_NAME=WHOLE, DOCUMENT_URI=WHOLE),
            ("SCRIPT_NAME", "/app"),
            ("PATH_INFO", REST),
        ],
        MOUNTED,
        ROOT,
        MOUNTED,
    ),
    "nginx, stock scgi_params": (sent(DOCUMENT_URI=WHOLE), ROOT, ROOT, MOUNTED),
    "nginx, stock uwsgi_params": (sent(PATH_INFO=WHOLE), ROOT, ROOT, MOUNTED),
    "nginx, uwsgi_modifier1 30": (
        sent(SCRIPT_NAME="/app", PATH_INFO="/app/x", REQUEST_URI="/app/x"),
        ("/app", "/app/x"),
        ("", "/app/x"),
        ("/app", "/x"),
    ),
    "Apache, ProxyPass fcgi": (
        sent(SCRIPT_NAME=WHOLE, SCRIPT_FILENAME="proxy:fcgi://127.0.0.1:9000" + URI),
        ROOT,
        ROOT,
        MOUNTED,
    ),
    "Apache, SetHandler on a file": (
        sent(SCRIPT_NAME="/app", PATH_INFO=REST, SCRIPT_FILENAME="/srv/app"),
        MOUNTED,
        ROOT,
        MOUNTED,
    ),
    "Apache, ProxyPass / uwsgi": (sent(SCRIPT_NAME="", PATH_INFO=WHOLE), ROOT, ROOT, MOUNTED),
    "Apache, ProxyPass /app uwsgi, at its root": (
        sent(SCRIPT_NAME="/app/", PATH_INFO="/", REQUEST_URI="/app/"),
        ("/app", "/"),
        ("", "/app/"),
        ("/app", "/"),
    ),
    "Apache, mod_fcgid": (sent(SCRIPT_NAME="/app", PATH_INFO=REST), MOUNTED, ROOT, MOUNTED),
    "Apache, mod_fcgid, the script itself": (
        sent(SCRIPT_NAME="/app", SCRIPT_FILENAME=THIS_FILE, REQUEST_URI="/app"),
        ("/app", ""),
        ("", "/app"),
        ("/app", ""),
    ),
    "Apache, ScriptAlias /": (sent(SCRIPT_NAME="", PATH_INFO=WHOLE), ROOT, ROOT, MOUNTED),
    "Apache, absolute-form": (
        sent(SCRIPT_NAME="/app/abs", REQUEST_URI="http://Other.test/app/abs?z"),
        ("", "/app/abs"),
        ("", "/app/abs"),
        ("/app", "/abs"),
    ),
    "Apache, NoDecode": (
        sent(SCRIPT_NAME="/app/x%2Fy", REQUEST_URI="/app/x%2Fy"),
        ("", "/app/x%2Fy"),
        ("", "/app/x%2Fy"),
        ("/app", "/x%2Fy"),
    ),
    "lighttpd, prefix / as it comes": (
        sent(
            SCRIPT_NAME="/static",
            PATH_INFO="/x",
            REQUEST_URI="/static/x",
            SERVER_SOFTWARE="lighttpd/1.4.69",
        ),
        ("/static", "/x"),
        ("", "/static/x"),
        None,
    ),
    "lighttpd, fix-root-scriptname": (
        sent(SCRIPT_NAME="", PATH_INFO=WHOLE, SERVER_SOFTWARE="lighttpd/1.4.69"),
        ROOT,
        ROOT,
        MOUNTED,
    ),
    "lighttpd, prefix /app": (
        sent(SCRIPT_NAME="/app", PATH_INFO=REST, SERVER_SOFTWARE="lighttpd/1.4.69"),
        MOUNTED,
        ROOT,
        MOUNTED,
    ),
    "lighttpd, prefix /app, exactly": (
        sent(SCRIPT_NAME="/app", REQUEST_URI="/app", SERVER_SOFTWARE="lighttpd/1.4.69"),
        ("/app", ""),
        ("", "/app"),
        ("/app", ""),
    ),
    "Caddy": (
        sent(SCRIPT_NAME="", PATH_INFO=RAW, DOCUMENT_URI=""),
        RAW_ROOT,
        RAW_ROOT,
        RAW_MOUNTED,
    ),
    "Caddy, split without a match": (
        sent(SCRIPT_NAME=RAW, PATH_INFO=""),
        RAW_ROOT,
        RAW_ROOT,
        RAW_MOUNTED,
    ),
    "HAProxy without path-info": (
        sent(SCRIPT_NAME=RAW, SCRIPT_FILENAME="/srv" + RAW),
        RAW_ROOT,
        RAW_ROOT,
        RAW_MOUNTED,
    ),
    "HAProxy with path-info": (
        sent(SCRIPT_NAME="/app", PATH_INFO=RAW_REST),
        RAW_MOUNTED,
        RAW_ROOT,
        RAW_MOUNTED,
    ),
    "uWSGI's router, absolute-form": (
        sent(
            SCRIPT_NAME="",
            PATH_INFO="http://Other.test/app/abs",
            REQUEST_URI="http://Other.test/app/abs?z",
        ),
        ("", "/app/abs"),
        ("", "/app/abs"),
        ("/app", "/abs"),
    ),
    "an authorizer (lighttpd, mod_authnz_fcgi)": (sent(), RAW_ROOT, RAW_ROOT, RAW_MOUNTED),
    "a web server that removes the prefix": (
        sent(SCRIPT_NAME="", PATH_INFO="/x", REQUEST_URI="/app/x"),
        ("", "/x"),
        ("", "/x"),
        ("/app", "/x"),
    ),
    "no path at all": (get(), ("", "/"), ("", "/"), None),
    "the root": (
        sent(SCRIPT_NAME="/", REQUEST_URI="/"),
        ("", "/"),
        ("", "/"),
        None,
    ),
    "SCRIPT_NAME of a slash only": (
        sent(SCRIPT_NAME="/", PATH_INFO="/app/x", REQUEST_URI="/app/x"),
        ("", "/app/x"),
        ("", "/app/x"),
        ("/app", "/x"),
    ),
    "a prefix that goes on": (
        sent(SCRIPT_NAME="/application/x", REQUEST_URI="/application/x"),
        ("", "/application/x"),
        ("", "/application/x"),
        None,
    ),
    "the prefix with a slash": (
        sent(SCRIPT_NAME="/app/", REQUEST_URI="/app/"),
        ("", "/app/"),
        ("", "/app/"),
        ("/app", "/"),
    ),
    "bytes that are no UTF-8": (
        sent(SCRIPT_NAME="/app/\xff\xe9", REQUEST_URI="/app/%FF%E9"),
        ("", "/app/\xff\xe9"),
        ("", "/app/\xff\xe9"),
        ("/app", "/\xff\xe9"),
    ),
    "nothing but a request line that is no UTF-8": (
        sent(REQUEST_URI="/app/%FF%E9%2F\xe9"),
        ("", "/app/\xff\xe9/\xe9"),
        ("", "/app/\xff\xe9/\xe9"),
        ("/app", "/\xff\xe9/\xe9"),
    ),
}

front_ends = pytest.mark.parametrize("row", FRONT_ENDS.values(), ids=FRONT_ENDS.keys())


def paths_of(environ: dict[str, Any]) -> Paths:
    """What the application takes for its place."""
    return environ["SCRIPT_NAME"], environ["PATH_INFO"]


@front_ends
def test_paths_of_a_web_server_that_is_trusted(row: tuple[Pairs, Paths, Paths, Paths]) -> None:
    assert paths_of(build(row[0])) == row[1]


@front_ends
def test_paths_at_the_root(row: tuple[Pairs, Paths, Paths, Paths]) -> None:
    assert paths_of(build(row[0], "")) == row[2]


@front_ends
def test_paths_below_a_prefix(row: tuple[Pairs, Paths, Paths, Paths | None]) -> None:
    if row[3] is None:
        with pytest.raises(ProtocolError, match="not below --script-name") as caught:
            build(row[0], "/app")
        assert caught.value.status == 404
    else:
        assert paths_of(build(row[0], "/app")) == row[3]


@front_ends
@pytest.mark.parametrize("script_name", [None, ""])
@pytest.mark.parametrize("wrap", [validator, LintMiddleware])
def test_validators_find_nothing_to_complain_about(
    row: tuple[Pairs, Paths, Paths, Paths], script_name: str | None, wrap: Any
) -> None:
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        return lambda data: None

    environ = build(row[0], script_name)
    iterable = wrap(application)(environ, start_response)
    try:
        assert b"".join(iterable) == b"ok"
    finally:
        iterable.close()
    assert type(environ) is dict
    assert all(type(value) is str for name, value in environ.items() if "." not in name)
    assert len(seen) == 1


def test_the_asterisk_has_no_path_and_stays_in_the_request_line() -> None:
    for pairs in (
        sent(PATH_INFO="*", REQUEST_URI="*"),
        sent(SCRIPT_NAME="*", REQUEST_URI="*"),
        sent(DOCUMENT_URI="*", REQUEST_URI="*"),
    ):
        environ = build([*pairs, ("REQUEST_METHOD", "OPTIONS")])
        assert (paths_of(environ), environ["REQUEST_URI"]) == (("", ""), "*")


def test_what_the_web_server_said_is_kept_for_debugging() -> None:
    environ = build(sent(SCRIPT_NAME=WHOLE))
    assert environ["gateways.original_script_name"] == WHOLE
    assert "gateways.original_path_info" not in environ
    environ = build(sent(SCRIPT_NAME="/app", PATH_INFO=REST), "")
    assert environ["gateways.original_script_name"] == "/app"
    assert environ["gateways.original_path_info"] == REST
    environ = build(sent(SCRIPT_NAME="/app", PATH_INFO=REST))
    assert not [name for name in environ if name.startswith("gateways.")]


def test_the_assumption_about_the_mount_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    builder = EnvironBuilder()
    with caplog.at_level(logging.INFO, "gateways.environ"):
        for _ in range(3):
            builder.build(dict(sent(SCRIPT_NAME="/x")), None, None)
        builder.build(dict(sent(SCRIPT_NAME="/app", PATH_INFO="/x")), None, None)
    (record,) = caplog.records
    assert "--script-name" in record.getMessage()


# SCRIPT_NAME and PATH_INFO and what was requested -> whether the prefix is there twice
PREFIXES = {
    "left in the path": ("/app", "/app/x", "/app/x", True),
    "nothing but the prefix": ("/app", "/app", "/app", True),
    "taken off": ("/app", "/x", "/app/x", False),
    "a page of the same name": ("/app", "/app/x", "/app/app/x", False),
    "a longer name": ("/app", "/apple", "/apple", False),
    "a rewritten script": ("/app.fcgi", "/x", "/x", False),
}


@pytest.mark.parametrize("case", PREFIXES.values(), ids=PREFIXES.keys())
def test_a_prefix_that_is_left_in_the_path_is_told_once(
    caplog: pytest.LogCaptureFixture, case: tuple[str, str, str, bool]
) -> None:
    script_name, path_info, requested, doubled = case
    pairs = dict(sent(SCRIPT_NAME=script_name, PATH_INFO=path_info, REQUEST_URI=requested))
    builder = EnvironBuilder()
    with caplog.at_level(logging.INFO, "gateways.environ"):
        for _ in range(2):
            assert paths_of(builder.build(dict(pairs), None, None)) == (script_name, path_info)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == doubled
    assert all("--script-name /app" in text for text in told)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"HTTP_X_FORWARDED_PROTO": "https"}, 1),
        ({"HTTP_X_FORWARDED_PROTO": "http, HTTPS "}, 1),
        ({"HTTP_X_FORWARDED_PROTO": "https, http"}, 0),
        ({"HTTP_X_FORWARDED_PROTO": "http"}, 0),
        ({"HTTP_X_FORWARDED_PROTO": "https", "HTTPS": "on"}, 0),
        ({}, 0),
    ],
)
@pytest.mark.parametrize("run_once", [False, True])
def test_https_that_is_not_believed_is_told_once(
    caplog: pytest.LogCaptureFixture, variables: dict[str, str], told: int, run_once: bool
) -> None:
    builder = EnvironBuilder(run_once=run_once)
    with caplog.at_level(logging.INFO, "gateways.environ"):
        for _ in range(2):
            builder.build({**dict(sent(PATH_INFO="/x")), **variables}, None, None)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == (0 if run_once else told)
    assert all("--forwarded-allow-ips" in text for text in texts)


def test_a_path_cannot_forge_a_log_line() -> None:
    with pytest.raises(ProtocolError) as caught:
        build(sent(REQUEST_URI="/x%0D%0A1.2.3.4: all is well"), "/app")
    assert "\n" not in str(caught.value)
    assert "\r" not in str(caught.value)


# -- the other variables -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, ""])
def test_a_request_without_a_method_is_refused(value: str | None) -> None:
    pairs = [("REQUEST_URI", "/")] + ([] if value is None else [("REQUEST_METHOD", value)])
    with pytest.raises(ProtocolError, match="REQUEST_METHOD") as caught:
        build(pairs)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("pairs", "name", "expected"),
    [
        # absent where PEP 3333 means absent
        ([("CONTENT_LENGTH", "")], "CONTENT_LENGTH", None),
        ([("CONTENT_LENGTH", "-1")], "CONTENT_LENGTH", None),
        ([("CONTENT_LENGTH", "0")], "CONTENT_LENGTH", "0"),
        ([("CONTENT_LENGTH", "0005")], "CONTENT_LENGTH", "5"),
        ([("CONTENT_TYPE", "")], "CONTENT_TYPE", None),
        ([("CONTENT_TYPE", "text/plain")], "CONTENT_TYPE", "text/plain"),
        ([("AUTH_TYPE", "")], "AUTH_TYPE", None),
        ([("REMOTE_USER", "")], "REMOTE_USER", None),
        ([("REMOTE_USER", "u")], "REMOTE_USER", "u"),
        ([("REMOTE_IDENT", "")], "REMOTE_IDENT", None),
        ([("HTTPS", "")], "HTTPS", None),
        # framing that was dealt with, and httpoxy
        ([("HTTP_CONTENT_LENGTH", "5")], "HTTP_CONTENT_LENGTH", None),
        ([("HTTP_CONTENT_LENGTH", "5")], "CONTENT_LENGTH", None),
        ([("HTTP_CONTENT_TYPE", "a/b")], "HTTP_CONTENT_TYPE", None),
        ([("HTTP_TRANSFER_ENCODING", "chunked")], "HTTP_TRANSFER_ENCODING", None),
        ([("HTTP_PROXY", "http://evil/")], "HTTP_PROXY", None),
        # kept as they are
        ([("HTTP_CONNECTION", "close")], "HTTP_CONNECTION", "close"),
        ([("HTTP_EXPECT", "100-continue")], "HTTP_EXPECT", "100-continue"),
        ([("HTTP_X.DOT", "1")], "HTTP_X.DOT", "1"),
        ([("REDIRECT_STATUS", "200")], "REDIRECT_STATUS", "200"),
        ([("HTTP_X_LAT1", "caf\xe9")], "HTTP_X_LAT1", "caf\xe9"),
        ([("HTTP_HOST", "Example.test:8080")], "HTTP_HOST", "Example.test:8080"),
        # repeated
        ([("HTTP_X_DUP", "1"), ("HTTP_X_DUP", "2")], "HTTP_X_DUP", "1, 2"),
        ([("HTTP_COOKIE", "a=1"), ("HTTP_COOKIE", "b=2")], "HTTP_COOKIE", "a=1; b=2"),
        ([("SERVER_NAME", "a.test"), ("SERVER_NAME", "b.test")], "SERVER_NAME", "b.test"),
        # defaults
        ([], "QUERY_STRING", ""),
        ([("REQUEST_URI", "/x?a=1?b")], "QUERY_STRING", "a=1?b"),
        ([("REQUEST_URI", "/x?a=1"), ("QUERY_STRING", "")], "QUERY_STRING", ""),
        ([], "SERVER_PROTOCOL", "HTTP/1.0"),
        ([("SERVER_PROTOCOL", "")], "SERVER_PROTOCOL", "HTTP/1.0"),
        ([("SERVER_PROTOCOL", "HTTP/2.0")], "SERVER_PROTOCOL", "HTTP/2.0"),
        ([], "GATEWAY_INTERFACE", "CGI/1.1"),
        ([], "REMOTE_ADDR", ""),
        ([("REMOTE_ADDR", "192.0.2.1")], "REMOTE_ADDR", "192.0.2.1"),
        # SERVER_NAME
        ([], "SERVER_NAME", "localhost"),
        ([("SERVER_NAME", "www.test")], "SERVER_NAME", "www.test"),
        ([("SERVER_NAME", ""), ("HTTP_HOST", "h.test")], "SERVER_NAME", "h.test"),
        ([("SERVER_NAME", "_"), ("HTTP_HOST", "h.test:81")], "SERVER_NAME", "h.test"),
        ([("SERVER_NAME", "_"), ("SERVER_ADDR", "192.0.2.9")], "SERVER_NAME", "192.0.2.9"),
        ([("SERVER_NAME", "_"), ("HTTP_HOST", "")], "SERVER_NAME", "localhost"),
        ([("SERVER_NAME", "_"), ("HTTP_HOST", ":80")], "SERVER_NAME", "localhost"),
        ([("SERVER_NAME", "Example.test:8080")], "SERVER_NAME", "Example.test"),
        ([("SERVER_NAME", "[::1]:80")], "SERVER_NAME", "[::1]"),
        ([("SERVER_NAME", "[::1]")], "SERVER_NAME", "[::1]"),
        ([("SERVER_NAME", "::1")], "SERVER_NAME", "::1"),
        ([("HTTP_HOST", "[2001:db8::1]:8080")], "SERVER_NAME", "[2001:db8::1]"),
        # SERVER_PORT
        ([], "SERVER_PORT", "80"),
        ([("HTTPS", "on")], "SERVER_PORT", "443"),
        ([("SERVER_PORT", "8080"), ("HTTPS", "on")], "SERVER_PORT", "8080"),
        ([("SERVER_PORT", "")], "SERVER_PORT", "80"),
        ([("SERVER_PORT", "80x")], "SERVER_PORT", "80"),
        ([("SERVER_PORT", "\xb2")], "SERVER_PORT", "80"),
        # the header that Apache renames
        ([("REDIRECT_HTTP_AUTHORIZATION", "Basic r")], "HTTP_AUTHORIZATION", "Basic r"),
        (
            [("HTTP_AUTHORIZATION", "Basic o"), ("REDIRECT_HTTP_AUTHORIZATION", "Basic r")],
            "HTTP_AUTHORIZATION",
            "Basic o",
        ),
        ([], "HTTP_AUTHORIZATION", None),
        # names that are not taken from the wire at all
        ([("A=B", "1")], "A=B", None),
        ([("", "1")], "", None),
        ([("wsgi.multithread", "")], "wsgi.multithread", True),
        ([("gateways.data", "forged")], "gateways.data", None),
        ([("wsgi.anything", "forged")], "wsgi.anything", None),
    ],
)
def test_variables(pairs: Pairs, name: str, expected: object) -> None:
    assert build(get(*pairs)).get(name) == expected


@pytest.mark.parametrize(
    ("pairs", "scheme"),
    [
        ([], "http"),
        ([("HTTPS", "on")], "https"),
        ([("HTTPS", "ON")], "https"),
        ([("HTTPS", "1")], "https"),
        ([("HTTPS", "yes")], "https"),
        ([("HTTPS", "True")], "https"),
        ([("HTTPS", "off")], "http"),
        ([("HTTPS", "0")], "http"),
        ([("HTTPS", "")], "http"),
        ([("REQUEST_SCHEME", "https")], "https"),
        ([("REQUEST_SCHEME", "http")], "http"),
        ([("UWSGI_SCHEME", "https")], "https"),
        ([("SERVER_PORT", "443")], "http"),
        # a client may set any header
        ([("HTTP_HTTPS", "on")], "http"),
        ([("HTTP_X_FORWARDED_PROTO", "https")], "http"),
        ([("HTTP_REQUEST_SCHEME", "https")], "http"),
        ([("wsgi.url_scheme", "https")], "http"),
    ],
)
def test_the_scheme_is_what_the_web_server_says_not_what_the_client_says(
    pairs: Pairs, scheme: str
) -> None:
    assert build(get(*pairs))["wsgi.url_scheme"] == scheme


def test_a_user_that_nobody_checked_can_be_refused() -> None:
    pairs = get(("REMOTE_USER", "u"), ("AUTH_TYPE", "Basic"), ("HTTP_AUTHORIZATION", "Basic dTpw"))
    trusting = build(pairs)
    assert (trusting["REMOTE_USER"], trusting["AUTH_TYPE"]) == ("u", "Basic")
    wary = build(pairs, trust_remote_user=False)
    assert {"REMOTE_USER", "AUTH_TYPE"}.isdisjoint(wary)
    assert wary["HTTP_AUTHORIZATION"] == "Basic dTpw"


# -- wsgi.* ------------------------------------------------------------------------------------


def test_nothing_from_the_wire_can_stand_in_for_wsgi() -> None:
    expected = build(get())
    names = [name for name in expected if name.startswith("wsgi.")]
    environ = build(get(*((name, "forged") for name in names)))
    assert {"wsgi.input", "wsgi.errors", "wsgi.url_scheme", "wsgi.version"} <= set(names)
    for name in names:
        assert environ[name] != "forged"
    # Nor if a codec lets one through: wsgi.* is set last.
    variables = dict.fromkeys(names, "forged") | {"REQUEST_METHOD": "GET"}
    environ = EnvironBuilder().build(variables, None, io.StringIO())
    assert "forged" not in environ.values()


def test_wsgi_variables_tell_the_truth() -> None:  # W-2, W-18
    environ = build(get(), multithread=False, multiprocess=True, run_once=True)
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.multithread"] is False
    assert environ["wsgi.multiprocess"] is True
    assert environ["wsgi.run_once"] is True
    assert environ["wsgi.input_terminated"] is True
    assert callable(environ["wsgi.file_wrapper"])
    assert environ["wsgi.input"] is EMPTY_BODY


def test_the_body_and_the_error_stream_are_the_ones_of_the_request() -> None:
    body = io.BytesIO(b"x")
    errors = io.StringIO()
    environ = EnvironBuilder().build({"REQUEST_METHOD": "PUT"}, body, errors)
    assert (environ["wsgi.input"], environ["wsgi.errors"]) == (body, errors)


def test_the_deployers_own_variables_are_in_every_environ() -> None:  # W-16
    extra = {"myapp.setting": object(), "SERVER_SOFTWARE": "mine"}
    environ = build(get(("SERVER_SOFTWARE", "nginx")), extra=extra)
    assert environ["myapp.setting"] is extra["myapp.setting"]
    assert environ["SERVER_SOFTWARE"] == "mine"


def test_requests_share_nothing_that_an_application_could_change() -> None:  # W-1
    builder = EnvironBuilder()
    first = builder.build({"REQUEST_METHOD": "GET"}, None, None)
    first["wsgi.multithread"] = "changed"
    first["added"] = "by the application"
    second = builder.build({"REQUEST_METHOD": "GET"}, None, None)
    assert second["wsgi.multithread"] is True
    assert "added" not in second


def test_the_path_of_a_script_that_is_there_is_asked_of_the_disk_as_bytes(tmp_path: Path) -> None:
    script = tmp_path / "\u00e9.fcgi"
    script.touch()
    wire_name = str(script).encode().decode("latin-1")
    pairs = sent(SCRIPT_NAME="/\xc3\xa9.fcgi", SCRIPT_FILENAME=wire_name)
    assert paths_of(build(pairs)) == ("/\xc3\xa9.fcgi", "")
    script.unlink()
    assert paths_of(build(pairs)) == ("", "/\xc3\xa9.fcgi")
    pairs = sent(SCRIPT_NAME="/dir", SCRIPT_FILENAME=str(tmp_path))
    assert paths_of(build(pairs)) == ("", "/dir"), "a directory is no script"


def test_a_whole_path_in_script_name_is_kept_without_a_request_uri() -> None:
    variables = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/x", "SERVER_NAME": "a"}
    environ = EnvironBuilder(script_name="").build(variables, None, None)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/x")


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a%20b?q", "/a b"),
        ("/a/../b%20c", "/b c"),
        ("//a/./b//", "/a/b/"),
        ("/a/..", "/"),
        ("/../a", "/a"),
    ],
)
def test_a_rewrite_rule_may_hide_the_script(uri: str, path: str) -> None:
    variables = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/yourapplication.fcgi",
        "PATH_INFO": path,
        "REQUEST_URI": uri,
    }
    environ = EnvironBuilder(script_name="").build(variables, None, None)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", path)


def test_an_empty_rest_that_a_codec_has_split_off_is_no_missing_path() -> None:
    variables = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "",
        "gateways.original_path_info": "/app",  # modifier 30 of uwsgi
        "REQUEST_URI": "/app",
    }
    environ = EnvironBuilder().build(variables, None, None)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "")
