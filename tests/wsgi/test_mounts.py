"""Which of several applications a path belongs to, and what the environ says of it."""

from __future__ import annotations

from typing import Any

import pytest

from gateways.wsgi.environ import EnvironBuilder
from gateways.wsgi.mounts import Mounts, describe
from gateways.wsgi.runner import Application
from tests.core.serving import LogLines
from tests.wsgi.fakes import FakeChannel, answer

Paths = tuple[str, str, str]  # the application, SCRIPT_NAME, PATH_INFO


def named(name: str) -> Application:
    """An application that answers its name and its paths."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        paths = name, environ["SCRIPT_NAME"], environ["PATH_INFO"]
        return [repr(paths).encode()]

    return application


def mounted(*prefixes: str) -> Mounts:
    """A table of applications that are named as they are mounted."""
    return Mounts({prefix: named(prefix) for prefix in prefixes})


def ask(table: Mounts, script_name: str | None = None, **variables: str) -> FakeChannel:
    """The answer to a request with these variables, by way of the environ builder."""
    return answer(table, builder=EnvironBuilder(script_name=script_name), variables=variables)


def paths(table: Mounts, script_name: str | None = None, **variables: str) -> Paths:
    """Who has answered, and what it was told."""
    channel = ask(table, script_name, **variables)
    assert channel.status == "200 OK", channel.errors
    found: Paths = eval(channel.body)
    return found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ("", "", "/")),
        ("/page", ("", "", "/page")),
        ("/shop", ("/shop", "/shop", "")),
        ("/shop/", ("/shop", "/shop", "/")),
        ("/shop//", ("/shop", "/shop", "//")),
        ("/shop/cart", ("/shop", "/shop", "/cart")),
        ("/shopping", ("/shopping", "/shopping", "")),
        ("/shopping/list", ("/shopping", "/shopping", "/list")),
        ("/shoppings", ("", "", "/shoppings")),
        ("/shop/admin", ("/shop/admin", "/shop/admin", "")),
        ("/shop/admin/", ("/shop/admin", "/shop/admin", "/")),
        ("/shop/administrator", ("/shop", "/shop", "/administrator")),
        ("/Shop/cart", ("", "", "/Shop/cart")),
        ("//shop/cart", ("", "", "//shop/cart")),
        ("/page/shop", ("", "", "/page/shop")),
        ("/shop/shop/shop", ("/shop", "/shop", "/shop/shop")),
        ("/shop;p=1/cart", ("", "", "/shop;p=1/cart")),
        ("/shop/a%20b", ("/shop", "/shop", "/a%20b")),  # it was %2520
    ],
)
def test_the_longest_prefix_on_a_segment_boundary_has_the_request(
    path: str, expected: Paths
) -> None:
    for prefixes in (
        ("", "/shop", "/shop/admin", "/shopping"),
        ("/shopping", "/shop/admin", "/shop", ""),
    ):
        assert paths(mounted(*prefixes), PATH_INFO=path) == expected


# What web servers send for /shop/a%20b?q=1: all of these mean the same.
SENT = {
    "a path": {"PATH_INFO": "/shop/a b"},
    "the whole path as the script's name": {"SCRIPT_NAME": "/shop/a b", "PATH_INFO": ""},
    "no path but the request's": {"PATH_INFO": ""},
}


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT.keys())
def test_the_environ_is_as_pep_3333_has_it(sent: dict[str, str]) -> None:
    seen: dict[str, Any] = {}

    def shop(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        return named("/shop")(environ, start_response)  # type: ignore[return-value]

    uri = "/shop/a%20b?q=1"
    ask(Mounts({"/shop": shop}), REQUEST_URI=uri, QUERY_STRING="q=1", **sent)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/shop", "/a b")
    assert (seen["REQUEST_URI"], seen["QUERY_STRING"]) == (uri, "q=1")
    assert seen["gateways.original_path_info"] == sent["PATH_INFO"]
    assert seen["gateways.original_script_name"] == sent.get("SCRIPT_NAME", "")
    assert not [name for name in seen if name.startswith("mod_wsgi.")]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"PATH_INFO": "/site/shop/cart"}, ("/shop", "/site/shop", "/cart")),
        ({"SCRIPT_NAME": "/site", "PATH_INFO": "/shop"}, ("/shop", "/site/shop", "")),
        ({"SCRIPT_NAME": "/site/shop/", "PATH_INFO": ""}, ("/shop", "/site/shop", "/")),
        ({"PATH_INFO": "/site/other"}, ("", "/site", "/other")),
        ({"PATH_INFO": "/site"}, ("", "/site", "")),
    ],
)
def test_prefixes_count_from_the_script_name(sent: dict[str, str], expected: Paths) -> None:
    assert paths(mounted("", "/shop"), "/site", **sent) == expected


def test_prefixes_count_from_where_the_web_server_says() -> None:
    sent = {"SCRIPT_NAME": "/site", "PATH_INFO": "/shop/cart"}
    assert paths(mounted("", "/shop"), **sent) == ("/shop", "/site/shop", "/cart")


def test_a_prefix_may_have_any_letters_of_any_script() -> None:
    wire = "/läden".encode().decode("latin-1")
    table = Mounts({"/läden": named("läden")})
    assert paths(table, PATH_INFO=f"{wire}/x") == ("läden", wire, "/x")


@pytest.mark.parametrize("path", ["/", "/page", "/shopping", "/shoppe/cart"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_elsewhere_it_is_our_own_404(path: str, method: str) -> None:
    channel = answer(mounted("/shop"), method=method, variables={"PATH_INFO": path})
    assert channel.status == "404 Not Found"
    assert channel.body == b"" if method == "HEAD" else b"nothing at this address" in channel.body
    assert int(dict(channel.headers)["Content-Length"]) > 100
    assert channel.errors == ""


def test_where_the_web_server_takes_the_prefix_away_it_is_said_once() -> None:
    table = mounted("", "/shop")
    with LogLines() as lines:
        for _ in range(2):
            sent = {"SCRIPT_NAME": "/shop", "PATH_INFO": "/cart"}
            assert paths(table, **sent) == ("", "/shop", "/cart")
        assert paths(table, SCRIPT_NAME="/other", PATH_INFO="/cart")[0] == ""
    (text,) = lines.texts()
    assert "/shop/cart" in text
    assert "--script-name ''" in text
    assert paths(table, "", **sent) == ("/shop", "/shop", "/cart")


def test_what_an_application_raises_is_its_own() -> None:
    def broken(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise RuntimeError("broken")

    channel = answer(Mounts({"/shop": broken}), variables={"PATH_INFO": "/shop/cart"})
    assert channel.status.startswith("500")
    assert "GET '/shop/cart'" in channel.errors
    assert "RuntimeError: broken" in channel.errors


def test_all_that_is_served_is_described_in_one_line() -> None:
    assert describe("site:app", ()) == "site:app"
    assert describe("", ["/a=a:app"]) == "/a=a:app"
    assert describe("site:app", ["/a=a:app", "/b=b.wsgi"]) == "site:app, /a=a:app, /b=b.wsgi"
