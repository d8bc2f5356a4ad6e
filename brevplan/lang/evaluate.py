"""Evaluation: a syntax tree is prepared once into nested functions, and these are run for every instance.

`prepare` knows nothing of what names mean: it collects the references of an expression, and at run time asks the
`Scope` what a reference leads to, handing over as many steps as the source has (`instance.web[0].id`), index keys
already evaluated. The scope says how many steps it consumed; the rest are applied here.

What each kind of expression does is in `expressions/`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from brevplan.lang import ast
from brevplan.lang.expressions.calls import prepare_call
from brevplan.lang.expressions.conditionals import prepare_conditional
from brevplan.lang.expressions.constructors import prepare_object, prepare_tuple
from brevplan.lang.expressions.loops import prepare_for_object, prepare_for_tuple
from brevplan.lang.expressions.operations import prepare_binary, prepare_unary
from brevplan.lang.expressions.splats import prepare_item, prepare_splat
from brevplan.lang.expressions.templates import prepare_literal, prepare_template
from brevplan.lang.expressions.traversals import prepare_traversal
from brevplan.lang.prepared import Prepared, Preparer, Reference, Run, too_deep

_HANDLERS: Final[dict[type[ast.Expression], Callable[[Preparer, Any, frozenset[str]], Run]]] = {
    ast.Literal: prepare_literal,
    ast.Template: prepare_template,
    ast.Variable: prepare_traversal,
    ast.GetAttr: prepare_traversal,
    ast.Index: prepare_traversal,
    ast.Splat: prepare_splat,
    ast.SplatItem: prepare_item,
    ast.TupleCons: prepare_tuple,
    ast.ObjectCons: prepare_object,
    ast.ForTuple: prepare_for_tuple,
    ast.ForObject: prepare_for_object,
    ast.Conditional: prepare_conditional,
    ast.Binary: prepare_binary,
    ast.Unary: prepare_unary,
    ast.Call: prepare_call,
    ast.Parentheses: lambda preparer, node, loops: preparer.expression(node.inner, loops),
}


def prepare(node: ast.Expression) -> Prepared:
    """Make an expression ready to run; raise `EvaluationError` when it is nested too deeply."""
    preparer = _TreePreparer()
    try:
        run = preparer.expression(node, frozenset())
    except RecursionError:
        raise too_deep(node) from None
    return Prepared(node, tuple(preparer.references), run)


class _TreePreparer:
    """Walks a tree once."""

    def __init__(self) -> None:
        self.references: list[Reference] = []

    def expression(self, node: ast.Expression, loops: frozenset[str]) -> Run:
        return _HANDLERS[type(node)](self, node, loops)
