"""Operators, attribute and index steps: ordinary functions over values, with unknown and secret let through.

Each raises `OperationError` with a sentence; the evaluator adds the place.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.numbers import MANTISSA_BITS, NEGATIVE_ZERO, format_number, round512
from brevplan.lang.refinements import compared, equality
from brevplan.lang.types import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    AnyType,
    ListType,
    MapType,
    ObjectType,
    SetType,
    TupleType,
    Type,
    friendly,
)
from brevplan.lang.values import (
    SENSITIVE,
    List,
    Map,
    Mapping_,
    Marks,
    Number,
    Object,
    Secret,
    Sequence_,
    Set,
    Tuple,
    Unknown,
    Value,
    all_marks,
    first_unknown,
    mark,
    marks_of,
    reveal,
    type_of,
)

_MAX_BITS: Final = 200_000
"""How large a result may grow: about three times the longest literal. Squaring a few times would fill the memory."""


class OperationError(Exception):
    """An operator or a step cannot be applied to these values. `hint` says what to write instead."""

    def __init__(self, summary: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.summary = summary
        self.message = message
        self.hint = hint


def binary(symbol: str, left: Value, right: Value) -> Value:
    """Apply a binary operator other than `&&` and `||`, which decide for themselves what they evaluate."""
    if symbol == "==":
        return _equal(left, right)
    if symbol == "!=":
        return unary("!", _equal(left, right))
    if left.__class__ is Secret or right.__class__ is Secret:
        marks = marks_of(left) | marks_of(right)
        return _hidden(f'"{symbol}"', marks, binary, symbol, reveal(left), reveal(right))
    a = left if left.__class__ is int else _operand(symbol, "left side", left)
    b = right if right.__class__ is int else _operand(symbol, "right side", right)
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        return _undecided(symbol, a, b)
    if symbol in _COMPARE:
        return _COMPARE[symbol](a, b)
    return _ARITHMETIC[symbol](a, b)


def _hidden(what: str, marks: Marks, apply: Callable[..., Value], *arguments: Any) -> Value:
    """Give a secret result of bare arguments; the message of a failure tells nothing of them."""
    try:
        return Secret(apply(*arguments), marks)
    except OperationError as problem:
        word = "sensitive" if marks & SENSITIVE else "ephemeral"
        message = f"{what} cannot be applied: a value is {word}, so the reason is not shown."
        raise OperationError(problem.summary, message) from None


def _undecided(symbol: str, left: Value, right: Value) -> Value:
    """Give the result for numbers of which one is not known: its bounds may decide a comparison."""
    if symbol in _COMPARE:
        decided = compared(symbol, left, right)
        if decided is not None:
            return decided
    cause = first_unknown((left, right))
    return Unknown(BOOL if symbol in _COMPARE else NUMBER, cause.because if cause is not None else "", not_null=True)


def _equal(left: Value, right: Value) -> Value:
    found = equality(left, right)
    result: Value = found
    if found is None:
        cause = first_unknown((left, right))
        result = Unknown(BOOL, cause.because if cause is not None else "", not_null=True)
    return mark(result, all_marks(left) | all_marks(right))


def _operand(symbol: str, side: str, value: Value) -> Number | Unknown:
    if value is None:
        raise OperationError("Operand is null", f'The {side} of "{symbol}" is null, and a number is needed.')
    try:
        result = convert(value, NUMBER)
    except ConversionError as problem:
        hint = 'Texts are joined by a template: "${a}${b}".' if symbol == "+" and isinstance(value, str) else ""
        raise OperationError("Unsuitable operand", f'The {side} of "{symbol}": {problem}.', hint) from None
    assert isinstance(result, (int, Fraction, float, Unknown))
    return result


def _rounded(value: int | Fraction) -> Number:
    """Round a result to what numbers hold; refuse one that would grow beyond all bounds."""
    if value.__class__ is int and value.bit_length() <= MANTISSA_BITS:
        return value
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise OperationError("Number out of range", "The result has too many digits to be worked with.")
    return round512(value)


def _exact(apply: Callable[[Any, Any], Any], symbol: str) -> Callable[[Number, Number], Number]:
    """Make an operator for exact numbers, which also knows infinities."""

    def run(left: Number, right: Number) -> Number:
        if left.__class__ is float or right.__class__ is float:
            return _finite_or_infinite(apply(_as_float(left), _as_float(right)), symbol)
        return _rounded(apply(left, right))

    return run


def _as_float(value: Number) -> float:
    """Let a finite operand of an infinite one stand for its sign: its size does not matter, and may be too large."""
    return value if isinstance(value, float) else float((value > 0) - (value < 0))


def _finite_or_infinite(value: float, symbol: str) -> Number:
    if math.isnan(value):
        raise OperationError("Undefined result", f'"{symbol}" of these values has no result: one is infinite.')
    return value if math.isinf(value) else int(value)


def _divide(left: Number, right: Number) -> Number:
    if right == 0:
        if left == 0:
            raise OperationError("Division by zero", "Zero divided by zero has no value.")
        return math.inf if left > 0 else -math.inf
    if isinstance(left, float):
        return _finite_or_infinite(left / _as_float(right), "/")
    return 0 if isinstance(right, float) else _rounded(Fraction(left) / Fraction(right))


def _modulo(left: Number, right: Number) -> Number:
    if isinstance(left, float) or isinstance(right, float):
        raise OperationError("Undefined result", 'An infinity has no "%".')
    if right == 0:
        return left
    # by the rounded quotient: 5.5 % 0.1 is 0, though the nearest that there is to 0.1 does not quite divide 5.5
    whole = math.trunc(round512(Fraction(left) / Fraction(right)))
    return _rounded(left - round512(whole * right))


_COMPARE: dict[str, Callable[[Number, Number], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Number, Number], Number]] = {
    "+": _exact(operator.add, "+"),
    "-": _exact(operator.sub, "-"),
    "*": _exact(operator.mul, "*"),
    "/": _divide,
    "%": _modulo,
}


def unary(symbol: str, value: Value) -> Value:
    if isinstance(value, Secret):
        return _hidden(f'"{symbol}"', value.marks, unary, symbol, value.value)
    if symbol == "-":
        number = _operand("-", "operand", value)
        if isinstance(number, Unknown):
            return Unknown(NUMBER, number.because, not_null=True)
        return -number if number else NEGATIVE_ZERO
    truth = to_bool(value, 'The operand of "!"')
    return Unknown(BOOL, truth.because, not_null=True) if isinstance(truth, Unknown) else not truth


def to_bool(value: Value, what: str) -> bool | Unknown:
    """Convert to a bool for a condition or a logical operator; the secret mark is the caller's matter."""
    if value is True or value is False:
        return value
    if reveal(value) is None:
        raise OperationError("Condition is null", f"{what} is null, and true or false is needed.")
    try:
        result = reveal(convert(value, BOOL))
    except ConversionError as problem:
        raise OperationError("Unsuitable condition", f"{what}: {problem}.") from None
    assert isinstance(result, (bool, Unknown))
    return result


