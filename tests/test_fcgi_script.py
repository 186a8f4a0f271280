"""``gateways.fcgi``: flup's API, and what a ``.fcgi`` script does when somebody starts it."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import gateways
from gateways.errors import ConfigError
from gateways.fcgi import (
    FCGI_AUTHORIZER,
    FCGI_FILTER,
    FCGI_RESPONDER,
    Request,
    WSGIServer,
    __version__,
    authorizer,
)
from gateways.protocols.records import (
    BEGIN_REQUEST,
    FCGI_ABORT_REQUEST,
    FCGI_BEGIN_REQUEST,
    FCGI_DATA,
    FCGI_KEEP_CONN,
    FCGI_MAX_CONNS,
    FCGI_MAX_REQS,
    FCGI_MPXS_CONNS,
    FCGI_PARAMS,
    FCGI_REQUEST_COMPLETE,
    FCGI_STDIN,
    FCGI_UNKNOWN_ROLE,
    pack_record,
)
from gateways.protocols.variables import encode_pairs
from tests.end_to_end.client import DEADLINE, VARIABLES, Address, Answer, Client, ask
from tests.oneshot_peer import running
from tests.servers.harness import free_port

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]


def fails(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ValueError("hunter2")


def connect(address: Address, alive: Callable[[], bool] = lambda: True) -> Client:
    """A connection to a server that is just being started."""
    deadline = time.monotonic() + DEADLINE
    waiting = threading.Event()
    while True:
        try:
            return Client(address)
        except (FileNotFoundError, ConnectionRefusedError):
            assert alive(), "the server has ended"
            assert time.monotonic() < deadline, "the server does not come up"
            waiting.wait(0.005)


@contextlib.contextmanager
def served(
    application: Any, folder: Path, kind: type[WSGIServer] = WSGIServer, **options: Any
) -> Iterator[Address]:
    """The address of a server on a Unix socket."""
    path = str(folder / "app.sock")
    with running(kind(application, bindAddress=path, **options), path) as address:
        yield address


# -- the signature -----------------------------------------------------------------------------


def flups_module() -> Any:
    """The real ``flup.server.fcgi``, whose own warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import flup.server.fcgi

        return flup.server.fcgi


def test_the_signature_is_flups() -> None:
    theirs = inspect.signature(flups_module().WSGIServer.__init__).parameters.values()
    ours = inspect.signature(WSGIServer.__init__).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


def test_the_names_that_scripts_import_are_there() -> None:
    theirs = flups_module()
    assert {"WSGIServer"} <= set(theirs.__all__)
    assert __version__ == gateways.__version__
    assert (FCGI_RESPONDER, FCGI_AUTHORIZER, FCGI_FILTER) == (1, 2, 3)


def test_every_argument_may_be_given_by_position() -> None:
    environ = {"a": "b"}
    server = WSGIServer(hello, environ, False, True, "/x", 0o77, True, True, (1, 2), True)
    assert server.application is hello
    assert server.environ is environ
    assert (server.multithreaded, server.multiprocess) == (False, True)
    assert (server.multiplexed, server.debug) == (True, True)
    assert server.roles == (1, 2)
    assert server.forceCGI is True


def test_the_attributes_have_flups_defaults() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = flups_module().WSGIServer(hello)
    ours = WSGIServer(hello)
    for name in ("application", "environ", "multithreaded", "multiprocess", "debug", "forceCGI"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.roles == tuple(theirs.roles)
    for name in ("maxwrite", "inputStreamShrinkThreshold"):
        assert getattr(WSGIServer, name) == getattr(type(theirs), name), name
    assert WSGIServer.request_class is Request


def test_the_default_environ_is_no_shared_dict() -> None:
    assert WSGIServer(hello).environ is not WSGIServer(hello).environ


@pytest.mark.parametrize(
    ("keywords", "threads"),
    [
        ({}, 4),
        ({"maxThreads": 7}, 7),
        ({"maxThreads": sys.maxsize}, 256),
        ({"maxThreads": 0}, 1),
        ({"minSpare": 1, "maxSpare": 5, "maxThreads": 3}, 3),
        ({"threads": 9}, 9),
        ({"threads": 9, "maxThreads": 3}, 9),
        ({"multithreaded": False}, 1),
        ({"multithreaded": False, "threads": 9}, 1),
    ],
)
def test_keywords_that_set_the_number_of_threads(keywords: dict[str, Any], threads: int) -> None:
    assert WSGIServer(hello, **keywords)._config.threads == threads


def test_every_option_of_the_command_is_a_keyword() -> None:
    server = WSGIServer(hello, script_name="/app", multiplex=True, idle_timeout_seconds=5.0)
    assert server._config.script_name == "/app"
    assert server._config.multiplex is True
    assert server._config.idle_timeout_seconds == 5.0


@pytest.mark.parametrize("keywords", [{"maxChildren": 5}, {"binAddress": "/x", "zzz": 1}])
def test_an_unknown_keyword_is_a_type_error_that_names_it(keywords: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"no argument {', '.join(keywords)}"):
        WSGIServer(hello, **keywords)


@pytest.mark.parametrize("address", [b"/bytes", 4000, ["localhost", 4000]])
def test_an_address_of_another_type_is_refused(address: Any) -> None:
    with pytest.raises(ConfigError, match="bindAddress is a path"):
        WSGIServer(hello, bindAddress=address)


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ConfigError, match="9"):
        WSGIServer(hello, roles=(1, 9))


