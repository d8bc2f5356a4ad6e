"""What is known of a value that is not: how a text begins, within which bounds a number or a length lies."""

from __future__ import annotations

from collections.abc import Iterable

from brevplan.lang.types import NUMBER, STRING, ListType, MapType, TupleType, Type
from brevplan.lang.values import Mapping_, Number, Secret, Sequence_, Set, Unknown, Value, has_unknown, reveal, same

Bounds = tuple[Number | None, Number | None]

_JOINING = frozenset("<=>")
"""With the letters, the ASCII characters that a mark behind them may turn into another one."""


def pending_text(parts: Iterable[Value], because: str) -> Unknown:
    """Make the unknown text that the parts, texts and unknown ones, will give together."""
    known = ""
    for part in parts:
        if isinstance(part, str):
            known += part
            continue
        if isinstance(part, Unknown):
            known += part.prefix
        break
    return Unknown(STRING, because, not_null=True, prefix=settled_prefix(known))


def settled_prefix(text: str) -> str:
    """Give the part of a beginning that stays as it is whatever follows: a mark may change the letter before it."""
    end = len(text)
    while end and not text[end - 1].isascii():
        end -= 1
    if end and (end < len(text) or text[-1].isalpha() or text[-1] in _JOINING):
        end -= 1
    return text[:end]


def starts_with(text: Unknown, prefix: str) -> bool | None:
    """Tell whether a text will begin so; None when that is not known."""
    if text.prefix.startswith(prefix):
        return True
    return None if prefix.startswith(text.prefix) else False


def equality(left: Value, right: Value) -> bool | None:
    """Compare as `same` does, but values that may be unknown: None when what is unknown decides it."""
    left, right = reveal(left), reveal(right)
    if isinstance(right, Unknown):
        left, right = right, left
    if isinstance(left, Unknown):
        return False if excludes(left, right) else None
    if not has_unknown(left) and not has_unknown(right):
        return same(left, right)
    if left.__class__ is not right.__class__:
        return False
    if isinstance(left, Set):
        return None  # its unknown members may coincide with others
    if isinstance(left, Sequence_) and isinstance(right, Sequence_):
        return _all_equal(left.items, right.items) if len(left) == len(right) else False
    if isinstance(left, Mapping_) and isinstance(right, Mapping_) and left.items.keys() == right.items.keys():
        return _all_equal(left.items.values(), right.items.values())
    return False


def _all_equal(left: Iterable[Value], right: Iterable[Value]) -> bool | None:
    found = set(map(equality, left, right))
    if False in found:
        return False
    return None if None in found else True


def excludes(value: Unknown, other: Value) -> bool:
    """Tell whether an unknown can never become this value."""
    if other is None:
        return value.not_null
    if isinstance(other, str):
        return not other.startswith(value.prefix)
    if isinstance(other, Unknown):
        return not (value.prefix.startswith(other.prefix) or other.prefix.startswith(value.prefix))
    least, most = bounds_of(value)
    low, high = bounds_of(other)
    return _above(least, high) or _above(low, most)


def _above(low: Number | None, high: Number | None) -> bool:
    return low is not None and high is not None and low > high


def compared(symbol: str, left: Value, right: Value) -> bool | None:
    """Decide `<`, `<=`, `>` or `>=` between numbers of which one is not known, by what they can be at most."""
    if symbol in (">", ">="):
        left, right = right, left
    (low, high), (other_low, other_high) = bounds_of(left), bounds_of(right)
    if symbol in ("<", ">"):
        if _above(other_low, high):
            return True
        return False if low is not None and other_high is not None and low >= other_high else None
    if high is not None and other_low is not None and high <= other_low:
        return True
    return False if _above(low, other_high) else None


def bounds_of(value: Value) -> Bounds:
    """Give the bounds of a number, or of the number of elements."""
    inner = reveal(value)
    if isinstance(inner, Unknown):
        if isinstance(inner.type, TupleType):
            return len(inner.type.elements), len(inner.type.elements)
        return inner.least, inner.most
    if isinstance(inner, Set) and inner.has_unknown:
        return 1, len(inner)  # members that are not known yet may coincide
    if isinstance(inner, (Sequence_, Mapping_)):
        return len(inner), len(inner)
    return (None, None) if isinstance(inner, (bool, str, Secret)) or inner is None else (inner, inner)


def either(first: Value, second: Value, type_: Type, because: str) -> Unknown:
    """Make the unknown that turns out to be one of two values, once these are converted to the type."""
    not_null = _is_not_null(first) and _is_not_null(second)
    if not isinstance(type_, (ListType, MapType)) and type_ != NUMBER:
        return Unknown(type_, because, not_null=not_null)
    (low, high), (other_low, other_high) = bounds_of(first), bounds_of(second)
    least = None if low is None or other_low is None else min(low, other_low)
    most = None if high is None or other_high is None else max(high, other_high)
    return Unknown(type_, because, not_null=not_null, least=least, most=most)


def _is_not_null(value: Value) -> bool:
    inner = reveal(value)
    return inner.not_null if isinstance(inner, Unknown) else inner is not None
