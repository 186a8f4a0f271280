"""Classes whose instances are values: what ``dataclasses`` makes of annotations, at less cost.

``dataclasses`` imports ``inspect``, and with it what reads Python's own source, and it has Python
compile a constructor for each class: 2 MiB in every process that serves. Here the constructor is a
loop, so these are for what is made seldom and read often; what is made for each request is better a
``NamedTuple``. To type checkers the rules are those of ``dataclasses``.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar, dataclass_transform

    AnyValue = TypeVar("AnyValue", bound="Value")
else:

    def dataclass_transform(**_rules):
        """For type checkers alone."""
        return lambda decorated: decorated


_NONE = object()


class Field:
    """A field of a class of values."""

    __slots__ = ("default", "metadata", "name")

    def __init__(self, name: str, default: object, metadata: Mapping[str, Any]) -> None:
        self.name = name
        self.default: Any = default
        self.metadata = metadata


def field(*, default: Any, metadata: Mapping[str, Any]) -> Any:
    """A default, with something to be found by ``fields``."""
    return Field("", default, metadata)


class _Kind(type):
    """Makes slots of what is annotated in the body of a class, and keeps the defaults."""

    _fields: dict[str, Field]  # those of the bases included
    _positional: tuple[str, ...]
    _frozen: bool

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        body: dict[str, Any],
        *,
        frozen: bool = True,
        kw_only: bool = False,
    ) -> _Kind:
        found: dict[str, Field] = {}
        for base in bases:
            found |= getattr(base, "_fields", {})
        own = tuple(body.get("__annotations__", ()))
        for each in own:
            default = body.pop(each, _NONE)
            metadata = {}
            if isinstance(default, Field):
                default, metadata = default.default, default.metadata
            found[each] = Field(each, default, metadata)
        body |= {"__slots__": own, "_fields": found, "_frozen": frozen}
        body["_positional"] = () if kw_only else tuple(found)
        return super().__new__(cls, name, bases, body)

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **_: bool) -> None:
        super().__init__(name, bases, body)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value(metaclass=_Kind):
    """Base of these classes. Arguments of a class: ``frozen`` (the default) and ``kw_only``.

    A default that is a dict is copied for each instance. ``__post_init__`` is called at the end.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        kind = type(self)
        if len(arguments) > len(kind._positional):
            raise TypeError(f"{kind.__name__} takes {len(kind._positional)} positional arguments")
        for name, argument in zip(kind._positional, arguments, strict=False):
            if name in named:
                raise TypeError(f"{kind.__name__} got {name!r} twice")
            named[name] = argument
        for name, known in kind._fields.items():
            content = named.pop(name, known.default)
            if content is _NONE:
                raise TypeError(f"{kind.__name__} needs {name!r}")
            if content is known.default and type(content) is dict:
                content = dict(content)
            object.__setattr__(self, name, content)
        if named:
            raise TypeError(f"{kind.__name__} has no {', '.join(map(repr, named))}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """For a class that checks its content."""

    def __setattr__(self, name: str, content: Any) -> None:
        if type(self)._frozen:
            raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be set")
        object.__setattr__(self, name, content)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name!r} of {type(self).__name__} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return as_dict(self) == as_dict(other)

    def __hash__(self) -> int:
        return hash(tuple(as_dict(self).values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={content!r}" for name, content in as_dict(self).items())
        return f"{type(self).__qualname__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), as_dict(self))


def fields(kind: type[Value]) -> tuple[Field, ...]:
    """The fields of a class of values, in the order of declaration."""
    return tuple(kind._fields.values())


def replace(original: AnyValue, **changes: Any) -> AnyValue:
    """Another value, with some fields changed."""
    return type(original)(**{**as_dict(original), **changes})


def as_dict(value: Value) -> dict[str, Any]:
    """The content of a value, by field."""
    return {name: getattr(value, name) for name in type(value)._fields}


def _make(kind: type[AnyValue], content: dict[str, Any]) -> AnyValue:
    return kind(**content)
