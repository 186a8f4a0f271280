"""What is known of a callable without a call: the same for a plain function as from ``inspect``."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gateways.wsgi.callables import accepts, is_asynchronous


def decorated(environ: Any, start_response: Any) -> None: ...


decorated.__wrapped__ = lambda request: None  # type: ignore[attr-defined]


async def asynchronous(scope: Any, receive: Any, send: Any) -> None: ...


class Instance:
    def __call__(self, environ: Any, start_response: Any) -> None: ...


class Asynchronous:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


CALLABLES: list[Callable[..., Any]] = [
    *(lambda: 0, lambda a: 0, lambda a, b: 0, lambda a, b, c: 0),
    *(lambda a, b=1: 0, lambda a=1, b=2, c=3: 0, lambda a, b, c=3: 0),
    *(lambda *a: 0, lambda a, *b: 0, lambda a, b, c, *d: 0),
    *(lambda a, b, *, c: 0, lambda a, b, *, c=1: 0, lambda a, b, *, c=1, d: 0, lambda **a: 0),
    *(lambda a, b, /: 0, lambda a, /, b, **c: 0),
    *(decorated, asynchronous, functools.partial(lambda a, b, c: 0, 1), Instance(), Asynchronous()),
    *(Instance().__call__, Instance, dict, print, max),
]


@pytest.mark.parametrize("candidate", CALLABLES)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_arguments_that_it_takes(candidate: Callable[..., Any], count: int) -> None:
    try:
        inspect.signature(candidate, follow_wrapped=False).bind(*[None] * count)
        expected = True
    except TypeError:
        expected = False
    except ValueError:  # a builtin without a signature
        expected = True
    assert accepts(candidate, count) is expected


@pytest.mark.parametrize("candidate", CALLABLES)
def test_whether_it_makes_a_coroutine(candidate: Callable[..., Any]) -> None:
    expected = inspect.iscoroutinefunction(candidate) or isinstance(candidate, Asynchronous)
    assert is_asynchronous(candidate) is expected


def test_a_plain_function_is_known_without_inspect() -> None:
    script = (
        "import sys; from gateways.wsgi.callables import accepts, is_asynchronous\n"
        "assert accepts(lambda a, b: 0, 2) and not is_asynchronous(lambda a, b: 0)\n"
        "sys.exit('inspect' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
