"""The evaluator, driven by the tables in `cases/evaluate`, by laws that hold for any expression, and a few probes.

A case is one line of JSON: `expr`, then what it `gives` as printed with its `type`, or the message it `fails` with
(line, column, summary, detail), the text `under` that place and the `hint`; and `why` it is there. Where the result
is not known, `waits` names what decides it.

An expression may name `k` (known), `u` (unknown, by type) and `s` (secret, every one holding the text `hunter2`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Diagnostic, Source, Span
from brevplan.lang.evaluate import EvaluationError, Prepared, Step, fault, prepare
from brevplan.lang.gate import Environment
from brevplan.lang.parser import parse_expression
from brevplan.lang.printing import print_value
from brevplan.lang.types import BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType
from brevplan.lang.values import (
    List,
    Mapping_,
    Object,
    Secret,
    Sequence_,
    Tuple,
    Unknown,
    Value,
    equality,
    first_unknown,
    from_python,
    has_secret,
    reveal,
    reveal_deep,
    type_of,
)

CASES = Path(__file__).parent / "cases" / "evaluate"
SECRET_TEXT = "hunter2"
NAMED = ObjectType({"name": STRING})
PERSON = Object({"name": SECRET_TEXT})

KNOWN: dict[str, Value] = {
    "name": "kit",
    "null": None,
    "object": from_python({"name": "kit", "list": [1, 2]}),
    "objects": from_python([{"name": "a"}, {"name": "b"}]),
    "template": "Hi ${name}",
    "partial": Object({"known": 1, "later": Unknown(STRING, "u.later")}),
}
UNKNOWN: dict[str, Value] = {
    "any": Unknown(because="u.any"),
    "string": Unknown(STRING, "u.string"),
    "id": Unknown(STRING, "u.id", not_null=True),
    "number": Unknown(NUMBER, "u.number"),
    "bool": Unknown(BOOL, "u.bool"),
    "list": Unknown(ListType(STRING), "u.list"),
    "set": Unknown(SetType(STRING), "u.set"),
    "map": Unknown(MapType(STRING), "u.map"),
    "tuple": Unknown(TupleType((STRING, NUMBER)), "u.tuple"),
    "object": Unknown(NAMED, "u.object"),
    "objects": Unknown(ListType(NAMED), "u.objects"),
}
SECRET: dict[str, Value] = {
    "text": Secret(SECRET_TEXT),
    "number": Secret(1),
    "bool": Secret(True),
    "list": Secret(Tuple((SECRET_TEXT, "b"))),
    "numbers": Secret(Tuple((1, 2))),
    "object": Secret(PERSON),
    "objects": Secret(Tuple((PERSON,))),
    "template": Secret(SECRET_TEXT + " ${name}"),
    "unknown": Secret(Unknown(STRING, "s.unknown")),
}
NAMES: dict[str, Value] = {"k": Object(KNOWN), "u": Object(UNKNOWN), "s": Object(SECRET)}

TEMPLATES = {
    "greeting.tpl": b"Hello ${name}!\n",
    "single.tpl": b"${x}",
    "loop.tpl": b"%{ for item in items ~}\n- ${item}\n%{ endfor ~}\n",
    "binary.tpl": b"\xff\xfe",
    "broken.tpl": b"line\n${1 +}\n",
    "recursive.tpl": b'${templatefile("greeting.tpl", {})}',
}


class MemoryFiles:
    """The files that a template may be read from."""

    def read_bytes(self, path: str) -> bytes:
        if path not in TEMPLATES:
            raise FileNotFoundError(2, "No such file or directory", path)
        return TEMPLATES[path]

    def is_file(self, path: str) -> bool:
        return path in TEMPLATES

    def glob(self, directory: str, pattern: str) -> list[str]:
        return []

    def absolute(self, path: str) -> str:
        return path

    def expand_home(self, path: str) -> str:
        return path


class Names:
    """A scope of plain names. What is read is noted, as a project does to find what depends on what."""

    def __init__(self, names: Mapping[str, Value]) -> None:
        self.environment = Environment(MemoryFiles(), datetime(2024, 5, 6, tzinfo=UTC))
        self.names = names
        self.reads: list[str] = []

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        if root not in self.names:
            raise fault("Reference to something undeclared", f'There is no "{root}".', span, catchable=False)
        self.reads.append(".".join([root, *(step for step in steps if isinstance(step, str))]))
        return self.names[root], 0


def prepared(text: str) -> Prepared:
    node, problems = parse_expression(Source("main.hcl", text))
    assert problems == []
    assert node is not None
    return prepare(node)


def evaluate(text: str, names: Mapping[str, Value] = NAMES) -> Value:
    return prepared(text).evaluate(Names(names))


def problem_of(text: str, names: Mapping[str, Value] = NAMES) -> Diagnostic:
    with pytest.raises(EvaluationError) as caught:
        evaluate(text, names)
    return caught.value.diagnostic


def outcome(text: str) -> dict[str, str]:
    """Evaluate a case, and describe what comes out in the words of the tables."""
    try:
        value = evaluate(text)
    except EvaluationError as problem:
        return failure(problem.diagnostic)
    type_ = "object" if isinstance(reveal(value), Object) and isinstance(value, Secret) else str(type_of(value))
    result = {"gives": print_value(value), "type": type_}
    found = first_unknown((value,))
    return result if found is None else {**result, "waits": found.because}


def failure(problem: Diagnostic) -> dict[str, str]:
    assert problem.span is not None
    place = f"{problem.span.line}:{problem.span.column}"
    if problem.span.source.name != "main.hcl":
        place = str(problem.span)
    result = {"fails": f"{place} {problem.summary}: {problem.detail}", "under": problem.span.text}
    return {**result, "hint": problem.hint} if problem.hint else result


def read_cases() -> list[tuple[str, dict[str, str]]]:
    cases = []
    for path in sorted(CASES.glob("*.json")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            cases.append((f"{path.stem}:{number}", json.loads(line)))
    return cases


ALL_CASES = read_cases()


@pytest.mark.parametrize("case", [case for _, case in ALL_CASES], ids=[name for name, _ in ALL_CASES])
def test_evaluate_case_gives_expected(case: dict[str, str]) -> None:
    expected = {name: text for name, text in case.items() if name not in ("expr", "why")}
    assert outcome(case["expr"]) == expected, case["why"]
