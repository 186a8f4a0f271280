"""Listening sockets: every form of address, every way of coming by one, every refusal."""

from __future__ import annotations

import errno
import logging
import os
import pwd
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from gateways.core import unixsocket
from gateways.core.listener import (
    Address,
    Kind,
    Listener,
    describe_descriptor,
    listening_socket_on,
    open_listeners,
    parse_address,
    reopen_standard_descriptors,
    tcp_listener,
    unix_listener,
)
from gateways.errors import ConfigError
from tests.servers.harness import DEADLINE_SECONDS

from .forks import NOBODY, become, in_child, needs_root, start_child

ROOT = os.geteuid() == 0
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux has it")
as_root = pytest.mark.skipif(not ROOT, reason=needs_root)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory with a short path that other users can enter, unlike tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    """Listeners to be closed after the test."""
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        listener.close()


@pytest.fixture(autouse=True)
def _no_web_server_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own users decide nothing; the tests of the warning name one."""
    monkeypatch.setattr(unixsocket, "WEB_SERVER_USERS", ())


def connect(path: str) -> int:
    """The errno of a connection attempt, 0 for success."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        return sock.connect_ex(path)


def leave_dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the text of an address --------------------------------------------------------------------

UNIX = Kind.UNIX


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/app.sock", Address(UNIX, path="/run/app.sock")),
        ("./app.sock", Address(UNIX, path="./app.sock")),
        ("../app.sock", Address(UNIX, path="../app.sock")),
        ("run/app.sock", Address(UNIX, path="run/app.sock")),
        ("/run/a:b", Address(UNIX, path="/run/a:b")),
        ("./host:9000", Address(UNIX, path="./host:9000")),
        ("unix:/run/app.sock", Address(UNIX, path="/run/app.sock")),
        ("unix:///run/app.sock", Address(UNIX, path="/run/app.sock")),
        ("unix:app", Address(UNIX, path="app")),
        ("unix:/a?mode=660", Address(UNIX, path="/a", mode=0o660)),
        ("unix:/a?mode=0600", Address(UNIX, path="/a", mode=0o600)),
        (
            "unix:/a?mode=666&user=www-data&group=33",
            Address(UNIX, path="/a", mode=0o666, user="www-data", group="33"),
        ),
        ("/a?group=web", Address(UNIX, path="/a", group="web")),
        pytest.param("@app", Address(Kind.ABSTRACT, path="app"), marks=linux_only),
        pytest.param("@a/b:c", Address(Kind.ABSTRACT, path="a/b:c"), marks=linux_only),
        pytest.param("unix:@app", Address(Kind.ABSTRACT, path="app"), marks=linux_only),
        ("127.0.0.1:9000", Address(Kind.TCP, host="127.0.0.1", port=9000)),
        ("[::1]:9000", Address(Kind.TCP, host="::1", port=9000)),
        ("[fe80::1%eth0]:9000", Address(Kind.TCP, host="fe80::1%eth0", port=9000)),
        (":9000", Address(Kind.TCP, host="", port=9000)),
        ("localhost:0", Address(Kind.TCP, host="localhost", port=0)),
        ("app.example:65535", Address(Kind.TCP, host="app.example", port=65535)),
        ("fd://0", Address(Kind.DESCRIPTOR, fd=0)),
        ("fd:12", Address(Kind.DESCRIPTOR, fd=12)),
    ],
)
def test_an_address_is_understood(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "/path/to/socket"),
        ("  ", "/path/to/socket"),
        (" /run/app.sock", "blanks around it"),
        ("/run/app\0.sock", "zero byte"),
        ("app", "./app (or unix:app), or app:9000"),
        ("9000", "127.0.0.1:9000"),
        ("localhost", "localhost:9000"),
        ("127.0.0.1", "127.0.0.1:9000"),
        ("*", "give :9000"),
        ("*:9000", "written :9000"),
        ("localhost:", "localhost:9000"),
        ("localhost:http", "give host:9000, or unix:./localhost:http"),
        ("localhost:-1", "no port number"),
        ("localhost:65536", "the highest is 65535"),
        ("localhost:" + "9" * 5000, "the highest is 65535"),
        ("localhost:٣", "no port number"),
        ("127.0.0.256:9000", "no IPv4 address"),
        ("127.1:9000", "no IPv4 address"),
        ("::1:9000", "[::1]:9000"),
        ("::1", "[::1]:9000"),
        ("[::1]", "[::1]:9000"),
        ("[::1]9000", "written [::1]:9000"),
        ("[::1:9000", "written [::1]:9000"),
        ("[::g]:9000", "no IPv6 address"),
        ("[127.0.0.1]:9000", "what brackets are for"),
        ("http://127.0.0.1:9000/", "leave the scheme out: 127.0.0.1:9000"),
        ("tcp://:9000", "leave the scheme out: :9000"),
        ("127.0.0.1:9000/app", "neither host:port nor a path"),
        ("tcp:/run/app.sock", "neither host:port nor a path"),
        ("unix:", "names no file"),
        ("unix:?mode=660", "names no file"),
        ("/run/", "unix:/run/app.sock"),
        ("unix://run/app.sock", "unix:/run/app.sock"),
        ("unix:/a?", "mode=660, user=NAME and group=NAME"),
        ("unix:/a?chmod=660", "'chmod=660' is no option"),
        ("unix:/a?mode", "'mode' is no option"),
        ("unix:/a?mode=", "'mode=' is no option"),
        ("unix:/a?mode=rw", "octal mode"),
        ("unix:/a?mode=668", "octal mode"),
        ("unix:/a?mode=4777", "octal mode"),
        ("unix:/a?mode=660&mode=666", "mode is given twice"),
        pytest.param("@", "give @name", marks=linux_only),
        pytest.param("@app?mode=660", "--allow user:NAME", marks=linux_only),
        ("fd:", "fd://3"),
        ("fd://", "fd://3"),
        ("fd://x", "fd://3"),
        ("fd:-1", "fd://3"),
    ],
)
def test_a_wrong_address_is_refused_with_the_right_form(text: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)
    assert remedy in str(caught.value).removeprefix(f"cannot listen on {text!r}: ")


