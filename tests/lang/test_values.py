"""Values: equality, order, what collections know of what they hold, and how all of them are printed."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import pytest

from brevplan.lang.printing import name_of, print_value, quote
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType, Type
from brevplan.lang.values import (
    EMPTY_OBJECT,
    EMPTY_TUPLE,
    List,
    Map,
    Object,
    Secret,
    Set,
    Tuple,
    Unknown,
    Value,
    equality,
    first_unknown,
    from_python,
    has_secret,
    has_unknown,
    is_open,
    rebuild,
    reveal,
    reveal_deep,
    same,
    to_python,
    type_of,
)

UNKNOWN = Unknown(STRING, "a.b")
NEVER_NULL = Unknown(STRING, "a.id", not_null=True)


def test_unknown_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(UNKNOWN)


def test_secret_does_not_show_in_its_representation() -> None:
    assert "hunter2" not in repr(Object({"a": Tuple((Secret("hunter2"),))}))


def test_secret_of_a_secret_is_one_secret() -> None:
    assert Secret(Secret(1)).value == 1


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1, True),
        (1, "1", False),
        (1, True, False),
        (0, False, False),
        (True, True, True),
        (True, "true", False),
        (None, None, True),
        (None, 0, False),
        (None, "", False),
        (None, False, False),
        (Fraction(1, 2), Fraction(1, 2), True),
        (Fraction(3), 3, True),
        (inf, inf, True),
        (inf, -inf, False),
        ("a", "a", True),
        (EMPTY_TUPLE, List(()), False),
        (EMPTY_OBJECT, Map({}), False),
        (EMPTY_TUPLE, EMPTY_OBJECT, False),
        (List(("a",)), Set(("a",)), False),
        (Tuple((1, True)), Tuple((1, 1)), False),
        (Tuple((EMPTY_TUPLE,)), Tuple((List(()),)), False),
        (Object({"a": EMPTY_OBJECT}), Object({"a": Map({})}), False),
        (Object({"a": 1, "b": 2}), Object({"b": 2, "a": 1}), True),
        (Object({"a": 1}), Object({"a": True}), False),
        (Object({"a": 1}), Object({"b": 1}), False),
        (Map({"a": 1}), Object({"a": 1}), False),
        (Set(("b", "a")), Set(("a", "b", "a")), True),
        (Tuple((1, 2)), Tuple((1,)), False),
        (Secret(1), 1, True),
        (Tuple((Secret(1),)), Tuple((1,)), True),
        (List((), STRING), List((), ANY), True),
    ],
)
def test_same_is_exact_about_types_and_blind_to_marks(left: Value, right: Value, expected: bool) -> None:
    assert same(left, right) is expected
    assert same(right, left) is expected
    assert equality(left, right) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (UNKNOWN, "a", None),
        (UNKNOWN, UNKNOWN, None),
        (UNKNOWN, None, None),
        (NEVER_NULL, None, False),
        (NEVER_NULL, "a", None),
        (Secret(NEVER_NULL), None, False),
        (Tuple((UNKNOWN,)), Tuple(("a",)), None),
        (Tuple((UNKNOWN, 1)), Tuple(("a", 2)), False),
        (Tuple((1, UNKNOWN)), Tuple((2, UNKNOWN)), False),
        (Tuple((UNKNOWN,)), Tuple(("a", "b")), False),
        (Tuple((UNKNOWN,)), List(("a",)), False),
        (Tuple((UNKNOWN,)), "a", False),
        (Tuple((UNKNOWN,)), None, False),
        (Tuple((NEVER_NULL,)), Tuple((None,)), False),
        (Object({"a": UNKNOWN}), Object({"b": UNKNOWN}), False),
        (Object({"a": UNKNOWN, "b": 1}), Object({"a": "x", "b": 2}), False),
        (Object({"a": UNKNOWN, "b": 1}), Object({"a": "x", "b": 1}), None),
        (Object({"a": Tuple((UNKNOWN, 1))}), Object({"a": Tuple(("x", 2))}), False),
        (Set((UNKNOWN, "a")), Set(("a",)), None),
        (Set((UNKNOWN,)), Tuple(("a",)), False),
    ],
)
def test_equality_is_decided_by_what_is_known(left: Value, right: Value, expected: bool | None) -> None:
    assert equality(left, right) is expected
    assert equality(right, left) is expected


@pytest.mark.parametrize(
    "pair",
    [
        (Tuple((Secret("a"),)), Tuple(("a",))),
        (Object({"a": Secret(1)}), Object({"a": 1})),
        (Tuple((Fraction(3),)), Tuple((3,))),
        (Set(("b", "a")), Set(("a", "b"))),
    ],
)
def test_equal_collections_have_one_hash(pair: tuple[Value, Value]) -> None:
    assert pair[0] == pair[1]
    assert len(set(pair)) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("b", "a", "b"), ("a", "b")),
        ((10, 9, Fraction(19, 2)), (9, Fraction(19, 2), 10)),
        ((True, False, True), (False, True)),
        (("é", "z", "Z", "10", "9"), ("10", "9", "Z", "z", "é")),
        ((inf, 0, -inf), (-inf, 0, inf)),
        ((Tuple((10,)), Tuple((9,)), Tuple((10,))), (Tuple((9,)), Tuple((10,)))),
        ((Object({"a": 10}), Object({"a": 9})), (Object({"a": 9}), Object({"a": 10}))),
        ((None, "a", None), ("a", None)),
        ((1, True, "1"), (True, 1, "1")),
        ((Tuple((1,)), Tuple((True,))), (Tuple((True,)), Tuple((1,)))),
        ((1, Secret(1)), (1,)),
    ],
)
def test_set_is_distinct_and_in_order(given: tuple[Value, ...], expected: tuple[Value, ...]) -> None:
    assert repr(Set(given).items) == repr(expected)


def test_set_keeps_members_that_may_turn_out_different() -> None:
    assert len(Set((UNKNOWN, UNKNOWN, "a"))) == 3
    assert len(Set((Tuple((UNKNOWN,)), Tuple((UNKNOWN,))))) == 2


def test_mapping_is_ordered_by_code_point() -> None:
    assert list(Object({"é": 1, "a": 2, "Z": 3, "10": 4, "9": 5})) == ["10", "9", "Z", "a", "é"]


@pytest.mark.parametrize(
    ("value", "unknown", "secret"),
    [
        (1, False, False),
        (UNKNOWN, True, False),
        (Secret(1), False, True),
        (Secret(UNKNOWN), True, True),
        (Tuple((1, "a")), False, False),
        (Tuple((Object({"a": UNKNOWN}),)), True, False),
        (Object({"a": Tuple((Secret(1),))}), False, True),
        (Map({"a": Secret(Tuple((UNKNOWN,)))}), True, True),
    ],
)
def test_collections_know_what_they_hold(value: Value, unknown: bool, secret: bool) -> None:
    assert has_unknown(value) is unknown
    assert has_secret(value) is secret


def test_first_unknown_is_found_at_any_depth() -> None:
    deep = Object({"a": Tuple((1, Secret(Tuple((UNKNOWN,)))))})
    assert first_unknown((1, deep, Unknown())) is UNKNOWN
    assert first_unknown((1, Tuple(()))) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Unknown(), True),
        (UNKNOWN, False),
        (Unknown(ListType(ANY)), True),
        (Unknown(ObjectType({"a": STRING, "b": ANY})), True),
        (Unknown(TupleType((STRING, MapType(BOOL)))), False),
        (Tuple((1, Unknown())), True),
        (Tuple((1, UNKNOWN)), False),
        (Secret(Object({"a": Unknown()})), True),
        (List(()), False),
        (None, False),
    ],
)
def test_open_is_what_may_turn_out_of_any_type(value: Value, expected: bool) -> None:
    assert is_open(value) is expected


def test_reveal_takes_the_outer_mark_and_reveal_deep_all() -> None:
    value = Secret(Tuple((Secret(1), Object({"a": Secret("x")}))))
    assert has_secret(reveal(value))
    bare = reveal_deep(value)
    assert not has_secret(bare)
    assert print_value(bare) == '[1, {a = "x"}]'


@pytest.mark.parametrize("value", [Tuple((1,)), List((1,)), Set((1,)), Object({"a": 1}), Map({"a": 1}), 1, None])
def test_rebuild_keeps_the_kind(value: Value) -> None:
    assert same(rebuild(value, lambda item: item), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ANY),
        ("a", STRING),
        (True, BOOL),
        (1, NUMBER),
        (Fraction(1, 2), NUMBER),
        (inf, NUMBER),
        (Secret("a"), STRING),
        (UNKNOWN, STRING),
        (Tuple((1, "a")), TupleType((NUMBER, STRING))),
        (Object({"a": None}), ObjectType({"a": ANY})),
        (List((1,)), ListType(NUMBER)),
        (List((None, "a")), ListType(STRING)),
        (List(()), ListType(ANY)),
        (List((), STRING), ListType(STRING)),
        (Set(("a",)), SetType(STRING)),
        (Map({"a": EMPTY_TUPLE}), MapType(TupleType(()))),
    ],
)
def test_type_of_value(value: Value, expected: Type) -> None:
    assert type_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (-5, "-5"),
        (Fraction(1, 8), "0.125"),
        (10**21, "1000000000000000000000"),
        (inf, "+Inf"),
        ("", '""'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\n\r\tb", '"a\\n\\r\\tb"'),
        ("\x00\x1b[31m\x7f\x9b", '"\\u0000\\u001b[31m\\u007f\\u009b"'),
        ("\b\f\u2028", '"\\u0008\\u000c\\u2028"'),
        ("${x} %{y} $x $${", '"$${x} %%{y} $x $$${"'),
        ("é 😀", '"é 😀"'),
        (UNKNOWN, "(known after apply)"),
        (Secret("x"), "(sensitive value)"),
        (Secret(UNKNOWN), "(sensitive value)"),
        (Tuple((1, UNKNOWN, Secret(2))), "[1, (known after apply), (sensitive value)]"),
        (Object({"a b": 1, "c": EMPTY_OBJECT}), '{"a b" = 1, c = {}}'),
        (Set(("b", "a")), '["a", "b"]'),
    ],
)
def test_value_is_printed(value: Value, expected: str) -> None:
    assert print_value(value) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", "a"), ("a-b_1", "a-b_1"), ("é", "é"), ("null", "null"), ("1a", '"1a"'), ("", '""'), ("for", '"for"')],
)
def test_name_is_quoted_where_needed(name: str, expected: str) -> None:
    assert name_of(name) == expected


def test_short_print_is_cut() -> None:
    text = print_value("x" * 200, short=True)
    assert len(text) == 80
    assert text.endswith("...")


def test_quote_is_the_inverse_of_reading_a_literal() -> None:
    assert quote("$${a}") == '"$$${a}"'


def test_python_data_becomes_values_and_back() -> None:
    data = {"a": [1, "x", True, None], "b": {"c": 0.5}}
    value = from_python(data)
    assert same(value, Object({"a": Tuple((1, "x", True, None)), "b": Object({"c": Fraction(1, 2)})}))
    assert to_python(value) == data
    assert to_python(Tuple((UNKNOWN, Secret(1))), unknown="?", secret="!") == ["?", "!"]
