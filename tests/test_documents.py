"""What README.md, docs/ and contrib/ say of the command and of each other is so."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gateways.cli.group import gateways

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted(
        [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "contrib").rglob("*.md")]
    )
}
COMMENTED = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "contrib").rglob("*"))
    if path.suffix in {".conf", ".service", ".socket", ".sh", ".fcgi", ".htaccess"}
}
documents = pytest.mark.parametrize("name", DOCUMENTS)

_FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?:^|[\s\"/`])(gateways [a-z].*)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(r"`((?:contrib|docs|tests|benchmarks)/[\w./-]+\w)`")


# -- the commands ------------------------------------------------------------------------------


def command_lines(text: str) -> Iterator[str]:
    """What begins with ``gateways COMMAND`` in code of any kind."""
    blocks = "\n".join(
        block for kind, block in _FENCED.findall(text) if kind not in ("text", "toml")
    )
    prose = _FENCED.sub("", text)
    indented = "\n".join(line for line in prose.splitlines() if line.startswith("    "))
    for line in f"{blocks}\n{indented}".replace("\\\n", " ").splitlines():
        if not line.lstrip().startswith(("from ", "import ")):
            yield from _COMMAND.findall(line)
    for code in _INLINE.findall(prose):
        yield from _COMMAND.findall(code)


def problem(line: str) -> str:
    """What is wrong with a command line; "" if nothing is."""
    words = shlex.split(re.sub(r"[\[\]…]", " ", line).rstrip('"'), comments=True)
    for end in ("&", "|", ";", "&&", ">"):
        if end in words:
            words = words[: words.index(end)]
    command: click.Command = gateways
    name, arguments = "gateways", words[1:]
    while isinstance(command, click.Group) and arguments and arguments[0][0] != "-":
        name = arguments.pop(0).rstrip(",;.").partition("|")[0]  # one of several will do
        found = command.get_command(click.Context(command), name)
        if found is None:
            return f"there is no command {name!r}"
        command = found
    known = {
        flag: option for option in command.params for flag in (*option.opts, *option.secondary_opts)
    }
    for flag in (word.partition("=")[0] for word in arguments if re.match("--?[a-z]", word)):
        if flag not in known and flag[:2] not in known and flag not in ("--help", "-h"):
            return f"gateways {name} has no {flag}"
    if "@" in line or "…" in line or not {"--help", "--config", "-c"}.isdisjoint(arguments):
        return ""  # placeholders; a page of help; a file that is not there
    last = known.get(arguments[-1]) if arguments else None
    if isinstance(last, click.Option) and not last.is_flag:
        arguments.append("1")  # an option that is talked about without its value
    try:
        command.make_context(name, list(arguments))
    except click.MissingParameter:
        return ""  # a command that is talked about, and not used
    except click.BadParameter as error:
        is_missing = isinstance(error.param, click.Argument) and "does not exist" in str(error)
        return "" if is_missing else error.format_message()  # a script that is the reader's
    except click.ClickException as error:
        return error.format_message()
    except click.exceptions.Exit:
        pass
    return ""


LINES = sorted(
    {(name, line) for name, text in DOCUMENTS.items() for line in command_lines(text)}
    | {
        (name, line)
        for name, text in COMMENTED.items()
        for line in re.findall(r"^# +(gateways [a-z]+ .*)", text, re.MULTILINE)
    }
)


@pytest.mark.parametrize(("name", "line"), LINES)
def test_the_command_line_is_one(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert problem(line) == ""


@pytest.mark.parametrize(
    "line",
    [
        "gateways fcgl --bind /a myapp:app",
        "gateways fcgi --bnd /a myapp:app",
        "gateways fcgi --threads many myapp:app",
        "gateways fcgi --threads 0 myapp:app",
        "gateways fcgi myapp:app and more",
    ],
)
def test_a_command_line_that_is_none_is_noticed(line: str) -> None:
    assert problem(line)


def test_the_command_lines_are_found() -> None:
    text = "`gateways status --json`\n\n    gateways a 1\n\n```sh\n$ exec gateways b \\\n  2\n```\n"
    assert [line.split() for line in command_lines(text)] == [
        ["gateways", "b", "2"],
        ["gateways", "a", "1"],
        ["gateways", "status", "--json"],
    ]
    assert len(LINES) > 50


# -- the rest ----------------------------------------------------------------------------------


@documents
def test_the_python_in_it_is_python(name: str) -> None:
    for kind, block in _FENCED.findall(DOCUMENTS[name]):
        if kind == "python":
            ast.parse(block)


def anchors(text: str) -> set[str]:
    """What the headings of a page are linked to by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@documents
def test_its_links_lead_somewhere(name: str) -> None:
    here = (ROOT / name).parent
    for link in _LINK.findall(_FENCED.sub("", DOCUMENTS[name])):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = here / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@documents
def test_the_files_that_it_names_are_there(name: str) -> None:
    for path in _FILE.findall(DOCUMENTS[name]):
        assert (ROOT / path).exists(), path
