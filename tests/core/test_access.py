"""Who may connect: tables of peers against lists, and real peers of other users."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.core import peers
from gateways.core.access import AccessList, describe_peer
from gateways.errors import ConfigError

from .forks import NOBODY, become, needs_root, start_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason=needs_root)

ME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = grp.getgrgid(os.getegid()).gr_name
STRANGER = pwd.getpwuid(NOBODY).pw_name
# SO_PEERCRED is of no interest where the family is TCP's, so no descriptor is needed.
NO_FD = -1


def tcp_refusal(access: AccessList, ip: str) -> str | None:
    """The refusal of a peer at this address."""
    if ":" in ip:
        return access.refusal(NO_FD, socket.AF_INET6, (ip, 4567, 0, 0))
    return access.refusal(NO_FD, socket.AF_INET, (ip, 4567))


@pytest.fixture
def own_peer() -> Iterator[int]:
    """A connected Unix socket whose peer is this very process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        yield ours.fileno()


def test_without_options_there_is_nothing_to_check(own_peer: int) -> None:
    for variable in (None, "", " "):
        access = AccessList.from_options((), variable)
        assert access.unrestricted
        assert access.refusal(own_peer, socket.AF_UNIX, "") is None
        assert tcp_refusal(access, "192.0.2.1") is None


@pytest.mark.parametrize(
    ("allow", "ip", "allowed"),
    [
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["192.0.2.1"], "::ffff:192.0.2.1", True),
        (["192.0.2.1"], "::ffff:192.0.2.2", False),
        (["10.0.0.0/8"], "10.255.255.255", True),
        (["10.0.0.0/8"], "11.0.0.0", False),
        (["10.0.0.0/255.0.0.0"], "10.1.2.3", True),
        (["10.0.0.0/8", "192.0.2.1"], "192.0.2.1", True),
        (["0.0.0.0/0"], "192.0.2.1", True),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["::/0"], "2001:db8::1", True),
        (["::/0"], "192.0.2.1", False),
        (["::1"], "::1", True),
        (["2001:db8::/32"], "2001:db8:1::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["::ffff:192.0.2.1"], "192.0.2.1", True),
        (["::ffff:10.0.0.0/104"], "10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "11.1.2.3", False),
        ([f"user:{ME}", f"group:{MY_GROUP}"], "127.0.0.1", False),
        ([f"user:{ME}", "127.0.0.1"], "127.0.0.1", True),
    ],
)
def test_a_tcp_peer_is_allowed_by_its_address(allow: list[str], ip: str, allowed: bool) -> None:
    access = AccessList.from_options(allow, None)
    assert not access.unrestricted
    reason = tcp_refusal(access, ip)
    assert (reason is None) == allowed
    if reason is not None:
        assert ip.removeprefix("::ffff:") in reason
        assert "4567" in reason
        assert f"--allow {', '.join(allow)}" in reason


@pytest.mark.parametrize(
    ("allow", "allowed"),
    [
        ([f"user:{ME}"], True),
        ([f"user:{os.geteuid()}"], True),
        ([f"group:{MY_GROUP}"], True),
        ([f"group:{os.getegid()}"], True),
        ([f"user:{os.geteuid() + 1}"], False),
        ([f"group:{os.getegid() + 4242}"], False),
        ([f"user:{os.geteuid() + 1}", f"group:{MY_GROUP}"], True),
        (["0.0.0.0/0", "::/0"], False),
        (["127.0.0.1", f"user:{ME}"], True),
    ],
)
def test_a_unix_peer_is_allowed_by_its_user_or_group(
    allow: list[str], allowed: bool, own_peer: int
) -> None:
    access = AccessList.from_options(allow, None)
    reason = access.refusal(own_peer, socket.AF_UNIX, "")
    assert (reason is None) == allowed
    if reason is not None:
        assert f"unix peer pid {os.getpid()} user {ME}" in reason
        assert f"--allow {', '.join(allow)}" in reason
    os.fstat(own_peer)  # the check has not closed it


