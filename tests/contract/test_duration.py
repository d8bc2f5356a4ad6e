"""Lengths of time, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brevplan.contract.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        (" 2d ", 172_800.0),
        ("1h1m1s1ms", 3661.001),
    ],
)
def test_parse_gives_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", " ", "5", "s", "-5s", "5 s", "5m 3s", "1w", "1e3s", ".5s", "5s,", "5S", "1h30"])
def test_parse_of_anything_else_says_how_a_duration_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.9, "0s"), (12, "12s"), (90, "1m30s"), (7200, "2h"), (3601, "1h1s")]
)
def test_format_is_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**7))
def test_whole_seconds_are_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
