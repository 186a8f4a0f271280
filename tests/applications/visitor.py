"""A visitor of a site: keeps cookies, follows redirects, fills in forms, tries links and assets.

It is no browser: nothing is laid out and no script runs. ``test_browser.py`` has one of those.
"""

from __future__ import annotations

import re
import secrets
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urldefrag, urlencode, urljoin, urlsplit

from tests.servers.client import Site
from tests.servers.harness import DEADLINE_SECONDS

# A style sheet or a script of another type is not used by a browser.
TYPES = {
    ".css": {"text/css"},
    ".js": {"text/javascript", "application/javascript"},
    ".svg": {"image/svg+xml"},
}


@dataclass
class Form:
    """A form as it is on the page: the values of its fields; an empty one where there is none."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    """Collects what a page refers to and asks for."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._form: Form | None = None
        self._textarea = ""
        self.links: list[str] = []
        self.assets: list[str] = []
        self.forms: dict[str, Form] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link, an asset, a form or a field of the form."""
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given:
            self.links.append(self._absolute(given["href"]))
        elif tag == "link":
            self.assets.append(self._absolute(given["href"]))
        elif tag in ("script", "img") and "src" in given:
            self.assets.append(self._absolute(given["src"]))
        elif tag == "form":
            self._form = Form(self._absolute(given.get("action", "")))
            self.forms[given.get("id", "")] = self._form
        elif self._form is not None and "name" in given:
            self._field(tag, given)

    def _field(self, tag: str, given: dict[str, str]) -> None:
        assert self._form is not None
        kind = given.get("type")
        if tag == "textarea":
            self._textarea = given["name"]
            self._form.fields[self._textarea] = ""
        elif tag == "input" and kind != "submit" and (kind != "checkbox" or "checked" in given):
            unsaid = "on" if kind == "checkbox" else ""
            self._form.fields[given["name"]] = given.get("value", unsaid)

    def handle_data(self, data: str) -> None:
        """The text of a textarea is its value."""
        if self._form is not None and self._textarea:
            self._form.fields[self._textarea] += data

    def handle_endtag(self, tag: str) -> None:
        """A field or a form is over."""
        if tag == "textarea":
            self._textarea = ""
        elif tag == "form":
            self._form = None

    def _absolute(self, address: str) -> str:
        return urldefrag(urljoin(self._url, address)).url


@dataclass(frozen=True)
class Page:
    """An answer, after all redirects."""

    url: str
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body, which is UTF-8."""
        return self.body.decode()

    @property
    def path(self) -> str:
        """Where it was found."""
        return urlsplit(self.url).path

    @cached_property
    def _read(self) -> _Reader:
        reader = _Reader(self.url)
        if self.headers.get_content_type() == "text/html":
            reader.feed(self.text)
        return reader

    @property
    def links(self) -> list[str]:
        """Where its links lead, complete and without fragments."""
        return self._read.links

    @property
    def forms(self) -> dict[str, Form]:
        """Its forms by their id."""
        return self._read.forms

    @property
    def assets(self) -> list[str]:
        """Style sheets, scripts and images; for a style sheet, what that asks for in turn."""
        if self.headers.get_content_type() != "text/css":
            return self._read.assets
        named = re.findall(r"""url\(\s*["']?([^)"']+)""", self.text)
        return [urljoin(self.url, name) for name in named if not name.startswith(("data:", "#"))]


class Visitor:
    """One visitor; another one has other cookies."""

    def __init__(self, site: Site) -> None:
        self.origin = f"http://127.0.0.1:{site.port}"
        self.home = self.origin + site.prefix
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )

    def get(self, address: str, **headers: str) -> Page:
        """A page: a complete address, or a path in the application. ``_`` in names means ``-``."""
        url = self.home + address if address.startswith("/") else address
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._open(urllib.request.Request(url, headers=named))

    def submit(
        self,
        page: Page,
        form_id: str,
        /,
        *,
        files: dict[str, tuple[str, bytes]] | None = None,
        origin: str | None = None,
        **values: str,
    ) -> Page:
        """Fill in the form with that id and send it, as browsers do: with an Origin."""
        form = page.forms[form_id]
        fields = {**form.fields, **values}
        headers = {"Origin": origin or self.origin}
        if files is None:
            body = urlencode(fields).encode()
        else:
            kind, body = _multipart(fields, files)
            headers["Content-Type"] = kind
        return self._open(urllib.request.Request(form.action, body, headers))

    def broken(self, *pages: Page) -> dict[str, str]:
        """What pages refer to that is not there, not what it should be, or not of this site."""
        found: dict[str, str] = {}
        tried: set[str] = set()
        waiting = [url for page in pages for url in (*page.links, *page.assets)]
        while waiting:
            url = waiting.pop()
            if url in tried:
                continue
            tried.add(url)
            if not url.startswith(self.home):
                found[url] = f"is not below {self.home}"
                continue
            answer = self.get(url)
            kinds = TYPES.get(url[url.rfind(".") :])
            if answer.status >= 400:
                found[url] = f"is answered {answer.status}"
            elif kinds is not None and answer.headers.get_content_type() not in kinds:
                found[url] = f"is {answer.headers['Content-Type']}"
            elif url.endswith(".css"):
                waiting += answer.assets
        return found

    def _open(self, request: urllib.request.Request) -> Page:
        try:
            response = self._opener.open(request, timeout=DEADLINE_SECONDS)
        except HTTPError as error:
            response = error
        with response:
            return Page(response.geturl(), response.status, response.headers, response.read())


def _multipart(fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    """A form with files: its type and its bytes."""
    boundary = secrets.token_hex(16)
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in fields.items()
        if name not in files
    ]
    parts += [
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        for name, (filename, content) in files.items()
    ]
    whole = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    return f"multipart/form-data; boundary={boundary}", whole + f"--{boundary}--\r\n".encode()
