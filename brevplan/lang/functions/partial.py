"""How functions look at arguments that are partly unknown or partly secret, without losing either fact.

The gate steps in for most functions. Those that can answer although a part is missing (`length`, `merge`, `keys`,
...) take such arguments bare and use what is here.
"""

from __future__ import annotations

from collections.abc import Iterable

from brevplan.lang.refinements import excludes
from brevplan.lang.types import ANY, Type
from brevplan.lang.values import (
    Mapping_,
    Marks,
    Number,
    Sequence_,
    Unknown,
    Value,
    all_marks,
    first_unknown,
    has_unknown,
    marks_of,
    reveal,
    reveal_deep,
    type_of,
)


def bare(value: Value) -> tuple[Value, Marks]:
    """Take the outermost marks off, and give them."""
    return reveal(value), marks_of(value)


def bare_deep(value: Value) -> tuple[Value, Marks]:
    """Take every mark off, at every depth, and give them."""
    return reveal_deep(value), all_marks(value)


def bare_all(values: Iterable[Value]) -> tuple[list[Value], Marks]:
    """Take the outermost marks off several values, and give them together."""
    marks = 0
    given = []
    for value in values:
        marks |= marks_of(value)
        given.append(reveal(value))
    return given, marks


def pending(
    type_: Type,
    *values: Value,
    not_null: bool = True,
    prefix: str = "",
    least: Number | None = None,
    most: Number | None = None,
) -> Unknown:
    """Make the unknown result of a call that waits for these values."""
    found = first_unknown(values)
    because = "" if found is None else found.because
    return Unknown(type_, because, not_null=not_null, prefix=prefix, least=least, most=most)


def compare(left: Value, right: Value) -> bool | None:
    """Tell whether two values are equal, type-exact and deep; None when unknown parts decide it."""
    left, right = reveal(left), reveal(right)
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return False if _never_equal(left, right) else None
    if isinstance(left, Sequence_) and type(left) is type(right) and isinstance(right, Sequence_):
        if len(left) != len(right):
            return False if not has_unknown(left) and not has_unknown(right) else _set_length_doubt(left)
        return _all_equal(zip(left.items, right.items, strict=True))
    if isinstance(left, Mapping_) and type(left) is type(right) and isinstance(right, Mapping_):
        if left.items.keys() != right.items.keys():
            return False
        return _all_equal((value, right.items[name]) for name, value in left.items.items())
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return type_of(left) == type_of(right) and left == right


def _all_equal(pairs: Iterable[tuple[Value, Value]]) -> bool | None:
    result: bool | None = True
    for left, right in pairs:
        found = compare(left, right)
        if found is False:
            return False
        if found is None:
            result = None
    return result


def _set_length_doubt(value: Sequence_) -> bool | None:
    """Two sets may still become equal when unknown members coincide; lists and tuples keep their lengths."""
    return None if type(value).__name__ == "Set" else False


def _never_equal(left: Value, right: Value) -> bool:
    """What is known of an unknown may rule the other value out; unlike known types are never equal."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Unknown) and excludes(one, other):
            return True
    types = (type_of(left), type_of(right))
    return ANY not in types and left is not None and right is not None and _unlike(*types)


def _unlike(left: Type, right: Type) -> bool:
    """Only the outermost kind is compared: an element type may still be open."""
    return type(left) is not type(right) or (left != right and not hasattr(left, "element") and hasattr(left, "name"))
