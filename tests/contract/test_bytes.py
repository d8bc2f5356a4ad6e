"""Sizes: their units, how they are read and written, and that they compare by the number of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brevplan.contract.bytes import UNITS, Bytes

SIZES = st.builds(Bytes, st.integers(0, 10**9), st.sampled_from(sorted(UNITS)))


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("0B", 0),
        ("7B", 7),
        ("1KB", 1_000),
        ("1KiB", 1_024),
        ("80GB", 80_000_000_000),
        ("500GiB", 500 * 2**30),
        ("1 TB", 10**12),
        ("  2\tTiB  ", 2**41),
        ("3PB", 3 * 10**15),
        ("1EiB", 2**60),
    ],
)
def test_parse_counts_bytes(text: str, total: int) -> None:
    assert Bytes.parse(text).total == total


@pytest.mark.parametrize(
    "text", ["", "5", "GB", "-5GB", "1.5GB", "5gb", "5G", "5iB", "5GBs", "5 G B", "5GB 5GB", "five GB", "5ZB"]
)
def test_parse_of_anything_else_says_how_a_size_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size: write a whole number and a unit"):
        Bytes.parse(text)


@pytest.mark.parametrize(("value", "unit", "says"), [(5, "", "unknown unit"), (0, "XB", "unknown"), (-1, "GB", "neg")])
def test_a_size_that_cannot_be_is_refused(value: int, unit: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Bytes(value, unit)


def test_the_zero_value_has_no_unit_and_is_false() -> None:
    assert Bytes() == Bytes(0, "GB")
    assert not Bytes()
    assert str(Bytes()) == "0 B"
    assert Bytes(1, "B")


@given(SIZES)
def test_what_is_written_is_read_back(size: Bytes) -> None:
    read = Bytes.parse(str(size))
    assert (read.value, read.unit) == (size.value, size.unit)


@given(SIZES, SIZES)
def test_sizes_compare_by_bytes(one: Bytes, other: Bytes) -> None:
    assert (one == other) == (one.total == other.total)
    assert (one < other) == (one.total < other.total)
    assert (one > other) == (one.total > other.total)
    assert one != other or hash(one) == hash(other)


@pytest.mark.parametrize(("one", "other"), [("1000GB", "1TB"), ("1024GiB", "1TiB"), ("0B", "0EiB")])
def test_equal_in_other_units(one: str, other: str) -> None:
    assert Bytes.parse(one) == Bytes.parse(other)
    assert len({Bytes.parse(one), Bytes.parse(other)}) == 1


def test_a_size_equals_no_number() -> None:
    assert Bytes(5, "B") != 5
