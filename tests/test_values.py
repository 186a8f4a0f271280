"""Classes of values: made from their fields, compared by them, and never changed."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from gateways.values import Value, as_dict, field, fields, replace


class Point(Value):
    x: int
    y: int = 2


class Named(Point, kw_only=True):
    name: str = field(default="", metadata={"help": "who it is"})
    table: dict[str, int] = {}


class Checked(Value):
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("below zero")


class Open(Value, frozen=False):
    content: str


def test_arguments_go_by_position_or_by_name() -> None:
    assert as_dict(Point(1)) == {"x": 1, "y": 2}
    assert Point(1, 3) == Point(y=3, x=1)
    assert as_dict(Named(x=1, name="n")) == {"x": 1, "y": 2, "name": "n", "table": {}}


@pytest.mark.parametrize(
    ("kind", "arguments", "named", "told"),
    [
        (Point, (), {}, "Point needs 'x'"),
        (Point, (1, 2, 3), {}, "Point takes 2 positional arguments"),
        (Point, (1,), {"x": 1}, "Point got 'x' twice"),
        (Point, (1,), {"z": 1, "a": 2}, "Point has no 'z', 'a'"),
        (Named, (1,), {}, "Named takes 0 positional arguments"),
    ],
)
def test_wrong_arguments_are_refused(
    kind: Any, arguments: tuple[int, ...], named: dict[str, int], told: str
) -> None:
    with pytest.raises(TypeError, match=told):
        kind(*arguments, **named)


def test_only_the_same_class_with_the_same_content_is_equal() -> None:
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(2)
    assert Point(1) != Named(x=1)
    assert Point(1) != (1, 2)
    assert len({Point(1), Point(1, 2), Point(2)}) == 2


def test_a_value_is_frozen_unless_its_class_says_otherwise() -> None:
    point: Any = Point(1)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match="Point is frozen"):
            setattr(point, name, 2)
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del point.x
    opened: Any = Open("a")
    opened.content = "b"
    assert opened == Open("b")
    with pytest.raises(AttributeError):
        opened.other = 1
    assert not hasattr(point, "__dict__")


def test_it_shows_its_content() -> None:
    assert repr(Named(x=1)) == "Named(x=1, y=2, name='', table={})"


def test_each_gets_a_dict_of_its_own() -> None:
    one, other = Named(x=1), Named(x=1)
    one.table["a"] = 1
    assert other.table == {}


def test_what_was_made_from_it_is_checked_as_well() -> None:
    assert replace(Named(x=1), y=5, name="b") == Named(x=1, y=5, name="b")
    with pytest.raises(ValueError, match="below zero"):
        replace(Checked(1), size=-1)
    with pytest.raises(ValueError, match="below zero"):
        Checked(-1)


@pytest.mark.parametrize(
    "way", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_it_can_be_copied(way: Any) -> None:
    assert way(Named(x=1, table={"a": 1})) == Named(x=1, table={"a": 1})


def test_fields_are_those_of_the_bases_too_in_order() -> None:
    assert [(each.name, each.default) for each in fields(Named)][1:] == [
        *[("y", 2), ("name", ""), ("table", {})]
    ]
    assert fields(Named)[2].metadata == {"help": "who it is"}
