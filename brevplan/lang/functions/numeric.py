"""Functions over numbers: exact where the language is exact, through floats only where it says so (`log`, `pow`)."""

from __future__ import annotations

import math
from fractions import Fraction

from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.numbers import parse_number, round512
from brevplan.lang.types import ANY, NUMBER, ListType
from brevplan.lang.values import List, Number, Sequence_, Value

from .arguments import kind_of, whole
from .text import quoted

_MAX_RANGE = 1024
_EXACT_BITS = 512
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _abs(_: Environment, number: Number) -> Value:
    return -number if number < 0 else number


def _ceil(_: Environment, number: Number) -> Value:
    return number if isinstance(number, float) else math.ceil(number)


def _floor(_: Environment, number: Number) -> Value:
    return number if isinstance(number, float) else math.floor(number)


def _max(_: Environment, *numbers: Number) -> Value:
    return max(_some(numbers))


def _min(_: Environment, *numbers: Number) -> Value:
    return min(_some(numbers))


def _some(numbers: tuple[Number, ...]) -> tuple[Number, ...]:
    if not numbers:
        raise FunctionError("at least one number is required; to pass a list, spread it: f(list...)")
    return numbers


def _signum(_: Environment, number: Number) -> Value:
    if isinstance(number, float):
        return 1 if number > 0 else -1
    whole(number, "number", 0)
    return (number > 0) - (number < 0)


def _log(_: Environment, number: Number, base: Number) -> Value:
    value, radix = _to_float(number), _to_float(base)
    if value < 0 or radix < 0:
        raise FunctionError("the logarithm of a negative number is not defined", 0 if value < 0 else 1)
    try:
        return _from_float(_natural_log(value) / _natural_log(radix))
    except ZeroDivisionError:
        if value == 1:
            raise FunctionError("the logarithm of 1 to the base 1 is not defined", 1) from None
        return math.inf if value > 1 else -math.inf


def _natural_log(value: float) -> float:
    return -math.inf if value == 0 else math.log(value)


def _pow(_: Environment, number: Number, power: Number) -> Value:
    base, exponent = _to_float(number), _to_float(power)
    try:
        return _from_float(math.pow(base, exponent))
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        if base == 0:
            return math.inf
        raise FunctionError("a negative number cannot be raised to a fractional power") from None


def _to_float(number: Number) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _from_float(number: float) -> Number:
    """Give the number of the fewest digits that stands for a float.

    Not the exact value: that of `pow(1/3, 2)` has 53 digits after the point, and users would see them all. Nor `repr`:
    beside a power of two the reference engine takes the wider gap for both sides, so 2^64 is 18446744073709550000.
    """
    if math.isnan(number):
        raise FunctionError("the result is not a number")
    if math.isinf(number):
        return number
    exact, reach = Fraction(number), Fraction(math.ulp(number)) / 2
    if exact.denominator == 1 and abs(number) < 1 << 53:
        return int(exact)
    texts = (f"{number:.{digits}e}" for digits in range(17))
    return parse_number(next(text for text in texts if abs(Fraction(text) - exact) <= reach))


def _parseint(_: Environment, text: Value, base: Number) -> Value:
    if not isinstance(text, str):
        raise FunctionError(f"the first argument must be a string, not {kind_of(text)}", 0)
    radix = whole(base, "base", 1)
    if not 2 <= radix <= 62:
        raise FunctionError(f"the base must be between 2 and 62, not {radix}", 1)
    digits = text[1:] if text[:1] in ("-", "+") else text
    wanted = digits.lower() if radix <= 36 else digits
    if not digits.isascii() or not digits or not all(0 <= _DIGITS.find(d) < radix for d in wanted):
        raise FunctionError(f"{quoted(text)} is not a whole number in base {radix}", 0)
    value = 0
    for digit in wanted:
        value = value * radix + _DIGITS.index(digit)
        if value.bit_length() > 1 << 16:
            raise FunctionError("the number is too large: it has more than 65536 bits", 0)
    return tidy(-value if text[0] == "-" else value)


