"""docs/troubleshooting.md held against the real servers: each mistake of it is made here.

A fenced block whose info string is ``text NAME`` belongs to the mistake NAME of ``mistakes``. Each
of its lines is ``WHO: TEXT``: that TEXT must be in what WHO has seen or logged. ``PLACEHOLDERS``
stand for what differs from run to run. Of a visitor the first line is the status, or the
possible ones with "or" between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import REPOSITORY
from .mistakes import MISTAKES, PROTOCOLS, every_pair

DOCUMENT = (REPOSITORY / "docs" / "troubleshooting.md").read_text()

PLACEHOLDERS = {
    "PATH": r"[^\s:;,'\"]+",
    "PORT": r"\d+",
    "PID": r"\d+",
    "NUMBER": r"\d+",
    "VERSION": r"[\w.+-]+",
    "…": ".*",
}
_PLACEHOLDER = re.compile(r"\b(PATH|PORT|PID|NUMBER|VERSION)\b|…")
_BLOCK = re.compile(r"^```text (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMES = "|".join(PROTOCOLS)
_PAIR = re.compile(rf"^\| ({_NAMES}) \| ({_NAMES}) \| (\d+) \| (\d+) \| (\d+|-) \|$", re.MULTILINE)

BLOCKS: dict[str, list[str]] = {}
for _match in _BLOCK.finditer(DOCUMENT):  # there may be another one where the remedy is shown
    BLOCKS.setdefault(_match[1], []).extend(_match[2].splitlines())
PAIRS = "wrong-protocol"


def pattern(quoted: str) -> re.Pattern[str]:
    """What finds a quoted text, with anything in the place of a placeholder."""
    texts = _PLACEHOLDER.split(quoted)[::2]
    found = [PLACEHOLDERS[match[0]] for match in _PLACEHOLDER.finditer(quoted)]
    pieces = [re.escape(text) for text in texts]
    return re.compile("".join(a + b for a, b in zip(pieces, [*found, ""], strict=True)))


def missing(quotations: list[str], seen: dict[str, str]) -> Iterator[str]:
    """Which of the quoted lines nobody has seen; the first of a visitor is the status line."""
    statuses: set[str] = set()
    for line in quotations:
        who, separator, text = line.partition(": ")
        lines = seen[who].splitlines() if separator and who in seen else []
        if "visitor" in who and who not in statuses:
            statuses.add(who)
            found = lines[:1] != [] and lines[0] in text.split(" or ")
        else:
            found = any(pattern(text).search(each) for each in lines)
        if not found:
            yield line


def test_every_mistake_is_documented_and_every_block_is_tried() -> None:
    assert set(BLOCKS) == {*MISTAKES, PAIRS}
    assert all(lines for lines in BLOCKS.values())


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_quoted_is_what_is_seen_and_logged(
    name: str, own_directory: Path, scripts: Path
) -> None:
    seen = MISTAKES[name](own_directory, scripts)
    assert list(missing(BLOCKS[name], seen)) == [], "\n".join(
        f"=== {who}\n{text}" for who, text in seen.items()
    )


def test_each_wrong_pair_of_protocols_is_named_in_the_log(own_directory: Path) -> None:
    statuses, seen = every_pair(own_directory)
    assert list(missing(BLOCKS[PAIRS], seen)) == [], seen
    assert not re.search(r"\[(warn|error|crit)\]", seen["nginx"]), seen["nginx"]
    rows = {}
    for sent, spoken, *documented in _PAIR.findall(DOCUMENT):
        assert f"this is {sent}, the socket speaks {spoken}: use " in seen["gateways"]
        for name, status in zip(("nginx", "Apache", "lighttpd"), documented, strict=True):
            if status != "-":
                rows[name, PROTOCOLS[sent], PROTOCOLS[spoken]] = status
    assert rows == statuses


@pytest.mark.parametrize(
    ("quoted", "logged", "is_there"),
    [
        (
            "gateways: connect() to unix:PATH failed (13: x)",
            "a connect() to unix:/a/b failed (13: x) c",
            True,
        ),
        (
            "gateways: connect() to unix:PATH failed (13: x)",
            "a connect() to unix:/a/b failed (2: x) c",
            False,
        ),
        ("gateways: port PORT … PATH_INFO", "port 80 and so on: PATH_INFO", True),
        ("gateways: port PORT", "port x", False),
        ("nobody: x", "x", False),
        ("visitor: 502 Bad Gateway", "502 Bad Gateway", True),
        ("visitor: no answer or 502 Bad Gateway", "502 Bad Gateway", True),
        ("visitor: 502 Bad", "502 Bad Gateway", False),
        ("visitor: 200 OK", "502 Bad Gateway\n200 OK", False),
    ],
)
def test_a_quotation_is_compared_with_care(quoted: str, logged: str, is_there: bool) -> None:
    seen = {"gateways": logged, "visitor": logged}
    assert list(missing([quoted], seen)) == ([] if is_there else [quoted])
