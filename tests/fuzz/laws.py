"""What must hold for any text whatever: `check` raises `AssertionError`, or lets out what should never come out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from brevplan.diagnostics import Diagnostic, Diagnostics, Source, Span
from brevplan.lang import ast
from brevplan.lang.evaluate import prepare
from brevplan.lang.formatter import format_text
from brevplan.lang.gate import Environment
from brevplan.lang.literals import literal_value
from brevplan.lang.parser import parse, parse_expression, parse_template
from brevplan.lang.prepared import EvaluationError, Step, fault
from brevplan.lang.printing import print_value
from brevplan.lang.values import (
    List,
    Map,
    Mapping_,
    Sequence_,
    Set,
    Value,
    from_python,
    reveal_deep,
    type_of,
)
from brevplan.operations.project import parse_source, parse_values
from brevplan.render.diagnostics import diagnostic_json, render_diagnostic
from tests.meaning import meaning

_NAMES: dict[str, Value] = {"a": from_python([1, {"b": "x"}]), "b_1": "text", "x-y": 3, "été": from_python({"a": 1})}
_OLD_TYPE = re.compile(r'type *= *("(string|list|map)"|(list|map|set)\b)')
NOW = datetime(2024, 5, 6, tzinfo=UTC)


class _NoFiles:
    """There is no file."""

    def read_bytes(self, path: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", path)

    def is_file(self, path: str) -> bool:
        return False

    def glob(self, directory: str, pattern: str) -> list[str]:
        return []

    def absolute(self, path: str) -> str:
        return f"/{path}"

    def expand_home(self, path: str) -> str:
        return path


class _Scope:
    """A few names that texts of the grammar use."""

    def __init__(self) -> None:
        self.environment = Environment(_NoFiles(), NOW)

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        if root not in _NAMES:
            raise fault("Reference to something undeclared", f'There is no "{root}".', span, catchable=False)
        return _NAMES[root], 0


def check(sort: str, text: str) -> str:
    """Hold one text against the laws of its sort; tell what became of it."""
    if sort == "JSON":
        return _check_json(text)
    if sort == "template":
        template, problems = parse_template(Source("t", text))
        return _check_parsed(template, problems, text)
    if sort.endswith("expression"):
        expression, problems = parse_expression(Source("main.hcl", text))
        return _check_parsed(expression, problems, text)
    body, problems = parse(Source("main.hcl", text))
    check_problems(problems, text)
    if sort == "values":
        check_values(Source("x.vars.hcl", text))
    check_format(text, body, problems)
    for attribute in _attributes(body):
        check_evaluation(attribute.value)
    return "wrong" if problems else "right"


def _check_parsed(node: ast.Expression | None, problems: Sequence[Diagnostic], text: str) -> str:
    check_problems(problems, text)
    assert (node is None) == bool(problems), "a tree is given exactly when there is no problem"
    if node is None:
        return "wrong"
    check_spans(node, text)
    return check_evaluation(node)


def _check_json(text: str) -> str:
    body, problems = parse_source(Source("main.hcl.json", text))
    check_problems(problems, text)
    check_values(Source("x.vars.hcl.json", text))
    for attribute in _attributes(body):
        check_evaluation(attribute.value)
    return "wrong" if problems else "right"


def check_problems(problems: Sequence[Diagnostic], text: str) -> None:
    """A problem says something, about a place inside of the text, and can be shown."""
    for problem in problems:
        assert problem.summary
        assert problem.span is not None, problem.summary
        assert 0 <= problem.span.start <= problem.span.end <= len(text), (problem.summary, problem.span)
        assert problem.summary in render_diagnostic(problem)
        diagnostic_json(problem)


def check_spans(node: ast.Node, text: str) -> None:
    """Every node covers a stretch of the text, and lies within the one around it."""
    for child in ast.children(node):
        assert 0 <= child.start <= child.end <= len(text), type(child).__name__
        check_spans(child, text)


def check_format(text: str, body: ast.Body, problems: Sequence[Diagnostic]) -> None:
    """Formatting leaves a wrong text alone; a right one keeps its meaning, and is done after one time."""
    once, found = format_text(Source("main.hcl", text))
    if problems:
        assert once == text
        assert [problem.summary for problem in found] == [problem.summary for problem in problems]
        return
    again, problems_after = format_text(Source("main.hcl", once))
    assert problems_after == [], [problem.summary for problem in problems_after]
    assert again == once
    if not _OLD_TYPE.search(text):  # `type = "list"` is given the meaning that it lacks
        assert meaning(parse(Source("main.hcl", once))[0]) == meaning(body)


def check_values(source: Source) -> None:
    """A file of values gives values, or says why not."""
    body, problems = parse_values(source)
    check_problems(problems, source.text)
    for attribute in body.attributes.values():
        found = Diagnostics()
        print_value(literal_value(attribute.value, found))
        check_problems(found.items, source.text)


def check_evaluation(node: ast.Expression) -> str:
    """Evaluation gives a value or says why not, the same each time; a value that is a literal stands for itself."""
    first, second = _evaluated(node), _evaluated(node)
    if isinstance(first, EvaluationError) or isinstance(second, EvaluationError):
        assert isinstance(first, EvaluationError)
        assert isinstance(second, EvaluationError)
        assert first.diagnostic == second.diagnostic
        span = first.diagnostic.span
        assert span is not None
        check_problems([first.diagnostic], span.source.text)
        return "no value"
    printed = print_value(first)
    assert printed == print_value(second)
    assert type_of(first) == type_of(second)
    if is_literal(first):
        check_literal(first, printed)
    return "a value"


def check_literal(value: Value, printed: str) -> None:
    expression, problems = parse_expression(Source("printed", printed))
    assert expression is not None, (printed, problems)
    again = _evaluated(expression)
    assert not isinstance(again, EvaluationError), (printed, again.diagnostic)
    assert print_value(again) == printed
    assert type_of(again) == type_of(value), printed


def _evaluated(node: ast.Expression) -> Value | EvaluationError:
    try:
        return prepare(node).evaluate(_Scope())
    except EvaluationError as problem:
        return problem


def is_literal(value: Value) -> bool:
    """Tell whether a value can be written down: collections of one type need a function, infinities a division."""
    if isinstance(value, (List, Set, Map, float)) or value is not reveal_deep(value):
        return False
    if isinstance(value, Sequence_):
        return all(map(is_literal, value.items))
    return not isinstance(value, Mapping_) or all(map(is_literal, value.items.values()))


def _attributes(body: ast.Body) -> list[ast.Attribute]:
    found, bodies = list[ast.Attribute](), [body]
    while bodies:
        inner = bodies.pop()
        found.extend(inner.attributes.values())
        bodies.extend(block.body for block in inner.blocks)
    return found
