"""What can be known of a callable without calling it.

A plain function, as most applications are, tells it by its code. Whatever else it may be, from a
``functools.partial`` to a framework's object, is left to ``inspect``, whose import costs more than
many an application. A process that has become another user may not be able to read even that.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TypeGuard

_CO_VARARGS = 0x04
_CO_COROUTINE = 0x80


def is_asynchronous(candidate: Callable[..., object]) -> bool:
    """Whether a call of it, or of an object with such a ``__call__``, makes a coroutine."""
    if _is_plain(candidate):
        return bool(candidate.__code__.co_flags & _CO_COROUTINE)
    try:
        import inspect
    except ImportError:
        return False
    return any(map(inspect.iscoroutinefunction, (candidate, type(candidate).__call__)))


def accepts(candidate: Callable[..., object], count: int) -> bool:
    """Whether it can be called with that many positional arguments; True where that is unknown."""
    if _is_plain(candidate):
        code = candidate.__code__
        required = code.co_argcount - len(candidate.__defaults__ or ())
        most = count if code.co_flags & _CO_VARARGS else code.co_argcount
        by_name = code.co_kwonlyargcount - len(candidate.__kwdefaults__ or ())
        return required <= count <= most and not by_name
    try:
        import inspect

        # What functools.wraps points to does not count: decorators change the arguments, as
        # werkzeug's Request.application does to make a WSGI application of a function of one.
        signature = inspect.signature(candidate, follow_wrapped=False)
    except Exception:  # noqa: BLE001 -- a proxy may raise anything at all when it is looked at
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _is_plain(candidate: object) -> TypeGuard[FunctionType]:
    """A function without attributes, which may say that it is something else."""
    return type(candidate) is FunctionType and not candidate.__dict__
