"""Operators between expressions. `&&` and `||` decide for themselves what they evaluate."""

from __future__ import annotations

from brevplan.lang import ast
from brevplan.lang.operators import OperationError, binary, unary
from brevplan.lang.prepared import EvaluationError, Loop, Preparer, Run, Scope, placed, truth_of
from brevplan.lang.types import BOOL
from brevplan.lang.values import Unknown, Value, mark, marks_of


def prepare_binary(preparer: Preparer, node: ast.Binary, loops: frozenset[str]) -> Run:
    symbol = node.operator
    if symbol in ("&&", "||"):
        return _logical(preparer, node, loops)
    left, right = preparer.expression(node.left, loops), preparer.expression(node.right, loops)

    def run(scope: Scope, loop: Loop) -> Value:
        a, b = left(scope, loop), right(scope, loop)
        try:
            return binary(symbol, a, b)
        except OperationError as problem:
            raise placed(problem, node.span) from None

    return run


def prepare_unary(preparer: Preparer, node: ast.Unary, loops: frozenset[str]) -> Run:
    symbol, operand = node.operator, preparer.expression(node.operand, loops)

    def run(scope: Scope, loop: Loop) -> Value:
        value = operand(scope, loop)
        try:
            return unary(symbol, value)
        except OperationError as problem:
            raise placed(problem, node.span) from None

    return run


def _logical(preparer: Preparer, node: ast.Binary, loops: frozenset[str]) -> Run:
    left, right = preparer.expression(node.left, loops), preparer.expression(node.right, loops)
    deciding = node.operator == "||"
    left_side, right_side = f'The left side of "{node.operator}"', f'The right side of "{node.operator}"'

    def run(scope: Scope, loop: Loop) -> Value:
        first = left(scope, loop)
        a = truth_of(node.left, first, left_side)
        if a is deciding:
            return mark(a, marks_of(first))
        try:
            second = right(scope, loop)
            b = truth_of(node.right, second, right_side)
        except EvaluationError as problem:
            if not isinstance(a, Unknown) or not problem.catchable:
                raise
            # the left side may yet decide, and then the right one's mistake does not matter
            second = b = a
        result: Value = b
        if isinstance(a, Unknown):
            result = deciding if b is deciding else Unknown(BOOL, a.because, not_null=True)
        return mark(result, marks_of(first) | marks_of(second))

    return run
