"""Values and types as the console prints them. The cases are what Terraform 1.11 prints for the same."""

from __future__ import annotations

from fractions import Fraction

import pytest

from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType, Type
from brevplan.lang.values import List, Map, Object, Secret, Set, Tuple, Unknown, Value
from brevplan.render.values import render_type, render_value

ONE_LINE: list[tuple[Value, str]] = [
    (None, "null"),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (-7, "-7"),
    (Fraction(3, 2), "1.5"),
    (10**21, "1000000000000000000000"),
    (Fraction(1, 10**10), "0.0000000001"),
    (float("inf"), "+Inf"),
    (float("-inf"), "-Inf"),
    ("", '""'),
    ('a"b\\c', '"a\\"b\\\\c"'),
    ("a\tb\rc", '"a\\tb\\rc"'),
    ("\x01\x7f\x00", '"\\x01\\x7f\\x00"'),
    ("\a\b\f\v", '"\\a\\b\\f\\v"'),
    ("é 日本 👍", '"é 日本 👍"'),
    ("\u200b\ufeff\u00ad\u00a0\u202e\ue000\u2028", '"\\u200b\\ufeff\\u00ad\\u00a0\\u202e\\ue000\\u2028"'),
    ("\U000e0001", '"\\U000e0001"'),
    ("${a} %{b} $$", '"${a} %{b} $$"'),
    (Unknown(STRING), "(known after apply)"),
    (Secret("x"), "(sensitive value)"),
    (Secret(Tuple((1,))), "(sensitive value)"),
    (Tuple(()), "[]"),
    (Object({}), "{}"),
    (List((), STRING), "tolist([])"),
    (Set(()), "toset([])"),
    (Map({}), "tomap({})"),
]

SEVERAL_LINES: list[tuple[Value, str]] = [
    (Tuple((1, "a", True, None)), '[\n  1,\n  "a",\n  true,\n  null,\n]'),
    (List((1, 2)), "tolist([\n  1,\n  2,\n])"),
    (Set(("b", "a")), 'toset([\n  "a",\n  "b",\n])'),
    (Map({"long": 2, "a": 1}), 'tomap({\n  "a" = 1\n  "long" = 2\n})'),
    (Object({"a b": 1, "${x}": 2, "é": 3}), '{\n  "${x}" = 2\n  "a b" = 1\n  "é" = 3\n}'),
    (Object({"a\nb": 1}), '{\n  "a\\nb" = 1\n}'),
    (Tuple((Tuple(()), Object({}))), "[\n  [],\n  {},\n]"),
    (
        Object({"a": Object({"b": List((1,))})}),
        '{\n  "a" = {\n    "b" = tolist([\n      1,\n    ])\n  }\n}',
    ),
    (Tuple((Secret(1), Unknown())), "[\n  (sensitive value),\n  (known after apply),\n]"),
]

HEREDOCS: list[tuple[Value, str]] = [
    ("a\nb", "<<EOT\na\nb\nEOT"),
    ("a\n", "<<EOT\na\n\nEOT"),
    ("\n", "<<EOT\n\n\nEOT"),
    ('say "${x}"\n\\n', '<<EOT\nsay "${x}"\n\\n\nEOT'),
    ("a\r\nb", "<<EOT\na\r\nb\nEOT"),
    ("a\x1b[2J\nb", "<<EOT\na�[2J\nb\nEOT"),
    ("EOT\nx", "<<EOT_\nEOT\nx\nEOT_"),
    (" EOT\nEOT_", "<<EOT__\n EOT\nEOT_\nEOT__"),
    (Tuple(("x\n  y\n\nz",)), "[\n  <<-EOT\n  x\n    y\n  \n  z\n  EOT,\n]"),
    (Object({"t": "a\nb"}), '{\n  "t" = <<-EOT\n  a\n  b\n  EOT\n}'),
]

NULLS: list[tuple[Type, str]] = [
    (ANY, "null"),
    (STRING, "tostring(null)"),
    (NUMBER, "tonumber(null)"),
    (BOOL, "tobool(null)"),
    (ListType(ANY), "tolist(null) /* of dynamic */"),
    (SetType(NUMBER), "toset(null) /* of number */"),
    (MapType(MapType(STRING)), "tomap(null) /* of map of string */"),
    (ListType(ListType(ObjectType({}))), "tolist(null) /* of list of object */"),
    (ListType(TupleType(())), "tolist(null) /* of tuple */"),
    (ObjectType({"a": STRING}), "null /* object */"),
    (TupleType((STRING,)), "null /* tuple */"),
]

TYPES: list[tuple[Type, str]] = [
    (STRING, "string"),
    (ANY, "dynamic"),
    (ListType(ANY), "list(dynamic)"),
    (ListType(ListType(NUMBER)), "list(list(number))"),
    (SetType(STRING), "set(string)"),
    (MapType(BOOL), "map(bool)"),
    (TupleType(()), "tuple([])"),
    (ObjectType({}), "object({})"),
    (TupleType((NUMBER, TupleType(()))), "tuple([\n    number,\n    tuple([]),\n])"),
    (
        ObjectType({"b": ListType(STRING), "a": ObjectType({"x y": BOOL})}),
        "object({\n    a: object({\n        x y: bool,\n    }),\n    b: list(string),\n})",
    ),
    (ListType(TupleType(())), "list(\n    tuple([]),\n)"),
    (
        MapType(ListType(ObjectType({"x": NUMBER}))),
        "map(list(\n    object({\n        x: number,\n    }),\n))",
    ),
]


@pytest.mark.parametrize(("value", "text"), [*ONE_LINE, *SEVERAL_LINES, *HEREDOCS])
def test_a_value(value: Value, text: str) -> None:
    assert render_value(value) == text


@pytest.mark.parametrize(("type_", "text"), NULLS)
def test_a_null_says_what_it_would_have_been(type_: Type, text: str) -> None:
    assert render_value(None, type_) == text


def test_nulls_inside_take_their_types_from_the_collection_and_from_outside() -> None:
    known = ObjectType({"a": STRING, "b": ListType(ObjectType({"c": NUMBER}))})
    value = Object({"a": None, "b": List((Object({"c": None}),)), "d": None})
    assert render_value(value, known) == (
        '{\n  "a" = tostring(null)\n  "b" = tolist([\n    {\n      "c" = tonumber(null)\n    },\n  ])\n  "d" = null\n}'
    )
    assert render_value(List((None, "x"), STRING)) == 'tolist([\n  tostring(null),\n  "x",\n])'


@pytest.mark.parametrize(("type_", "text"), TYPES)
def test_a_type(type_: Type, text: str) -> None:
    assert render_type(type_) == text
