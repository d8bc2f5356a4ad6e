"""Templates: texts with interpolations and directives in them."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

from brevplan.lang import ast
from brevplan.lang.expressions.loops import Rounds, prepare_head
from brevplan.lang.operators import OperationError, text_of
from brevplan.lang.prepared import Loop, Preparer, Run, Scope, fault, placed, touched, truth_of
from brevplan.lang.refinements import pending_text
from brevplan.lang.types import STRING
from brevplan.lang.values import MAX_TEXT, Secret, Unknown, Value, mark, mark_whole, marks_of, reveal


def prepare_literal(preparer: Preparer, node: ast.Literal, loops: frozenset[str]) -> Run:
    value = node.value
    constant = normalize("NFC", value) if isinstance(value, str) else value
    return lambda scope, loop: constant


def prepare_template(preparer: Preparer, node: ast.Template, loops: frozenset[str]) -> Run:
    if all(isinstance(part, str) for part in node.parts):
        constant = _joined([part for part in node.parts if isinstance(part, str)])
        return lambda scope, loop: constant
    if len(node.parts) == 1 and isinstance(node.parts[0], ast.Expression):
        return preparer.expression(node.parts[0], loops)
    return _text(preparer, node.parts, loops)


def _text(preparer: Preparer, parts: Sequence[str | ast.TemplatePart], loops: frozenset[str]) -> Run:
    """Join the parts of a template to one text."""
    pieces = [part if isinstance(part, str) else _piece(preparer, part, loops) for part in parts]
    place = next((part for part in parts if not isinstance(part, str)), None)

    def run(scope: Scope, loop: Loop) -> Value:
        text = _joined([p if isinstance(p, str) else p(scope, loop) for p in pieces])
        bare = reveal(text)
        if isinstance(bare, str) and len(bare) > MAX_TEXT and place is not None:
            raise fault("Text too long", f"The text gets more than {MAX_TEXT} characters.", place.span)
        return text

    return run


def _piece(preparer: Preparer, part: ast.TemplatePart, loops: frozenset[str]) -> Run:
    if isinstance(part, ast.TemplateIf):
        return _template_if(preparer, part, loops)
    if isinstance(part, ast.TemplateFor):
        return _template_for(preparer, part, loops)
    run, node = preparer.expression(part, loops), part

    def text(scope: Scope, loop: Loop) -> Value:
        value = run(scope, loop)
        if value.__class__ is str:
            return value
        try:
            return Secret(text_of(value.value), value.marks) if isinstance(value, Secret) else text_of(value)
        except OperationError as problem:
            raise placed(problem, node.span) from None

    return text


def _template_if(preparer: Preparer, part: ast.TemplateIf, loops: frozenset[str]) -> Run:
    test = preparer.expression(part.condition, loops)
    then, otherwise = _text(preparer, part.then, loops), _text(preparer, part.otherwise, loops)

    def run(scope: Scope, loop: Loop) -> Value:
        condition = test(scope, loop)
        marks = marks_of(condition)
        truth = truth_of(part.condition, condition, "The condition")
        if isinstance(truth, Unknown):
            marks |= touched(then, scope, loop) | touched(otherwise, scope, loop)
            return mark(Unknown(STRING, truth.because, not_null=True), marks)
        return mark((then if truth else otherwise)(scope, loop), marks)

    return run


def _template_for(preparer: Preparer, part: ast.TemplateFor, loops: frozenset[str]) -> Run:
    head = prepare_head(preparer, part, loops)
    body = _text(preparer, part.body, loops | head.names)

    def run(scope: Scope, loop: Loop) -> Value:
        rounds = Rounds(head, scope, loop)
        texts: list[Value] = []
        for names, is_certain in rounds:
            if is_certain:
                texts.append(body(scope, names))
            else:
                rounds.marks |= touched(body, scope, names)
        if rounds.waits is not None:
            return mark(Unknown(STRING, rounds.waits.because, not_null=True), rounds.marks)
        return mark_whole(_joined(texts), rounds.marks)

    return run


def _joined(parts: Sequence[Value]) -> Value:
    try:
        text = "".join(parts)  # type: ignore[arg-type]  # the usual case: nothing but texts
    except TypeError:
        return _joined_bare(parts)
    return text if text.isascii() else normalize("NFC", text)


def _joined_bare(parts: Sequence[Value]) -> Value:
    marks = 0
    bare = []
    for part in parts:
        marks |= marks_of(part)
        bare.append(reveal(part))
    unknown = next((part for part in bare if isinstance(part, Unknown)), None)
    return mark(_joined(bare) if unknown is None else pending_text(bare, unknown.because), marks)
