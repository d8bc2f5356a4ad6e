"""Function calls: special forms get expressions, all other functions values through the gate."""

from __future__ import annotations

from brevplan.diagnostics import Span, suggest
from brevplan.lang import ast
from brevplan.lang.expressions.special_forms import CATCHING, SPECIAL_FORMS, VALUE_ARGUMENTS
from brevplan.lang.functions import registry
from brevplan.lang.gate import Function, FunctionError, invoke
from brevplan.lang.prepared import EvaluationError, Loop, Preparer, Run, Scope, fault
from brevplan.lang.types import ANY, ListType, SetType, TupleType, friendly
from brevplan.lang.values import Secret, Sequence_, Unknown, Value, all_marks, mark_whole, reveal, type_of


def prepare_call(preparer: Preparer, node: ast.Call, loops: frozenset[str]) -> Run:
    name = node.name.removeprefix("core::")
    special = SPECIAL_FORMS.get(name)
    if special is not None:
        if node.expand:
            raise fault("Invalid expansion", f'The arguments of "{name}" are written out.', node.arguments[-1].span)
        values = node.arguments[: VALUE_ARGUMENTS.get(name)]
        if name in CATCHING:
            return special(node, [_attempted(preparer, argument, loops) for argument in values])
        return special(node, [preparer.expression(argument, loops) for argument in values])
    arguments = [preparer.expression(argument, loops) for argument in node.arguments]
    function = registry.lookup(node.name)
    if function is None:
        raise fault(
            "Call to unknown function",
            f'There is no function named "{node.name}".',
            Span(node.source, node.start, node.name_end),
            hint=suggest(name, registry.names()),
        )

    def run(scope: Scope, loop: Loop) -> Value:
        values = [argument(scope, loop) for argument in arguments]
        try:
            if node.expand:
                return _spread_call(node, function, scope, values)
            return invoke(function, scope.environment, values)
        except FunctionError as problem:
            raise _function_fault(node, problem) from None

    return run


def _attempted(preparer: Preparer, node: ast.Expression, loops: frozenset[str]) -> Run:
    """Prepare what `try` and `can` are for: a mistake that they catch, such as an unknown function, comes later."""
    try:
        return preparer.expression(node, loops)
    except EvaluationError as problem:
        if not problem.catchable:
            raise
        diagnostic = problem.diagnostic

    def fail(scope: Scope, loop: Loop) -> Value:
        raise EvaluationError(diagnostic)

    return fail


def _spread_call(node: ast.Call, function: Function, scope: Scope, values: list[Value]) -> Value:
    """Call a function whose last argument is a list of arguments."""
    last = values.pop()
    rest = reveal(last)
    if isinstance(rest, Unknown) and (rest.type is ANY or isinstance(rest.type, (ListType, SetType, TupleType))):
        marks = all_marks(last)
        for value in values:
            marks |= all_marks(value)
        return mark_whole(Unknown(function.returns, rest.because, not_null=function.never_null), marks)
    if not isinstance(rest, Sequence_):
        given = friendly(type_of(rest)) if rest is not None else "null"
        raise fault(
            "Invalid expansion",
            f"Only a list, a set or a tuple can be spread by three dots, not {given}.",
            node.arguments[-1].span,
        )
    if isinstance(last, Secret):
        spread = [Secret(item, last.marks) for item in rest.items]
        return mark_whole(invoke(function, scope.environment, [*values, *spread]), last.marks)
    return invoke(function, scope.environment, [*values, *rest.items])


def _function_fault(node: ast.Call, problem: FunctionError) -> EvaluationError:
    position = problem.argument
    at: ast.Node = node
    if position is not None and node.expand:
        position = min(position, len(node.arguments) - 1)
    if position is not None and position < len(node.arguments):
        at = node.arguments[position]
    message = problem.message[:1].upper() + problem.message[1:]
    return fault(f'Error in function "{node.name}"', f"{message.rstrip('.')}.", at.span)
