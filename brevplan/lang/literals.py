"""Values that are written out, where no name and no call may stand: the defaults of variables and of types."""

from __future__ import annotations

from collections.abc import Iterator

from brevplan.diagnostics import Diagnostics, Span
from brevplan.lang import ast
from brevplan.lang.gate import Environment
from brevplan.lang.prepared import EvaluationError, Step, fault
from brevplan.lang.values import Value


def literal_value(node: ast.Expression, diagnostics: Diagnostics) -> Value:
    """Give the value of an expression without names and calls; anything else is reported and stands for null."""
    if isinstance(node, ast.Literal):
        return node.value
    from brevplan.lang.evaluate import prepare  # the evaluator itself reads literals: in the types of convert()

    called = next(_calls(node), None)
    if called is not None:
        _report(called.span, diagnostics)
        return None
    try:
        prepared = prepare(node)
        if not prepared.references:
            return prepared.evaluate(_NOTHING)
        for reference in prepared.references:
            _report(reference.span, diagnostics)
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
    except RecursionError:
        diagnostics.error("Value nested too deeply", "It cannot be read.", node.span)
    return None


def _report(span: Span, diagnostics: Diagnostics) -> None:
    diagnostics.error("Not a literal value", "Neither references nor function calls are allowed here.", span)


def _calls(node: ast.Node) -> Iterator[ast.Call]:
    if isinstance(node, ast.Call):
        yield node
    for child in ast.children(node):
        yield from _calls(child)


class _Nothing:
    """A scope without a name."""

    @property
    def environment(self) -> Environment:
        raise AssertionError("only functions ask for it, and there is none")

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        raise fault("Not a literal value", f'There is no "{root}" here.', span)


_NOTHING = _Nothing()
