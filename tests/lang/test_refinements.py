"""What is said of an unknown value holds whatever it turns out to be."""

from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brevplan.lang.refinements import bounds_of, compared, either, equality, pending_text, settled_prefix, starts_with
from brevplan.lang.types import NUMBER, STRING, ListType
from brevplan.lang.values import List, Number, Set, Tuple, Unknown, Value, ephemeral, has_ephemeral, has_secret

# letters, letters with marks, marks alone, and signs that a mark joins
ALPHABET = st.sampled_from("ab-1=<\u00e9\u1100\u1161\u11a8\u0301\u0316\u0323\u0338")
TEXTS = st.text(ALPHABET, max_size=4)
NUMBERS = st.integers(-3, 3)


@given(TEXTS, TEXTS)
@example("web", "\u0301")
@example("a\u0316", "\u0301")
@example("a=", "\u0338")
@example("\u1100", "\u1161")
def test_settled_prefix_stays_whatever_follows(beginning: str, rest: str) -> None:
    prefix = settled_prefix(normalize("NFC", beginning))
    assert normalize("NFC", beginning + rest).startswith(prefix)


@given(TEXTS, TEXTS, TEXTS)
def test_what_is_known_of_a_template_holds_for_every_text(beginning: str, rest: str, other: str) -> None:
    other = normalize("NFC", other)
    beginning = normalize("NFC", beginning)
    text = normalize("NFC", beginning + rest)
    unknown = pending_text([beginning, Unknown(STRING), "tail"], "x")
    assert starts_with(unknown, other) in (None, text.startswith(other))
    assert equality(unknown, other) in (None, text == other)


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["<", "<=", ">", ">="]))
def test_comparison_decided_by_bounds_holds_for_every_number(low: int, size: int, other: int, symbol: str) -> None:
    high = low + abs(size)
    truth = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}[symbol]
    outcomes = {truth(number, other) for number in range(low, high + 1)}
    unknown = Unknown(NUMBER, least=low, most=high)
    assert compared(symbol, unknown, other) == (outcomes.pop() if len(outcomes) == 1 else None)


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (5, (5, 5)),
        (Tuple([1, 2]), (2, 2)),
        (Set([Unknown(STRING), "a"]), (1, 2)),
        (Unknown(ListType(STRING), least=1), (1, None)),
        (ephemeral(List(["a"])), (1, 1)),
        ("text", (None, None)),
        (True, (None, None)),
        (None, (None, None)),
    ],
)
def test_bounds_of_value_gives_expected(value: Value, bounds: tuple[Number | None, Number | None]) -> None:
    assert bounds_of(value) == bounds


def test_either_of_two_numbers_lies_between_them() -> None:
    unknown = either(1, 5, NUMBER, "x")
    assert (unknown.least, unknown.most, unknown.not_null) == (1, 5, True)


def test_containers_know_from_their_making_whether_they_hold_something_ephemeral() -> None:
    nested = Tuple([1, List([ephemeral("a")])])
    assert nested.inner_marks == ephemeral("a").marks
    assert has_ephemeral(nested)
    assert has_secret(nested)
    assert not has_ephemeral(Tuple([1, "a"]))
