"""What a Flask application needs of a server, told as requests through a real web server.

A test module of a web server subclasses ``FlaskSuite`` and provides the fixture ``site``; a
promise that this web server cannot keep is overridden there, with the reason.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest

from .client import Answer, Site
from .flaskapp import BIG, digest, pattern
from .harness import Fifo

BOUNDARY = "a-boundary"
MULTIPART = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nZoë\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="paper"; filename="paper.txt"\r\n'
    f"Content-Type: text/plain\r\n\r\nline one\r\nline two\r\n--{BOUNDARY}--\r\n"
).encode()

# method, path, request headers, body -> status, response headers, body (None: not looked at)
PLAIN_ANSWERS = {
    "the front page": ("GET", "/", {}, 200, {}, "Hello from Flask"),
    "HEAD has no body": ("HEAD", "/", {}, 200, {"Content-Type": "text/html; charset=utf-8"}, ""),
    "a page that is not there": ("GET", "/nowhere", {}, 404, {}, None),
    "a status without a standard place": ("GET", "/teapot", {}, 418, {}, None),
    "a method that is not allowed": ("PUT", "/form", {}, 405, {"Location": None}, None),
    "no content": ("GET", "/nothing", {}, 204, {"Transfer-Encoding": None}, ""),
    "an entity with its tag": ("GET", "/etag", {}, 200, {"ETag": '"v1"'}, "the same as ever"),
    "not modified": ("GET", "/etag", {"If-None-Match": '"v1"'}, 304, {"ETag": '"v1"'}, ""),
    "modified": ("GET", "/etag", {"If-None-Match": '"v0"'}, 200, {}, "the same as ever"),
    "an application that raises": ("GET", "/raise", {}, 500, {}, None),
}

# the path as it is sent -> what the application makes of it
PATHS = {
    "a UTF-8 name": ("/greet/J%C3%BCrgen", "Hello Jürgen"),
    "a name beyond the BMP": (f"/greet/{quote('🐍')}", "Hello 🐍"),
    "a space": ("/greet/a%20b", "Hello a b"),
    "an encoded percent sign": ("/greet/100%25", "Hello 100%"),
    "an encoded percent sign before digits": ("/greet/%2541", "Hello %41"),
    "an encoded question mark": ("/greet/why%3F", "Hello why?"),
    "a plus sign": ("/greet/a+b", "Hello a+b"),
    "a semicolon": ("/greet/a;p=1", "Hello a;p=1"),
}


class FlaskSuite:
    """The promises; ``site`` is the application behind a web server."""

    @pytest.mark.parametrize("case", PLAIN_ANSWERS.values(), ids=PLAIN_ANSWERS.keys())
    def test_answers(
        self,
        site: Site,
        case: tuple[str, str, dict[str, str], int, dict[str, str | None], str | None],
    ) -> None:
        method, path, headers, status, expected, body = case
        answer = site.request(method, path, headers=headers)
        assert answer.status == status
        assert {name: answer.headers[name] for name in expected} == expected
        assert body is None or answer.text == body

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_the_length_of_a_small_answer_is_known(self, site: Site, method: str) -> None:
        assert site.request(method, "/").headers["Content-Length"] == "16"

    @pytest.mark.parametrize(("path", "text"), PATHS.values(), ids=PATHS.keys())
    def test_paths_reach_the_application_decoded_once(
        self, site: Site, path: str, text: str
    ) -> None:
        assert site.get(path).text == text

    def test_an_encoded_slash_is_a_slash_in_the_path_and_encoded_in_the_uri(
        self, site: Site
    ) -> None:
        assert site.get("/files/a%2Fb/c").text == "a/b/c"
        variables = site.get("/environ/a%2Fb").json()
        assert variables["REQUEST_URI"] == f"{site.prefix}/environ/a%2Fb"

    def test_the_environ_says_where_the_request_is_and_whose(self, site: Site) -> None:
        variables = site.get("/environ?q=1&e=%2F%20+x", X_Probe="here").json()
        expected = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": site.prefix,
            "PATH_INFO": "/environ",
            "QUERY_STRING": "q=1&e=%2F%20+x",
            "REQUEST_URI": f"{site.prefix}/environ?q=1&e=%2F%20+x",
            "HTTP_X_PROBE": "here",
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_PORT": str(site.port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "wsgi.url_scheme": "http",
        }
        assert {name: variables.get(name) for name in expected} == expected

    def test_httpoxy_is_shut_out(self, site: Site) -> None:
        assert "HTTP_PROXY" not in site.get("/environ", Proxy="http://evil.test/").json()

    def test_fields_of_an_urlencoded_form(self, site: Site) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = site.request("POST", "/form", b"a=1&a=2&name=Zo%C3%AB+X", headers)
        assert answer.json() == {"fields": {"a": ["1", "2"], "name": ["Zoë X"]}, "files": {}}

    def test_fields_and_files_of_a_multipart_form(self, site: Site) -> None:
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        answer = site.request("POST", "/form", MULTIPART, headers)
        paper = {"filename": "paper.txt", "text": "line one\r\nline two"}
        assert answer.json() == {"fields": {"note": ["Zoë"]}, "files": {"paper": paper}}

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_000_001])
    def test_a_body_arrives_and_returns_unharmed(self, site: Site, size: int) -> None:
        assert _upload(site, size).json() == {"sha256": digest(size), "length": size}
        assert site.get(f"/download?size={size}").body == b"".join(pattern(size))

    def test_a_chunked_body_arrives(self, site: Site) -> None:
        answer = site.request("POST", "/upload", pattern(200_000))
        assert answer.json() == {"sha256": digest(200_000), "length": 200_000}

    def test_a_body_that_is_never_read_does_not_block_a_large_answer(self, site: Site) -> None:
        size = 2_000_000
        headers = {"Content-Length": str(size)}
        answer = site.request("POST", f"/unread?size={size}", pattern(size), headers)
        assert answer.status == 200
        assert answer.body == b"".join(pattern(size))

    def test_cookies_both_ways(self, site: Site) -> None:
        answer = site.get("/cookies", Cookie='a=1; b="x y"')
        assert answer.json() == {"a": "1", "b": "x y"}
        set_cookie = answer.headers.get_all("Set-Cookie")
        assert set_cookie is not None
        assert set_cookie[0] == "first=1; HttpOnly; Path=/"
        assert set_cookie[1] == r'second="a b\073 c"; Path=/cookies'
        assert set_cookie[2].startswith("third=; Expires=Thu, 01 Jan 1970")

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_redirect_leads_back_into_the_application(self, site: Site, method: str) -> None:
        answer = site.request(method, "/redirect")
        assert answer.status == 303
        location = answer.headers["Location"].removeprefix(f"http://127.0.0.1:{site.port}")
        assert location == f"{site.prefix}/greet/Zo%C3%AB"
        assert site.get(location.removeprefix(site.prefix)).text == "Hello Zoë"

    def test_a_traceback_is_in_the_web_servers_error_log(self, site: Site) -> None:
        assert "fell over" not in site.get("/raise").text
        site.wait_for_log("Exception on /raise")
        site.wait_for_log("RuntimeError: the application fell over")

    def test_server_sent_events_arrive_one_by_one(self, site: Site) -> None:
        events_arrive_one_by_one(site)

    def test_a_client_that_leaves_closes_the_response(self, site: Site) -> None:
        with Fifo(site.directory / "left") as pipe:
            with site.response("GET", f"/endless?pipe={pipe.path}") as response:
                assert response.read(100_000)
            assert pipe.receive() == "closed"


class BigBodies:
    """100 MB each way: checksums match, whatever is buffered on the way."""

    def test_a_100_mb_upload(self, site: Site) -> None:
        assert _upload(site, BIG).json() == {"sha256": digest(BIG), "length": BIG}

    @pytest.mark.parametrize("how", ["", "&length=1"], ids=["of unknown length", "with its length"])
    def test_a_100_mb_download(self, site: Site, how: str) -> None:
        with site.response("GET", f"/download?size={BIG}{how}") as response:
            expected = pattern(BIG)
            for piece in expected:
                assert response.read(len(piece)) == piece
            assert response.read() == b""


def events_arrive_one_by_one(
    site: Site, *, unbuffered: bool = True, mimetype: str = "text/event-stream"
) -> None:
    """Each event is read before the application is allowed to make the next one.

    ``unbuffered`` says that the application asks nginx for it by a header.
    """
    asks = f"type={mimetype}&" + ("unbuffered=1&" if unbuffered else "")
    with (
        Fifo(site.directory / "events") as pipe,
        site.response("GET", f"/events?{asks}pipe={pipe.path}") as response,
    ):
        for number in range(3):
            assert response.readline() == b"data: %d\n" % number
            assert response.readline() == b"\n"
            pipe.send()
        assert response.read() == b""


def _upload(site: Site, size: int) -> Answer:
    return site.request("POST", "/upload", pattern(size), {"Content-Length": str(size)})