# -- where it listens --------------------------------------------------------------------------


def test_an_address_that_is_a_str_is_a_socket_file(tmp_path: Path) -> None:
    with served(hello, tmp_path) as address:
        assert ask(address).body == b"hello"
        assert Path(str(address)).is_socket()
    assert not Path(str(address)).exists()


def test_an_address_that_is_a_pair_is_tcp() -> None:
    address = ("127.0.0.1", free_port())
    with running(WSGIServer(hello, bindAddress=address), address):
        assert ask(address).body == b"hello"


def test_a_longer_tuple_is_tcp_over_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = WSGIServer(hello, bindAddress=("::1", port, 0, 0))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + DEADLINE
        while True:
            with socket.socket(socket.AF_INET6) as sock:
                if sock.connect_ex(("::1", port)) == 0:
                    break
            assert time.monotonic() < deadline
    finally:
        while thread.is_alive():
            server.stop()
            thread.join(0.05)


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o700), (0, 0o777), (None, 0o660)])
def test_a_umask_makes_the_mode_of_the_socket_file(
    tmp_path: Path, umask: int | None, mode: int
) -> None:
    before = os.umask(0o022)
    try:
        with served(hello, tmp_path, umask=umask) as address:
            assert Path(str(address)).stat().st_mode & 0o777 == mode
            assert os.umask(0o022) == 0o022, "the process's own is as it was"
    finally:
        os.umask(before)


def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = WSGIServer(hello, bindAddress=str(path), allow=("no such peer",))
    with pytest.raises(ConfigError, match="no such peer"):
        server.run()
    assert not path.exists()


@pytest.mark.parametrize(
    ("addresses", "tcp", "allowed"),
    [
        ("127.0.0.1", True, True),
        ("192.0.2.1,127.0.0.1", True, True),
        ("192.0.2.1", True, False),
        ("127.0.0.1", False, False),
    ],
)
def test_fcgi_web_server_addrs_says_who_may_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: str, tcp: bool, allowed: bool
) -> None:
    monkeypatch.setenv("FCGI_WEB_SERVER_ADDRS", addresses)
    address: Any = ("127.0.0.1", free_port()) if tcp else str(tmp_path / "app.sock")
    with running(WSGIServer(hello, bindAddress=address), address):
        if allowed:
            assert ask(address).body == b"hello"
        else:
            with Client(address) as client:
                assert client.is_closed()


# -- the environ -------------------------------------------------------------------------------


def environ_of(tmp_path: Path, variables: Mapping[str, str], **options: Any) -> dict[str, Any]:
    """The environ that an application sees."""
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        return hello(environ, start_response)

    with served(application, tmp_path, **options) as address:
        assert ask(address, variables).code == 200
    return seen[0]


def test_the_servers_environ_wins_over_the_request(tmp_path: Path) -> None:
    given = {"HTTP_HOST": "mine", "paste.config": 1, "SCRIPT_NAME": "/mine"}
    environ = environ_of(tmp_path, {"HTTP_HOST": "theirs"}, environ=given)
    assert environ["HTTP_HOST"] == "mine"
    assert environ["paste.config"] == 1
    assert environ["SCRIPT_NAME"] == "/mine"
    assert given == {"HTTP_HOST": "mine", "paste.config": 1, "SCRIPT_NAME": "/mine"}


