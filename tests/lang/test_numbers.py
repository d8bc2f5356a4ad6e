"""Numbers: reading, rounding to 512 bits, writing."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brevplan.lang.numbers import MANTISSA_BITS, format_number, parse_number, round512


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-0", 0),
        ("007", 7),
        ("12.50", Fraction(25, 2)),
        ("1e3", 1000),
        ("1.5E+1", 15),
        ("25e-1", Fraction(5, 2)),
        ("+5", 5),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("1e400", round512(10**400)),
    ],
)
def test_parse_number_gives_the_exact_value(text: str, expected: int | Fraction) -> None:
    value = parse_number(text)

    assert value == expected
    assert isinstance(value, int) == (expected.denominator == 1)


def test_parse_number_reads_more_digits_than_the_interpreter_converts_at_once() -> None:
    assert parse_number("9" * 5000) == round512(10**5000 - 1)


@pytest.mark.parametrize("text", ["", ".", "-", "e5", "1e", "0x1f", "1_000", "--1", " 1", "1 ", "١", "Inf", "1e5.0"])
def test_parse_number_refuses_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)


@pytest.mark.parametrize(
    "text", ["1e999999999", "1e-999999999", "1e" + "9" * 100, "1" * 30_000], ids=lambda text: text[:12]
)
def test_parse_number_refuses_what_would_fill_memory(text: str) -> None:
    with pytest.raises(ValueError, match="at most"):
        parse_number(text)


def test_decimal_fractions_add_up() -> None:
    assert round512(parse_number("0.1") + parse_number("0.2")) == parse_number("0.3")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**512 - 1, 2**512 - 1),
        (2**513 + 1, 2**513),
        (2**513 + 3, 2**513 + 4),
        (-(2**513) - 3, -(2**513) - 4),
        (Fraction(1, 2), Fraction(1, 2)),
        (Fraction(6, 3), 2),
        (Fraction(2**514 + 1, 2), 2**513),
    ],
)
def test_round512_rounds_to_nearest_even(value: int | Fraction, expected: int | Fraction) -> None:
    assert round512(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (-12, "-12"),
        (10**21, "1" + "0" * 21),
        (parse_number("0.1"), "0.1"),
        (parse_number("-1.50"), "-1.5"),
        (parse_number("1e-10"), "0.0000000001"),
        (parse_number("123456789012345678901234567890.5"), "123456789012345678901234567890.5"),
        (parse_number("1e400"), "1" + "0" * 400),
        (round512(10**160 + 1), "1" + "0" * 160),
        (round512(Fraction(1, 3)), "0." + "3" * 154 + "5"),
        (round512(Fraction(2, 3)), "0." + "6" * 153 + "7"),
        (parse_number("0." + "9" * 400), "1"),
        (0.5, "0.5"),
        (inf, "+Inf"),
        (-inf, "-Inf"),
    ],
)
def test_format_number_is_plain_and_short(value: int | Fraction | float, expected: str) -> None:
    assert format_number(value) == expected


def test_format_number_of_large_power_has_few_digits() -> None:
    assert len(format_number(2**600).rstrip("0")) <= 156


@settings(max_examples=150, deadline=None)
@given(st.fractions(), st.integers(-300, 300))
def test_format_number_reads_back_to_the_same_value(value: Fraction, exponent: int) -> None:
    number = round512(value * Fraction(2) ** exponent)

    assert parse_number(format_number(number)) == number


@settings(max_examples=150, deadline=None)
@given(st.fractions(), st.integers(-600, 600))
def test_round512_stays_within_half_a_unit(value: Fraction, exponent: int) -> None:
    exact = value * Fraction(3) ** exponent
    rounded = round512(exact)

    assert round512(rounded) == rounded
    assert abs(rounded - exact) * 2**MANTISSA_BITS <= abs(exact)
