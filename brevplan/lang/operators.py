"""Operators, attribute and index steps: ordinary functions over values, with unknown and secret let through.

Each raises `OperationError` with a sentence; the evaluator adds the place.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable
from fractions import Fraction

from brevplan.lang.convert import ConversionError, convert, to_string
from brevplan.lang.numbers import round512
from brevplan.lang.types import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    ListType,
    MapType,
    ObjectType,
    SetType,
    TupleType,
    Type,
    friendly,
)
from brevplan.lang.values import (
    List,
    Mapping_,
    Number,
    Object,
    Secret,
    Sequence_,
    Set,
    Unknown,
    Value,
    has_unknown,
    reveal,
    same,
    type_of,
)


class OperationError(Exception):
    """An operator or a step cannot be applied to these values. `hint` says what to write instead."""

    def __init__(self, summary: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.summary = summary
        self.message = message
        self.hint = hint


def binary(symbol: str, left: Value, right: Value) -> Value:
    """Apply a binary operator other than `&&` and `||`, which decide for themselves what they evaluate."""
    if left.__class__ is Secret or right.__class__ is Secret:
        return Secret(binary(symbol, reveal(left), reveal(right)))
    if symbol == "==":
        return _equal(left, right)
    if symbol == "!=":
        result = _equal(left, right)
        return result if not isinstance(result, bool) else not result
    a, b = _operand(symbol, "left", left), _operand(symbol, "right", right)
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        because = next(side.because for side in (a, b) if isinstance(side, Unknown))
        return Unknown(BOOL if symbol in _COMPARE else NUMBER, because, not_null=True)
    if symbol in _COMPARE:
        return _COMPARE[symbol](a, b)
    return _ARITHMETIC[symbol](a, b)


def _equal(left: Value, right: Value) -> Value:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Unknown):
            if other is None and one.not_null:
                return False
            return Unknown(BOOL, one.because, not_null=True)
    if has_unknown(left) or has_unknown(right):
        return Unknown(BOOL, "", not_null=True)
    result = same(left, right)
    return result


def _operand(symbol: str, side: str, value: Value) -> Number | Unknown:
    if value is None:
        raise OperationError("Operand is null", f'The {side} side of "{symbol}" is null, and a number is needed.')
    try:
        result = convert(value, NUMBER)
    except ConversionError as problem:
        hint = (
            'Texts are joined by a template: "${a}${b}".' if symbol == "+" and isinstance(value, str) else ""
        )
        raise OperationError(
            "Unsuitable operand", f'The {side} side of "{symbol}": {problem}.', hint
        ) from None
    assert isinstance(result, (int, Fraction, float, Unknown))
    return result


def _rounded(value: Number) -> Number:
    return round512(value) if isinstance(value, Fraction) else value


def _arithmetic(symbol: str, apply: Callable[[Number, Number], Number]) -> Callable[[Number, Number], Number]:
    def run(left: Number, right: Number) -> Number:
        if isinstance(left, float) or isinstance(right, float):
            result = apply(float(left), float(right))
            if math.isnan(result):
                raise OperationError("Undefined result", f'"{symbol}" of these infinities has no value.')
            return result
        result = apply(left, right)
        if isinstance(result, int) and result.bit_length() > 512:
            return round512(Fraction(result))
        return _rounded(result)

    return run


def _divide(left: Number, right: Number) -> Number:
    if right == 0:
        if left == 0:
            raise OperationError("Division by zero", "Zero divided by zero has no value.")
        return math.inf if left > 0 else -math.inf
    if isinstance(left, float) or isinstance(right, float):
        return _finish(float(left) / float(right), "/")
    return _rounded(Fraction(left) / Fraction(right))


def _finish(value: float, symbol: str) -> Number:
    if math.isnan(value):
        raise OperationError("Undefined result", f'"{symbol}" of these infinities has no value.')
    return value if math.isinf(value) else _rounded(Fraction(value))


def _modulo(left: Number, right: Number) -> Number:
    if right == 0 or isinstance(right, float):
        return left
    if isinstance(left, float):
        raise OperationError("Undefined result", 'An infinity has no "%".')
    quotient = abs(Fraction(left)) // abs(Fraction(right))
    rest = abs(Fraction(left)) - quotient * abs(Fraction(right))
    return _rounded(rest if left >= 0 else -rest)


_COMPARE: dict[str, Callable[[Number, Number], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Number, Number], Number]] = {
    "+": _arithmetic("+", operator.add),
    "-": _arithmetic("-", operator.sub),
    "*": _arithmetic("*", operator.mul),
    "/": _divide,
    "%": _modulo,
}


def unary(symbol: str, value: Value) -> Value:
    if isinstance(value, Secret):
        return Secret(unary(symbol, value.value))
    if symbol == "-":
        number = _operand("-", "right", value)
        return Unknown(NUMBER, number.because, not_null=True) if isinstance(number, Unknown) else -number
    truth = to_bool(value, 'The operand of "!"')
    return Unknown(BOOL, truth.because, not_null=True) if isinstance(truth, Unknown) else not truth


def to_bool(value: Value, what: str) -> bool | Unknown:
    """Convert to a bool for a condition or a logical operator; the secret mark is the caller's matter."""
    if value is None:
        raise OperationError("Condition is null", f"{what} is null, and true or false is needed.")
    try:
        result = convert(value, BOOL)
    except ConversionError as problem:
        raise OperationError("Unsuitable condition", f"{what}: {problem}.") from None
    assert isinstance(result, (bool, Unknown))
    return result


