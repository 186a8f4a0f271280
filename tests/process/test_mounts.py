"""Several applications in one server: loaded, checked and reloaded like a single one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.client import request
from tests.process.running import APPLICATION, Running, run, running, write_module
from tests.servers.harness import accepts

SHOP = """
import os

with open("imports", "a") as file:
    file.write("shop\\n")

def application(environ, start_response):
    path = f"{environ['SCRIPT_NAME']!r} {environ['PATH_INFO']!r}"
    ok = environ["PATH_INFO"] != "/broken"
    start_response("200 OK" if ok else "500 Oops", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} VERSION {path}".encode()]
"""
AUTHORIZER = """
from gateways.fcgi import authorizer

@authorizer
def app(environ):
    return None
"""
BOTH = pytest.mark.parametrize("options", [(), ("--preload",)], ids=["own", "preload"])
ALONE = ("-w", "0")


def write_shop(folder: Path, version: str, name: str = "shop.py") -> None:
    # Its size is another one each time: by that the bytecode of before is seen to be stale.
    write_module(folder, SHOP.replace("VERSION", version), name)


def answer(server: Running, path: str) -> str:
    """What is answered, without the process."""
    return server.get(path).text.partition(" ")[2]


@pytest.mark.parametrize("options", [(), ("--preload",), ALONE], ids=["own", "preload", "alone"])
def test_each_path_finds_its_application(tmp_path: Path, options: tuple[str, ...]) -> None:
    write_shop(tmp_path, "s")
    write_shop(tmp_path, "a", "admin.wsgi")
    mounts = ("--mount", "/shop=shop", "--mount", "/shop/admin=admin.wsgi")
    with running(tmp_path, *options, *mounts, serving=False) as server:
        server.wait_for_log("serving app:app, /shop=shop, /shop/admin=admin.wsgi on")
        assert answer(server, "/shop/cart") == "s '/shop' '/cart'"
        assert answer(server, "/shop/admin/x") == "a '/shop/admin' '/x'"
        assert answer(server, "/shopping") == "1 /shopping"
        if options != ALONE:
            shown = run(tmp_path, "status", "--pidfile", str(server.pidfile)).stdout
            assert shown.startswith("app:app, /shop=shop, /shop/admin=admin.wsgi on ")


@BOTH
def test_a_reload_brings_the_new_code_of_all(tmp_path: Path, options: tuple[str, ...]) -> None:
    write_shop(tmp_path, "one")
    with running(tmp_path, *options, "--mount", "/shop=shop", serving=False) as server:
        server.wait_for_log("serving app:app")
        write_shop(tmp_path, "another")
        (tmp_path / "version").write_text("2")
        assert server.reload().returncode == 0
        server.wait_until(lambda: answer(server, "/shop/") == "another '/shop' '/'", "the shop")
        assert server.get().version == "2"


@BOTH
def test_one_that_does_not_load_any_more_leaves_all_as_they_were(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    write_shop(tmp_path, "one")
    with running(tmp_path, *options, "--mount", "/shop=shop", serving=False) as server:
        server.wait_for_log("serving app:app")
        (tmp_path / "version").write_text("2")
        write_module(tmp_path, "import not_here\n", "shop.py")
        done = server.reload()
        assert done.returncode == 1
        assert "cannot load shop, mounted at /shop" in done.stderr
        assert "No module named 'not_here'" in done.stderr
        assert answer(server, "/shop") == "one '/shop' ''"
        assert server.get().version == "1"


# What is given, and what the operator reads.
REFUSED = {
    "no module": (("--mount", "/shop=nowhere", "app:app"), "cannot load nowhere, mounted at /shop"),
    "at the root": (("--mount", "/shop=shop", "nowhere"), "cannot load nowhere, mounted at /\n"),
    "no application": (("--mount", "/shop=app:VERSION"), "which is no WSGI application"),
    "an authorizer": (("--mount", "/shop=auth", "app:app"), "cannot load auth, mounted at /shop"),
    "an authorizer's role": (("--mount", "/shop=auth", "app:app"), "a FastCGI role of its own"),
    "an authorizer at the root": (("--mount", "/shop=shop", "auth"), "a FastCGI role of its own"),
    "the check": (("--mount", "/shop=shop", "--check", "/shop/broken"), "--check /shop/broken"),
}


@pytest.mark.parametrize("command", [(), ("--check-config",)], ids=["start", "check"])
@pytest.mark.parametrize(("words", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_one_ends_the_start_and_names_it(
    tmp_path: Path, command: tuple[str, ...], words: tuple[str, ...], told: str
) -> None:
    (tmp_path / "version").write_text("1")
    write_module(tmp_path, APPLICATION)
    write_shop(tmp_path, "one")
    write_module(tmp_path, AUTHORIZER, "auth.py")
    done = run(tmp_path, "fcgi", "--bind", "./app.sock", *command, *words)
    assert done.returncode == 3
    assert told in done.stderr
    assert not accepts(str(tmp_path / "app.sock"))


def test_without_an_application_at_the_root_the_rest_is_404(tmp_path: Path) -> None:
    write_shop(tmp_path, "one")
    write_module(tmp_path, '[mount]\n"/shop" = "shop"\n', "site.toml")
    options = ("--config", "site.toml", "--check", "/shop/health")
    with running(tmp_path, *options, application="--workers=1", serving=False) as server:
        server.wait_for_log("serving /shop=shop on")
        assert answer(server, "/shop/") == "one '/shop' '/'"
        assert server.get("/").status == 404
        assert "nothing at this address" in server.get("/shops").text


def test_a_reload_reads_the_table_again(tmp_path: Path) -> None:
    write_shop(tmp_path, "one")
    config = tmp_path / "gateways.toml"
    config.write_text('mount = ["/shop=shop"]\n')
    with running(tmp_path, serving=False) as server:
        server.wait_for_log("serving app:app, /shop=shop on")
        config.write_text('[mount]\n"/store" = "shop"\n')
        assert server.reload().returncode == 0
        server.wait_until(lambda: answer(server, "/store/x") == "one '/store' '/x'", "its new name")
        assert answer(server, "/shop") == "1 /shop"


def test_files_of_one_name_are_told_apart_and_a_file_runs_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_shop(tmp_path / name, name, "app.wsgi")
    mounts = [f"--mount=/{at}={file}/app.wsgi" for at, file in ("1a", "2b", "3a")]
    with running(tmp_path, *mounts, serving=False) as server:
        server.wait_for_log("serving app:app")
        found = [answer(server, f"/{at}/").split()[0] for at in "123"]
        assert found == ["a", "b", "a"]
        assert (tmp_path / "imports").read_text().count("shop") == 2


def test_hooks_and_roles_are_those_of_the_server(tmp_path: Path) -> None:
    write_module(tmp_path, "def ready(process): open('ready', 'w').close()\n", "site_hooks.py")
    (tmp_path / "gateways.toml").write_text('[hooks]\non_ready = "site_hooks:ready"\n')
    source = (
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [f\"{environ['FCGI_ROLE']} {environ['SCRIPT_NAME']}\".encode()]\n"
    )
    options = ("--role=responder", "--role=authorizer", "--mount=/shop=app:app")
    with running(tmp_path, *options, protocol="fcgi", source=source, serving=False) as server:
        server.wait_for_log("serving app:app")
        assert (tmp_path / "ready").exists()
        for path, name in (("/", ""), ("/shop/", "/shop")):
            for role in ("responder", "authorizer"):
                asked = request(f"fcgi:{server.address}", path, role=role)
                assert asked.body.decode() == f"{role.upper()} {name}"
