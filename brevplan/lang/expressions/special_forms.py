"""Functions that take expressions or types instead of values, or need the evaluator itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from brevplan.diagnostics import Diagnostics
from brevplan.lang import ast
from brevplan.lang.constraints import read_constraint
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.expressions.attempts import make_can, make_try
from brevplan.lang.expressions.rendering import make_templatefile, make_templatestring
from brevplan.lang.literals import literal_value
from brevplan.lang.prepared import EvaluationError, Loop, Run, Scope, fault
from brevplan.lang.types import STRING, Primitive
from brevplan.lang.values import Unknown, Value, all_marks, first_unknown, is_open, mark, type_of


def make_type(node: ast.Call, arguments: list[Run]) -> Run:
    if len(arguments) != 1:
        raise fault('Error in function "type"', "Exactly one value is needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        value = arguments[0](scope, loop)
        type_, cause = type_of(value), first_unknown((value,)) if is_open(value) else None
        text: Value = str(type_) if cause is None else Unknown(STRING, cause.because, not_null=True)
        # the names and the number of its elements tell something of a collection that is secret
        return mark(text, 0 if isinstance(type_, Primitive) else all_marks(value))

    return run


def make_convert(node: ast.Call, arguments: list[Run]) -> Run:
    if len(node.arguments) != 2:
        raise fault('Error in function "convert"', "A value and a type are needed: convert(value, type).", node.span)
    diagnostics = Diagnostics()
    type_ = read_constraint(node.arguments[1], diagnostics, lambda default: literal_value(default, diagnostics))
    if diagnostics.items:
        raise EvaluationError(diagnostics.items[0], catchable=False)

    def run(scope: Scope, loop: Loop) -> Value:
        try:
            return convert(arguments[0](scope, loop), type_)
        except ConversionError as problem:
            message = str(problem)
            reason = f"{message[:1].upper()}{message[1:]}." if not problem.path else f"{message}."
            raise fault('Error in function "convert"', reason, node.arguments[0].span) from None

    return run


CATCHING: Final = frozenset({"can", "try"})
"""The special forms that a mistake in their arguments is no mistake for."""

VALUE_ARGUMENTS: Final[dict[str, int]] = {"convert": 1}
"""How many arguments of a special form are values; those behind them are types."""

SPECIAL_FORMS: Final[dict[str, Callable[[ast.Call, list[Run]], Run]]] = {
    "try": make_try,
    "can": make_can,
    "convert": make_convert,
    "templatefile": make_templatefile,
    "templatestring": make_templatestring,
    "type": make_type,
}