# -- Unix sockets ------------------------------------------------------------------------------


def test_a_unix_socket_is_for_its_owner_and_group_whatever_the_umask(
    room: Path, opened: list[Listener]
) -> None:
    before = os.umask(0o077)
    try:
        opened += open_listeners([str(room / "s")], 5)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    (listener,) = opened
    assert mode_of(room / "s") == 0o660
    assert listener.address == f"unix:{room}/s"
    assert listener.is_unix
    assert not listener.socket.getblocking()
    assert not listener.socket.get_inheritable()
    assert connect(f"{room}/s") == 0


def test_mode_and_group_are_as_the_address_says(room: Path, opened: list[Listener]) -> None:
    opened += open_listeners([f"unix:{room}/s?mode=606&group={os.getegid()}"], 5)
    assert mode_of(room / "s") == 0o606
    assert (room / "s").stat().st_gid == os.getegid()


@as_root
def test_root_gives_the_socket_to_a_user_and_group(room: Path, opened: list[Listener]) -> None:
    name = pwd.getpwuid(NOBODY).pw_name
    opened += open_listeners([f"unix:{room}/s?user={name}&group=4711"], 5)
    status = (room / "s").stat()
    assert (status.st_uid, status.st_gid, mode_of(room / "s")) == (NOBODY, 4711, 0o660)


def test_a_umask_takes_the_place_of_the_mode(room: Path, opened: list[Listener]) -> None:
    before = os.umask(0o022)
    try:
        opened.append(unix_listener(f"{room}/s", 5, umask=0o027))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert mode_of(room / "s") == 0o750


