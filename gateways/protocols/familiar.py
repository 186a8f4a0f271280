"""Variables off the wire, read by what requests have in common.

Web servers send the same variables with every request and in the same order, and many with the
same values: what they say of themselves, of the site and of their client's kind. To compare bytes
with what is expected is far cheaper than to decode, check and look them up once more, and a copy
of a dict that has the names already is cheaper than to fill one. So a request is read along the
``Shape`` of an earlier one, as far as it goes; where it leaves that, each name still knows which
one came behind it the last time.

A value is kept once it has come twice in a row, if it is short and no secret of a client.

What is done with the variables of every request can be done with a shape's once and for all:
``Names`` takes who does that, and hands out copies of what has been prepared.
"""

from __future__ import annotations

import struct
import sys

from gateways.errors import LimitExceeded
from gateways.protocols import framing, room

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

Prepare: TypeAlias = "Callable[[dict[str, str]], frozenset[str] | None]"
"""Completes variables in place, as it is right for whatever values they have, but for those of the
names that it returns. Returns None where it has to see every request as it came."""

_LENGTH = struct.Struct(">I")

_MAX_NAMES = 1024  # peers that make names up must not fill the memory
_LONGEST_NAME = 100
LONGEST_VALUE = 256

# Nobody's secrets outlive their request, nor does the time to compare them tell anything.
_SECRETS = ("COOKIE", "AUTH", "TOKEN", "SECRET", "PASSWORD", "KEY")

_CHANGES_ALL_THE_TIME = 1000  # a client's port does, and is not worth a comparison
_OTHERS_IN_A_ROW = 2  # requests of another shape, after which that is the one to expect
_RENEWED_AFTER = 16  # requests, at the soonest, where just values have changed for good

# The wire formats: lengths of one or four bytes, lengths of two bytes, a NUL behind each.
PAIRS, VARS, FIELDS = range(3)
_PAIRS, _VARS, _FIELDS = PAIRS, VARS, FIELDS  # C numbers in the compiled build


class Pair:
    """A name and a value as they come over the wire, ``size`` bytes, and the decoded value."""

    __slots__ = ("raw", "size", "value")

    def __init__(self, raw: bytes, value: str) -> None:
        self.raw = raw
        self.size = len(raw)
        self.value = value


class Run:
    """Values that are expected one behind the other: of ``count`` names, in ``size`` bytes."""

    __slots__ = ("count", "raw", "size")

    def __init__(self, pairs: list[Pair]) -> None:
        self.raw = b"".join([pair.raw for pair in pairs])
        self.size = len(self.raw)
        self.count = len(pairs)


class Name:
    """A name that is fine, and the ``follower`` that came behind it the last time.

    ``pair`` is the name with the value that is expected; None where that differs all the time.
    """

    __slots__ = ("changes", "follower", "is_secret", "last", "length", "pair", "raw", "text")

    def __init__(self, text: str) -> None:
        self.text = sys.intern(text)  # the very object that the environ builder looks for
        self.raw = text.encode("latin-1")
        self.length = len(text)
        self.follower: Name | None = None
        self.pair: Pair | None = None
        self.last: str | None = None  # its value of the last time, if that was not the expected
        self.is_secret = is_secret(text)
        self.changes = 0  # since a value has come twice in a row