def text_of(value: Value) -> str | Unknown:
    """Give the text of a template part; the secret mark is the caller's matter."""
    if value.__class__ is str:
        return value
    if value is None:
        raise OperationError("Null in a template", "The value is null, and a text cannot hold null.")
    try:
        text = convert(value, STRING)
    except ConversionError as problem:
        raise OperationError(
            "Unsuitable value in a template",
            f"Only texts, numbers and bools fit into a text: {problem}.",
            "Use join() for a list, or jsonencode() for a whole value.",
        ) from None
    assert isinstance(text, (str, Unknown))
    return text


def get_attribute(value: Value, name: str) -> Value:
    """`value.name`: an attribute of an object, or an element of a map."""
    if isinstance(value, Mapping_):
        if name in value.items:
            return value.items[name]
        raise _missing(value, name)
    if isinstance(value, Secret):
        return _hidden(f'".{name}"', value.marks, get_attribute, value.value, name)
    if isinstance(value, Unknown):
        return Unknown(_attribute_type(value.type, name), value.because)
    if value is None:
        raise OperationError("Attribute of null", f'The value is null, so it has no attribute "{name}".')
    raise _no_attributes(type_of(value), name)


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


def _no_attributes(type_: Type, name: str) -> OperationError:
    if isinstance(type_, (ListType, SetType, TupleType)):
        return OperationError(
            "Unsupported attribute",
            f'A {friendly(type_)} has elements, not an attribute "{name}".',
            f"Name one element, as in [0].{name}, or all of them with [*].{name}.",
        )
    return OperationError("Unsupported attribute", f'A {friendly(type_)} has no attribute "{name}".')