@pytest.mark.parametrize("multithreaded", [True, False])
@pytest.mark.parametrize("multiprocess", [True, False])
def test_the_wsgi_variables_are_what_was_asked_for(
    tmp_path: Path, multithreaded: bool, multiprocess: bool
) -> None:
    environ = environ_of(tmp_path, {}, multithreaded=multithreaded, multiprocess=multiprocess)
    assert environ["wsgi.multithread"] is multithreaded
    assert environ["wsgi.multiprocess"] is multiprocess
    assert environ["wsgi.run_once"] is False


def test_a_path_is_decoded(tmp_path: Path) -> None:
    """Where flup hands PATH_INFO on as it stands in REQUEST_URI."""
    variables = {"REQUEST_URI": "/a%20b/%C3%A9?q=%20", "PATH_INFO": "", "QUERY_STRING": "q=%20"}
    environ = environ_of(tmp_path, variables)
    assert environ["PATH_INFO"] == "/a b/\xc3\xa9"
    assert environ["QUERY_STRING"] == "q=%20"


# -- one at a time, several at once ------------------------------------------------------------


@pytest.mark.parametrize("multiplexed", [True, False])
def test_without_threads_no_two_requests_run_at_once(tmp_path: Path, multiplexed: bool) -> None:
    alone = threading.Lock()
    running_together: list[int] = []
    entered = threading.Event()
    go_on = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        if not alone.acquire(blocking=False):
            running_together.append(1)
        start_response("200 OK", [])
        entered.set()
        yield b"x"
        assert go_on.wait(DEADLINE)
        alone.release()

    options: dict[str, Any] = {"multithreaded": False, "multiplexed": multiplexed}
    with served(application, tmp_path, **options) as address, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(address)) for _ in range(5)]
        for client in clients:
            client.send()
        assert entered.wait(DEADLINE)
        go_on.set()
        assert [client.answer().body for client in clients] == [b"x"] * 5
    assert not running_together


def test_with_threads_requests_run_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=DEADLINE)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        together.wait()
        return hello(environ, start_response)

    with served(application, tmp_path, maxThreads=4) as address, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(address)) for _ in range(4)]
        for client in clients:
            client.send()
        assert [client.answer().body for client in clients] == [b"hello"] * 4


def test_more_requests_than_threads_wait_their_turn(tmp_path: Path) -> None:
    """flup bug 14: it closes what exceeds maxThreads."""
    with served(hello, tmp_path, maxThreads=1) as address, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(address)) for _ in range(50)]
        for client in clients:
            client.send()
        assert {client.answer().body for client in clients} == {b"hello"}


# -- the protocol ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "role", "served_at_all"),
    [
        ((FCGI_RESPONDER,), FCGI_RESPONDER, True),
        ((FCGI_RESPONDER,), FCGI_AUTHORIZER, False),
        ((FCGI_RESPONDER,), FCGI_FILTER, False),
        ((FCGI_FILTER,), FCGI_RESPONDER, False),
        ([FCGI_RESPONDER, FCGI_FILTER], FCGI_FILTER, True),
    ],
)
def test_a_role_that_is_not_served_is_refused(
    tmp_path: Path, roles: Any, role: int, served_at_all: bool
) -> None:
    with served(hello, tmp_path, roles=roles) as address, Client(address) as client:
        client.send(role=role, streams=(FCGI_STDIN, FCGI_DATA) if role == FCGI_FILTER else ())
        answer = client.answer()
    expected = FCGI_REQUEST_COMPLETE if served_at_all else FCGI_UNKNOWN_ROLE
    assert answer.protocol_status == expected
    assert (answer.stdout != b"") is served_at_all


@pytest.mark.parametrize("multiplexed", [True, False])
def test_get_values_tells_the_real_numbers(tmp_path: Path, multiplexed: bool) -> None:
    """flup bug 11: it always answers nothing."""
    with served(hello, tmp_path, multiplexed=multiplexed) as address, Client(address) as client:
        values = client.values(FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS)
        client.send()
        assert client.answer().body == b"hello"
    assert values[FCGI_MPXS_CONNS] == ("1" if multiplexed else "0")
    assert int(values[FCGI_MAX_CONNS]) >= 1
    assert int(values[FCGI_MAX_REQS]) >= 1