def test_nobody_can_connect_before_the_mode_is_set(
    room: Path, opened: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watching(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*args: int) -> None:
            seen.append((change.__name__, connect(f"{room}/s")))
            change(*args)

        return changed

    monkeypatch.setattr(os, "chown", watching(os.chown))
    monkeypatch.setattr(os, "chmod", watching(os.chmod))
    opened += open_listeners([f"unix:{room}/s?mode=666&group={os.getegid()}"], 5)
    assert seen == [("chown", errno.ECONNREFUSED), ("chmod", errno.ECONNREFUSED)]


@linux_only
def test_a_link_put_in_the_place_of_the_new_socket_is_not_followed(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = room / "secret"
    secret.touch(mode=0o600)

    def swapped(sock: socket.socket, path: str, umask: int | None) -> tuple[int, int]:
        identity = bind(sock, path, umask)
        os.unlink(path)
        os.symlink(secret, path)
        return identity

    bind = unixsocket._bind
    monkeypatch.setattr(unixsocket, "_bind", swapped)
    with pytest.raises(ConfigError, match="replaced"):
        unix_listener(f"{room}/s", 5, mode=0o666)
    assert mode_of(secret) == 0o600
    assert (room / "s").is_symlink()


def test_a_dead_socket_is_replaced(room: Path, opened: list[Listener]) -> None:
    leave_dead_socket(room / "s")
    opened += open_listeners([f"{room}/s"], 5)
    assert connect(f"{room}/s") == 0


def test_a_live_socket_is_refused_with_the_pid_of_its_owner(room: Path) -> None:
    hold, release = os.pipe()
    ready, say_ready = os.pipe()

    def serve() -> int:
        os.close(release)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.bind(f"{room}/s")
            sock.listen()
            os.write(say_ready, b"x")
            os.read(hold, 1)
        return os.getpid()

    owner = start_child(serve)
    os.read(ready, 1)
    with pytest.raises(ConfigError) as caught:
        open_listeners([f"{room}/s"], 5)
    assert connect(f"{room}/s") == 0
    for fd in (release, hold, ready, say_ready):
        os.close(fd)
    assert f"pid {owner()} (" in str(caught.value)


@linux_only
def test_a_live_socket_with_a_full_backlog_is_refused_too(room: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(f"{room}/s")
        server.listen(0)
        waiting = []
        while True:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            waiting.append(client)
            client.setblocking(False)
            if client.connect_ex(f"{room}/s") == errno.EAGAIN:
                break
        with pytest.raises(ConfigError, match=rf"pid {os.getpid()} \(this very process\)"):
            open_listeners([f"{room}/s"], 5)
        for client in waiting:
            client.close()
    assert (room / "s").is_socket()


@linux_only
def test_a_live_datagram_socket_is_refused(room: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"{room}/s")
        with pytest.raises(ConfigError, match="is listening there"):
            open_listeners([f"{room}/s"], 5)
    assert (room / "s").is_socket()


def _make_link(path: Path) -> None:
    path.with_name("target").write_text("kept")
    path.symlink_to("target")


def _make_link_to_dead_socket(path: Path) -> None:
    leave_dead_socket(path.with_name("target"))
    path.symlink_to("target")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.write_text("kept"), "a file is there"),
        (lambda path: path.mkdir(), "a directory is there"),
        (_make_link, "a symbolic link to target is there"),
        (_make_link_to_dead_socket, "a symbolic link to target is there"),
        (lambda path: path.symlink_to("nowhere"), "a symbolic link to nowhere is there"),
    ],
)
def test_what_is_no_socket_is_never_removed(
    room: Path, make: Callable[[Path], None], what: str
) -> None:
    make(room / "s")
    before = {path: path.lstat() for path in room.iterdir()}
    with pytest.raises(ConfigError, match=what):
        open_listeners([f"{room}/s"], 5)
    assert {path: path.lstat() for path in room.iterdir()} == before


def test_of_many_that_start_at_once_on_a_dead_socket_exactly_one_wins(room: Path) -> None:
    for attempt in range(10):
        path = room / f"s{attempt}"
        leave_dead_socket(path)
        start, go = os.pipe()
        done, leave = os.pipe()
        winners, tell = os.pipe()

        def contend(
            path: Path = path,
            start: int = start,
            done: int = done,
            tell: int = tell,
            ends: tuple[int, int] = (go, leave),
        ) -> str:
            for fd in ends:
                os.close(fd)
            os.read(start, 1)
            try:
                listener = unix_listener(str(path), 100)  # each loser's probe takes a place
            except ConfigError as error:
                os.write(tell, b"-")
                return str(error)
            os.write(tell, b"+")
            os.read(done, 1)
            # Whoever is at the path is the winner, still.
            assert connect(str(path)) == 0
            listener.socket.accept()[0].close()
            return "won"

        contenders = [start_child(contend) for _ in range(8)]
        os.close(go)
        told = b""
        while len(told) < len(contenders):
            told += os.read(winners, 8)
        os.close(leave)
        outcomes = [result() for result in contenders]
        for fd in (start, done, winners, tell):
            os.close(fd)
        assert outcomes.count("won") == 1, outcomes
        losers = [outcome for outcome in outcomes if outcome != "won"]
        assert all("is listening there" in outcome for outcome in losers), losers


def test_no_lock_file_is_left(room: Path, opened: list[Listener]) -> None:
    opened += open_listeners([f"{room}/s"], 5)
    assert [path.name for path in room.iterdir()] == ["s"]


