"""Checks that functions of several families make of their arguments; each raises `FunctionError`."""

from __future__ import annotations

from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.gate import FunctionError
from brevplan.lang.types import ANY, ListType, SetType, TupleType, Type, friendly
from brevplan.lang.values import Number, Unknown, Value, type_of


def whole(value: Number, name: str, position: int) -> int:
    """Give a number as an `int`; refuse fractions and infinities."""
    if not isinstance(value, int):
        raise FunctionError(f'"{name}" must be a whole number', position)
    return value


def not_negative(value: Number, name: str, position: int) -> int:
    number = whole(value, name, position)
    if number < 0:
        raise FunctionError(f'"{name}" must be zero or more, not {number}', position)
    return number


def kind_of(value: Value) -> str:
    """Name what a value is, for messages: `a number`, `an object`, `null`."""
    if value is None:
        return "null"
    word = friendly(type_of(value))
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def converted(value: Value, type_: Type, name: str, position: int) -> Value:
    try:
        return convert(value, type_)
    except ConversionError as problem:
        raise FunctionError(f'unsuitable value for "{name}": {problem}', position) from None


def require_sequence(value: Unknown, name: str) -> None:
    """Refuse an unknown that surely is no sequence."""
    if value.type is not ANY and not isinstance(value.type, (ListType, SetType, TupleType)):
        raise FunctionError(f'"{name}" must be a list, tuple or set, not {kind_of(value)}', 0)
