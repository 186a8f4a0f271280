"""gateways behind nginx, booted on the files of contrib/nginx."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .client import Site
from .flaskapp import digest, pattern
from .flasksuite import BigBodies, FlaskSuite, events_arrive_one_by_one
from .frontends import nginx
from .harness import Fifo, children_of, gateway, gateway_on_tcp, sockets_of, wait_until

MATRIX = list(itertools.product(["unix", "tcp"], ["root.conf", "keepalive.conf"], ["on", "off"]))
# Every option is met, if not every combination: 100 MB take their time.
BIG_MATRIX = [
    ("unix", "root.conf", "on"),
    ("unix", "keepalive.conf", "off"),
    ("tcp", "root.conf", "off"),
    ("tcp", "keepalive.conf", "on"),
]


def _name(case: tuple[str, str, str]) -> str:
    transport, conf, buffering = case
    kept = "kept" if conf == "keepalive.conf" else "new"
    return f"{transport}-{kept}-request_buffering_{buffering}"


@pytest.fixture(scope="module")
def backends(directory: Path) -> Iterator[dict[str, str]]:
    """What nginx calls the two addresses of the application."""
    with gateway(directory) as (_, path), gateway_on_tcp(directory) as (_, port):
        yield {"unix": f"unix:{path}", "tcp": f"127.0.0.1:{port}"}


@pytest.fixture(scope="module")
def site(
    request: pytest.FixtureRequest, directory: Path, backends: dict[str, str]
) -> Iterator[Site]:
    transport, conf, buffering = request.param
    options = f"fastcgi_request_buffering {buffering};\n"
    place = directory / _name(request.param)
    with nginx(place, conf, options=options, BACKEND=backends[transport]) as running:
        yield running


@pytest.mark.parametrize("site", MATRIX, ids=_name, indirect=True, scope="module")
class TestFlask(FlaskSuite):
    """The whole suite, over Unix sockets and TCP, new and kept connections, buffered or not."""


@pytest.mark.parametrize("site", BIG_MATRIX, ids=_name, indirect=True, scope="module")
class TestBigBodies(BigBodies):
    """100 MB each way."""


def test_a_kept_connection_serves_request_after_request(own_directory: Path) -> None:
    with (
        gateway(own_directory) as (server, path),
        nginx(own_directory, "keepalive.conf", BACKEND=f"unix:{path}") as site,
    ):
        (worker,) = children_of(server.process.pid)
        alone = sockets_of(worker)
        for _ in range(20):
            assert site.get("/").status == 200
        assert sockets_of(worker) == alone + 1


def test_many_requests_at_once_each_get_their_own_answer(
    own_directory: Path, backends: dict[str, str]
) -> None:
    with (
        nginx(own_directory, "keepalive.conf", BACKEND=backends["unix"]) as site,
        ThreadPoolExecutor(16) as pool,
    ):
        names = [f"client-{number}" for number in range(200)]
        answers = pool.map(lambda name: site.get(f"/greet/{name}").text, names)
        assert list(answers) == [f"Hello {name}" for name in names]


def test_the_stock_parameters_alone_serve_the_root(own_directory: Path) -> None:
    with (
        gateway(own_directory) as (server, path),
        nginx(own_directory, "stock.conf", BACKEND=f"unix:{path}") as site,
    ):
        for _ in range(2):
            assert site.get("/greet/J%C3%BCrgen").text == "Hello Jürgen"
        variables = site.get("/environ/a%2Fb").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == ("", "/environ/a/b")
        assert server.log.count("--script-name") == 1, "what was assumed is said once"


def test_the_stock_parameters_serve_a_prefix_that_the_server_knows(own_directory: Path) -> None:
    with (
        gateway(own_directory, "--script-name", "/yourapplication") as (server, path),
        nginx(own_directory, "stock.conf", BACKEND=f"unix:{path}") as site,
    ):
        variables = site.get("/yourapplication/environ").json()
        assert variables["SCRIPT_NAME"] == "/yourapplication"
        assert variables["PATH_INFO"] == "/environ"
        assert site.get("/elsewhere").status == 404
        assert "--script-name" not in server.log.replace("below --script-name", "")


@pytest.fixture(scope="module")
def prefixed(directory: Path, backends: dict[str, str]) -> Iterator[Site]:
    where = directory / "prefix"
    with nginx(where, "prefix.conf", prefix="/yourapplication", BACKEND=backends["unix"]) as site:
        yield site


class TestAtAPrefix:
    """prefix.conf, as the Flask guide has it."""

    def test_the_paths_are_split(self, prefixed: Site) -> None:
        variables = prefixed.get("/environ/J%C3%BC?q=1").json()
        assert variables["SCRIPT_NAME"] == "/yourapplication"
        assert variables["PATH_INFO"] == "/environ/J\xc3\xbc"
        assert variables["REQUEST_URI"] == "/yourapplication/environ/J%C3%BC?q=1"

    @pytest.mark.parametrize("path", ["", "/"])
    def test_the_front_page_has_two_addresses(self, prefixed: Site, path: str) -> None:
        assert prefixed.get(path).text == "Hello from Flask"

    def test_redirects_keep_the_prefix(self, prefixed: Site) -> None:
        location = prefixed.get("/redirect").headers["Location"]
        assert location == "/yourapplication/greet/Zo%C3%AB"

    def test_static_files_come_from_nginx(self, prefixed: Site) -> None:
        folder = prefixed.directory / "htdocs" / "yourapplication" / "static"
        folder.mkdir(parents=True)
        (folder / "style.css").write_text("body {}")
        assert prefixed.get("/static/style.css").text == "body {}"


def test_streaming_conf_hands_on_both_directions_at_once(
    own_directory: Path, backends: dict[str, str]
) -> None:
    with nginx(own_directory, "streaming.conf", BACKEND=backends["unix"]) as site:
        events_arrive_one_by_one(site, unbuffered=False)
        headers = {"Content-Length": "3000000"}
        answer = site.request("POST", "/upload", pattern(3_000_000), headers)
        assert answer.json() == {"sha256": digest(3_000_000), "length": 3_000_000}


LIMITS = {
    "a header too long": ("GET", {"X-Long": "x" * 5000}, b"", 431, "--max-variables-bytes"),
    "too many headers": (
        "GET",
        {f"X-{number}": "" for number in range(60)},
        b"",
        431,
        "--max-variables",
    ),
    "a body too long": ("POST", {}, b"x" * 3000, 413, "--max-body"),
}


@pytest.fixture(scope="module", params=["on", "off"], ids="request_buffering_{}".format)
def limited(request: pytest.FixtureRequest, directory: Path) -> Iterator[Site]:
    """A server with small limits, whose log is the site's log."""
    where = directory / f"limited-{request.param}"
    where.mkdir()
    limits = ["--max-body=2000", "--max-variables-bytes=4000", "--max-variables=50"]
    options = (
        f"fastcgi_request_buffering {request.param};\n"
        # nginx's own default, 4 of 8k, stated because the cases below must pass it.
        "large_client_header_buffers 4 8k;\n"
    )
    with (
        gateway(where, *limits) as (_, path),
        nginx(where, "root.conf", options=options, BACKEND=f"unix:{path}") as site,
    ):
        yield site