@pytest.mark.parametrize("size", [None, -1, 100])
def test_a_body_may_be_read_with_any_size(tmp_path: Path, size: int | None) -> None:
    """flup bug 12: read(None) is a TypeError."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read(size)]

    with served(application, tmp_path) as address:
        assert ask(address, body=b"body").body == b"body"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_variables_may_be_split_over_records(tmp_path: Path, size: int) -> None:
    """flup bug 13: the client waits for ever."""
    with served(hello, tmp_path) as address, Client(address) as client:
        client.send({"HTTP_X_LONG": "x" * 500}, params_record=size)
        assert client.answer().body == b"hello"


def test_a_debugging_server_shows_the_traceback(tmp_path: Path) -> None:
    """flup bug 2: on Python 3.13 the client waits for ever."""
    with served(fails, tmp_path, debug=True) as address:
        answer = ask(address)
    assert answer.code == 500
    assert b"ValueError: hunter2" in answer.body


def test_another_server_does_not(tmp_path: Path) -> None:
    with served(fails, tmp_path) as address:
        answer = ask(address)
    assert answer.code == 500
    assert b"hunter2" not in answer.stdout
    assert "ValueError: hunter2" in answer.stderr


# -- handler and error overridden --------------------------------------------------------------


def test_handler_may_change_the_request_and_call_the_original(tmp_path: Path) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            req.params["HTTP_X_USER"] = "somebody"
            return super().handler(req)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["HTTP_X_USER"].encode(), environ["wsgi.input"].read()]

    with served(application, tmp_path, Server) as address:
        assert ask(address).body == b"somebody"
        assert ask(address, body=b" posts").body == b"somebody posts"


@pytest.mark.parametrize(
    "write",
    [
        lambda out: out.write(b"Status: 202 Accepted\r\n\r\nraw"),
        lambda out: out.write("Status: 202 Accepted\r\n\r\nraw"),
        lambda out: (out.write("Status: 202 Accepted\r\n"), out.write(b"\r\nraw"), out.flush()),
        lambda out: out.writelines(["Status: 202 Accepted\r\n", b"\r\n", "", b"", "raw"]),
        lambda out: print("Status: 202 Accepted\r\n\r\nraw", end="", file=out),
    ],
)
@pytest.mark.parametrize("keep", [True, False])
def test_handler_may_write_cgi_output(tmp_path: Path, write: Any, keep: bool) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            write(req.stdout)
            return FCGI_REQUEST_COMPLETE, 0

    with served(hello, tmp_path, Server) as address, Client(address) as client:
        client.send(keep=keep)
        answer = client.answer()
    assert answer.head() == [("Status", "202 Accepted")]
    assert answer.body == b"raw"
    assert answer.complete


def test_what_handler_is_given_has_flups_attributes(tmp_path: Path) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            assert req.server is self
            assert req.params["PATH_INFO"] == "/page"
            assert (req.role, req.flags, req.requestId) == (FCGI_RESPONDER, FCGI_KEEP_CONN, 1)
            assert req.aborted is False
            assert req.data.read() == b""
            req.stderr.write("complaint")
            req.stderr.flush()
            body = req.stdin.read()
            req.stdout.write(b"Status: 200 OK\r\n\r\n" + body)
            return FCGI_REQUEST_COMPLETE, 0

    with served(hello, tmp_path, Server) as address, Client(address) as client:
        client.send({"REQUEST_METHOD": "POST"}, b"body")
        answer = client.answer()
    assert answer.stderr == "complaint\n"
    assert answer.body == b"body"


def test_a_filters_data_is_there_for_its_handler(tmp_path: Path) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            data = req.data.read()
            req.stdout.write(b"Status: 200 OK\r\n\r\n" + data.upper())
            return FCGI_REQUEST_COMPLETE, 0

    options = {"roles": (FCGI_FILTER,)}
    with served(hello, tmp_path, Server, **options) as address, Client(address) as client:
        client.send(body=b"data", role=FCGI_FILTER, streams=(FCGI_STDIN, FCGI_DATA))
        assert client.answer().body == b"DATA"


def test_aborted_tells_that_the_web_server_lost_interest(tmp_path: Path) -> None:
    aborted = threading.Event()
    entered = threading.Event()

    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            entered.set()
            deadline = time.monotonic() + DEADLINE
            waiting = threading.Event()
            while not req.aborted and time.monotonic() < deadline:
                waiting.wait(0.005)
            if req.aborted:
                aborted.set()
            return FCGI_REQUEST_COMPLETE, 0

    with served(hello, tmp_path, Server) as address, Client(address) as client:
        client.send()
        assert entered.wait(DEADLINE)
        client.sock.sendall(pack_record(FCGI_ABORT_REQUEST, 1))
        assert client.answer().complete
        assert aborted.wait(DEADLINE)


@pytest.mark.parametrize("error", [ValueError("hunter2"), SystemExit(3), KeyboardInterrupt()])
def test_a_handler_that_fails_is_answered_with_an_error_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            raise error

    options = {"threads": 1}  # a thread that is lost would be missed at once
    with served(hello, tmp_path, Server, **options) as address, Client(address) as client:
        for _ in range(3):
            client.send()
            answer = client.answer()
            assert answer.code == 500
            assert answer.complete
            assert type(error).__name__ in answer.stderr
            assert b"hunter2" not in answer.stdout
    assert type(error).__name__ in caplog.text


def test_a_handler_that_fails_after_some_output_is_seen_to_have_failed(tmp_path: Path) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            req.stdout.write(b"Status: 200 OK\r\n\r\nhalf")
            raise ValueError("broken")

    with served(hello, tmp_path, Server) as address, Client(address) as client:
        client.send()
        answer = client.answer()
    assert answer.body == b"half"
    assert not answer.complete
    assert "ValueError: broken" in answer.stderr


@pytest.mark.parametrize("keep", [True, False])
def test_a_handler_whose_client_has_left_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, keep: bool
) -> None:
    ended = threading.Event()

    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            try:
                while True:
                    req.stdout.write(b"x" * 10_000)
            finally:
                ended.set()

    with served(hello, tmp_path, Server) as address:
        with Client(address) as client:
            client.send(keep=keep)
            client.read_until(b"xxx")
        assert ended.wait(DEADLINE)
    assert "failed" not in caplog.text


def test_a_handler_that_reads_a_body_cut_short_answers_400(tmp_path: Path) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            req.stdin.read()
            raise AssertionError("it read a body that was cut short")

    with served(hello, tmp_path, Server) as address:
        assert ask(address, {"CONTENT_LENGTH": "10"}, b"short").code == 400


def test_a_debugging_server_shows_the_failure_of_its_handler(tmp_path: Path) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            raise ValueError("<broken>")

    with served(hello, tmp_path, Server, debug=True) as address:
        assert b"ValueError: &lt;broken&gt;" in ask(address).body
        head = ask(address, {"REQUEST_METHOD": "HEAD"})
        assert (head.code, head.body) == (500, b"")


class ErrorPage(WSGIServer):
    """A server with an error page of its own, as flup's documentation asks for."""

    def error(self, req: Request) -> None:
        """The page, which knows what went wrong."""
        kind = sys.exc_info()[0]
        req.stdout.write("Status: 503 Sorry\r\nContent-Type: text/plain\r\n\r\n")
        req.stdout.write(f"sorry for {kind and kind.__name__}".encode())


