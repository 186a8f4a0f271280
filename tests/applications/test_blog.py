"""The blog of Flask's manner, behind each web server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.client import Site

from .deployments import DEPLOYMENTS
from .installed import Code, install_blog
from .visitor import Page, Visitor


@pytest.fixture(scope="module", params=DEPLOYMENTS, ids=lambda deployment: deployment.__name__)
def site(request: pytest.FixtureRequest, directory: Path, code: Code) -> Iterator[Site]:
    place = directory / request.param.__name__
    with request.param(place, install_blog(place / "blog"), code) as running:
        yield running


def author(site: Site, name: str) -> Visitor:
    """A visitor who has registered and logged in."""
    visitor = Visitor(site)
    login = visitor.submit(visitor.get("/accounts/register"), "account", name=name, password="pw")
    assert f"Welcome, {name}." in login.text, "a message outlives the redirect"
    assert login.path == f"{site.prefix}/accounts/login"
    index = visitor.submit(login, "account", name=name, password="pw")
    assert index.path == f"{site.prefix}/"
    assert f'<span id="author">{name}</span>' in index.text
    return visitor


def write(visitor: Visitor, title: str, text: str) -> Page:
    """The page of a new post."""
    return visitor.submit(visitor.get("/write"), "post", title=title, text=text)


def test_a_post_is_written_changed_and_deleted(site: Site) -> None:
    zoe = author(site, "Zoë")
    post = write(zoe, "Über 🐍", "first line\r\n<second line>")
    assert "<h1>Über 🐍</h1>" in post.text
    assert "first line\r\n&lt;second line&gt;" in post.text
    form = zoe.get(f"{post.url}change")
    assert form.forms["post"].fields["title"] == "Über 🐍"
    assert "<h1>Changed</h1>" in zoe.submit(form, "post", title="Changed").text
    index = zoe.submit(form, "delete")
    assert "It is gone." in index.text
    assert post.url not in index.links
    assert zoe.get(post.url).status == 404


def test_a_login_leads_back_to_where_it_was_asked_for(site: Site) -> None:
    author(site, "Ada")
    visitor = Visitor(site)
    login = visitor.get("/write")
    assert login.path == f"{site.prefix}/accounts/login"
    refused = visitor.submit(login, "account", name="Ada", password="guessed")
    assert "Unknown name or wrong password." in refused.text
    form = visitor.submit(refused, "account", name="Ada", password="pw")
    assert form.path == f"{site.prefix}/write"


def test_a_logout_ends_the_session(site: Site) -> None:
    visitor = author(site, "Bea")
    index = visitor.submit(visitor.get("/"), "logout")
    assert 'id="author"' not in index.text
    assert visitor.get("/write").path == f"{site.prefix}/accounts/login"


def test_nobody_changes_the_post_of_another(site: Site) -> None:
    post = write(author(site, "Cleo"), "mine", "")
    other = author(site, "Dora")
    assert other.get(f"{post.url}change").status == 403
    assert f"{post.url}change" not in other.get(post.url).links


def test_no_link_and_no_asset_is_broken(site: Site) -> None:
    visitor = author(site, "Eve")
    post = write(visitor, "a post", "its text")
    pages = [post, *map(visitor.get, ["/", "/write", "/accounts/login", f"{post.url}change"])]
    for page in pages:
        assert page.status == 200
        assert len(page.assets) == 3
    assert visitor.broken(*pages) == {}


def test_the_addresses_of_the_feed_are_complete(site: Site) -> None:
    visitor = author(site, "Fay")
    post = write(visitor, "in the feed", "")
    feed = visitor.get("/feed.xml")
    assert feed.headers["Content-Type"] == "application/atom+xml; charset=utf-8"
    addresses = re.findall('href="([^"]+)"', feed.text)
    assert post.url in addresses
    assert all(visitor.get(address).status == 200 for address in addresses)


def test_a_style_sheet_is_not_sent_twice(site: Site) -> None:
    visitor = Visitor(site)
    style = visitor.get("/static/style.css")
    assert style.body == (Path(__file__).parent / "blog" / "static" / "style.css").read_bytes()
    again = visitor.get("/static/style.css", If_None_Match=style.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_visitors_at_the_same_time_are_not_mixed_up(site: Site) -> None:
    def visit(name: str) -> list[str]:
        visitor = author(site, name)
        posts = [write(visitor, f"{name} {number}", "") for number in range(3)]
        shown = re.compile("<h1>(.*)</h1>\\s*<article>\\s*<p>(by .*) on")
        return [" ".join(shown.findall(post.text)[0]) for post in posts]

    names = [f"Guest-{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        for name, seen in zip(names, pool.map(visit, names), strict=True):
            assert seen == [f"{name} {number} by {name}" for number in range(3)]
