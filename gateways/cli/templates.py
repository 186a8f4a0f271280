"""The files of contrib/: where they lie, and how one of them is filled in.

They are written for people, with ``@NAME@`` where a value of their own belongs, and with sections
between ``# [NAME]`` and ``# [/NAME]`` that are only for those who have such a value. ``fill`` is
all that happens to a file before it is printed by ``gateways config``, or booted by a test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
_SECTION = re.compile(
    r"^[ \t]*[#;] \[(?P<name>[A-Z_]+)\]\n(?P<text>(?:.*\n)*?)"
    r"^[ \t]*[#;] \[/(?P=name)\]\n(?P<blank>\n?)",
    re.MULTILINE,
)


def folder() -> str:
    """The directory with a folder for each front end.

    It lies in the package, where that is installed, and beside it in a checkout.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(package, "contrib")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), "contrib")


def read(front_end: str, name: str) -> str:
    """The text of a file of contrib/."""
    with open(os.path.join(folder(), front_end, name), encoding="utf-8") as file:
        return file.read()


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with each ``@NAME@`` replaced; a section ``[NAME]`` stays where NAME has a value.

    Raises KeyError for a name that has none.
    """

    def section(match: re.Match[str]) -> str:
        return match["text"] + match["blank"] if values.get(match["name"]) else ""

    return _PLACEHOLDER.sub(lambda match: values[match[1]], _SECTION.sub(section, text))