def test_an_error_page_of_ones_own(tmp_path: Path) -> None:
    with served(fails, tmp_path, ErrorPage) as address, Client(address) as client:
        for _ in range(2):
            client.send()
            answer = client.answer()
            assert answer.status == "503 Sorry"
            assert answer.body == b"sorry for ValueError"
            assert "ValueError: hunter2" in answer.stderr
            assert answer.complete


def test_an_error_page_is_never_added_to_other_output(tmp_path: Path) -> None:
    class Server(ErrorPage):
        def handler(self, req: Request) -> tuple[int, int]:
            req.stdout.write(b"Status: 200 OK\r\n\r\nhalf")
            raise ValueError("broken")

    with served(hello, tmp_path, Server) as address:
        answer = ask(address)
    assert answer.body == b"half"
    assert not answer.complete


def test_an_error_page_of_ones_own_is_for_failures_only(tmp_path: Path) -> None:
    with served(echo, tmp_path, ErrorPage) as address:
        assert ask(address, body=b"fine").body == b"fine"
        assert ask(address, {"CONTENT_LENGTH": "10"}, b"short").code == 400


def test_after_the_head_there_is_no_error_page(tmp_path: Path) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"half"
        raise ValueError("broken")

    with served(application, tmp_path, ErrorPage) as address, Client(address) as client:
        client.send()
        answer = client.answer()
    assert answer.body == b"half"
    assert not answer.complete


@pytest.mark.parametrize("where", ["handler", "application"])
@pytest.mark.parametrize("error", [OSError("no template"), SystemExit(1)])
def test_an_error_page_that_fails_itself_gives_the_plain_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str, error: BaseException
) -> None:
    class Server(WSGIServer):
        def handler(self, req: Request) -> tuple[int, int]:
            if where == "handler":
                raise ValueError("first")
            return super().handler(req)

        def error(self, req: Request) -> None:
            raise error

    options = {"threads": 1}
    with served(fails, tmp_path, Server, **options) as address, Client(address) as client:
        for _ in range(2):
            client.send()
            answer = client.answer()
            assert answer.code == 500
            assert b"<h1>Internal Server Error</h1>" in answer.body
            assert answer.complete
    assert type(error).__name__ in caplog.text
    assert "an error of the gateway itself" not in caplog.text


