"""`condition ? then : otherwise`: one type for both arms, and only the chosen arm's mistakes count."""

from __future__ import annotations

from brevplan.lang import ast
from brevplan.lang.convert import ConversionError, convert, unify_two
from brevplan.lang.prepared import EvaluationError, Loop, Preparer, Run, Scope, attempt, fault, truth_of
from brevplan.lang.refinements import either
from brevplan.lang.types import ANY, friendly
from brevplan.lang.values import Unknown, Value, all_marks, has_secret, is_open, mark, mark_whole, marks_of, type_of


def prepare_conditional(preparer: Preparer, node: ast.Conditional, loops: frozenset[str]) -> Run:
    test = preparer.expression(node.condition, loops)
    then, otherwise = preparer.expression(node.then, loops), preparer.expression(node.otherwise, loops)

    def run(scope: Scope, loop: Loop) -> Value:
        condition = test(scope, loop)
        marks = marks_of(condition)
        truth = truth_of(node.condition, condition, "The condition")
        if isinstance(truth, Unknown):
            result = _undecided(node, truth, (then, otherwise), scope, loop)
        else:
            chosen, other = (then, otherwise) if truth else (otherwise, then)
            result = chosen(scope, loop)
            rest = attempt(other, scope, loop)
            if not isinstance(rest, EvaluationError):
                result = _as_common(node, result, rest, is_then=truth)
                # so that whether the result is hidden does not change with the condition
                marks |= marks_of(rest)
        return mark(result, marks)

    return run


def _undecided(node: ast.Conditional, truth: Unknown, arms: tuple[Run, Run], scope: Scope, loop: Loop) -> Value:
    """Give the unknown that stands for one of the arms. An arm that fails may turn out not to be the chosen one."""
    first, second = (attempt(arm, scope, loop) for arm in arms)
    if isinstance(first, EvaluationError):
        if isinstance(second, EvaluationError):
            raise first
        return mark_whole(Unknown(ANY, truth.because), all_marks(second))
    if isinstance(second, EvaluationError):
        return mark_whole(Unknown(ANY, truth.because), all_marks(first))
    type_ = ANY if is_open(first) or is_open(second) else unify_two(type_of(first), type_of(second))
    if type_ is None:
        raise _inconsistent(node, first, second)
    return mark_whole(either(first, second, type_, truth.because), all_marks(first) | all_marks(second))


def _inconsistent(node: ast.Conditional, then: Value, otherwise: Value) -> EvaluationError:
    types = (type_of(then), type_of(otherwise))
    one, other = map(friendly, types)
    if one == other and not has_secret(then) and not has_secret(otherwise):
        one, other = map(str, types)  # in full: the difference is inside
    return fault(
        "Inconsistent conditional result types",
        f"The two results must have one type in common: the true one is {one}, the false one is {other}.",
        node.span,
    )


def _as_common(node: ast.Conditional, result: Value, rest: Value, *, is_then: bool) -> Value:
    """Convert the chosen arm to the type that both arms have in common."""
    if result is None or rest is None or result.__class__ is rest.__class__ is str or is_open(result):
        return result
    then, otherwise = (result, rest) if is_then else (rest, result)
    target = unify_two(type_of(result), type_of(rest))
    if target is None:
        raise _inconsistent(node, then, otherwise)
    try:
        return convert(result, target)
    except ConversionError:
        raise _inconsistent(node, then, otherwise) from None
