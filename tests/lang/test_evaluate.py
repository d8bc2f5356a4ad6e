"""The evaluator, driven by the tables in `cases/evaluate`, by laws that hold for any expression, and a few probes.

A case is one line of a JSON list: `expr`, then what it `gives` as printed with its `type`, or the message it `fails`
with (line, column, summary, detail), the text `under` that place and the `hint`; and `why` it is there. Where the
result is not known, `waits` names what decides it.

An expression may name `k` (known), `u` (unknown, by type), `s` (secret, every one holding the text `hunter2`) and `e`
(the same, ephemeral instead of sensitive).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Diagnostic, Source, Span
from brevplan.lang.evaluate import prepare
from brevplan.lang.gate import Environment
from brevplan.lang.parser import parse_expression
from brevplan.lang.prepared import EvaluationError, Prepared, Step, fault
from brevplan.lang.printing import print_value
from brevplan.lang.refinements import equality
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
    ephemeral,
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
EPHEMERAL: dict[str, Value] = {name: ephemeral(reveal(value)) for name, value in SECRET.items()}
NAMES: dict[str, Value] = {"k": Object(KNOWN), "u": Object(UNKNOWN), "s": Object(SECRET), "e": Object(EPHEMERAL)}

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


def outcome(text: str, names: Mapping[str, Value] = NAMES) -> dict[str, str]:
    """Evaluate a case, and describe what comes out in the words of the tables."""
    try:
        value = evaluate(text, names)
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
    cases: list[tuple[str, dict[str, str]]] = []
    for path in sorted(CASES.glob("*.json")):
        for number, case in enumerate(json.loads(path.read_text(encoding="utf-8")), 2):
            cases.append((f"{path.stem}:{number}", case))
    return cases


ALL_CASES = read_cases()


@pytest.mark.parametrize("case", [case for _, case in ALL_CASES], ids=[name for name, _ in ALL_CASES])
def test_evaluate_case_gives_expected(case: dict[str, str]) -> None:
    expected = {name: text for name, text in case.items() if name not in ("expr", "why")}
    assert outcome(case["expr"]) == expected, case["why"]


ABOUT_MARKS = ("sensitive(", "ephemeralasnull(", "e.")
WITH_SECRETS = [(name, case) for name, case in ALL_CASES if "s." in case["expr"] and "sensitive" in json.dumps(case)]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name)
        for name, case in WITH_SECRETS
        if not any(word in case["expr"] for word in ABOUT_MARKS)
    ],
)
def test_ephemeral_mark_spreads_as_the_sensitive_one_does(case: dict[str, str]) -> None:
    expected = {name: text for name, text in case.items() if name not in ("expr", "why")}
    found = outcome(case["expr"], {**NAMES, "s": NAMES["e"]})
    assert json.dumps(found) == json.dumps(expected).replace("sensitive", "ephemeral"), case["why"]


def test_evaluate_cases_never_show_a_secret() -> None:
    shown = [case for _, case in ALL_CASES if "nonsensitive" not in case["expr"] and SECRET_TEXT in json.dumps(case)]
    assert shown == []


def test_error_lists_references_with_values_and_hides_secrets() -> None:
    problem = problem_of("k.name + s.text + k.object.list[0] + k.name")
    assert problem.values == (("k.name", '"kit"'), ("s.text", "(sensitive value)"), ("k.object.list[0]", "1"))


def test_error_does_not_show_a_key_that_is_secret() -> None:
    problem = problem_of("k.object[s.text] + 1")
    assert SECRET_TEXT not in repr(problem)


def test_references_come_in_the_order_written() -> None:
    found = [str(reference) for reference in prepared('k.object[u.any].x["a b"] + u.list[0].y').references]
    assert found == ["k.object", "u.any", "u.list[0].y"]


@pytest.mark.parametrize(
    "text",
    [
        "[for x in u.list : k.name]",
        "[for x in u.list : 1 if k.name == x]",
        "[for x in [1] : k.name if u.bool]",
        "{for x in u.list : x => k.name}",
        "{for x in u.list : k.name => 1}",
        "{for x in [u.string] : x => k.name}",
        '"%{ for x in u.list }${k.name}%{ endfor }"',
        '"%{ if u.bool }${k.name}%{ endif }"',
        "u.bool ? 1 : k.name",
        'false ? k.name : "x"',
        'u.bool || k.name == "x"',
        "try(u.any, k.name)",
        "u.any[*][k.name]",
        "u.list[*][k.name == 1 ? 0 : 1]",
        "max(k.name, u.list...)",
        "{(u.string) = k.name}",
    ],
)
def test_names_beside_an_unknown_are_read(text: str) -> None:
    scope = Names(NAMES)
    prepared_expression = prepared(text)
    try:
        prepared_expression.evaluate(scope)
    except EvaluationError:
        assert text.startswith("u.list[*]")
    assert "k.name" in scope.reads


def test_expression_runs_again_with_other_values() -> None:
    expression = prepared("[for x in n : x + 1 if x > 1]")
    assert expression.evaluate(Names({"n": Tuple((1, 2))})) == Tuple((3,))
    assert expression.evaluate(Names({"n": Tuple((5,))})) == Tuple((6,))


def test_template_is_parsed_once_for_all_instances() -> None:
    scope = Names(NAMES)
    expression = prepared('templatefile("greeting.tpl", {name = k.name})')
    assert [expression.evaluate(scope) for _ in range(3)] == ["Hello kit!\n"] * 3
    assert len(scope.environment.cache) == 1


def test_template_that_renders_itself_for_ever_fails_with_a_message() -> None:
    names = {"t": "${templatestring(t, {t = t})}"}
    problem = problem_of("templatestring(t, {t = t})", names)
    assert problem.summary == "Expression nested too deeply"


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["1"] * 190),
        "[" * 190 + "]" * 190,
        "try(" * 190 + "1" + ")" * 190,
        '"x${' * 90 + "1" + '}"' * 90,
        "[for x in [1] : " * 190 + "1" + "]" * 190,
        "true ? 1 : " * 190 + "1",
    ],
)
def test_deepest_nesting_that_parses_is_evaluated(text: str) -> None:
    assert print_value(evaluate(text)) != ""


def test_long_chain_of_operators_gives_a_message() -> None:
    _, problems = parse_expression(Source("main.hcl", "+".join(["1"] * 5000)))
    assert [problem.summary for problem in problems] == ["Nested too deeply"]


# Laws. Expressions are made by type, so that most of them have a value. Left out is what the language itself lets
# depend on later: a number beside a text of unknown type, and a mistake inside of `try` that an unknown still hides.

VARIABLES: dict[str, Value] = {
    "n1": 1,
    "n2": 3,
    "s1": SECRET_TEXT,
    "s2": "b",
    "b1": True,
    "b2": False,
    "l1": List((1, 2), NUMBER),
    "l2": List((), NUMBER),
    "o1": from_python({"a": 5, "b": 6}),
}
MAX_NESTING = 4
PLACE = re.compile(r"<(\w+)>")
LITERALS = {"number": ["0", "2", "1.5"], "string": ['"x"', '""'], "bool": ["true", "false"], "list": ["[]", "[1, 2]"]}
FORMS = {
    "number": [
        "(<number> + <number>)",
        "(<number> * <number>)",
        "(<number> % <number>)",
        "-<number>",
        "(<bool> ? <number> : <number>)",
        "length(<list>)",
        "length(<string>)",
        "try(<list>[<number>], <number>)",
        "{a = <number>, (upper(<string>)) = <number>}.a",
        'try(<object>["a"], <number>)',
        "max(<number>, <list>...)",
        "length([for x in <list> : <number>])",
    ],
    "string": [
        '"${<number>}-${<string>}"',
        '"%{ if <bool> }${<string>}%{ else }${<number>}%{ endif }"',
        '"%{ for x in <list> }${x},${<string>}%{ endfor }"',
        "upper(<string>)",
        "(<bool> ? <string> : <string>)",
        'join("-", <list>)',
        "try(<string>, <string>)",
        "try(tostring(<list>[0]), <string>)",
        'join("", keys(<object>))',
    ],
    "bool": [
        "(<number> < <number>)",
        "(<number> == <number>)",
        "(<string> != <string>)",
        "(tolist(<list>) == tolist(<list>))",
        "(<string> == null)",
        "(<bool> && <bool>)",
        "(<bool> || <bool>)",
        "!<bool>",
        "can(<list>[<number>])",
        "contains(<list>, <number>)",
        "(<bool> ? <bool> : <bool>)",
    ],
    "list": [
        "[<number>, <number>]",
        "tolist([<number>, <number>])",
        "[for x in <list> : x * <number>]",
        "[for i, x in <list> : i if <bool>]",
        "[for x in <list> : x if x > <number>]",
        "(<bool> ? <list> : <list>)",
        "concat(<list>, <list>)",
        "(<list>[*])",
        "[{a = <number>}, {a = <number>}][*].a",
        "[for k, v in <object> : v]",
        "tolist(toset(<list>))",
        "values(<object>)",
        "try(<list>, <list>)",
    ],
    "object": [
        "{a = <number>, b = <number>}",
        "{a = <number>, (upper(<string>)) = <number>}",
        "{for i, x in <list> : i => <number>}",
        "{for k, v in <object> : k => v if <bool>}",
        "(<bool> ? <object> : <object>)",
        "tomap(<object>)",
        "merge(<object>, <object>)",
    ],
}
NAMES_BY_KIND = {
    "number": ["n1", "n2"],
    "string": ["s1", "s2"],
    "bool": ["b1", "b2"],
    "list": ["l1", "l2"],
    "object": ["o1"],
}


@st.composite
def expressions(draw: st.DrawFn, kind: str, depth: int = 0) -> str:
    leaves = NAMES_BY_KIND[kind] * 2 + LITERALS.get(kind, [])
    if depth >= MAX_NESTING or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(leaves))
    form = draw(st.sampled_from(FORMS[kind]))
    return PLACE.sub(lambda place: draw(expressions(place[1], depth + 1)), form)


any_expression = st.sampled_from(sorted(FORMS)).flatmap(expressions)
some_names = st.sets(st.sampled_from(sorted(VARIABLES)), min_size=1, max_size=4)
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def value_or_none(expression: Prepared, scope: Names) -> tuple[bool, Value]:
    try:
        return True, expression.evaluate(scope)
    except EvaluationError:
        return False, None


def agrees(early: Value, late: Value) -> bool:
    """Tell whether what is known early is what turns out in the end. A tuple may yet become a list."""
    early, late = reveal(early), reveal(late)
    if isinstance(early, Unknown):
        is_null = late is None and not early.not_null
        return is_null or early.type not in (NUMBER, STRING, BOOL) or early.type == type_of(late)
    if isinstance(early, Sequence_) and isinstance(late, Sequence_):
        return len(early) == len(late) and all(map(agrees, early.items, late.items))
    if isinstance(early, Mapping_) and isinstance(late, Mapping_):
        return early.items.keys() == late.items.keys() and all(agrees(early[name], late[name]) for name in early)
    return equality(early, late) is True


@quick
@given(any_expression, some_names)
def test_unknown_never_becomes_a_different_known_value(text: str, hidden: set[str]) -> None:
    expression, scope = prepared(text), Names(VARIABLES)
    has_value, late = value_or_none(expression, scope)
    assume(has_value)
    unknown = {name: Unknown(type_of(VARIABLES[name]), name) for name in hidden}
    early_scope = Names({**VARIABLES, **unknown})
    early = expression.evaluate(early_scope)
    assert agrees(early, late), f"{print_value(early)} became {print_value(late)}"
    assert set(scope.reads) <= set(early_scope.reads)


@quick
@given(any_expression, some_names)
def test_untyped_unknown_never_becomes_a_different_known_value(text: str, hidden: set[str]) -> None:
    expression = prepared(text)
    has_value, late = value_or_none(expression, Names(VARIABLES))
    assume(has_value)
    early = expression.evaluate(Names({**VARIABLES, **{name: Unknown(because=name) for name in hidden}}))
    assert agrees(early, late), f"{print_value(early)} became {print_value(late)}"


@quick
@given(any_expression, some_names)
def test_secret_is_never_shown_and_changes_nothing(text: str, hidden: set[str]) -> None:
    expression = prepared(text)
    has_value, plain = value_or_none(expression, Names(VARIABLES))
    scope = Names({**VARIABLES, **{name: Secret(VARIABLES[name]) for name in {"s1", *hidden}}})
    if not has_value:
        with pytest.raises(EvaluationError) as caught:
            expression.evaluate(scope)
        assert SECRET_TEXT not in repr(caught.value.diagnostic).lower()
        return
    value = expression.evaluate(scope)
    assert equality(reveal_deep(value), plain) is True
    assert SECRET_TEXT not in print_value(value).lower()
    if "s1" not in text and not any(name in text for name in hidden):
        assert not has_secret(value)


@quick
@given(any_expression)
def test_value_prints_as_an_expression_that_gives_it_again(text: str) -> None:
    has_value, value = value_or_none(prepared(text), Names(VARIABLES))
    assume(has_value)
    assert agrees(evaluate(print_value(value)), value) or isinstance(value, Mapping_)