def test_a_directory_that_somebody_keeps_locked_delays_the_start_and_no_more(
    room: Path,
    opened: list[Listener],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import fcntl

    monkeypatch.setattr(unixsocket, "LOCK_TIMEOUT_SECONDS", 0.02)
    fd = os.open(room, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        opened += open_listeners([f"{room}/s"], 5)
    finally:
        os.close(fd)
    assert "stays locked" in caplog.text


def test_close_removes_the_file_and_may_be_repeated(room: Path) -> None:
    listener = unix_listener(f"{room}/s", 5)
    listener.close()
    assert not (room / "s").exists()
    leave_dead_socket(room / "s")
    listener.close()
    assert (room / "s").exists()


def test_close_finds_the_file_after_a_change_of_directory(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(room)
    (listener,) = open_listeners(["./s"], 5)
    monkeypatch.chdir("/")
    listener.close()
    assert not (room / "s").exists()


def test_a_forked_child_does_not_remove_the_file(room: Path, opened: list[Listener]) -> None:
    opened += open_listeners([f"{room}/s"], 5)
    in_child(opened[0].close)
    assert connect(f"{room}/s") == 0


def test_the_socket_of_a_successor_is_not_removed(room: Path) -> None:
    old = unix_listener(f"{room}/s", 5)
    (room / "s").unlink()
    new = unix_listener(f"{room}/s", 5)
    old.close()
    assert connect(f"{room}/s") == 0
    new.close()
    assert not (room / "s").exists()


def test_a_file_that_may_not_be_removed_any_more_is_left_behind(room: Path) -> None:
    if not ROOT:
        pytest.skip(needs_root)

    def give_up_privileges() -> None:
        listener = unix_listener(f"{room}/s", 5)
        become(NOBODY, NOBODY, [])
        listener.close()

    in_child(give_up_privileges)
    assert connect(f"{room}/s") == errno.ECONNREFUSED


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("{room}/" + "x" * 108, "bytes, and a Unix socket's has at most"),
        ("{room}/none/s", "{room}/none does not exist; create it"),
        ("{room}/file/s", "{room}/file is not a directory"),
        ("unix:{room}/s?user=no-such-user", "no user 'no-such-user'"),
        ("unix:{room}/s?group=no-such-group", "no group 'no-such-group'"),
        ("unix:{room}/s?user=4294967295", "the highest is"),
    ],
)
def test_a_unix_socket_that_cannot_be_is_refused(room: Path, path: str, problem: str) -> None:
    (room / "file").touch()
    with pytest.raises(ConfigError) as caught:
        open_listeners([path.format(room=room)], 5)
    assert problem.format(room=room) in str(caught.value)
    assert [entry.name for entry in room.iterdir()] == ["file"]


def test_a_path_of_the_greatest_length_is_served(room: Path, opened: list[Listener]) -> None:
    if sys.platform != "linux":
        pytest.skip("the limit is Linux's")
    path = f"{room}/".ljust(107, "x")
    opened += open_listeners([path], 5)
    assert connect(path) == 0


def _refused(bind: str) -> Callable[[], str]:
    def work() -> str:
        if ROOT:
            become(NOBODY, NOBODY, [])
        with pytest.raises(ConfigError) as caught:
            open_listeners([bind], 5)
        return str(caught.value)

    return work


def test_a_directory_that_is_not_ours_to_write_is_named(room: Path) -> None:
    room.chmod(0o555)
    assert f"may not create files in {room}; choose" in in_child(_refused(f"{room}/s"))
    room.chmod(0o755)


def test_a_socket_cannot_be_given_away_without_privileges(room: Path) -> None:
    room.chmod(0o777)
    message = in_child(_refused(f"unix:{room}/s?user=0"))
    assert "only root may give it to another user" in message
    assert not (room / "s").exists()


@as_root
def test_the_dead_socket_of_another_user_in_a_sticky_directory_is_named(room: Path) -> None:
    leave_dead_socket(room / "s")
    (room / "s").chmod(0o666)
    room.chmod(0o1777)
    message = in_child(_refused(f"{room}/s"))
    assert "a dead socket of user root is there and cannot be removed" in message


@as_root
def test_a_socket_that_we_may_not_connect_to_stays(room: Path) -> None:
    leave_dead_socket(room / "s")
    (room / "s").chmod(0o600)
    room.chmod(0o777)
    assert "cannot be found out" in in_child(_refused(f"{room}/s"))
    assert (room / "s").is_socket()


# -- whether the web server can connect --------------------------------------------------------

STRANGER = pwd.getpwuid(NOBODY)


@pytest.mark.skipif(os.geteuid() == NOBODY, reason="nobody is no stranger here")
@pytest.mark.parametrize(
    ("options", "directory_mode", "says"),
    [
        ("", 0o755, ["?group=", "?mode=666", "mode 660"]),
        ("?mode=666", 0o755, []),
        ("?mode=606", 0o711, []),
        ("?mode=664", 0o755, ["?mode=666"]),
        ("?mode=666", 0o700, ["chmod o+x {room}", "mode 700"]),
        ("", 0o750, ["chmod o+x {room}", "?mode=666"]),
        pytest.param(f"?group={NOBODY}", 0o755, [], marks=as_root),
        pytest.param(f"?user={NOBODY}", 0o755, [], marks=as_root),
        # The owner's bits count for the owner, even where everybody else may.
        pytest.param(f"?user={NOBODY}&mode=066", 0o755, ["mode 66"], marks=as_root),
        pytest.param(f"?group={NOBODY}&mode=606", 0o755, ["mode 606"], marks=as_root),
    ],
)
def test_a_web_server_that_could_not_connect_is_warned_of(
    room: Path,
    opened: list[Listener],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    directory_mode: int,
    says: list[str],
) -> None:
    monkeypatch.setattr(
        unixsocket, "WEB_SERVER_USERS", ("no-such-user", STRANGER.pw_name, "no-such-user-2")
    )
    room.chmod(directory_mode)
    opened += open_listeners([f"unix:{room}/s{options}"], 5)
    warnings = [entry for entry in caplog.records if entry.levelno == logging.WARNING]
    assert len(warnings) == bool(says)
    for text in says:
        assert text.format(room=room) in caplog.text
    assert not says or STRANGER.pw_name in caplog.text
    assert {entry.name for entry in warnings} <= {"gateways.listener"}
    if ROOT:  # the warning is right: that user really cannot, or can

        def try_it() -> bool:
            become(NOBODY, STRANGER.pw_gid, os.getgrouplist(STRANGER.pw_name, STRANGER.pw_gid))
            return connect(f"{room}/s") == 0

        assert in_child(try_it) == str(not says)


def test_a_supplementary_group_is_enough_to_connect(
    room: Path,
    opened: list[Listener],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unixsocket, "WEB_SERVER_USERS", (STRANGER.pw_name,))
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, os.getegid()])
    opened += open_listeners([f"unix:{room}/s?group={os.getegid()}"], 5)
    assert not caplog.records