@pytest.mark.parametrize("case", LIMITS.values(), ids=LIMITS.keys())
def test_too_much_is_refused_with_its_own_status_and_named_in_the_log(
    limited: Site, case: tuple[str, dict[str, str], bytes, int, str]
) -> None:
    method, headers, body, status, limit = case
    assert limited.request(method, "/upload", body, headers).status == status
    log = limited.directory.parent / "app.log"
    wait_until(lambda: f"{limit} allows" in log.read_text(), f"{limit} in the log")


def test_a_body_that_grows_too_long_while_it_is_read_is_refused_as_well(
    own_directory: Path,
) -> None:
    """Its length is unknown, so the application runs already, and sees the read fail."""
    with (
        gateway(own_directory, "--max-body=2000") as (_, path),
        nginx(own_directory, "streaming.conf", BACKEND=f"unix:{path}") as site,
        Fifo(own_directory / "begun") as begun,
    ):

        def pieces() -> Iterator[bytes]:
            yield bytes(100)
            assert begun.receive() == "begun"
            yield bytes(3000)

        assert site.request("POST", f"/upload?begun={begun.path}", pieces()).status == 413


def test_a_traceback_of_a_bare_application_is_in_both_logs(own_directory: Path) -> None:
    with (
        gateway(own_directory, app="flaskapp:raising") as (server, path),
        nginx(own_directory, "root.conf", BACKEND=f"unix:{path}") as site,
    ):
        answer = site.get("/some/page")
        assert answer.status == 500
        assert "fell over" not in answer.text, "the page tells the world nothing"
        assert "RuntimeError: the application fell over" in server.log
        site.wait_for_log("FastCGI sent in stderr")
        site.wait_for_log("RuntimeError: the application fell over")


