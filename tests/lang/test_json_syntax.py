"""The JSON syntax: the same tree as the native one gives, and messages that point into the JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Source
from brevplan.lang import ast
from brevplan.lang.ast import MAX_DEPTH
from brevplan.lang.json_shape import EVERY, VALUES, Shape
from brevplan.lang.json_syntax import parse_json
from brevplan.lang.numbers import parse_number
from brevplan.lang.parser import parse

_DYNAMIC = Shape(labels=1, blocks={"content": Shape()}, bare={"iterator"})
SHAPE = Shape(
    is_file=True,
    blocks={
        "locals": Shape(nulls=EVERY),
        "variable": Shape(labels=1, bare={"type"}, literal={"default"}, nulls={"default"}),
        "resource": Shape(
            labels=2,
            bare={"depends_on", "provider"},
            by_label={"t": Shape(blocks={"rule": Shape(), "dynamic": _DYNAMIC}, bare={"depends_on", "provider"})},
        ),
    },
)


def body_of(text: str, shape: Shape = SHAPE) -> ast.Body:
    body, problems = parse_json(Source("main.hcl.json", text), shape)
    assert problems == []
    return body


def form(node: Any) -> Any:
    """Give a tree without its places, and without the marks that only the native syntax leaves."""
    match node:
        case ast.Body():
            arguments = {name: form(item.value) for name, item in node.attributes.items()}
            return arguments, [form(block) for block in node.blocks]
        case ast.Block():
            return node.type, [label.text for label in node.labels], form(node.body)
        case ast.Template(parts=[str() as text]):
            return text
        case ast.Template(parts=[ast.Expression() as alone]):
            return form(alone)
        case ast.Literal():
            return node.value
        case ast.ObjectItem():
            return form(node.key), form(node.value)
        case ast.Node():
            hidden = ("source", "start", "end", "name_end", "heredoc")
            names = [
                name for kind in type(node).__mro__ for name in getattr(kind, "__slots__", ()) if name not in hidden
            ]
            return type(node).__name__, [form(getattr(node, name)) for name in sorted(names)]
        case list():
            return [form(item) for item in node]
    return node


SAME = {
    "literals": (
        '{"locals": {"a": 1, "b": "x", "c": true, "d": null, "e": ""}}',
        'locals {\n a = 1\n b = "x"\n c = true\n d = null\n e = ""\n}',
    ),
    "collections": (
        '{"locals": {"a": [1, ["x"], {}], "b": {"k": {"l": null}}}}',
        'locals {\n a = [1, ["x"], {}]\n b = { k = { l = null } }\n}',
    ),
    "templates": (
        '{"locals": {"a": "x${var.a}y", "b": "${var.b[0]}", "c": "%{ if var.c }x%{ endif }", "d": "$${x} %%{y}"}}',
        'locals {\n a = "x${var.a}y"\n b = var.b[0]\n c = "%{ if var.c }x%{ endif }"\n d = "$${x} %%{y}"\n}',
    ),
    "escapes inside of a template": (
        r'{"locals": {"a": "${f(\"x\\n\")}\n\u00e9\ud83d\ude00"}}',
        'locals {\n a = "${f("x\\n")}\\né\U0001f600"\n}',
    ),
    "a key is a template": (
        '{"locals": {"a": {"${var.k}-x": 1}}}', 'locals {\n a = { "${var.k}-x" = 1 }\n}',
    ),
    "labels": (
        '{"resource": {"t": {"a": {}, "b": {"x": 1}}, "u": {"c": {}}}}',
        'resource "t" "a" {}\nresource "t" "b" {\n x = 1\n}\nresource "u" "c" {}',
    ),
    "arrays at every level": (
        '[{"resource": [{"t": [{"a": [{"x": 1}, {"x": 2}]}]}]}, {"locals": [{"b": 1}, {}]}]',
        'resource "t" "a" {\n x = 1\n}\nresource "t" "a" {\n x = 2\n}\nlocals {\n b = 1\n}\nlocals {}',
    ),
    "nested blocks": (
        '{"resource": {"t": {"a": {"rule": [{"p": 1}, {"p": 2}], "other": {"p": 3}}}}}',
        'resource "t" "a" {\n other = { p = 3 }\n rule {\n p = 1\n }\n rule {\n p = 2\n }\n}',
    ),
    "dynamic": (
        '{"resource": {"t": {"a": {"dynamic": {"rule": {"for_each": "${var.x}", "iterator": "it",'
        ' "content": {"p": "${it.value}"}}}}}}}',
        'resource "t" "a" {\n dynamic "rule" {\n for_each = var.x\n iterator = it\n content {\n p = it.value\n }'
        "\n }\n}",
    ),
    "bare references": (
        '{"resource": {"t": {"a": {"provider": "p.x", "depends_on": ["t.b", "${t.c}"]}}}}',
        'resource "t" "a" {\n provider = p.x\n depends_on = [t.b, t.c]\n}',
    ),
    "types and literal defaults": (
        '{"variable": {"v": {"type": "list(object({a = string}))", "default": "$${x}"}, "w": {"default": null}}}',
        'variable "v" {\n type = list(object({a = string}))\n default = "$$${x}"\n}\n'
        'variable "w" {\n default = null\n}',
    ),
    "null is left out": ('{"resource": {"t": {"a": {"x": null, "rule": null}}}}', 'resource "t" "a" {}'),
    "comments": (
        '{"//": 1, "resource": {"//": 2, "t": {"//": "", "a": {"//": [], "x": {"//": "kept"}}}}}',
        'resource "t" "a" {\n x = { "//" = "kept" }\n}',
    ),
    "a block type twice": ('{"locals": {"a": 1}, "locals": {"b": 2}}', "locals {\n a = 1\n}\nlocals {\n b = 2\n}"),
    "a byte order mark": ('\ufeff{"locals": {}}', "locals {}"),
    "nothing": (" {\r\n} ", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_json_gives_the_tree_of_the_native_syntax(name: str) -> None:
    text, native = SAME[name]
    expected, problems = parse(Source("main.hcl", native))
    assert problems == []
    assert form(body_of(text)) == form(expected)


def test_numbers_are_exact() -> None:
    body = body_of('{"a": 0.1, "b": -1.5e1, "c": 12345678901234567890123, "d": 1E2}', VALUES)
    values = [item.value for item in body.attributes.values()]
    found = [value.value for value in values if isinstance(value, ast.Literal)]
    assert found[1:] == [-15, 12345678901234567890123, 100]
    assert isinstance(found[0], Fraction)


REJECTED = {
    "": "1:1 Unexpected end of file",
    "{": "1:2 Unexpected end of file",
    '{"a"': "1:5 Unexpected end of file",
    '{"a": [': "1:8 Unexpected end of file",
    "5": "1:1 Object needed",
    "{} {}": "1:4 Extra text behind the value",
    '{"a" = 1}': "1:6 Missing colon",
    '{"a": 1 "b": 2}': "1:9 Missing comma",
    '{"a": [1,]}': "1:9 Trailing comma",
    '{"a": 1,\n}': "1:8 Trailing comma",
    "{a: 1}": "1:2 Missing name",
    "# x\n{}": "1:1 Comment not allowed",
    '{ // x\n"a": 1}': "1:3 Comment not allowed",
    '{"a": 01}': "1:7 Invalid number",
    '{"a": .5}': "1:7 Invalid number",
    '{"a": 1e99999}': "1:7 Invalid number",
    '{"a": NaN}': "1:7 Invalid value",
    '{"a": None}': "1:7 Invalid value",
    "{\"a\": 'x'}": "1:7 Invalid value",
    '{"a": "x\n"}': "1:7 Unterminated string",
    '{"a": "x\ty"}': "1:9 Control character in a string",
    '{"a": "\\x"}': "1:8 Invalid escape sequence",
    '{"a": "\\u12"}': "1:8 Invalid escape sequence",
    '{"a": "\\ud800"}': "1:8 Invalid escape sequence",
    '{"locals": {"a": 1, "a": 2}}': "1:21 Attribute redefined",
    '{"locals": {"a": {"b": 1, "b": 2}}}': "1:27 Duplicate key",
    '{"locals": {"a b": 1}}': "1:13 Invalid name",
    '{"locals": 5}': "1:12 Object needed",
    '{"locals": [[{}]]}': "1:13 Object needed",
    '{"resource": {"t": "x"}}': "1:20 Missing label",
    '{"locals": {"a": "é${1 +}"}}': "1:25 Invalid expression",
    '{"locals": {"a": "\\u00e9\\n${1 +}"}}': "1:32 Invalid expression",
    '{"resource": {"t": {"a": {"depends_on": ["x y"]}}}}': "1:45 Extra characters after expression",
    "[" * (MAX_DEPTH + 1): f"1:{MAX_DEPTH + 1} Nested too deeply",
}


@pytest.mark.parametrize("text", REJECTED, ids=[text[:40] for text in REJECTED])
def test_a_mistake_is_told_with_its_place(text: str) -> None:
    _, problems = parse_json(Source("main.hcl.json", text), SHAPE)
    found = [f"{item.span.line}:{item.span.column} {item.summary}" for item in problems if item.span is not None]
    assert found == [REJECTED[text]]


def test_mistakes_that_are_no_syntax_are_told_together() -> None:
    text = '{"locals": {"a": 1,\n"a": 2,\n"b": "${",\n"c": {"x": 1, "x": 1}}}'
    _, problems = parse_json(Source("main.hcl.json", text), SHAPE)
    assert [item.span.line for item in problems if item.span is not None] == [2, 3, 4]


def test_an_unknown_name_in_a_file_is_an_unknown_block() -> None:
    body = body_of('{"local": {"a": 1}, "x": 1}')
    assert [block.type for block in body.blocks] == ["local"]
    assert list(body.attributes) == ["x"]
    assert body.blocks[0].header_span.text == "local"


def test_places_are_those_of_the_file() -> None:
    text = '{"locals": {"a": "\\n\\u0041${foo.bar(1).baz}"}, "resource": {"t": {"web": {"x": "${var.y}"}}}}'
    body = body_of(text.replace("foo.bar", "upper"))
    nodes = list(everything(body))
    assert all(node.source.name == "main.hcl.json" and node.source.text.startswith("{") for node in nodes)
    call = next(node for node in nodes if isinstance(node, ast.Call))
    assert call.span.text == "upper(1)"
    assert next(node.span.text for node in nodes if isinstance(node, ast.Variable)) == "var"
    assert body.blocks[1].header_span.text == '"web"'
    assert body.blocks[1].body.attributes["x"].name_span.text == '"x"'
    assert body.blocks[1].body.attributes["x"].value.span.text == '"${var.y}"'


def everything(node: ast.Node) -> Iterator[ast.Node]:
    yield node
    if isinstance(node, ast.Body):
        inner: list[ast.Node] = [*(item.value for item in node.attributes.values()), *(b.body for b in node.blocks)]
    else:
        inner = list(ast.children(node))
    for child in inner:
        yield from everything(child)


DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(max_size=60) | st.text('{}[]":,\\$%u01e-. \n"tfnrl/', max_size=60))
def test_any_text_is_read_without_raising(text: str) -> None:
    for shape in (SHAPE, VALUES):
        _, problems = parse_json(Source("main.hcl.json", text), shape)
        assert all(item.span is not None and item.span.end <= len(text) for item in problems)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["locals", "resource", "variable", "x", "//"]), DATA, max_size=4), st.booleans())
def test_any_json_is_read_without_raising(data: Any, ascii: bool) -> None:
    text = json.dumps(data, ensure_ascii=ascii)
    body, _ = parse_json(Source("main.hcl.json", text), SHAPE)
    assert all(0 <= node.start <= node.end <= len(text) for node in everything(body))


@given(DATA)
def test_literal_values_are_those_of_the_standard_reader(data: Any) -> None:
    text = json.dumps({"v": data})
    body, problems = parse_json(Source("x.json", text), VALUES)
    if not problems:
        assert plain(body.attributes["v"].value) == normal(json.loads(text, parse_float=parse_number)["v"])


def plain(node: ast.Expression) -> Any:
    match node:
        case ast.Literal():
            return node.value
        case ast.Template():
            return "".join(part for part in node.parts if isinstance(part, str))
        case ast.TupleCons():
            return [plain(item) for item in node.items]
        case ast.ObjectCons():
            return {plain(item.key): plain(item.value) for item in node.items}
    raise AssertionError(f"no literal: {node}")


def normal(data: Any) -> Any:
    if isinstance(data, str):
        return normalize("NFC", data)
    if isinstance(data, list):
        return [normal(item) for item in data]
    if isinstance(data, dict):
        return {normal(name): normal(item) for name, item in data.items()}
    return data