def test_no_warning_if_we_are_the_web_servers_user_ourselves(
    room: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = STRANGER if ROOT else pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(unixsocket, "WEB_SERVER_USERS", (user.pw_name,))
    room.chmod(0o777)

    def work() -> str:
        if ROOT:
            become(user.pw_uid, user.pw_gid, [])
        unix_listener(f"{room}/s", 5, mode=0)
        return caplog.text

    assert in_child(work) == ""


@pytest.mark.skipif(os.geteuid() == NOBODY, reason="nobody is no stranger here")
def test_no_warning_if_one_of_several_web_servers_users_can_connect(
    room: Path,
    opened: list[Listener],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(unixsocket, "WEB_SERVER_USERS", (STRANGER.pw_name, me))
    opened += open_listeners([f"unix:{room}/s?mode=600"], 5)
    assert not caplog.records


# -- abstract sockets --------------------------------------------------------------------------


@linux_only
@pytest.mark.parametrize("prefix", ["", "unix:"])
def test_an_abstract_socket_has_a_name_and_no_file(prefix: str, opened: list[Listener]) -> None:
    name = f"@gateways-{os.getpid()}"
    opened += open_listeners([prefix + name], 5)
    assert opened[0].address == name
    assert opened[0].is_unix
    assert connect("\0" + name[1:]) == 0
    with pytest.raises(ConfigError, match=rf"pid {os.getpid()} \(this very process\)"):
        open_listeners([name], 5)


@linux_only
def test_an_abstract_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 107 bytes"):
        open_listeners(["@" + "x" * 108], 5)


@linux_only
def test_a_path_with_a_leading_zero_byte_is_an_abstract_name(opened: list[Listener]) -> None:
    opened.append(unix_listener(f"\0gateways-{os.getpid()}", 5))
    assert opened[0].address == f"@gateways-{os.getpid()}"


# -- TCP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bind", "host"),
    [
        ("127.0.0.1:0", "127.0.0.1"),
        ("localhost:0", "127.0.0.1"),
        pytest.param("[::1]:0", "[::1]", marks=needs_ipv6),
        pytest.param("[::]:0", "[::]", marks=needs_ipv6),
        pytest.param(":0", "", marks=needs_ipv6),
    ],
)
def test_port_0_shows_as_the_real_port(bind: str, host: str, opened: list[Listener]) -> None:
    opened += open_listeners([bind], 5)
    (listener,) = opened
    port = listener.socket.getsockname()[1]
    assert port > 0
    assert listener.address == f"{host}:{port}"
    assert not listener.is_unix
    assert not listener.socket.getblocking()
    assert not listener.socket.get_inheritable()


@needs_ipv6
def test_of_a_names_addresses_that_of_ipv4_is_taken(
    opened: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: list(both))
    opened.append(tcp_listener("localhost", 0, 5))
    assert opened[0].address.startswith("127.0.0.1:")


@pytest.mark.parametrize("client_host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_all_interfaces_means_ipv4_and_ipv6(client_host: str, opened: list[Listener]) -> None:
    opened.append(tcp_listener("", 0, 5))
    port = opened[0].socket.getsockname()[1]
    socket.create_connection((client_host, port), timeout=DEADLINE_SECONDS).close()


@pytest.mark.parametrize("trouble", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_all_interfaces_are_those_of_ipv4_where_ipv6_is_switched_off(
    trouble: int, opened: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithoutIPv6(socket.socket):
        def bind(self, address: object) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(trouble, os.strerror(trouble))
            super().bind(address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    monkeypatch.setattr(socket, "socket", WithoutIPv6)
    opened.append(tcp_listener("", 0, 5))
    assert opened[0].address.startswith("0.0.0.0:")


@needs_ipv6
def test_both_wildcards_can_be_given_side_by_side(opened: list[Listener]) -> None:
    opened += open_listeners(["0.0.0.0:0"], 5)
    port = opened[0].socket.getsockname()[1]
    opened += open_listeners([f"[::]:{port}"], 5)
    assert opened[1].address == f"[::]:{port}"


@linux_only
def test_accepted_connections_do_not_delay_small_packets(opened: list[Listener]) -> None:
    opened.append(tcp_listener("127.0.0.1", 0, 5))
    server = opened[0].socket
    server.setblocking(True)
    with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_is_taken_again_at_once_after_a_restart(opened: list[Listener]) -> None:
    first = tcp_listener("127.0.0.1", 0, 5)
    name = first.socket.getsockname()
    first.socket.setblocking(True)
    with socket.create_connection(name) as client:
        accepted, _ = first.socket.accept()
        accepted.close()  # the side that closes first is the one that lingers in TIME_WAIT
        assert client.recv(1) == b""
    first.close()
    opened.append(tcp_listener(name[0], name[1], 5))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("127.0.0.1:0", "0.0.0.0"),
        pytest.param("[::1]:0", "[::1]", marks=needs_ipv6),
        pytest.param(":0", "127.0.0.1", marks=needs_ipv6),
        pytest.param("127.0.0.1:0", "", marks=needs_ipv6),
    ],
)
def test_a_port_in_use_is_refused_with_the_pid_of_its_owner(
    first: str, second: str, opened: list[Listener]
) -> None:
    opened += open_listeners([first], 5)
    port = opened[0].socket.getsockname()[1]
    with pytest.raises(ConfigError) as caught:
        open_listeners([f"{second}:{port}"], 5)
    assert f"'{second}:{port}': port {port} is in use by" in str(caught.value)
    if sys.platform == "linux":
        assert f"pid {os.getpid()} (this very process)" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("192.0.2.1", "no address 192.0.2.1"),
        ("no-such-host.invalid", "cannot be resolved"),
        ("a..b", "cannot be resolved"),
    ],
)
def test_a_host_that_is_not_here_is_refused(host: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        tcp_listener(host, 0, 5)


# -- all or nothing ----------------------------------------------------------------------------


def test_nothing_stays_open_if_one_address_fails(room: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    descriptors = os.listdir("/dev/fd")
    with pytest.raises(ConfigError, match="none does not exist"):
        open_listeners([f"{room}/s", f"127.0.0.1:{port}", f"{room}/none/s"], 5)
    assert os.listdir("/dev/fd") == descriptors
    assert not list(room.iterdir())
    tcp_listener("127.0.0.1", port, 5).close()


def test_no_address_is_opened_before_all_are_understood(room: Path) -> None:
    leave_dead_socket(room / "s")
    before = (room / "s").stat()
    with pytest.raises(ConfigError, match="did you mean"):
        open_listeners([f"{room}/s", "word"], 5)
    assert (room / "s").stat() == before


# -- inherited descriptors ---------------------------------------------------------------------


@pytest.fixture(params=["unix", "tcp", pytest.param("tcp6", marks=needs_ipv6)])
def passed(request: pytest.FixtureRequest, room: Path) -> Iterator[socket.socket]:
    """A listening socket, as a parent process opens it: blocking, of any family."""
    family, name = {
        "unix": (socket.AF_UNIX, f"{room}/passed"),
        "tcp": (socket.AF_INET, ("127.0.0.1", 0)),
        "tcp6": (socket.AF_INET6, ("::1", 0)),
    }[request.param]
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind(name)  # type: ignore[arg-type]
        sock.listen(5)
        yield sock


def exchange(listener: Listener) -> bytes:
    """What a listener's accepted connection reads from a client."""
    with socket.socket(listener.socket.family, socket.SOCK_STREAM) as client:
        client.connect(listener.socket.getsockname())
        client.sendall(b"hello")
        listener.socket.setblocking(True)
        with listener.socket.accept()[0] as accepted:
            return accepted.recv(5)


@pytest.mark.parametrize("form", ["fd://{}", "fd:{}"])
def test_a_passed_socket_of_any_family_is_served(form: str, passed: socket.socket) -> None:
    passed.set_inheritable(True)
    (listener,) = open_listeners([form.format(passed.fileno())], 5)
    assert listener.address == f"fd://{passed.fileno()}"
    assert listener.is_unix == (passed.family == socket.AF_UNIX)
    assert listener.socket.family == passed.family
    assert not listener.socket.getblocking()
    assert not listener.socket.get_inheritable()
    assert not passed.get_inheritable()
    assert exchange(listener) == b"hello"
    listener.close()
    assert listening_socket_on(passed.fileno())
    if passed.family == socket.AF_UNIX:
        assert Path(passed.getsockname()).exists()


def test_a_passed_socket_keeps_its_own_backlog(room: Path, opened: list[Listener]) -> None:
    """listen() again would change it behind the back of those who share the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(f"{room}/passed")
        sock.listen(0)
        opened += open_listeners([f"fd://{sock.fileno()}"], 1000)
        clients = []
        codes = []
        for _ in range(5):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            codes.append(client.connect_ex(f"{room}/passed"))
            clients.append(client)
        for client in clients:
            client.close()
    assert any(codes)


def test_without_addresses_the_socket_on_descriptor_0_is_served(passed: socket.socket) -> None:
    def serve() -> str:
        os.dup2(passed.fileno(), 0)
        os.close(1)  # as FastCGI allows; the duplicate must not become somebody's stdout
        passed.close()
        (listener,) = open_listeners([], 5, environ={})
        assert listener.socket.fileno() > 2
        assert exchange(listener) == b"hello"
        assert os.path.sameopenfile(0, os.open(os.devnull, os.O_RDONLY))
        assert os.get_inheritable(0)
        return listener.address

    assert in_child(serve) == "fd://0"


def test_descriptor_0_is_left_alone_if_another_address_fails(
    passed: socket.socket, room: Path
) -> None:
    def serve() -> bool:
        os.dup2(passed.fileno(), 0)
        with pytest.raises(ConfigError):
            open_listeners(["fd://0", f"{room}/none/s"], 5)
        return listening_socket_on(0)

    assert in_child(serve) == "True"


def _on_0(make: Callable[[], int | None]) -> Callable[[], str]:
    def work() -> str:
        fd = make()
        if fd is None:
            os.close(0)
        elif fd != 0:
            os.dup2(fd, 0)
        assert not listening_socket_on(0)
        assert describe_descriptor(0)
        with pytest.raises(ConfigError) as caught:
            open_listeners([], 5, environ={})
        message = str(caught.value)
        with pytest.raises(ConfigError) as caught:
            open_listeners(["fd://0"], 5)
        assert describe_descriptor(0) in str(caught.value)
        return message

    return work


def _bound() -> int:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock.detach()


def _connected() -> int:
    server = socket.create_server(("127.0.0.1", 0))
    name = server.getsockname()
    server.detach()  # the child's end closes it
    return socket.create_connection(name).detach()


def _listening_seqpacket() -> int:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.bind("")
    sock.listen()
    return sock.detach()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: None, "is not open"),
        (lambda: os.open("/dev/null", os.O_RDONLY), "is a device (/dev/null)"),
        (lambda: os.open("/", os.O_RDONLY), "is a directory (/)"),
        (lambda: os.open("/etc/passwd", os.O_RDONLY), "is a file (/etc/passwd)"),
        (lambda: os.pipe()[0], "is a pipe"),
        (lambda: os.openpty()[1], "is a terminal (/dev/pts/"),
        (_bound, "is a socket that neither listens nor is connected (127.0.0.1:"),
        (_connected, "is a connected socket (127.0.0.1:"),
        (lambda: socket.socketpair()[0].detach(), "is a connected socket (unnamed"),
        (
            lambda: socket.socket(type=socket.SOCK_DGRAM).detach(),
            "is a socket of another type than stream",
        ),
        pytest.param(
            _listening_seqpacket, "is a socket of another type than stream", marks=linux_only
        ),
    ],
)
def test_without_a_listening_socket_the_error_says_what_is_there_and_how_to_run(
    make: Callable[[], int | None], what: str
) -> None:
    message = in_child(_on_0(make))
    if sys.platform == "linux":
        assert f"descriptor 0 {what}" in message
    assert "--bind unix:/run/app.sock" in message


def test_a_listening_socket_is_described_with_its_address(passed: socket.socket) -> None:
    assert listening_socket_on(passed.fileno())
    assert describe_descriptor(passed.fileno()).startswith("a listening socket (")
    assert passed.getblocking()


# -- systemd -----------------------------------------------------------------------------------


def test_systemds_sockets_are_served_and_its_variables_removed(passed: socket.socket) -> None:
    def serve() -> tuple[list[str], dict[str, str]]:
        source = passed.detach()
        high = [os.dup2(source, fd) for fd in (100, 101)]
        for fd, passed_fd in zip(high, (3, 4), strict=True):
            os.dup2(fd, passed_fd)
        environ = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": "2",
            "LISTEN_FDNAMES": "web:http",
            "LISTEN_PIDFDID": "1",
            "HOME": "/",
        }
        listeners = open_listeners([], 5, environ=environ)
        assert not os.get_inheritable(3)
        assert exchange(listeners[1]) == b"hello"
        return [str(listener) for listener in listeners], environ

    # A name that is a protocol's chooses it.
    assert in_child(serve) == "(['fcgi:fd://3', 'http:fd://4'], {'HOME': '/'})"


def _with_systemd(**variables: str) -> Callable[[], str]:
    def work() -> str:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(0, 3)
        environ = {name: value.format(me=os.getpid()) for name, value in variables.items()}
        with pytest.raises(ConfigError) as caught:
            open_listeners([], 5, environ=environ)
        assert not environ
        return str(caught.value)

    return work


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, "for process 1 and not for this one"),
        ({"LISTEN_FDS": "1"}, "for process (none) and not for this one"),
        ({"LISTEN_PID": "{me}"}, "descriptor 0 is"),
        ({"LISTEN_PID": "{me}", "LISTEN_FDS": "0"}, "descriptor 0 is"),
        ({"LISTEN_PID": "{me}", "LISTEN_FDS": "x"}, "LISTEN_FDS is 'x'"),
        ({"LISTEN_PID": "{me}", "LISTEN_FDS": "-1"}, "LISTEN_FDS is '-1'"),
        ({"LISTEN_PID": "{me}", "LISTEN_FDS": "1"}, "'fd://3': the descriptor is a device"),
        (
            {"LISTEN_PID": "{me}", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"},
            "'web', passed by systemd, is a device (/dev/null), not a listening stream socket; "
            "for systemd that is ListenStream=",
        ),
    ],
)
def test_what_systemd_did_not_pass_to_us_is_explained(
    variables: dict[str, str], problem: str
) -> None:
    assert problem in in_child(_with_systemd(**variables))


# -- the standard descriptors ------------------------------------------------------------------


@pytest.mark.parametrize("closed", [(0,), (1, 2), (2,), (0, 1, 2)])
def test_closed_standard_descriptors_are_reopened(closed: tuple[int, ...]) -> None:
    names = ("stdin", "stdout", "stderr")

    def work() -> str:
        before = {name: getattr(sys, name) for name in names}
        for fd in closed:
            os.close(fd)
            setattr(sys, names[fd], None)
        reopen_standard_descriptors()
        null = os.stat(os.devnull)
        for fd, name in enumerate(names):
            if fd in closed:
                assert os.path.samestat(os.fstat(fd), null)
                assert os.get_inheritable(fd)
                assert getattr(sys, name).fileno() == fd
            else:
                assert getattr(sys, name) is before[name]
        if 0 in closed:
            assert sys.stdin.read() == ""
        if 1 in closed:
            print("\udcff")
            sys.stdout.flush()
        if 2 in closed:
            sys.stderr.write("lost")
        with socket.socket() as sock:
            assert sock.fileno() > 2
        return "done"

    assert in_child(work) == "done"


def test_a_file_that_took_the_number_of_stderr_is_not_written_to(room: Path) -> None:
    def work() -> str:
        os.close(2)
        sys.stderr = None
        assert os.open(room / "data", os.O_WRONLY | os.O_CREAT) == 2
        reopen_standard_descriptors()
        stderr: TextIO | None = sys.stderr
        assert stderr is not None
        print("stray", file=stderr, flush=True)
        assert stderr.fileno() > 2
        return (room / "data").read_text()

    assert in_child(work) == ""


def test_standard_descriptors_that_are_open_are_left_alone() -> None:
    def work() -> bool:
        before = [os.fstat(fd) for fd in (0, 1, 2)], sys.stdin, sys.stdout, sys.stderr
        reopen_standard_descriptors()
        after = [os.fstat(fd) for fd in (0, 1, 2)], sys.stdin, sys.stdout, sys.stderr
        return before == after

    assert in_child(work) == "True"