@pytest.mark.parametrize("failing", [True, False])
def test_an_error_page_that_fails_half_way_is_seen_to_have_failed(
    tmp_path: Path, failing: bool
) -> None:
    class Server(WSGIServer):
        def error(self, req: Request) -> None:
            req.stdout.write(b"Status: 500 Oops\r\n\r\nhalf")
            if failing:
                raise OSError("no template")

    with served(fails, tmp_path, Server) as address, Client(address) as client:
        client.send()
        answer = client.answer()
    assert answer.body == b"half"
    assert answer.complete is not failing


def test_an_error_page_that_says_nothing_gives_the_plain_one(tmp_path: Path) -> None:
    class Server(WSGIServer):
        def error(self, req: Request) -> None:
            pass

    with served(fails, tmp_path, Server) as address:
        assert ask(address).code == 500


def test_an_error_page_may_call_the_original(tmp_path: Path) -> None:
    class Server(WSGIServer):
        def error(self, req: Request) -> None:
            super().error(req)

    with served(fails, tmp_path, Server) as address:
        answer = ask(address)
    assert answer.code == 500
    assert answer.complete


def test_a_request_class_of_ones_own(tmp_path: Path) -> None:
    class Mine(Request):
        def greet(self) -> bytes:
            return b"mine"

    class Server(WSGIServer):
        request_class = Mine

        def handler(self, req: Request) -> tuple[int, int]:
            assert isinstance(req, Mine)
            req.stdout.write(b"Status: 200 OK\r\n\r\n" + req.greet())
            return FCGI_REQUEST_COMPLETE, 0

    with served(hello, tmp_path, Server) as address:
        assert ask(address).body == b"mine"


def test_handler_before_run_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="before run"):
        WSGIServer(hello).handler(object.__new__(Request))


# -- authorizers -------------------------------------------------------------------------------


@authorizer
def by_name(environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes] | None:
    """Lets two of three in."""
    name = environ.get("HTTP_X_NAME")
    if name == "plain":
        return None
    if name == "known":
        return "200 OK", [("Variable-AUTH_METHOD", "name"), ("Variable-LEVEL", "3")], b""
    return "403 Forbidden", [("Content-Type", "text/plain")], b"go away"


@pytest.mark.parametrize(
    ("name", "head", "body"),
    [
        ("plain", [("Status", "200 OK"), ("Content-Length", "0")], b""),
        (
            "known",
            [
                ("Status", "200 OK"),
                ("Variable-AUTH_METHOD", "name"),
                ("Variable-LEVEL", "3"),
                ("Content-Length", "0"),
            ],
            b"",
        ),
        (
            "stranger",
            [
                ("Status", "403 Forbidden"),
                ("Content-Type", "text/plain"),
                ("Content-Length", "7"),
            ],
            b"go away",
        ),
    ],
)
def test_an_authorizer_decides(
    tmp_path: Path, name: str, head: list[tuple[str, str]], body: bytes
) -> None:
    with served(by_name, tmp_path) as address, Client(address) as client:
        client.send({"HTTP_X_NAME": name}, role=FCGI_AUTHORIZER, streams=())
        answer = client.answer()
    assert answer.head() == head
    assert answer.body == body
    assert answer.complete


def test_an_authorizer_serves_no_other_role(tmp_path: Path) -> None:
    with served(by_name, tmp_path) as address, Client(address) as client:
        client.send()
        assert client.answer().protocol_status == FCGI_UNKNOWN_ROLE


def test_an_authorizer_that_fails_lets_nobody_in(tmp_path: Path) -> None:
    @authorizer
    def broken(environ: dict[str, Any]) -> None:
        raise ValueError("hunter2")

    with served(broken, tmp_path) as address, Client(address) as client:
        client.send(role=FCGI_AUTHORIZER, streams=())
        assert client.answer().code == 500


# -- as a script -------------------------------------------------------------------------------

SCRIPT = """\
import signal, sys
from gateways.fcgi import WSGIServer

def app(environ, start_response):
    print("printed by the application")
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"hello "
    yield environ["wsgi.input"].read()
"""

RUN = "WSGIServer(app).run()\n"

