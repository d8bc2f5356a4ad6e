"""Numbers as HCL has them: any size, a binary mantissa of 512 bits, rounded to the nearest, ties to even.

A whole number is an `int`, any other a `Fraction`, an infinity a `float`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import floor, isinf
from typing import Final

MANTISSA_BITS = 512
MAX_DIGITS = 20_000
"""How many digits a literal may stand for. HCL sets no limit, and 1e999999999 would fill the memory."""

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
_CHUNK = 4000
"""Decimal digits converted at a time: the interpreter refuses to convert more than 4300 in one go."""


def parse_number(text: str) -> int | Fraction:
    """Read a decimal such as `12`, `-0.5` or `1e-7`; `ValueError` if it is none, or too large to be meant.

    Text that is converted may also be written `+1`, `.5` or `5.`, which the scanner does not let pass as literals.
    """
    match = _NUMBER.fullmatch(text)
    sign, whole, fraction, exponent_text = match.groups(default="") if match else ("", "", "", "")
    digits = whole + fraction
    if not digits:
        raise ValueError(f'"{text}" is not a number')
    exponent = _small(exponent_text) - len(fraction)
    if max(len(digits), abs(exponent)) > MAX_DIGITS:
        raise ValueError(f"a number may have at most {MAX_DIGITS} digits")
    value = -_digits_to_int(digits) if sign == "-" else _digits_to_int(digits)
    return round512(value * 10**exponent if exponent >= 0 else Fraction(value, 10**-exponent))


def round512(value: int | Fraction) -> int | Fraction:
    """Round to a mantissa of 512 bits; a whole result is an `int`."""
    if isinstance(value, int):
        return value if value.bit_length() <= MANTISSA_BITS else _round_large(value)
    if value.denominator == 1:
        return round512(value.numerator)
    shift = MANTISSA_BITS - _exponent(value)
    scaled = round(value * 2**shift if shift >= 0 else value / 2**-shift)
    result = Fraction(scaled, 2**shift) if shift >= 0 else Fraction(scaled << -shift)
    return result.numerator if result.denominator == 1 else result


NEGATIVE_ZERO: Final = -0.0
"""What `-0` is until it is reckoned with: it is equal to zero, and written with its sign."""


def format_number(value: int | Fraction | float) -> str:
    """Write as plain decimal with the fewest digits that read back to the same value; infinities as +Inf and -Inf."""
    if isinstance(value, float):
        if isinf(value):
            return "+Inf" if value > 0 else "-Inf"
        if not value:
            return "-0"
        value = Fraction(value)
    if value < 0:
        return "-" + format_number(-value)
    if value.denominator == 1 and value.numerator.bit_length() <= MANTISSA_BITS:
        return str(value.numerator)
    digits, point = _shortest(Fraction(value))
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def _small(exponent: str) -> int:
    """Read an exponent; any that is too long is as bad as the largest that is not."""
    return int(exponent or "0") if len(exponent) < 10 else MAX_DIGITS + 1


def _digits_to_int(text: str) -> int:
    value = 0
    for begin in range(0, len(text), _CHUNK):
        chunk = text[begin : begin + _CHUNK]
        value = value * 10 ** len(chunk) + int(chunk)
    return value


def _round_large(value: int) -> int:
    shift = value.bit_length() - MANTISSA_BITS
    mantissa: int = round(Fraction(value, 1 << shift))
    return mantissa << shift


def _exponent(value: Fraction) -> int:
    """Give e with 2**(e-1) <= |value| < 2**e."""
    numerator, denominator = abs(value.numerator), value.denominator
    guess = numerator.bit_length() - denominator.bit_length()
    reaches = numerator >= denominator << guess if guess >= 0 else numerator << -guess >= denominator
    return guess + 1 if reaches else guess


def _shortest(value: Fraction) -> tuple[str, int]:
    """Give the fewest digits that round to a positive value, and where among them the decimal point stands.

    Whatever lies between the midpoints to the value's two neighbours rounds to it, and so do the midpoints when
    its mantissa is even. Below a power of two the neighbour is only half as far away.
    """
    ulp = Fraction(2) ** (_exponent(value) - MANTISSA_BITS)
    mantissa = (value / ulp).numerator
    low = value - (ulp / 4 if mantissa == 1 << (MANTISSA_BITS - 1) else ulp / 2)
    high = value + ulp / 2
    point = _decimal_point(value)
    scale = Fraction(10) ** -point
    number, size = _fewest_digits(value * scale, low * scale, high * scale, is_inclusive=mantissa % 2 == 0)
    return (str(number), point) if number < 10**size else ("1", point + 1)


def _fewest_digits(value: Fraction, low: Fraction, high: Fraction, *, is_inclusive: bool) -> tuple[int, int]:
    """Give (n, size) with the smallest size for which n / 10**size lies in the interval; the n nearest to the value.

    A decimal that fits also fits with a zero behind it, so the size can be found by halving.
    """

    def candidate(size: int) -> int | None:
        scale = 10**size
        below: int = floor(value * scale)
        for number in sorted((below, below + 1), key=lambda number: abs(number - value * scale)):
            decimal = Fraction(number, scale)
            if low < decimal < high or (is_inclusive and decimal in (low, high)):
                return number
        return None

    enough = 1
    while candidate(enough) is None:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (middle, enough) if candidate(middle) is None else (too_few, middle)
    return candidate(enough) or 0, enough


def _decimal_point(value: Fraction) -> int:
    """Give p with 10**(p-1) <= value < 10**p."""
    guess = int((_exponent(value) - 1) * 0.3010299956639812)
    while value >= Fraction(10) ** guess:
        guess += 1
    while value < Fraction(10) ** (guess - 1):
        guess -= 1
    return guess