@as_root
@pytest.mark.parametrize(
    ("allow", "groups", "allowed"),
    [
        (f"user:{STRANGER}", [], True),
        ("user:root", [], False),
        ("user:root", [0], False),
        (f"group:{NOBODY}", [], True),
        ("group:4711", [], False),
        ("group:4711", [4710, 4711, 4712], True),
        ("group:4711", [4710, 4712], False),
        ("group:4711", list(range(4500, 4800)), False),  # too many to be told: the database counts
        ("group:0", [], False),
    ],
)
def test_a_process_of_another_user_is_known_by_its_own_groups(
    allow: str, groups: list[int], allowed: bool
) -> None:
    directory = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))
    directory.chmod(0o755)
    access = AccessList.from_options([allow], None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(f"{directory}/s")
        (directory / "s").chmod(0o666)
        server.listen()

        def visit() -> int:
            become(NOBODY, NOBODY, groups)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(f"{directory}/s")
                client.recv(1)
            return os.getpid()

        visitor = start_child(visit)
        accepted, address = server.accept()
        with accepted:
            reason = access.refusal(accepted.fileno(), socket.AF_UNIX, address)
        pid = visitor()
    shutil.rmtree(directory)
    assert (reason is None) == allowed
    assert reason is None or f"unix peer pid {pid} user {STRANGER}" in reason


def test_where_the_kernel_does_not_tell_groups_the_database_counts(
    own_peer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_SO_PEERGROUPS", None)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4711])
    access = AccessList.from_options(["group:4711"], None)
    assert access.refusal(own_peer, socket.AF_UNIX, "") is None


def test_where_the_kernel_does_not_tell_who_it_is_a_unix_peer_is_refused(
    own_peer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_SO_PEERCRED", None)
    reason = AccessList.from_options([f"user:{ME}"], None).refusal(own_peer, socket.AF_UNIX, "")
    assert reason is not None
    assert "unix peer of unknown user" in reason


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ("", "give 192.0.2.1"),
        ("localhost", "give 192.0.2.1"),
        ("192.0.2", "give 192.0.2.1"),
        ("192.0.2.256", "give 192.0.2.1"),
        ("192.0.2.1:9000", "give 192.0.2.1"),
        ("[::1]", "give 192.0.2.1"),
        ("10.0.0.0/33", "give 192.0.2.1"),
        ("10.0.0.1/8", "give 10.0.0.0/8"),
        ("user:", "no user ''"),
        ("user:no-such-user", "no user 'no-such-user'"),
        ("group:no-such-group", "no group 'no-such-group'"),
        ("user:4294967295", "the highest is"),
        ("group:" + "9" * 5000, "the highest is"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_right_form(entry: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AccessList.from_options(["127.0.0.1", entry], None)
    assert f"cannot allow {entry!r}: " in str(caught.value)
    assert remedy in str(caught.value)


# -- FCGI_WEB_SERVER_ADDRS (FastCGI 1.0, section 3.2) ------------------------------------------


@pytest.mark.parametrize(
    ("variable", "ip", "allowed"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1,192.0.2.2", "192.0.2.2", True),
        ("192.0.2.1, 192.0.2.2", "192.0.2.2", True),
        ("192.0.2.1", "192.0.2.3", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "::ffff:192.0.2.3", False),
        ("192.0.2.1", "2001:db8::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_a_peer_must_be_among_the_web_servers_addresses(
    variable: str, ip: str, allowed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    access = AccessList.from_options((), variable)
    assert not access.unrestricted
    reason = tcp_refusal(access, ip)
    assert (reason is None) == allowed
    assert reason is None or "FCGI_WEB_SERVER_ADDRS" in reason
    assert not caplog.records


def test_a_peer_that_does_not_come_by_tcp_is_none_of_the_web_servers(own_peer: int) -> None:
    access = AccessList.from_options((), "127.0.0.1")
    reason = access.refusal(own_peer, socket.AF_UNIX, "")
    assert reason is not None
    assert f"unix peer pid {os.getpid()} user {ME} does not come by TCP" in reason
    assert "FCGI_WEB_SERVER_ADDRS" in reason


@pytest.mark.parametrize(
    "wrong", ["localhost", "192.0.2.256", "192.0.2", "192.0.2.1:80", "10.0.0.0/8", "::1", ""]
)
def test_a_wrong_web_server_address_is_logged_and_ignored(
    wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    access = AccessList.from_options((), f"192.0.2.1,{wrong},192.0.2.2")
    errors = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
    assert len(errors) == 1
    assert f"FCGI_WEB_SERVER_ADDRS: {wrong!r}" in errors[0]
    assert tcp_refusal(access, "192.0.2.1") is None
    assert tcp_refusal(access, "192.0.2.2") is None
    assert tcp_refusal(access, "192.0.2.3") is not None


def test_if_no_web_server_address_is_right_everybody_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    access = AccessList.from_options((), "localhost")
    assert not access.unrestricted
    assert tcp_refusal(access, "127.0.0.1") is not None
    assert "every connection is refused" in caplog.text


@pytest.mark.parametrize(
    ("ip", "refused_by"),
    [
        ("10.0.0.1", None),
        ("10.0.0.2", "FCGI_WEB_SERVER_ADDRS"),
        ("192.0.2.1", "--allow"),
        ("192.0.2.2", "FCGI_WEB_SERVER_ADDRS"),
    ],
)
def test_if_both_are_given_both_must_agree(ip: str, refused_by: str | None) -> None:
    access = AccessList.from_options(["10.0.0.0/8"], "10.0.0.1,192.0.2.1")
    reason = tcp_refusal(access, ip)
    assert (reason is None) == (refused_by is None)
    assert reason is None or refused_by is None or refused_by in reason


# -- names of peers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "address", "name"),
    [
        (socket.AF_INET, ("127.0.0.1", 4567), "127.0.0.1:4567"),
        (socket.AF_INET6, ("::1", 4567, 0, 0), "[::1]:4567"),
        (socket.AF_INET6, ("::ffff:192.0.2.1", 4567, 0, 0), "192.0.2.1:4567"),
        (socket.AF_NETLINK, (1, 2), "peer (1, 2)"),
    ],
)
def test_a_peer_is_named_for_the_log(family: int, address: tuple[object, ...], name: str) -> None:
    assert describe_peer(NO_FD, family, address) == name


def test_a_unix_peer_is_named_by_process_and_user(own_peer: int) -> None:
    name = f"unix peer pid {os.getpid()} user {ME}"
    assert describe_peer(own_peer, socket.AF_UNIX, "") == name


def test_a_family_that_nobody_expected_is_refused() -> None:
    access = AccessList.from_options(["0.0.0.0/0", f"user:{ME}"], None)
    assert access.refusal(NO_FD, socket.AF_NETLINK, (1, 2)) is not None
