"""Type constraints as written, and what is said about those that are none."""

from __future__ import annotations

import pytest

from brevplan.diagnostics import Diagnostics, Source, Span
from brevplan.lang import ast
from brevplan.lang.constraints import read_constraint
from brevplan.lang.evaluate import prepare
from brevplan.lang.gate import Environment
from brevplan.lang.parser import parse_expression
from brevplan.lang.prepared import Step, fault
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType, Type
from brevplan.lang.values import EMPTY_OBJECT, Value


class NoNames:
    """A scope without any name: defaults are written out."""

    environment: Environment

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        raise fault("Reference in a default", root, span)


def default(node: ast.Expression) -> Value:
    return prepare(node).evaluate(NoNames())


def read(text: str) -> tuple[Type, list[str]]:
    node, problems = parse_expression(Source("main.hcl", text))
    assert problems == []
    assert node is not None
    diagnostics = Diagnostics()
    type_ = read_constraint(node, diagnostics, default)
    return type_, [
        f"{item.span.line}:{item.span.column} {item.detail} {item.hint}".rstrip() for item in diagnostics if item.span
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("string", STRING),
        ("number", NUMBER),
        ("bool", BOOL),
        ("any", ANY),
        ("(string)", STRING),
        ("list", ListType(ANY)),
        ("set", SetType(ANY)),
        ("map", MapType(ANY)),
        ("list(any)", ListType(ANY)),
        ("list(string)", ListType(STRING)),
        ("set(number)", SetType(NUMBER)),
        ("map(bool)", MapType(BOOL)),
        ("map(list(set(string)))", MapType(ListType(SetType(STRING)))),
        ("tuple([])", TupleType(())),
        ("tuple([string, list(number)])", TupleType((STRING, ListType(NUMBER)))),
        ("object({})", ObjectType({})),
        ("object({ a = string, b = number })", ObjectType({"a": STRING, "b": NUMBER})),
        ("object({\n a = string\n b = any\n})", ObjectType({"a": STRING, "b": ANY})),
        ("object({ a = optional(string) })", ObjectType({"a": STRING}, frozenset({"a"}))),
        ("object({ a = optional(number, 1 + 1) })", ObjectType({"a": NUMBER}, frozenset({"a"}), {"a": 2})),
        ("object({ a = optional(string, null) })", ObjectType({"a": STRING}, frozenset({"a"}), {"a": None})),
        (
            'object({ a = optional(object({ b = optional(string, "x") }), {}) })',
            ObjectType(
                {"a": ObjectType({"b": STRING}, frozenset({"b"}), {"b": "x"})}, frozenset({"a"}), {"a": EMPTY_OBJECT}
            ),
        ),
        ("list(object({ a = map(any) }))", ListType(ObjectType({"a": MapType(ANY)}))),
    ],
)
def test_constraint_written_is_read(text: str, expected: Type) -> None:
    assert read(text) == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected", "message"),
    [
        ("strng", ANY, '1:1 This is not a type. Did you mean "string"?'),
        ("lst(string)", ANY, '1:1 This is not a type. Did you mean "list"?'),
        ("wholly_other", ANY, "1:1 This is not a type. Types are: string, number, bool, any, list(T), set(T)"),
        ("5", ANY, "1:1 This is not a type. Types are:"),
        ("var.x", ANY, "1:1 This is not a type. Types are:"),
        ('"string"', ANY, "1:1 A type is written without quotes. For example: type = list(string)"),
        ("list()", ANY, '1:1 "list" needs one type, that of its elements. For example: list(string)'),
        ("map(string, number)", ANY, '1:1 "map" needs one type, that of its elements. For example: map(string)'),
        ("list([string]...)", ANY, '1:1 "list" needs one type'),
        ("string(5)", ANY, '1:1 "string" has no other types in it. Write string alone.'),
        ("object", ANY, '1:1 "object" needs the types of what is in it. For example: object({ name = string })'),
        ("object(string)", ANY, '1:1 "object" needs the types of what is in it.'),
        ("tuple", ANY, '1:1 "tuple" needs the types of what is in it. For example: tuple([string, number])'),
        ("tuple(string)", ANY, '1:1 "tuple" needs the types of what is in it.'),
        ("optional(string)", ANY, "1:1 optional() takes a type and perhaps a default, inside of object({…})."),
        ("list(optional(string))", ListType(ANY), "1:6 optional() takes a type"),
        ("list(strng)", ListType(ANY), '1:6 This is not a type. Did you mean "string"?'),
        ("tuple([string, x])", TupleType((STRING, ANY)), "1:16 This is not a type."),
        ("object({ a = strng })", ObjectType({"a": ANY}), '1:14 This is not a type. Did you mean "string"?'),
        ('object({ "a b" = string })', ObjectType({}), "1:10 An attribute of object({…}) has a bare name."),
        ("object({ a = string, a = number })", ObjectType({"a": NUMBER}), '1:22 The attribute "a" is given twice.'),
        ("object({ a = optional() })", ObjectType({"a": ANY}), "1:14 optional() takes a type"),
        (
            'object({ a = optional(number, "x") })',
            ObjectType({"a": NUMBER}, frozenset({"a"}), {"a": None}),
            '1:31 The default does not suit the type: a number is required, and "x" is not one.',
        ),
        (
            "object({ a = optional(list(number), [1, true]) })",
            ObjectType({"a": ListType(NUMBER)}, frozenset({"a"}), {"a": None}),
            "1:37 The default does not suit the type: [1]: a number is required, not bool.",
        ),
    ],
)
def test_constraint_mistake_is_reported_and_read_on(text: str, expected: Type, message: str) -> None:
    type_, problems = read(text)
    assert type_ == expected
    assert len(problems) == 1
    assert problems[0].startswith(message)


def test_constraint_mistakes_are_all_reported() -> None:
    _, problems = read("object({ a = strng, b = list(nmber), c = optional(bol) })")
    assert [problem.split(" ", 1)[0] for problem in problems] == ["1:14", "1:30", "1:51"]
