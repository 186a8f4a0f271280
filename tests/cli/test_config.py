"""``gateways config``: what it prints and refuses; tests/servers/test_config.py boots it."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner, Result

from gateways.cli import templates
from gateways.cli.config import FRONT_ENDS
from gateways.cli.group import gateways
from gateways.cli.webservers import WEB_SERVERS

BIND = ("--bind", "unix:/run/app.sock")


def config(*words: str) -> Result:
    return CliRunner().invoke(gateways, ["config", *words])


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("options", [(), ("--prefix", "/x")], ids=["root", "prefix"])
def test_nothing_is_left_to_fill_in(front_end: str, options: tuple[str, ...]) -> None:
    result = config(front_end, *BIND, *options, "myapp:app")
    assert result.exit_code == 0, result.output
    assert not re.search(r"@[A-Z_]+@|^[ \t]*[#;] \[", result.stdout, re.MULTILINE)
    assert "/run/app.sock" in result.stdout


# what --bind says -> what each web server calls it
ADDRESSES = {
    "unix:/run/app.sock": (
        "fastcgi_pass unix:/run/app.sock;",
        '"unix:/run/app.sock|fcgi://localhost/"',
        '"socket" => "/run/app.sock"',
        "reverse_proxy unix//run/app.sock",
        "server one unix@/run/app.sock proto fcgi",
    ),
    "fcgi:10.1.2.3:9000": (
        "fastcgi_pass 10.1.2.3:9000;",
        '"fcgi://10.1.2.3:9000/"',
        '"host" => "10.1.2.3", "port" => 9000',
        "reverse_proxy 10.1.2.3:9000",
        "server one 10.1.2.3:9000 proto fcgi",
    ),
    "[::1]:9000": (
        "fastcgi_pass [::1]:9000;",
        '"fcgi://[::1]:9000/"',
        '"host" => "::1", "port" => 9000',
        "reverse_proxy [::1]:9000",
        "server one [::1]:9000 proto fcgi",
    ),
    # On every interface, so on this one as well.
    ":9000": (
        "fastcgi_pass 127.0.0.1:9000;",
        '"fcgi://127.0.0.1:9000/"',
        '"host" => "127.0.0.1", "port" => 9000',
        "reverse_proxy 127.0.0.1:9000",
        "server one 127.0.0.1:9000 proto fcgi",
    ),
}


@pytest.mark.parametrize("bind", ADDRESSES)
def test_an_address_is_in_the_words_of_each(bind: str) -> None:
    for web_server, expected in zip(WEB_SERVERS, ADDRESSES[bind], strict=True):
        assert expected in config(web_server, "--bind", bind, "myapp:app").stdout


def test_options_of_a_site_are_where_they_belong() -> None:
    site = ("--server-name", "example.org", "--listen", "8080", "--static", "/srv/files")
    text = config("nginx", *BIND, *site, "--prefix", "/x/", "my.app:app").stdout
    assert "listen 8080;" in text
    assert "server_name example.org;" in text
    assert "location /x/static/ {\n        alias /srv/files/;" in text
    assert "/conf.d/my.conf" in text
    assert "gateways fcgi --bind unix:/run/app.sock --script-name=/x --no-trust-rem" in text


def test_a_site_of_caddy_without_a_port_gets_a_certificate() -> None:
    assert "\nexample.org {" in config("caddy", *BIND, "--server-name", "example.org", "a:b").stdout
    assert "\n:80 {" in config("caddy", *BIND, "a:b").stdout


def test_who_may_connect_is_said_where_nothing_says_it() -> None:
    assert "append ?group=caddy" in config("caddy", *BIND, "a:b").stdout
    bind = ("--bind", "unix:/run/app.sock?mode=666")
    assert "append ?group" not in config("caddy", *bind, "a:b").stdout


@pytest.mark.parametrize(
    ("manager", "shown"),
    [
        ("systemd", """ "my:create('100%%', $$x)"\n"""),
        ("supervisor", """ 'my:create('"'"'100%%'"'"', $x)'\n"""),
    ],
)
def test_an_application_is_quoted_as_its_manager_reads_it(manager: str, shown: str) -> None:
    assert shown in config(manager, *BIND, "my:create('100%', $x)").stdout


REFUSED = {
    "no file for it": (("lighttpd", *BIND, "--protocol", "http"), "give --protocol fcgi or uwsgi"),
    "files of HAProxy": (("haproxy", *BIND, "--static", "/srv"), "serves no files"),
    "a port of lighttpd": (("lighttpd", *BIND, "--listen", "80"), "server.port"),
    "files of systemd": (("systemd", *BIND, "--static", "/srv"), "gateways config nginx --static"),
    "a user of nginx": (("nginx", *BIND, "--user", "bob"), "gateways config systemd --user"),
    "logs of systemd": (("systemd", *BIND, "--logs", "/srv"), "journal"),
    "a prefix without a slash": (("nginx", *BIND, "--prefix", "x"), "as in /myapp"),
    "a prefix with a variable": (("nginx", *BIND, "--prefix", "/$x"), "as in /myapp"),
    "a prefix that goes up": (("nginx", *BIND, "--prefix", "/a/../b"), "as in /myapp"),
    "a descriptor": (("nginx", "--bind", "fd://3"), "give unix:/path or host:port"),
    "an abstract socket": (("nginx", "--bind", "@name"), "give unix:/path or host:port"),
    "any port": (("nginx", "--bind", "127.0.0.1:0"), "give a number"),
    "any protocol": (("nginx", "--bind", "auto:/run/a"), "as in fcgi:/run/a"),
    "two protocols": (("nginx", "--bind", "scgi:/run/a", "--protocol", "fcgi"), "contradict"),
    "a path in need of quotes": (("nginx", "--bind", "/run/a b"), "a path of plain letters"),
    "two names": (("nginx", *BIND, "--server-name", "a b"), "one name, as in example.org"),
    "no port": (("nginx", *BIND, "--listen", "http"), "a port, or host:port"),
    "a socket for uwsgi": (
        ("supervisor", *BIND, "--activated", "--protocol", "uwsgi"),
        "leave --activated or --protocol uwsgi out",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_with_the_remedy(case: tuple[tuple[str, ...], str]) -> None:
    words, remedy = case
    result = config(*words, "myapp:app")
    assert (result.exit_code, result.stdout) == (2, "")
    assert remedy in result.stderr


def test_a_section_is_there_for_those_who_have_a_value() -> None:
    text = "a\n# [X]\nb @X@\n# [/X]\n\nc\n"
    assert templates.fill(text, {"X": "1"}) == "a\nb 1\n\nc\n"
    assert templates.fill(text, {}) == "a\nc\n"
    with pytest.raises(KeyError):
        templates.fill("@Y@", {"X": "1"})