class Shape:
    """The names of a request in their order, each once, and the values that are expected.

    ``runs`` has, where several expected values begin, all of these. ``variables`` is a dict of all
    names, with "" where no value is expected, and ``prepared`` the same as it was prepared, or as
    it is; then ``matters`` has a 1 for each name that was prepared by its value. Nothing in a shape
    changes: another thread may be reading along it.
    """

    __slots__ = ("count", "matters", "names", "pairs", "prepared", "runs", "variables")

    def __init__(self, names: list[Name], prepare: Prepare | None = None) -> None:
        self.names = names
        self.count = len(names)
        self.pairs = [name.pair for name in names]
        self.variables = room.new_variables()  # its copies have the room that it has
        for name, pair in zip(names, self.pairs, strict=True):
            self.variables[name.text] = pair.value if pair else ""
        self.prepared = self.variables
        self.matters = bytes(len(names))
        if prepare is not None:
            prepared = self.variables.copy()
            by_value = prepare(prepared)
            if by_value is not None:
                self.prepared = prepared
                self.matters = bytes([name.text in by_value for name in names])
        self.runs: list[Run | None] = []
        expected: list[Pair] = []
        for pair in [*self.pairs, None]:
            if pair is not None:
                expected.append(pair)
                continue
            if expected:
                self.runs += [Run(expected), *[None] * (len(expected) - 1)]
                expected = []
            self.runs.append(None)


class Names:
    """The names of one wire format, in which ``encode`` writes a pair.

    ``first`` precedes the first one of a request. It also stands for those that need a closer
    look, as those do that ``is_refused``. ``prepare`` is what becomes of the variables.
    """

    __slots__ = (
        "_age",
        "_encode",
        "_is_refused",
        "_is_stale",
        "_known",
        "_others",
        "_prepare",
        "_shape",
        "_wire",
        "first",
    )

    def __init__(
        self,
        wire: int,
        encode: Callable[[str, str], bytes],
        is_refused: Callable[[str], bool] = lambda text: False,
        prepare: Prepare | None = None,
    ) -> None:
        self._wire = wire
        self._encode = encode
        self._is_refused = is_refused
        self._prepare = prepare
        self._known: dict[str, Name] = {}
        self.first = Name("")
        self._shape = Shape([])
        self._others = 0  # requests in a row that had another one
        self._is_stale = False  # a value that it does not expect has come again
        self._age = 0  # requests that had this one

    def read(self, data: bytes, start: int, end: int, most: int = 0) -> dict[str, str]:
        """Decode the variables between two positions in ``data``, to latin-1 ``str``.

        They are prepared where they have the shape of earlier ones. Else there may be an empty
        name among them, where something needs a closer look: a name, a value, a name that came
        twice. Raises LimitExceeded where they are more than ``most`` (0: any number), and
        IndexError, ValueError or struct.error where they run past the end.
        """
        wire = self._wire
        shape = self._shape
        names = shape.names
        variables: dict[str, str] = shape.prepared.copy()
        fresh: list[Name] = []  # those with other values than the expected
        values: list[str] = []
        is_plain = False  # what was prepared does not hold for it
        is_other = False  # it has left the shape, so it is plain as well
        position = start
        index = 0
        name = self.first
        while position < end:
            if is_other:
                expected = name.follower
                pair = None if expected is None else expected.pair
            elif index < shape.count:
                run = shape.runs[index]
                if run is not None and framing.is_at(data, run.raw, position):
                    position += run.size
                    index += run.count
                    name = names[index - 1]
                    continue
                expected = names[index]
                pair = shape.pairs[index]
            else:
                expected = pair = None
            index += 1
            if (
                expected is not None
                and pair is not None
                and framing.is_at(data, pair.raw, position)
            ):
                name = expected
                position += pair.size
                if is_other:
                    names.append(name)
                    variables[name.text] = pair.value
                continue
            if wire == _PAIRS:
                length = data[position]
                size = data[position + 1]
                position += 2
                if length | size > 127:
                    position, length, size = long_lengths(data, position - 2)
                value_at = position + length
            elif wire == _VARS:
                length = data[position] | data[position + 1] << 8
                position += 2
                value_at = position + length + 2
                size = data[value_at - 2] | data[value_at - 1] << 8
            else:
                length = data.index(b"\0", position) - position
                value_at = position + length + 1
                size = data.index(b"\0", value_at) - value_at
            if (
                expected is None
                or expected.length != length
                or not framing.is_at(data, expected.raw, position)
            ):
                if not is_other:
                    is_other = is_plain = True
                    names = names[: index - 1]
                    variables = _plain(shape, names, fresh, values)
                expected = self._find(data[position : position + length].decode("latin-1"), name)
            name = expected
            position = value_at + size
            value = data[value_at:position].decode("latin-1")
            fresh.append(name)
            values.append(value)
            if is_other:
                names.append(name)
            elif shape.matters[index - 1] and not is_plain:
                is_plain = True
                variables = _plain(shape, names, fresh, values)
            variables[name.text] = value
            if wire == _FIELDS:
                position += 1
        if position != end:
            raise IndexError
        if not is_other and index < shape.count:
            is_other = True
            names = names[:index]
            variables = _plain(shape, names, fresh, values)
        if is_other and (index != len(variables) or "" in variables):
            return {"": ""}
        if not self._take(fresh, values):
            return {"": ""}
        check_count(index, most)
        if is_other:
            self._note_other(names)
        else:
            self._note_usual(shape)
        return variables

    def _find(self, text: str, before: Name) -> Name:
        """A name that was not expected behind ``before``."""
        name = self._known.get(text)
        if name is None:
            if not text or not _is_clean(text) or self._is_refused(text):
                return self.first
            name = Name(text)
            if len(self._known) >= _MAX_NAMES or len(text) >= _LONGEST_NAME:
                return name
            self._known[text] = name
        before.follower = name
        return name

    def _take(self, fresh: list[Name], values: list[str]) -> bool:
        """Whether these values are fine; those that have come again are expected from here on."""
        joined = "".join(values)
        if "\0" in joined or "\n" in joined or "\r" in joined:
            return False
        position = 0
        for name in fresh:
            value = values[position]
            position += 1
            if name.is_secret or name.changes > _CHANGES_ALL_THE_TIME:
                continue
            if name.last == value:
                name.pair = Pair(self._encode(name.text, value), value)
                name.changes = 0
                self._is_stale = True
            else:
                name.last = value if len(value) <= LONGEST_VALUE else None
                name.changes += 1
        return True

    def _note_other(self, names: list[Name]) -> None:
        """A request has these names, and not those of the shape."""
        self._others += 1
        if self._others >= _OTHERS_IN_A_ROW:
            self._make_shape(names)

    def _note_usual(self, shape: Shape) -> None:
        """A request had this shape."""
        self._others = 0
        self._age += 1
        if self._is_stale and self._age >= _RENEWED_AFTER:
            self._make_shape(shape.names)

    def _make_shape(self, names: list[Name]) -> None:
        self._shape = Shape(names, self._prepare)
        self._is_stale = False
        self._others = self._age = 0


