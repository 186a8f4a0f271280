"""gateways behind HAProxy, booted on the files of contrib/haproxy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .client import Site
from .flaskapp import digest, pattern
from .flasksuite import FlaskSuite, events_arrive_one_by_one
from .frontends import backend_of, haproxy
from .harness import CONTRIB, Fifo, children_of, fill, gateway, gateway_on_tcp, sockets_of

PREFIX = "/yourapplication"
# Several requests at once on a connection, which HAProxy's threads do not share: so one of them.
MULTIPLEX = 50
ONE_THREAD = "\nglobal\n    nbthread 1\n"


@pytest.fixture(scope="module")
def at_the_root(directory: Path) -> Iterator[Site]:
    """FastCGI on a Unix socket, over connections that all clients share."""
    place = directory / "root"
    place.mkdir()
    with (
        gateway(place, "--script-name", "", "--no-trust-remote-user") as (_, path),
        haproxy(place, "fcgi.cfg", BACKEND=backend_of("haproxy", "fcgi", path)) as site,
    ):
        yield site


@pytest.fixture(scope="module")
def multiplexed(directory: Path) -> Iterator[Site]:
    """Several requests at once on such a connection."""
    place = directory / "multiplexed"
    place.mkdir()
    with (
        gateway(place, "--script-name", "", "--no-trust-remote-user") as (_, path),
        multiplexing_haproxy(place, path) as site,
    ):
        yield site


@contextlib.contextmanager
def multiplexing_haproxy(place: Path, path: str) -> Iterator[Site]:
    """HAProxy on fcgi.cfg with its section MULTIPLEX, in one thread."""

    def text(port: int) -> str:
        backend = backend_of("haproxy", "fcgi", path)
        listen = f"127.0.0.1:{port}"
        values = {"NAME": "app", "LISTEN": listen, "BACKEND": backend, "PREFIX": "", "MOUNT": "/"}
        site = CONTRIB / "haproxy" / "fcgi.cfg"
        return fill(site, MULTIPLEX=MULTIPLEX, **values) + ONE_THREAD

    with haproxy(place, text) as site:
        yield site


@pytest.fixture(scope="module")
def over_http(directory: Path) -> Iterator[Site]:
    """HTTP on TCP, at a prefix."""
    place = directory / "http"
    place.mkdir()
    with (
        gateway_on_tcp(place, "--script-name", PREFIX, protocol="http") as (_, port),
        haproxy(
            place, "http.cfg", prefix=PREFIX, BACKEND=backend_of("haproxy", "http", port)
        ) as site,
    ):
        yield site


class TestFlaskOverFastCGI(FlaskSuite):
    """The whole suite."""

    @pytest.fixture
    def site(self, at_the_root: Site) -> Site:
        return at_the_root

    def test_a_chunked_body_arrives(self, site: Site) -> None:
        """HAProxy must know its length, so all of it has to fit its buffer of 16 KiB."""
        answer = site.request("POST", "/upload", pattern(10_000))
        assert answer.json() == {"sha256": digest(10_000), "length": 10_000}
        with site.raw() as client:
            client.sendall(
                b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"8000\r\n" + bytes(0x8000)
            )
            assert client.recv(12) == b"HTTP/1.1 400"


class TestFlaskMultiplexed(TestFlaskOverFastCGI):
    """The whole suite, over connections that carry several requests at once."""

    @pytest.fixture
    def site(self, multiplexed: Site) -> Site:
        return multiplexed

    def test_a_client_that_leaves_closes_the_response(  # type: ignore[override]  # its own site
        self, own_directory: Path
    ) -> None:
        """Nothing else is on its connection: HAProxy would say nothing of it otherwise."""
        with (
            gateway(own_directory, "--script-name", "") as (_, path),
            multiplexing_haproxy(own_directory, path) as site,
        ):
            super().test_a_client_that_leaves_closes_the_response(site)


class TestFlaskOverHTTP(FlaskSuite):
    """The whole suite."""

    @pytest.fixture
    def site(self, over_http: Site) -> Site:
        return over_http

    def test_a_traceback_is_in_the_web_servers_error_log(self, site: Site) -> None:
        # HTTP has no way there; it is in our own log.
        assert site.get("/raise").status == 500
        (log,) = site.directory.parent.glob("app*.log")
        assert "RuntimeError: the application fell over" in log.read_text()


def test_a_prefix(own_directory: Path) -> None:
    with (
        gateway_on_tcp(own_directory, "--script-name", PREFIX) as (_, port),
        haproxy(
            own_directory, "fcgi.cfg", prefix=PREFIX, BACKEND=backend_of("haproxy", "fcgi", port)
        ) as site,
    ):
        variables = site.get("/environ/a%20b?q=1").json()
        assert variables["SCRIPT_NAME"] == PREFIX
        assert variables["PATH_INFO"] == "/environ/a b"
        assert site.get("/").text == "Hello from Flask"
        assert site.get("").headers["Location"].endswith(f"{PREFIX}/")
        with site.connection() as connection:
            connection.request("GET", f"{PREFIX}x/environ")
            assert connection.getresponse().status == 503, "another one's path"


def test_another_name_is_not_answered_for(own_directory: Path) -> None:
    with (
        gateway(own_directory, "--script-name", "") as (_, path),
        haproxy(
            own_directory,
            "fcgi.cfg",
            BACKEND=backend_of("haproxy", "fcgi", path),
            SERVER_NAME="example.test",
        ) as site,
    ):
        assert site.get("/", Host="Example.test:8080").status == 200
        assert site.get("/", Host="elsewhere.test").status == 421


def test_requests_of_many_clients_run_at_once_on_one_connection(own_directory: Path) -> None:
    """Multiplexing: each of them waits until all have begun."""
    count = 8
    with (
        gateway(own_directory, "--script-name", "", "--threads", str(count)) as (server, path),
        multiplexing_haproxy(own_directory, path) as site,
        Fifo(own_directory / "begun") as begun,
        Fifo(own_directory / "pipe") as pipe,
        ThreadPoolExecutor(count) as pool,
    ):
        (worker,) = children_of(server.process.pid)
        alone = sockets_of(worker)
        site.get("/")  # its connection is there, and stays
        path = f"/wait?begun={begun.path}&pipe={pipe.path}"
        answers = [pool.submit(site.get, path) for _ in range(count)]
        heard = ""
        while heard.count("begun") < count:
            heard += begun.receive()
        assert sockets_of(worker) - alone == 1
        for _ in answers:
            pipe.send()
        assert [answer.result().text for answer in answers] == ["the wait was worth it"] * count


def test_a_client_that_leaves_others_on_its_connection_needs_a_time_out(
    own_directory: Path,
) -> None:
    """HAProxy neither aborts its request nor closes the connection, and reads the response on."""
    limits = ["--timeout", "1", "--timeout-streaming", "--timeout-grace", "60"]
    with (
        gateway(own_directory, "--script-name", "", *limits) as (server, path),
        multiplexing_haproxy(own_directory, path) as site,
        Fifo(own_directory / "begun") as begun,
        Fifo(own_directory / "pipe") as pipe,
        Fifo(own_directory / "left") as left,
        ThreadPoolExecutor(1) as pool,
    ):
        neighbour = pool.submit(site.get, f"/wait?begun={begun.path}&pipe={pipe.path}")
        assert begun.receive() == "begun"
        with site.response("GET", f"/endless?pipe={left.path}") as response:
            assert response.read(100_000)
        assert left.receive() == "closed"
        pipe.send()
        assert neighbour.result().status == 504
        server.wait_until(lambda: server.has_said("timed out: GET '/endless'"), "why")


def test_a_password_reaches_the_application_and_makes_nobody_a_user(at_the_root: Site) -> None:
    variables = at_the_root.get("/environ", Authorization="Basic dTpw").json()
    assert variables["HTTP_AUTHORIZATION"] == "Basic dTpw"
    assert "REMOTE_USER" not in variables


def test_every_piece_is_sent_on_at_once(at_the_root: Site) -> None:
    events_arrive_one_by_one(at_the_root, unbuffered=False, mimetype="text/plain")


def test_a_client_cannot_say_who_it_is(over_http: Site) -> None:
    """HAProxy sets or removes whatever a trusted proxy is believed."""
    forged = {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=10.0.0.1;proto=https;host=evil.test",
    }
    variables = over_http.request("GET", "/environ", headers=forged).json()
    assert variables["REMOTE_ADDR"] == "127.0.0.1"
    assert variables["wsgi.url_scheme"] == "http"
    assert variables["HTTP_HOST"] == f"127.0.0.1:{over_http.port}"
    assert variables["SERVER_PORT"] == str(over_http.port)
    assert variables["SCRIPT_NAME"] == PREFIX