def text_of(value: Value) -> str | Unknown:
    """Give the text of a template part; the secret mark is the caller's matter."""
    if value.__class__ is str:
        return value  # type: ignore[return-value]
    if value is None:
        raise OperationError("Null in a template", "The value is null, and a text cannot hold null.")
    if isinstance(value, Unknown):
        return value
    try:
        return to_string(value)
    except ConversionError as problem:
        raise OperationError(
            "Unsuitable value in a template",
            f"Only texts, numbers and bools fit into a text: {problem}.",
            "Use join() for a list, or jsonencode() for a whole value.",
        ) from None


def get_attribute(value: Value, name: str) -> Value:
    """`value.name`: an attribute of an object, or an element of a map."""
    if isinstance(value, Mapping_):
        if name in value.items:
            return value.items[name]
        raise _missing(value, name)
    if isinstance(value, Secret):
        return Secret(get_attribute(value.value, name))
    if isinstance(value, Unknown):
        return Unknown(_attribute_type(value.type, name), value.because)
    if value is None:
        raise OperationError("Attribute of null", f'The value is null, so it has no attribute "{name}".')
    if isinstance(value, Sequence_):
        raise OperationError(
            "Unsupported attribute",
            f'A {friendly(type_of(value))} has elements, not an attribute "{name}".',
            f"Name one element, as in [0].{name}, or all of them with [*].{name}.",
        )
    raise OperationError("Unsupported attribute", f'A {friendly(type_of(value))} has no attribute "{name}".')


def _missing(value: Mapping_, name: str) -> OperationError:
    nearest = difflib.get_close_matches(name, list(value.items), n=1, cutoff=0.6)
    hint = f'Did you mean "{nearest[0]}"?' if nearest else _known_names(value)
    if isinstance(value, Object):
        return OperationError("Unsupported attribute", f'This object has no attribute named "{name}".', hint)
    return OperationError("Missing map element", f'This map has no element with the key "{name}".', hint)


def _known_names(value: Mapping_) -> str:
    names = list(value.items)
    shown = ", ".join(f'"{name}"' for name in names[:10])
    return f"It has: {shown}{', …' if len(names) > 10 else ''}." if names else "It is empty."


def _attribute_type(type_: Type, name: str) -> Type:
    if isinstance(type_, ObjectType):
        if name not in type_.attributes:
            raise OperationError("Unsupported attribute", f'This object has no attribute named "{name}".')
        return type_.attributes[name]
    return type_.element if isinstance(type_, MapType) else ANY


def get_index(value: Value, key: Value) -> Value:
    """`value[key]`."""
    if isinstance(value, Secret) or isinstance(key, Secret):
        return Secret(get_index(reveal(value), reveal(key)))
    if value is None:
        raise OperationError("Index of null", "The value is null, so it has no elements.")
    if key is None:
        raise OperationError("Null index", "The key between the brackets is null.")
    if isinstance(value, Unknown):
        return Unknown(_element_type(value.type), value.because)
    if isinstance(value, Mapping_):
        return _map_element(value, key)
    if isinstance(value, Sequence_) and not isinstance(value, Set):
        return _list_element(value, key)
    hint = "Use tolist() to give it an order, or one() for its only element." if isinstance(value, Set) else ""
    raise OperationError("Invalid index", f"A {friendly(type_of(value))} has no elements to pick by a key.", hint)


def _map_element(value: Mapping_, key: Value) -> Value:
    if isinstance(key, Unknown):
        return Unknown(type_of(value).element if isinstance(type_of(value), MapType) else ANY, key.because)  # type: ignore[attr-defined]
    try:
        name = convert(key, STRING)
    except ConversionError as problem:
        raise OperationError("Invalid index", f"The key of a map is a text: {problem}.") from None
    assert isinstance(name, str)
    if name in value.items:
        return value.items[name]
    error = _missing(value, name)
    raise OperationError("Invalid index", error.message, error.hint)


def _list_element(value: Sequence_, key: Value) -> Value:
    if isinstance(key, Unknown):
        return Unknown(value.element if isinstance(value, List) else ANY, key.because)
    try:
        position = convert(key, NUMBER)
    except ConversionError as problem:
        raise OperationError("Invalid index", f"The key of a list is a whole number: {problem}.") from None
    if not isinstance(position, int):
        raise OperationError("Invalid index", "The key of a list is a whole number.")
    if not 0 <= position < len(value.items):
        count = len(value.items)
        holds = f"It has {count} element{'s' if count != 1 else ''}" if count else "It is empty"
        raise OperationError("Invalid index", f"There is no element {position}. {holds}; the first one is number 0.")
    return value.items[position]


def _element_type(type_: Type) -> Type:
    match type_:
        case ListType() | MapType() | SetType():
            return type_.element
        case TupleType() | ObjectType():
            return ANY
        case _:
            return ANY
