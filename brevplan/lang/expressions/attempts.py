"""`try` and `can`: functions that get expressions, and hear of their mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from brevplan.lang import ast
from brevplan.lang.prepared import EvaluationError, Loop, Run, Scope, attempt, fault
from brevplan.lang.types import ANY, BOOL
from brevplan.lang.values import Unknown, Value, all_marks, first_unknown, has_unknown, is_open, mark, reveal, type_of


def make_try(node: ast.Call, arguments: list[Run]) -> Run:
    if not arguments:
        raise fault('Error in function "try"', "At least one expression is needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        reasons = []
        for position, argument in enumerate(arguments):
            value = attempt(argument, scope, loop)
            if isinstance(value, EvaluationError):
                reasons.append(value.diagnostic)
            elif _is_settled(value, node.arguments[position]):
                return value
            else:
                return _undecided_try(value, arguments[position + 1 :], scope, loop)
        listed = "; ".join(f"{reason.summary} ({reason.detail.rstrip('.')})" for reason in reasons)
        raise fault('Error in function "try"', f"No expression succeeded: {listed}.", node.span)

    return run


def _is_settled(value: Value, node: ast.Expression) -> bool:
    """Tell whether an expression that has a value now cannot fail once everything is known.

    What is partly unknown was either put together of parts that may yet fail, or found by steps from a name: had
    one of these led through an unknown, it would be unknown as a whole.
    """
    if isinstance(reveal(value), Unknown):
        return False
    while isinstance(node, (ast.GetAttr, ast.Index, ast.Parentheses)):
        node = node.inner if isinstance(node, ast.Parentheses) else node.object
    return isinstance(node, ast.Variable) or not has_unknown(value)


def _undecided_try(value: Value, others: Sequence[Run], scope: Scope, loop: Loop) -> Value:
    """Give the unknown that stands for this value, or for one of the others should it fail after all."""
    found = [value]
    for other in others:
        result = attempt(other, scope, loop)
        if not isinstance(result, EvaluationError):
            found.append(result)
    types = {type_of(item) for item in found if item is not None}
    type_ = types.pop() if len(types) == 1 and not any(map(is_open, found)) else ANY
    cause = first_unknown((value,))
    marks = 0
    for item in found:
        marks |= all_marks(item)
    return mark(Unknown(type_, cause.because if cause is not None else ""), marks)


def make_can(node: ast.Call, arguments: list[Run]) -> Run:
    if len(arguments) != 1:
        raise fault('Error in function "can"', "Exactly one expression is needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        value = attempt(arguments[0], scope, loop)
        if isinstance(value, EvaluationError):
            return False
        if _is_settled(value, node.arguments[0]):
            return True
        cause = first_unknown((value,))
        return Unknown(BOOL, cause.because if cause is not None else "", not_null=True)

    return run
