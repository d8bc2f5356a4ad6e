"""Conversion and unification, by the tables in `cases/evaluate/tables`.

A line of `convert.json` holds a `value` as written, the type it goes `to`, and what that `gives` as printed, with
its `type`, or the message it `fails` with. A line of `unify.json` holds `types` and the one that they `give`; null
if there is none. Values may name unknowns by type, as `u.string`, and secrets, as `s.text`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Diagnostics, Source, Span
from brevplan.lang import ast
from brevplan.lang.constraints import read_constraint
from brevplan.lang.convert import ConversionError, convert, unify, unify_values
from brevplan.lang.evaluate import prepare
from brevplan.lang.gate import Environment
from brevplan.lang.parser import parse_expression
from brevplan.lang.prepared import Step
from brevplan.lang.printing import print_value
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
)
from brevplan.lang.values import (
    List,
    Object,
    Secret,
    Tuple,
    Unknown,
    Value,
    from_python,
    has_secret,
    is_open,
    same,
    type_of,
)

TABLES = Path(__file__).parent / "cases" / "evaluate" / "tables"
SECRET_TEXT = "hunter2"
NAMES: dict[str, Value] = {
    "u": Object(
        {
            "any": Unknown(),
            "string": Unknown(STRING),
            "id": Unknown(STRING, not_null=True),
            "number": Unknown(NUMBER),
            "bool": Unknown(BOOL),
            "list": Unknown(ListType(STRING)),
            "map": Unknown(MapType(STRING)),
            "tuple": Unknown(TupleType((STRING, NUMBER))),
            "object": Unknown(ObjectType({"name": STRING})),
        }
    ),
    "s": Object(
        {
            "text": Secret(SECRET_TEXT),
            "number": Secret(1),
            "null": Secret(None),
            "list": Secret(Tuple((SECRET_TEXT, "b"))),
        }
    ),
}


class Names:
    """A scope of the names above. No function that the tables call needs an environment."""

    environment = Environment(None, None)  # type: ignore[arg-type]  # neither files nor a clock are read

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        return NAMES[root], 0


def parsed(text: str) -> ast.Expression:
    node, problems = parse_expression(Source("main.hcl", text))
    assert problems == []
    assert node is not None
    return node


def value_of(node: ast.Expression) -> Value:
    return prepare(node).evaluate(Names())


def read_type(text: str) -> Type:
    diagnostics = Diagnostics()
    type_ = read_constraint(parsed(text), diagnostics, value_of)
    assert list(diagnostics) == []
    return type_


def outcome(value: str, to: str) -> dict[str, str]:
    try:
        result = convert(value_of(parsed(value)), read_type(to))
    except ConversionError as problem:
        return {"fails": str(problem)}
    return {"gives": print_value(result), "type": str(type_of(result))}


def read_table(name: str) -> list[dict[str, str]]:
    table: list[dict[str, str]] = json.loads((TABLES / name).read_text(encoding="utf-8"))
    return table


@pytest.mark.parametrize("case", read_table("convert.json"), ids=lambda case: f"{case['value']} to {case['to']}")
def test_convert_case_gives_expected(case: dict[str, str]) -> None:
    expected = {name: text for name, text in case.items() if name not in ("value", "to", "why")}
    assert outcome(case["value"], case["to"]) == expected, case["why"]
    assert SECRET_TEXT not in json.dumps(case)


@pytest.mark.parametrize("case", read_table("unify.json"), ids=lambda case: " and ".join(case["types"]))
def test_unify_case_gives_expected(case: dict[str, str]) -> None:
    found = unify(map(read_type, case["types"]))
    assert (None if found is None else str(found)) == case["gives"], case["why"]


@pytest.mark.parametrize("case", read_table("unify.json"), ids=lambda case: " and ".join(case["types"]))
def test_unify_does_not_depend_on_the_order(case: dict[str, str]) -> None:
    types = [read_type(text) for text in case["types"]]
    assert unify(types) == unify(types[::-1])


def test_conversion_error_path_leads_to_the_part_that_does_not_suit() -> None:
    with pytest.raises(ConversionError) as caught:
        convert(from_python({"ports": [80, 443, "x"]}), ObjectType({"ports": ListType(NUMBER)}))
    assert caught.value.path == ".ports[2]"
    assert caught.value.message == 'a number is required, and "x" is not one'


def test_unify_values_converts_each() -> None:
    assert unify_values([1, "a", None]) == ["1", "a", None]


def test_unify_values_names_the_types_that_do_not_meet() -> None:
    with pytest.raises(ConversionError, match="one type in common, and list of number and string have none"):
        unify_values([List((1,), NUMBER), "a"])


def test_unknown_that_is_never_null_stays_so() -> None:
    result = convert(Unknown(STRING, "x", not_null=True), NUMBER)
    assert isinstance(result, Unknown)
    assert (result.type, result.because, result.not_null) == (NUMBER, "x", True)


def test_open_unknown_says_what_decides_the_type() -> None:
    result = convert(Tuple((1, Unknown(because="a.b"))), ListType(ANY))
    assert isinstance(result, Unknown)
    assert (result.type, result.because, result.not_null) == (ListType(ANY), "a.b", True)


scalars: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from(["", "a", "b", "1", "12", "true"]),
    st.sampled_from([Unknown(), Unknown(STRING), Unknown(NUMBER, not_null=True), Secret("x"), Secret(2)]),
)
names = st.sampled_from(["a", "b", "c"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3).map(Tuple) | st.dictionaries(names, inner, max_size=3).map(Object),
    max_leaves=6,
)
types = st.recursive(
    st.sampled_from([STRING, NUMBER, BOOL, ANY]),
    lambda inner: st.one_of(
        inner.map(ListType),
        inner.map(SetType),
        inner.map(MapType),
        st.lists(inner, max_size=2).map(lambda items: TupleType(tuple(items))),
        st.dictionaries(names, inner, max_size=2).map(lambda items: ObjectType(items, frozenset(items))),
    ),
    max_leaves=4,
)
quick = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def converted(value: Value, type_: Type) -> tuple[bool, Value]:
    try:
        return True, convert(value, type_)
    except ConversionError:
        return False, None


@quick
@given(values, types)
def test_convert_twice_is_convert_once(value: Value, type_: Type) -> None:
    suits, once = converted(value, type_)
    assume(suits)
    twice = convert(once, type_)
    assert print_value(twice) == print_value(once)
    assert type_of(twice) == type_of(once)


@quick
@given(values, types)
def test_convert_keeps_secrets_and_what_they_hide(value: Value, type_: Type) -> None:
    suits, result = converted(value, type_)
    assume(suits)
    if has_secret(result):
        assert has_secret(value)


@quick
@given(st.lists(values, min_size=1, max_size=3))
def test_unified_values_have_one_type(given_values: list[Value]) -> None:
    assume(not any(map(is_open, given_values)))
    target = unify(map(type_of, given_values))
    assume(target is not None)
    unified = unify_values(given_values)
    assert unify(map(type_of, unified)) == target
    for value, result in zip(given_values, unified, strict=True):
        assert value is None or result is not None
        if type_of(value) == target:
            assert same(value, result) or not isinstance(value, (str, int))
