"""The archive of papers, a Django project with its admin, behind each web server."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.client import Site

from .deployments import DEPLOYMENTS
from .installed import Code, install_papers
from .papers.prepare import EDITOR, PASSWORD
from .visitor import Page, Visitor


@pytest.fixture(scope="module", params=DEPLOYMENTS, ids=lambda deployment: deployment.__name__)
def site(
    request: pytest.FixtureRequest, directory: Path, code: Code, prepared_papers: Path
) -> Iterator[Site]:
    place = directory / request.param.__name__
    place.mkdir()
    with request.param(place, install_papers(place / "papers", prepared_papers), code) as running:
        yield running


@pytest.fixture
def editor(site: Site) -> Visitor:
    """A visitor who has logged in to the admin."""
    visitor = Visitor(site)
    login = visitor.get("/admin/")
    assert login.path == f"{site.prefix}/admin/login/"
    index = visitor.submit(login, "login-form", username=EDITOR, password=PASSWORD)
    assert (index.status, index.path) == (200, f"{site.prefix}/admin/")
    return visitor


def add(editor: Visitor, title: str, name: str, content: bytes) -> Page:
    """The list of papers with a new one."""
    form = editor.get("/admin/papers/paper/add/")
    return editor.submit(form, "paper_form", files={"file": (name, content)}, title=title)


def test_a_wrong_password_is_refused(site: Site) -> None:
    visitor = Visitor(site)
    answer = visitor.submit(
        visitor.get("/admin/"), "login-form", username=EDITOR, password="guessed"
    )
    assert answer.path == f"{site.prefix}/admin/login/"
    assert "Please enter the correct username and password" in answer.text


def test_a_form_without_its_token_or_from_elsewhere_is_refused(site: Site) -> None:
    visitor = Visitor(site)
    page = visitor.get("/admin/")
    page.forms["login-form"].fields.update(username=EDITOR, password=PASSWORD)
    forged = visitor.submit(page, "login-form", csrfmiddlewaretoken="x" * 64)
    assert forged.status == 403
    elsewhere = visitor.submit(page, "login-form", origin="http://evil.test")
    assert elsewhere.status == 403


def test_no_link_and_no_asset_is_broken(site: Site, editor: Visitor) -> None:
    changelist = add(editor, "linked", "linked.txt", b"content")
    login = Visitor(site).get("/admin/")
    addresses = ["/", "/admin/", "/admin/papers/paper/add/", "/admin/password_change/"]
    pages = [login, changelist, *map(editor.get, addresses)]
    for page in pages:
        assert page.status == 200
        assert page.assets
    assert editor.broken(*pages) == {}


# Django keeps an upload in memory up to 2.5 MiB.
@pytest.mark.parametrize("size", [0, 300_000, 5_000_000])
def test_an_upload_comes_back_as_it_was(site: Site, editor: Visitor, size: int) -> None:
    content = random.Random(size).randbytes(size)
    title = f"Zoë's {size}"
    changelist = add(editor, title, f"Zoë {size}.bin", content)
    if size == 0:
        assert "The submitted file is empty." in changelist.text
        return
    assert (changelist.status, changelist.path) == (200, f"{site.prefix}/admin/papers/paper/")
    assert "was added successfully" in changelist.text
    (link,) = (link for link in Visitor(site).get("/").links if f"_{size}.bin" in link)
    assert link == f"{editor.home}/media/papers/Zo%C3%AB_{size}.bin"
    assert Visitor(site).get(link).body == content


def test_a_paper_is_changed_and_deleted(site: Site, editor: Visitor) -> None:
    changelist = add(editor, "a draft", "draft.txt", b"content")
    address = next(link for link in changelist.links if link.endswith("/change/"))
    form = editor.get(address)
    assert form.forms["paper_form"].fields["title"] == "a draft"
    form.forms["paper_form"].fields.pop("published")
    changed = editor.submit(form, "paper_form", title="a hidden draft")
    assert "a hidden draft" in changed.text
    assert "draft" not in Visitor(site).get("/").text
    question = editor.get(address.replace("/change/", "/delete/"))
    assert "Are you sure" in question.text
    assert "was deleted successfully" in editor.submit(question, "").text
    assert editor.get(address).path == f"{site.prefix}/admin/"


def test_a_logout_ends_the_session(site: Site, editor: Visitor) -> None:
    goodbye = editor.submit(editor.get("/admin/"), "logout-form")
    assert "Logged out" in goodbye.text
    assert editor.get("/admin/papers/paper/").path == f"{site.prefix}/admin/login/"