@pytest.mark.parametrize("lines", [10, 30, 50, 500])
def test_any_amount_of_complaints_is_logged_and_harms_no_answer(
    own_directory: Path, backends: dict[str, str], lines: int
) -> None:
    """nginx reads the error stream into the buffer of the response head, and that has 4 KiB."""
    with nginx(own_directory, "root.conf", BACKEND=backends["unix"]) as site:
        assert site.get(f"/complain?lines={lines}").text == "done"
        site.wait_for_log(f"complaint {lines - 1} x")
        logged = site.error_log
        arrived = sum(f"complaint {number} x" in logged for number in range(lines))
        # A line is torn where one of nginx's buffers ends; it cuts log entries at 2 KiB.
        assert arrived >= 0.95 * lines


@pytest.mark.parametrize("conf", ["root.conf", "keepalive.conf"])
def test_a_stop_lets_the_running_request_finish(own_directory: Path, conf: str) -> None:
    with (
        gateway(own_directory) as (server, path),
        nginx(own_directory, conf, BACKEND=f"unix:{path}") as site,
        Fifo(own_directory / "begun") as begun,
        Fifo(own_directory / "pipe") as pipe,
        ThreadPoolExecutor(1) as pool,
    ):
        site.get("/")  # leaves an idle kept connection behind, for which nothing may wait
        answer = pool.submit(site.get, f"/wait?begun={begun.path}&pipe={pipe.path}")
        assert begun.receive() == "begun"
        server.process.terminate()
        server.wait_until_refusing(path)
        assert server.process.poll() is None
        pipe.send()
        assert answer.result().text == "the wait was worth it"
        assert server.stop() == 0
        assert not Path(path).exists(), "the socket is removed"


def test_an_upload_that_is_cut_short_is_an_error_to_its_reader(own_directory: Path) -> None:
    options = "fastcgi_request_buffering off;\n"
    with (
        gateway(own_directory, app="flaskapp:noting_the_body") as (_, path),
        nginx(own_directory, "root.conf", options=options, BACKEND=f"unix:{path}") as site,
        Fifo(own_directory / "pipe") as pipe,
    ):
        with site.raw() as client:
            head = f"POST /?{pipe.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
            client.sendall(head.encode() + bytes(500_000))
            assert pipe.receive() == "begun"
        assert pipe.receive() == "ClientDisconnected"


def test_clients_that_leave_at_any_point_are_no_event(own_directory: Path) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + bytes(70_000)
    with (
        gateway(own_directory, app="flaskapp:reading_and_writing") as (server, path),
        nginx(own_directory, "streaming.conf", BACKEND=f"unix:{path}") as site,
    ):
        for cut in range(40, len(request) + 1, 3333):
            with site.raw() as client:
                client.sendall(request[:cut])
        for _ in range(10):
            with site.response("GET", "/") as response:
                assert response.status == 200
        assert site.get("/").body == b"".join(pattern(5_000_000))
        assert "Traceback" not in server.log
        assert "ERROR" not in server.log


def test_a_restarted_server_is_found_again(own_directory: Path) -> None:
    """nginx's kept connections died with the old process; the client must not notice."""
    with (
        gateway(own_directory) as (first, path),
        nginx(own_directory, "keepalive.conf", BACKEND=f"unix:{path}") as site,
    ):
        assert site.get("/").status == 200
        assert first.stop() == 0
        with gateway(own_directory):
            assert site.get("/").status == 200


def test_head_and_not_modified_leave_a_kept_client_connection_in_step(
    own_directory: Path, backends: dict[str, str]
) -> None:
    with (
        nginx(own_directory, "keepalive.conf", BACKEND=backends["unix"]) as site,
        site.connection() as connection,
    ):
        for method, path, headers, body in (
            ("HEAD", "/", {}, b""),
            ("GET", "/etag", {"If-None-Match": '"v1"'}, b""),
            ("GET", "/nothing", {}, b""),
            ("GET", "/", {}, b"Hello from Flask"),
        ):
            connection.request(method, path, headers=headers)
            with connection.getresponse() as response:
                assert response.read() == body
                assert not response.will_close
