"""What people ran under mod_wsgi, behind mod_proxy_fcgi, as docs/mod_wsgi.md has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from grp import getgrnam
from pathlib import Path
from pwd import getpwnam

import pytest

from .client import Site
from .frontends import apache, backend_of
from .harness import WEB_SERVER_USER, Server, gateway, gateway_on_tcp

# As a guide has it; @HERE@ is /var/www/yourapplication there.
SCRIPT = """\
import sys
sys.path.insert(0, '@HERE@')

from yourapplication import app as application
"""
APPLICATION = """\
import os

from of_the_environment import NAME

def app(environ, start_response):
    who = os.getuid(), os.getgid()
    paths = environ["SCRIPT_NAME"], environ["PATH_INFO"]
    imitated = [name for name in environ if name.startswith("mod_wsgi.")]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(("VERSION", NAME, who, paths, imitated)).encode()]
"""
ADMIN = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(("admin", environ["SCRIPT_NAME"], environ["PATH_INFO"])).encode()]
"""


@pytest.fixture(scope="module")
def venv(directory: Path) -> Path:
    """A virtual environment with one package that nobody else has."""
    path = directory / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    version = "{}.{}".format(*sys.version_info[:2])
    package = path / "lib" / f"python{version}" / "site-packages" / "of_the_environment.py"
    package.write_text("NAME = 'of the venv'\n")
    return path


def write(directory: Path, version: str) -> None:
    """The application; another version has another size, by which stale bytecode is seen."""
    new = directory / "new"
    new.write_text(APPLICATION.replace("VERSION", version))
    new.rename(directory / "yourapplication.py")


@contextmanager
def deployed(place: Path, mount: str, *words: str, app: str) -> Iterator[tuple[Site, Server]]:
    """Behind Apache, at the root by a Unix socket, at a prefix by TCP."""
    place.mkdir()
    options = (*words, "--script-name", mount)
    if mount:
        with (
            gateway_on_tcp(place, *options, app=app) as (server, port),
            apache(
                place,
                "proxy-fcgi-tcp.conf",
                prefix=mount,
                BACKEND=backend_of("apache", "fcgi", port),
            ) as site,
        ):
            yield site, server
    else:
        with (
            gateway(place, *options, app=app) as (server, path),
            apache(
                place, "proxy-fcgi-unix.conf", BACKEND=backend_of("apache", "fcgi", path)
            ) as site,
        ):
            yield site, server


@pytest.mark.parametrize("mount", ["", "/yourapplication"], ids=["root", "prefix"])
def test_a_wsgi_file_its_user_its_environment_and_a_touch(
    own_directory: Path, venv: Path, mount: str
) -> None:
    www = own_directory / "www"
    www.mkdir()
    script = www / "yourapplication.wsgi"
    script.write_text(SCRIPT.replace("@HERE@", str(www)))
    write(www, "the first")
    user = WEB_SERVER_USER
    words = ["--user", user, "--group", user] if user else []
    words += ["--threads", "5", "--reload-on-touch", str(script), "--venv", str(venv)]
    with deployed(own_directory / "site", mount, *words, app=str(script)) as (site, server):
        version, name, who, paths, imitated = eval(site.get("/page").text)
        assert (version, name) == ("the first", "of the venv")
        assert user is None or who == (getpwnam(user).pw_uid, getgrnam(user).gr_gid)
        assert paths == (mount, "/page")
        assert imitated == []
        write(www, "the second version")
        assert eval(site.get("/page").text)[0] == "the first"
        os.utime(script)
        server.wait_until(
            lambda: eval(site.get("/page").text)[0] == "the second version", "the new code serves"
        )
        assert "generation 2" in server.log
        assert "of 5 threads" in server.log


@pytest.mark.parametrize("mount", ["", "/yourapplication"], ids=["root", "prefix"])
def test_several_applications(own_directory: Path, mount: str) -> None:
    script = own_directory / "admin.wsgi"
    script.write_text(ADMIN)
    mounts = (f"--mount=/admin={script}", f"--mount=/admin/two={script}")
    with deployed(own_directory / "site", mount, *mounts, app="flaskapp:app") as (site, _):
        variables = site.get("/environ?q=%2F").json()
        assert (variables["SCRIPT_NAME"], variables["PATH_INFO"]) == (mount, "/environ")
        for path, name, rest in [
            ("/admin", "/admin", ""),
            ("/admin/", "/admin", "/"),
            ("/admin/a%20b/J%C3%BCrgen", "/admin", "/a b/J\xc3\xbcrgen"),
            ("/admin/twofold", "/admin", "/twofold"),
            ("/admin/two/", "/admin/two", "/"),
            ("/%61dmin/x", "/admin", "/x"),
        ]:
            assert eval(site.get(path).text) == ("admin", mount + name, rest)
        assert site.get("/administrator").status == 404  # Flask's
        assert site.get("/greet/J%C3%BCrgen").text == "Hello Jürgen"
