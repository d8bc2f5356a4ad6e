"""Syntax trees, and messages about what is none. The files under `cases/syntax` hold most of the cases."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import hcl2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Diagnostic, Source
from brevplan.lang import ast
from brevplan.lang.ast import MAX_DEPTH
from brevplan.lang.parser import parse, parse_expression, parse_template

CASES = Path(__file__).parent / "cases" / "syntax"


def read_cases(name: str) -> dict[str, str]:
    """Split a file of cases at its `=== name` lines."""
    parts = (CASES / name).read_text(encoding="utf-8").split("\n=== ")[1:]
    cases = dict(part.split("\n", 1) for part in parts)
    return {title: text.rstrip("\n") + "\n" for title, text in cases.items()}


ACCEPTED = read_cases("accepts.txt")
REJECTED = read_cases("rejects.txt")
SHAPES = read_cases("shapes.txt")


def place(problem: Diagnostic) -> str:
    assert problem.span is not None
    return f"{problem.span.line}:{problem.span.column} {problem.summary}"


def problems_in(text: str) -> list[str]:
    return [place(problem) for problem in parse(Source("main.hcl", text))[1]]


def body_of(text: str) -> ast.Body:
    body, problems = parse(Source("main.hcl", text))
    assert problems == []
    return body


def value_of(text: str) -> ast.Expression:
    value, problems = parse_expression(Source("value", text))
    assert problems == []
    assert value is not None
    return value


def show(node: ast.Node | str | None) -> str:
    """Write an expression as a form in parentheses, for comparing."""
    if node is None:
        return "-"
    return repr(node) if isinstance(node, str) else FORMS[type(node)](node)


FORMS: dict[type[ast.Node], Callable[[Any], str]] = {
    ast.Literal: lambda n: f"key:{n.value}" if isinstance(n.value, str) else str(n.value).lower(),
    ast.Template: lambda n: f"({'heredoc' if n.heredoc else 'text'}{show_all(n.parts)})",
    ast.TemplateIf: lambda n: f"(%if {show(n.condition)} [{show_all(n.then)} ] [{show_all(n.otherwise)} ])",
    ast.TemplateFor: lambda n: f"(%for {names(n)} {show(n.collection)} [{show_all(n.body)} ])",
    ast.Parentheses: lambda n: f"(paren {show(n.inner)})",
    ast.Variable: lambda n: n.name,
    ast.GetAttr: lambda n: f"(. {show(n.object)} {n.name})",
    ast.Index: lambda n: f"(at {show(n.object)} {show(n.key)})",
    ast.Splat: lambda n: f"({'[*]' if n.full else '.*'} {show(n.object)} {show(n.each)})",
    ast.SplatItem: lambda _: "it",
    ast.TupleCons: lambda n: f"(tuple{show_all(n.items)})",
    ast.ObjectCons: lambda n: f"(object{''.join(f' {show(i.key)}={show(i.value)}' for i in n.items)})",
    ast.ForTuple: lambda n: f"(for {names(n)}{show_all([n.collection, n.value, n.condition])})",
    ast.ForObject: lambda n: (
        f"(for{'...' if n.grouped else ''} {names(n)}{show_all([n.collection, n.key, n.value, n.condition])})"
    ),
    ast.Conditional: lambda n: f"(?{show_all([n.condition, n.then, n.otherwise])})",
    ast.Binary: lambda n: f"({n.operator}{show_all([n.left, n.right])})",
    ast.Unary: lambda n: f"({n.operator} {show(n.operand)})",
    ast.Call: lambda n: f"({n.name}(){'...' if n.expand else ''}{show_all(n.arguments)})",
}


def names(node: ast.ForTuple | ast.ForObject | ast.TemplateFor) -> str:
    return f"{node.key_name or '-'} {node.value_name}"


def show_all(nodes: Sequence[ast.Node | str | None]) -> str:
    return "".join(f" {show(node)}" for node in nodes)


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_parse_valid_file_gives_no_problem(text: str) -> None:
    assert problems_in(text) == []


@pytest.mark.parametrize("text", REJECTED.values(), ids=REJECTED.keys())
def test_parse_invalid_file_points_at_each_mistake(text: str) -> None:
    lines = text.split("\n")
    count = next(number for number, line in enumerate(lines) if not line.startswith("--- "))
    expected = [line.removeprefix("--- ") for line in lines[:count]]

    assert problems_in("\n".join(lines[count:])) == expected


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_parse_expression_gives_the_tree(text: str) -> None:
    expression, _, expected = text.rpartition("--> ")

    assert show(body_of(f"a = {expression}").attributes["a"].value) == expected.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffa = 1\n", []),
        ("a = 1", []),
        ("a = 1 # why", []),
        ("a {\r\n  b = 1\r\n}\r\n", []),
        ('a = "x\x01y"\n', []),
        ("a = 1\rb = 2\n", ["1:6 Invalid character"]),
        ('a = "x\ry"\n', ["1:5 Unterminated string"]),
        ("a = 1\x0c\n", ["1:6 Invalid character"]),
        ("a = 1\x00\n", ["1:6 Invalid character"]),
        ("a =\u00a01\n", ["1:4 Invalid character"]),
        ("a = 1\u2028b = 2\n", ["1:6 Invalid character"]),
        ("a\u00b2 = 1\n", ["1:2 Invalid character"]),
        ("a = <<E\nx\nE", ["3:1 Unterminated heredoc"]),
        ("a = <<E\nx\nE \r\n", []),
        ('a = "x', ["1:5 Unterminated string"]),
        ("a = ", ["1:3 Missing value"]),
        ("a = [", ["1:5 Unclosed bracket"]),
        ("a {", ["1:3 Unclosed block"]),
        ("", []),
        ("\n\n# nothing\n", []),
    ],
)
def test_parse_unusual_characters(text: str, expected: list[str]) -> None:
    assert problems_in(text) == expected


def test_parse_gives_blocks_with_labels_and_places() -> None:
    text = 'resource "instance" web {\n  name = "x"\n  disk { size = 1 }\n}\n'
    (block,) = body_of(text).blocks

    assert (block.type, [(label.text, label.quoted) for label in block.labels]) == (
        "resource",
        [("instance", True), ("web", False)],
    )
    assert block.header_span.text == 'resource "instance" web'
    assert text[: block.header_end].endswith("{")
    assert block.span.text == text.rstrip("\n")
    assert block.body.attributes["name"].name_span.text == "name"
    assert block.body.attributes["name"].value.span.text == '"x"'
    assert block.body.blocks[0].body.attributes["size"].span.text == "size = 1"


def test_parse_decodes_labels() -> None:
    (block,) = body_of('b "a\\n$${x}" {}\n').blocks

    assert block.labels[0].text == "a\n${x}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(x, 1)", "f(x, 1)"),
        ("a.b[0].c", "a.b[0].c"),
        ("  (a + b) * c ", "(a + b) * c"),
        ("- x", "- x"),
        ("a[*].b[*].c", "a[*].b[*].c"),
        ("x ? y : [1]", "x ? y : [1]"),
        ("{for a in b : a => a...}", "{for a in b : a => a...}"),
    ],
)
def test_parse_expression_span_covers_the_text(text: str, expected: str) -> None:
    assert value_of(text).span.text == expected


def test_parse_normalises_text_and_names() -> None:
    attributes = body_of('e\u0301 = "e\u0301"\nx = <<E\ne\u0301\nE\n').attributes

    assert list(attributes) == ["\u00e9", "x"]
    assert show(attributes["\u00e9"].value) == "(text 'é')"
    assert show(attributes["x"].value) == "(heredoc 'é\\n')"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9007199254740993", 9007199254740993),
        ("1.50", Fraction(3, 2)),
        ("2.0", 2),
        ("1e3", 1000),
        ("007", 7),
    ],
)
def test_parse_numbers_exactly(text: str, expected: int | Fraction) -> None:
    value = value_of(text)

    assert isinstance(value, ast.Literal)
    assert value.value == expected
    assert type(value.value) is type(expected)


def test_parse_repeated_argument_names_both_places() -> None:
    _, (problem,) = parse(Source("main.hcl", "a = 1\nb = 2\na = 3\n"))

    assert place(problem) == "3:1 Attribute redefined"
    assert "main.hcl:1:1" in problem.detail


def test_parse_keeps_what_it_understood_beside_errors() -> None:
    body, problems = parse(Source("main.hcl", "a = 1\nb = = 2\nc {\n  d = 3 4\n  e = 5\n}\nf = 6\n"))

    assert len(problems) == 2
    assert list(body.attributes) == ["a", "f"]
    assert list(body.blocks[0].body.attributes) == ["e"]


def test_parse_every_problem_says_what_and_where() -> None:
    for text in REJECTED.values():
        for problem in parse(Source("main.hcl", text))[1]:
            assert problem.summary
            assert problem.detail.endswith(".")
            assert problem.span is not None
            assert problem.span.start <= problem.span.end <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000 + "]" * 10_000,
        "(" * 10_000,
        "{ a = " * 10_000,
        '"${' * 10_000,
        "!" * 10_000 + "x",
        "+".join("1" * 10_000),
        "x" + ".y" * 10_000,
        "x" + "[0]" * 10_000,
        "x" + "[*]" * 10_000,
        "x ? 1 : " * 10_000 + "2",
    ],
    ids=lambda text: text[:4],
)
def test_parse_deep_nesting_is_refused(text: str) -> None:
    problems = problems_in(f"a = {text}\nb = 1\n")

    assert len(problems) == 1
    assert problems[0].endswith("Nested too deeply")


def test_parse_deep_blocks_are_refused_once() -> None:
    assert len(problems_in("a {\n" * 10_000 + "}\n" * 10_000)) == 1


def test_parse_nesting_up_to_the_limit_is_fine() -> None:
    depth = MAX_DEPTH - 1

    assert problems_in("a = " + "[" * depth + "]" * depth + "\n") == []


@pytest.mark.parametrize(
    "text",
    ["a = [\n", 'a = "x\n', "a = <<E\n", "}\n", "a = f(\n  1\n", "a 1\n", "x = {\n", "a = << E\n", '"'],
    ids=repr,
)
def test_parse_many_errors_takes_linear_time(text: str) -> None:
    parse(Source("main.hcl", text * 2_000))


def test_parse_leaves_the_garbage_collector_as_it_was() -> None:
    assert gc.isenabled()
    parse(Source("main.hcl", "a = 1\n"))
    assert gc.isenabled()


def test_parser_imports_neither_lark_nor_hcl2() -> None:
    code = "import sys, brevplan.lang.parser as p; sys.exit(any(m in sys.modules for m in ('lark', 'hcl2')))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", "1"),
        ("[1,\n 2]", "(tuple 1 2)"),
        ("\n a\n + 1\n", "(+ a 1)"),
        ("{ a = 1\n b = 2 }", "(object key:a=1 key:b=2)"),
        ("<<E\nx\nE\n", "(heredoc 'x\\n')"),
        ("var.x # why", "(. var x)"),
    ],
)
def test_parse_expression_alone(text: str, expected: str) -> None:
    assert show(value_of(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1 Invalid expression"]),
        ("1 2", ["1:3 Extra characters after expression"]),
        ("a b", ["1:3 Extra characters after expression"]),
        ("a = 1", ["1:3 Extra characters after expression"]),
        ("1 }", ["1:3 Extra characters after expression"]),
        ("1,", ["1:2 Extra characters after expression"]),
        ("[1", ["1:1 Unclosed bracket"]),
        ('"x', ["1:1 Unterminated string"]),
    ],
)
def test_parse_expression_alone_refuses(text: str, expected: list[str]) -> None:
    value, problems = parse_expression(Source("value", text))

    assert value is None
    assert [place(problem) for problem in problems] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "(heredoc)"),
        ("x\n  y\n", "(heredoc 'x\\n  y\\n')"),
        ("${1}", "(heredoc 1)"),
        (' "q" \\n $${x}', "(heredoc ' \"q\" \\\\n ${x}')"),
        ("%{ for a in b ~}\n  ${a}\n%{ endfor ~}\n", "(heredoc (%for - a b [ '  ' a '\\n' ]))"),
    ],
)
def test_parse_template_alone(text: str, expected: str) -> None:
    value, problems = parse_template(Source("file.tpl", text))

    assert problems == []
    assert show(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n${", ["2:1 Unclosed template sequence"]),
        ("%{ if x }", ["1:1 Unexpected end of template"]),
        ("a\nb ${x y}", ["2:7 Extra characters in interpolation"]),
    ],
)
def test_parse_template_alone_refuses(text: str, expected: list[str]) -> None:
    value, problems = parse_template(Source("file.tpl", text))

    assert value is None
    assert [place(problem) for problem in problems] == expected


PLAIN = """
resource "instance" "web" {
  count = 3
  name  = "web-${count.index}"
  tags  = { a = 1, b = [true, null, 2.5] }
  x     = var.a ? f(1, 2...) : !b && c >= 4
  y     = [for k, v in m : v if v != ""]
  z     = { for k, v in m : k => v... }
  w     = a.b[0].c[*].d
  rule {
    port = 22
  }
  rule {
    port = 80
  }
}
locals {
  q = "plain"
}
"""


def test_parse_agrees_with_python_hcl2_on_plain_files() -> None:
    def theirs(name: str) -> list[str]:
        return [
            " ".join(str(token) for token in node.scan_values(lambda _: True)).split()[0]
            for node in hcl2.parses_to_tree(PLAIN).find_data(name)
        ]

    def ours(body: ast.Body) -> tuple[list[str], list[str]]:
        attributes, blocks = list(body.attributes), [block.type for block in body.blocks]
        for block in body.blocks:
            more_attributes, more_blocks = ours(block.body)
            attributes, blocks = attributes + more_attributes, blocks + more_blocks
        return attributes, blocks

    attributes, blocks = ours(body_of(PLAIN))
    assert sorted(attributes) == sorted(theirs("attribute"))
    assert sorted(blocks) == sorted(theirs("block"))


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
FRAGMENTS = st.sampled_from(
    [
        *("a", "b", "for", "in", "if", "true", "1", "2.5", '"', "${", "%{", "~", "}", "{", "[", "]", "(", ")"),
        *("=", "==", "=>", ":", "::", "?", ".", "...", ".*", "[*]", ",", "-", "!", "&&", "\n", "\r\n", " ", "\t"),
        *("<<E\n", "<<-E\n", "\nE\n", "/*", "*/", "#", "//", "é", "\\", "'", "\x00", "\ufeff", "$${", "endif", "else"),
    ]
)


@QUICK
@given(st.one_of(st.text(), st.lists(FRAGMENTS, max_size=30).map("".join)))
def test_parse_never_raises_on_any_text(text: str) -> None:
    parse(Source("main.hcl", text))
    parse_expression(Source("value", text))
    parse_template(Source("file.tpl", text))


@QUICK
@given(st.sampled_from(sorted(ACCEPTED.values())), st.data())
def test_parse_never_raises_on_damaged_files(text: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 5)))
    body, problems = parse(Source("main.hcl", text[:begin] + data.draw(FRAGMENTS) + text[end:]))

    assert isinstance(body, ast.Body)
    assert all(problem.span is not None for problem in problems)


def test_parse_of_very_many_mistakes_stops_and_says_so() -> None:
    found = problems_in("a = = 1\n" * 5000)
    assert len(found) == 101
    assert found[0] == "1:5 Invalid expression"
    assert found[-1] == "100:5 Too many mistakes"
