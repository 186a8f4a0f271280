"""An editor at work in the admin of Django, at a prefix behind nginx, with a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .chromium import Chromium, chromium
from .deployments import nginx_at_a_prefix
from .installed import Code, install_papers
from .papers.prepare import EDITOR, PASSWORD

# What a page shows of its style sheets and pictures, and the status of each of its links.
LOOK = """
({
    rules: [...document.styleSheets].map(sheet => sheet.cssRules.length),
    header: getComputedStyle(document.querySelector("#header")).backgroundColor,
    missing_pictures: [...document.images]
        .filter(image => !image.complete || !image.naturalWidth).map(image => image.src),
})
"""
LINKS = """
Promise.all([...new Set([...document.links].map(link => link.href.split("#")[0]))].map(
    async link => [link, (await fetch(link)).status]
))
"""
TRANSPARENT = "rgba(0, 0, 0, 0)"


def look_at(browser: Chromium, home: str, path: str) -> None:
    """The page is styled, nothing of it is missing, and its links lead somewhere in the site."""
    assert browser.evaluate("location.pathname") == path
    look: dict[str, Any] = browser.evaluate(LOOK)
    assert look["rules"]
    assert all(look["rules"]), "every style sheet has rules"
    assert look["header"] != TRANSPARENT
    assert look["missing_pictures"] == []
    links: list[tuple[str, int]] = browser.evaluate(LINKS)
    assert links
    assert [link for link, status in links if status != 200] == []
    assert [link for link, _ in links if not link.startswith(home)] == []


def test_an_editor_sees_no_broken_link_or_asset(
    directory: Path, code: Code, prepared_papers: Path
) -> None:
    paper = directory / "paper.txt"
    paper.write_text("a paper")
    application = install_papers(directory / "papers", prepared_papers)
    with nginx_at_a_prefix(directory, application, code) as site, chromium(directory) as browser:
        home = f"http://127.0.0.1:{site.port}{site.prefix}"
        admin = f"{site.prefix}/admin/"

        browser.go(f"{home}/admin/")
        look_at(browser, home, f"{admin}login/")
        browser.type("#id_username", EDITOR)
        browser.type("#id_password", PASSWORD)
        browser.click("#login-form [type=submit]")
        look_at(browser, home, admin)

        browser.click("a[href$='papers/paper/add/']")
        look_at(browser, home, f"{admin}papers/paper/add/")
        browser.type("#id_title", "Zoë's paper")
        browser.choose_file("#id_file", paper)
        browser.click("[name=_save]")
        look_at(browser, home, f"{admin}papers/paper/")
        shown = browser.evaluate("document.querySelector('#result_list').innerText")
        assert "Zoë's paper" in shown

        browser.click("#logout-form button")
        look_at(browser, home, f"{admin}logout/")

        assert [answer for answer in browser.answers if answer[1] >= 400] == []
        assert [url for url, _ in browser.answers if not url.startswith(home)] == []
        assert any(url.endswith(".css") for url, _ in browser.answers)
        assert browser.complaints == []
        served = (site.directory / "access.log").read_text()
        assert '" 4' not in served
        assert '" 5' not in served
