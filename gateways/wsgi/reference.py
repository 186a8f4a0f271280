"""What an operator writes to name an application: ``TARGET`` or ``TARGET:OBJECT``.

The target is a module or a file; the object is a dotted name or the call of a factory with literal
arguments, read with ``ast`` and never evaluated.
"""

from __future__ import annotations

import os
import re
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NamedTuple

from gateways.errors import ConfigError

if TYPE_CHECKING:
    import ast

FILE_SUFFIXES = (".py", ".wsgi", ".fcgi")
Call = tuple[list[Any], dict[str, Any]]

_FORMS = (
    "An application is named as module:name, as \"module:factory('argument')\", as package.module "
    "(for its 'application' or 'app'), or as a file: path/to/file.py, .wsgi or .fcgi"
)


class Reference(NamedTuple):
    """What a reference says. ``names`` is empty for the default names; ``call``: (args, kwargs)."""

    target: str
    is_file: bool
    names: tuple[str, ...] = ()
    call: Call | None = None


def parse_reference(reference: str) -> Reference:
    """Take a reference apart; only whether files of that name exist is asked, nothing is loaded."""
    target, is_file, expression = _split(reference)
    if not target or (not is_file and "" in target.split(".")):
        raise ConfigError(f"{reference!r} names no module and no file. {_FORMS}.")
    if expression is None:
        return Reference(target, is_file)
    names, call = _take_apart(expression)
    if names is None:
        problem = f"{expression!r} is not a name, nor the call of one" if expression else "is empty"
        raise ConfigError(f"In {reference!r} the part behind the colon {problem}. {_FORMS}.")
    return Reference(target, is_file, names, call)


def _split(reference: str) -> tuple[str, bool, str | None]:
    """(target, is it a file, what follows the colon); paths and arguments may hold colons too."""
    ends = [*(match.start() for match in re.finditer(":", reference)), len(reference)]
    cuts = [(reference[:end], reference[end + 1 :] if reference[end:] else None) for end in ends]
    for target, expression in cuts:
        # A bare word is a module even where a file has that name: ./word names the file.
        if os.path.isfile(target) and not target.isidentifier():
            return target, True, expression
    target, expression = cuts[0]
    # .wsgi is no sign of a file: mysite.wsgi is what Django calls the module.
    if "/" not in target and not target.endswith((".py", ".fcgi")):
        return target, False, expression
    target, expression = next((cut for cut in cuts if cut[0].endswith(FILE_SUFFIXES)), cuts[0])
    return target, True, expression


def _take_apart(expression: str) -> tuple[tuple[str, ...] | None, Call | None]:
    """The parts of a dotted name, None if it is none; and the arguments if it is called."""
    names = tuple(expression.split("."))
    if expression.isascii() and all(each.isidentifier() and not iskeyword(each) for each in names):
        return names, None  # as most are: ast is not needed for it
    import ast

    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None, None
    call = None
    if isinstance(node, ast.Call):
        call = _literal_arguments(node, expression)
        node = node.func
    return _dotted(node), call


def _dotted(node: ast.expr) -> tuple[str, ...] | None:
    import ast

    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return None if owner is None else (*owner, node.attr)
    return None


def _literal_arguments(call: ast.Call, expression: str) -> Call:
    import ast

    try:
        args = [ast.literal_eval(argument) for argument in call.args]
        kwargs = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords if word.arg}
    except (ValueError, TypeError, SyntaxError):
        args, kwargs = [], {"": None}
    if len(kwargs) != len(call.keywords) or "" in kwargs:  # ** has no name, a repeated one is lost
        raise ConfigError(
            f"The arguments in {expression!r} must be literals (strings, numbers, True, None, "
            "lists, dicts of those), each given once. For anything else write a module that "
            "makes the call, and name its application."
        )
    return args, kwargs