def long_lengths(data: bytes, position: int) -> tuple[int, int, int]:
    """Where the name at ``position`` begins, its length and its value's, when one needs 4 bytes."""
    lengths = []
    for _ in range(2):
        length = data[position]
        if length < 128:
            position += 1
        else:
            length = _LENGTH.unpack_from(data, position)[0] & 0x7FFFFFFF
            position += 4
        lengths.append(length)
    return position, lengths[0], lengths[1]


def check_count(count: int, most: int) -> None:
    """Raise LimitExceeded (431) for more variables than ``most``, unless that is 0."""
    if most and count > most:
        raise LimitExceeded(
            f"the request has {count} variables, --max-variables allows {most}", 431
        )


def _plain(shape: Shape, names: list[Name], fresh: list[Name], values: list[str]) -> dict[str, str]:
    """Those of a shape's variables that have come, with the values that have come, unprepared."""
    some = room.new_variables()
    expected = shape.variables
    for name in names:
        some[name.text] = expected[name.text]
    for name, value in zip(fresh, values, strict=True):
        some[name.text] = value
    return some


def is_secret(name: str) -> bool:
    """Whether the values of this variable are nobody's business after their request."""
    return any(word in name for word in _SECRETS)


def _is_clean(name: str) -> bool:
    return not any(bad in name for bad in ("=", "\0", "\n", "\r", "wsgi.", "gateways."))