def _attribute_type(type_: Type, name: str) -> Type:
    """Give the type of an attribute of an unknown value; raise `OperationError` when it can have none of the name."""
    match type_:
        case ObjectType(attributes=attributes):
            if name not in attributes:
                raise _missing(Object(dict.fromkeys(attributes)), name)
            return attributes[name]
        case MapType(element=element):
            return element
        case AnyType():
            return ANY
        case _:
            raise _no_attributes(type_, name)


def get_index(value: Value, key: Value) -> Value:
    """`value[key]`."""
    if isinstance(value, Secret) or isinstance(key, Secret):
        return _hidden("The index", marks_of(value) | marks_of(key), get_index, reveal(value), reveal(key))
    if value is None:
        raise OperationError("Index of null", "The value before the brackets is null, so it has no elements.")
    if key is None:
        raise OperationError("Null index", "The key between the brackets is null.")
    if isinstance(value, Mapping_):
        return _map_element(value, key)
    if isinstance(value, Sequence_) and not isinstance(value, Set):
        return _list_element(value, key)
    if isinstance(value, Unknown):
        return Unknown(_element_type(value.type, key), value.because)
    raise _no_elements(type_of(value))


def _no_elements(type_: Type) -> OperationError:
    hint = ""
    if isinstance(type_, SetType):
        hint = "Use tolist() to give it an order, or one() for its only element."
    elif type_ == STRING:
        hint = "Use substr() for a part of a text."
    return OperationError("Invalid index", f"A {friendly(type_)} has no elements to pick by a key.", hint)


def _map_element(value: Mapping_, key: Value) -> Value:
    name = _map_key(key)
    if isinstance(name, Unknown):
        return _some_element(value, value.element if isinstance(value, Map) else ANY, name)
    if name in value.items:
        return value.items[name]
    error = _missing(value, name)
    raise OperationError("Invalid index", error.message, error.hint)


def _map_key(key: Value) -> str | Unknown:
    try:
        name = convert(key, STRING)
    except ConversionError as problem:
        raise OperationError("Invalid index", f"The key of a map is a text: {problem}.") from None
    assert isinstance(name, (str, Unknown))
    return name


def _list_element(value: Sequence_, key: Value) -> Value:
    position = _list_key(key)
    if isinstance(position, Unknown):
        return _some_element(value, value.element if isinstance(value, List) else ANY, position)
    if not 0 <= position < len(value.items):
        count = len(value.items)
        holds = f"It has {count} element{'s' if count != 1 else ''}" if count else "It is empty"
        raise OperationError(
            "Invalid index",
            f"There is no element {format_number(position)}. {holds}; the first one is number 0.",
        )
    return value.items[position]


def _list_key(key: Value) -> int | Unknown:
    try:
        position = convert(key, NUMBER)
    except ConversionError as problem:
        raise OperationError("Invalid index", f"The key of a list is a whole number: {problem}.") from None
    if not isinstance(position, (int, Unknown)):
        raise OperationError("Invalid index", "The key of a list is a whole number.")
    return position


def _some_element(value: Sequence_ | Mapping_, type_: Type, key: Unknown) -> Value:
    """Stand for the element that an unknown key picks: it may be a secret one."""
    result = Unknown(type_, key.because)
    return mark(result, value.inner_marks)


def _element_type(type_: Type, key: Value) -> Type:
    """Give the type of an element of an unknown value; raise `OperationError` when the key can never pick one."""
    match type_:
        case ListType(element=element):
            _list_key(key)
            return element
        case MapType(element=element):
            _map_key(key)
            return element
        case TupleType(elements=elements):
            return type_of(_list_element(Tuple(map(Unknown, elements)), key))
        case ObjectType(attributes=attributes):
            return type_of(_map_element(Object({name: Unknown(inner) for name, inner in attributes.items()}), key))
        case AnyType():
            return ANY
        case _:
            raise _no_elements(type_)