def _sum(_: Environment, numbers: Value) -> Value:
    if not isinstance(numbers, Sequence_):
        raise FunctionError(f"a list, tuple or set of numbers is required, not {kind_of(numbers)}", 0)
    if not numbers.items:
        raise FunctionError("the sum of an empty list is not defined; pass at least one number", 0)
    total: Number = 0
    for position, item in enumerate(numbers.items):
        total += _summand(item, position)
    if isinstance(total, float) and math.isnan(total):
        raise FunctionError("infinities of opposite signs have no sum", 0)
    return tidy(total)


def _summand(item: Value, position: int) -> Number:
    if item is None:
        raise FunctionError(f"element {position} is null; every element must be a number", 0)
    try:
        number = convert(item, NUMBER)
    except ConversionError as problem:
        raise FunctionError(f"element {position}: {problem}", 0) from None
    assert isinstance(number, (int, Fraction, float))
    return number


def tidy(number: Number) -> Number:
    """Round to the precision of the language; most results need none."""
    if isinstance(number, float) or (isinstance(number, int) and number.bit_length() <= _EXACT_BITS):
        return number
    return round512(Fraction(number))


def _range(_: Environment, *limits: Number) -> Value:
    start, end, step = _range_limits(limits)
    if step == 0 and start != end:
        raise FunctionError("the step must not be zero", 2)
    if start != end and (step > 0) != (end > start):
        direction = "above" if step > 0 else "below"
        raise FunctionError(f"with this step, the end must be {direction} the start", 1)
    numbers: list[Value] = []
    current = start
    while (current < end) if step > 0 else (current > end):
        if len(numbers) == _MAX_RANGE:
            raise FunctionError(f"more than {_MAX_RANGE} values; bring start and end closer, or take a larger step")
        numbers.append(current)
        current = tidy(current + step)
    return List(numbers, NUMBER)


def _range_limits(limits: tuple[Number, ...]) -> tuple[Number, Number, Number]:
    if not 1 <= len(limits) <= 3:
        raise FunctionError("one to three numbers are required: range(end), range(start, end) or with a step")
    start, end = (0, limits[0]) if len(limits) == 1 else (limits[0], limits[1])
    step = limits[2] if len(limits) == 3 else (1 if start <= end else -1)
    if isinstance(start, float) or isinstance(step, float):
        raise FunctionError("start and step must be finite")
    return start, end, step


_NUMBER = (Parameter("number", NUMBER),)
_NUMBERS = Parameter("numbers", NUMBER)

FUNCTIONS: tuple[Function, ...] = (
    Function("abs", _NUMBER, _abs, NUMBER, summary="the number without its sign"),
    Function("ceil", _NUMBER, _ceil, NUMBER, summary="the next whole number, upwards"),
    Function("floor", _NUMBER, _floor, NUMBER, summary="the next whole number, downwards"),
    Function("max", (), _max, NUMBER, _NUMBERS, summary="the largest of the numbers"),
    Function("min", (), _min, NUMBER, _NUMBERS, summary="the smallest of the numbers"),
    Function("signum", _NUMBER, _signum, NUMBER, summary="-1, 0 or 1, as the number is below, at or above zero"),
    Function("log", (*_NUMBER, Parameter("base", NUMBER)), _log, NUMBER, summary="the logarithm to a base"),
    Function("pow", (*_NUMBER, Parameter("power", NUMBER)), _pow, NUMBER, summary="the number raised to a power"),
    Function(
        "parseint",
        (Parameter("text", ANY), Parameter("base", NUMBER)),
        _parseint,
        NUMBER,
        summary="the whole number that a text spells in a base from 2 to 62",
    ),
    Function("sum", (Parameter("numbers", ANY),), _sum, NUMBER, summary="the sum of a list of numbers"),
    Function(
        "range", (), _range, ListType(NUMBER), Parameter("limits", NUMBER), summary="numbers from start up to end"
    ),
)
