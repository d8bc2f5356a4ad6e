"""What stands for a secret: it tells equal from different, and gives nothing away."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brevplan.engine.secrets import digest, is_sealed, seal, seal_attributes, unchanged, unseal
from brevplan.lang.types import ANY, NUMBER, STRING, MapType
from brevplan.lang.values import List, Map, Object, Secret, Tuple, Unknown, Value, from_python

SALT = "0123456789abcdef"
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
    | st.fractions(max_denominator=10**9).filter(lambda number: number.denominator > 1)
)  # fmt: skip
NAMES = st.text(st.characters(exclude_characters="$", exclude_categories=("Cs",)), max_size=5)
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(Tuple)
        | st.dictionaries(NAMES, inner, max_size=3).map(Object)
        | inner.map(Secret)
    ),
    max_leaves=6,
)


def stored(value: Value) -> Any:
    """Give what a state gives back: sealed, written as JSON, read."""
    return msgspec.json.decode(msgspec.json.encode(seal(value, SALT)))


@given(VALUES)
def test_what_was_stored_is_unchanged(value: Value) -> None:
    assert unchanged(value, unseal(stored(value), ANY), SALT) or value == Secret(None)


@given(VALUES, VALUES)
def test_another_value_is_another(one: Value, other: Value) -> None:
    bare_one, bare_other = seal(Secret(one), SALT), seal(Secret(other), SALT)
    if bare_one != bare_other:
        assert not unchanged(one, unseal(stored(other), ANY), SALT)


@pytest.mark.parametrize("text", ["hunter2", "", "x" * 5000, "é\n"])
def test_a_digest_is_not_its_text_and_depends_on_the_salt(text: str) -> None:
    found = digest(text, SALT)
    assert found != text
    assert len(found) == 40
    assert found == digest(text, SALT)
    assert found != digest(text, "another salt")
    assert found != digest(text + " ", SALT)


def test_no_plain_text_of_a_secret_is_left_at_any_depth() -> None:
    value = Object(
        {"a": Secret("hunter2"), "b": Tuple([Object({"c": Secret("hunter2")})]), "d": Secret(Object({"e": "hunter2"}))}
    )
    data = seal(value, SALT)
    assert "hunter2" not in repr(data)
    assert data["a"] == data["b"][0]["c"] == {"$digest": digest("hunter2", SALT)}


def test_sealing_twice_is_sealing_once() -> None:
    once = seal(Secret("hunter2"), SALT)
    again = unseal(once, STRING)
    assert is_sealed(again)
    assert seal(again, "another salt") == once


@pytest.mark.parametrize(
    "number",
    [Fraction(1, 3), Fraction(1, 10), Fraction(2**80 + 1, 2**80), Fraction(10**40 + 1, 10), Fraction(-7, 2)],
)
def test_fractions_come_back_exact(number: Fraction) -> None:
    assert unseal(stored(number), NUMBER) == number
    assert unseal(stored(Object({"n": Tuple([number])})), ANY) == Object({"n": Tuple([number])})


def test_short_fractions_are_plain_numbers() -> None:
    assert seal(Fraction(3, 4), SALT) == 0.75
    assert seal(from_python(3.29), SALT) == 3.29
    assert seal(Fraction(1, 3), SALT) == {"$number": "1/3"}


SEALED = unseal({"$digest": digest("hunter2", SALT)}, STRING)


@pytest.mark.parametrize(
    ("desired", "current", "same"),
    [
        ("a", "a", True),
        ("a", "b", False),
        (1, "1", False),
        (True, 1, False),
        (None, None, True),
        (None, "", False),
        (Unknown(), "a", False),
        ("a", Unknown(), False),
        ("hunter2", SEALED, True),
        (Secret("hunter2"), SEALED, True),
        (Secret("hunter3"), SEALED, False),
        (None, SEALED, False),
        (SEALED, SEALED, True),
        (Secret("a"), "a", True),
        ("a", Secret("a"), True),
        (Secret("a"), Secret("b"), False),
        (Object({"k": Secret("hunter2"), "l": 1}), Object({"k": SEALED, "l": 1}), True),
        (Object({"k": Secret("hunter2"), "l": 2}), Object({"k": SEALED, "l": 1}), False),
        (Object({"k": Secret("hunter2")}), Object({"k": SEALED, "l": 1}), False),
        (Tuple([Secret("hunter2")]), Tuple([SEALED]), True),
        (Tuple([Secret("hunter2"), 1]), Tuple([SEALED]), False),
        (List(["a"], STRING), Tuple(["a"]), True),
        (Map({"a": "b"}, STRING), Object({"a": "b"}), True),
        (Tuple([Unknown()]), Tuple(["a"]), False),
    ],
)
def test_unchanged(desired: Value, current: Value, same: bool) -> None:
    assert unchanged(desired, current, SALT) is same


def test_data_of_another_type_is_kept_as_it_is() -> None:
    assert unseal(["a"], MapType(STRING)) == Tuple(["a"])


def test_attributes_without_a_value_are_not_stored() -> None:
    assert seal_attributes({"a": None, "b": "x", "c": Secret("y")}, SALT) == {
        "b": "x",
        "c": {"$digest": digest("y", SALT)},
    }
    assert seal(Secret(Unknown()), SALT) is None