# Tells what run() returned, and whether the handlers are what they were.
REPORT = """\
signals = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
def mine(number, frame): pass
signal.signal(signal.SIGUSR1, mine)
before = [signal.getsignal(number) for number in signals]
server = WSGIServer(app, bindAddress=sys.argv[1])
result = server.run()
after = [signal.getsignal(number) for number in signals]
print("returned", result, "restored", before == after)
sys.exit(42 if result else 0)
"""


def start(
    folder: Path, text: str, *arguments: str, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a script; no warning of ours goes unnoticed (flup bug 15)."""
    script = folder / "script.fcgi"
    script.write_text(SCRIPT + text)
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    root = str(Path(gateways.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script), *arguments],
        env={**clean, "PYTHONPATH": root, **(env or {})},
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options},
        stderr=subprocess.PIPE,
        cwd=folder,
    )


def finish(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> tuple[str, str]:
    """Standard output and error of a script that ends by itself."""
    try:
        out, err = process.communicate(stdin, timeout=DEADLINE)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return (out or b"").decode(), err.decode()


@pytest.mark.parametrize(
    ("number", "result", "code"),
    [
        (signal.SIGHUP, True, 42),
        (signal.SIGTERM, False, 0),
        (signal.SIGINT, False, 0),
        (signal.SIGUSR1, False, 0),
    ],
)
def test_run_returns_whether_it_shall_be_started_again(
    tmp_path: Path, number: int, result: bool, code: int
) -> None:
    address = str(tmp_path / "app.sock")
    process = start(tmp_path, REPORT, address)
    with connect(address, lambda: process.poll() is None) as idle:
        idle.send()  # its connection is kept open and idle
        assert idle.answer().body == b"hello "
        process.send_signal(number)
        out, err = finish(process)
        assert idle.is_closed()
    assert out.splitlines()[-1] == f"returned {result} restored True"
    assert process.returncode == code
    assert "Traceback" not in err
    assert not Path(address).exists()


def test_an_idle_connection_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    """flup bug 6: with one kept connection SIGTERM is never obeyed."""
    address = str(tmp_path / "app.sock")
    process = start(tmp_path, REPORT, address)
    with connect(address, lambda: process.poll() is None) as idle, Client(address):
        idle.send()
        assert idle.answer().complete
        process.terminate()
        finish(process)
    assert process.returncode == 0


def test_a_running_request_is_finished_first(tmp_path: Path) -> None:
    address = str(tmp_path / "app.sock")
    process = start(tmp_path, REPORT, address)
    with connect(address, lambda: process.poll() is None) as client:
        begin = BEGIN_REQUEST.pack(FCGI_RESPONDER, FCGI_KEEP_CONN)
        client._id = 1
        client.sock.sendall(
            pack_record(FCGI_BEGIN_REQUEST, 1, begin)
            + pack_record(FCGI_PARAMS, 1, encode_pairs(VARIABLES.items()))
            + pack_record(FCGI_PARAMS, 1)
        )
        client.read_until(b"hello ")
        process.terminate()
        client.sock.sendall(pack_record(FCGI_STDIN, 1, b"world") + pack_record(FCGI_STDIN, 1))
        answer = client.answer()
        assert answer.stdout == b"world"
        assert answer.complete
        finish(process)
    assert process.returncode == 0


def test_a_script_is_served_on_the_socket_that_it_inherits(tmp_path: Path) -> None:
    address = str(tmp_path / "inherited.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        process = start(tmp_path, RUN, stdin=listening)
    assert ask(address, body=b"world").body == b"hello world"
    process.terminate()
    out, err = finish(process)
    assert process.returncode == 0
    assert out == "printed by the application\n"
    assert "Traceback" not in err
    assert Path(address).exists(), "whoever made it removes it"


def test_a_script_runs_with_its_other_descriptors_closed(tmp_path: Path) -> None:
    """FastCGI 1.0, section 2.2, allows a web server no more than descriptor 0."""
    address = str(tmp_path / "inherited.sock")
    (tmp_path / "script.fcgi").write_text(
        "import os\n" + SCRIPT + "    os.write(1, b'noise')\n    os.write(2, b'noise')\n" + RUN
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        root = str(Path(gateways.__file__).parent.parent)
        shell = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$0" "$1" >&- 2>&-', sys.executable, "script.fcgi"],
            stdin=listening.fileno(),
            cwd=tmp_path,
            env={"PYTHONPATH": root},
        )
    try:
        for _ in range(3):
            answer = ask(address)
            assert answer.body == b"hello "
            assert answer.stderr == ""
            assert answer.complete
    finally:
        shell.terminate()
        assert shell.wait(DEADLINE) == 0


CGI = {name: value for name, value in VARIABLES.items() if name != "REQUEST_URI"}


@pytest.mark.parametrize(
    ("run", "env", "stdin"),
    [
        (RUN, {}, "a pipe"),  # flup bug 1: OSError, Socket operation on non-socket
        (RUN, {}, "a connected socket"),  # mod_cgid
        (RUN, {"FCGI_FORCE_CGI": "Y"}, "a listening socket"),
        (RUN, {"FCGI_FORCE_CGI": "yes"}, "a listening socket"),
        ("WSGIServer(app, forceCGI=True).run()\n", {}, "a listening socket"),
    ],
)
def test_a_script_that_is_started_as_cgi_answers_as_cgi(
    tmp_path: Path, run: str, env: Mapping[str, str], stdin: str
) -> None:
    post = {**CGI, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5", **env}
    with contextlib.ExitStack() as stack:
        given: Any = subprocess.PIPE
        body: bytes | None = b"world and what is beyond its length"
        expected = "hello world"
        if stdin == "a connected socket":
            ours, given = socket.socketpair()
            stack.enter_context(ours)
            stack.enter_context(given)
            ours.sendall(b"world")  # and it stays open
            body = None
        elif stdin == "a listening socket":
            given = stack.enter_context(socket.socket(socket.AF_UNIX))
            given.bind(str(tmp_path / "inherited.sock"))
            given.listen()
            post["CONTENT_LENGTH"] = "0"
            body = None
            expected = "hello "
        process = start(tmp_path, run + "print('never reached')\n", env=post, stdin=given)
        out, err = finish(process, body)
    assert process.returncode == 0
    head, _, text = out.partition("\r\n\r\n")
    assert head.split("\r\n")[0] == "Status: 200 OK"
    assert text == expected
    assert "printed by the application" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("value", ["", "N", "no", "0"])
def test_force_cgi_may_be_off(tmp_path: Path, value: str) -> None:
    address = str(tmp_path / "inherited.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        process = start(tmp_path, RUN, stdin=listening, env={"FCGI_FORCE_CGI": value})
    assert ask(address).body == b"hello "
    process.terminate()
    finish(process)


def test_a_cgi_application_that_fails_shows_no_secret(tmp_path: Path) -> None:
    text = "def broken(e, s):\n    raise ValueError('hunter2')\nWSGIServer(broken).run()\n"
    out, err = finish(start(tmp_path, text, env=CGI))
    assert out.startswith("Status: 500 Internal Server Error\r\n")
    assert "hunter2" not in out
    assert "ValueError: hunter2" in err


@pytest.mark.parametrize(
    ("stdin", "described"),
    [
        ("null", "a device (/dev/null)"),
        ("pipe", "a pipe"),
        ("file", "a file ("),
        ("connected", "a connected socket"),
        ("terminal", "a terminal"),
    ],
)
def test_a_script_that_is_started_by_hand_says_how_to_run_it(
    tmp_path: Path, stdin: str, described: str
) -> None:
    with contextlib.ExitStack() as stack:
        given: Any = subprocess.DEVNULL
        if stdin == "pipe":
            given = subprocess.PIPE
        elif stdin == "file":
            given = stack.enter_context((tmp_path / "file").open("w+"))
        elif stdin == "connected":
            for end in socket.socketpair():
                given = stack.enter_context(end)
        elif stdin == "terminal":
            controlling, given = os.openpty()
            stack.callback(os.close, controlling)
            stack.callback(os.close, given)
        process = start(tmp_path, RUN, stdin=given)
        out, err = finish(process)
    assert process.returncode != 0
    assert out == ""
    assert "Traceback" not in err
    assert f"Descriptor 0 is {described}" in err
    assert "no web server has started this script" in " ".join(err.split())
    assert "spawn-fcgi -n -s /tmp/app.sock" in err
    assert "bindAddress='/tmp/app.sock'" in err


def test_no_thread_is_left_when_run_returns(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with served(hello, tmp_path) as address:
        ask(address)
    assert set(threading.enumerate()) <= before


def test_the_log_of_an_embedded_server_is_the_embedders(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served(fails, tmp_path) as address:
        answer: Answer = ask(address)
    assert answer.code == 500
    assert any(record.levelno == logging.ERROR for record in caplog.records)
