"""Values that are written out, where no name and no call may stand: the defaults of variables and of types."""

from __future__ import annotations

from brevplan.diagnostics import Diagnostics
from brevplan.lang import ast
from brevplan.lang.values import Object, Tuple, Value


def literal_value(node: ast.Expression, diagnostics: Diagnostics) -> Value:
    """Give the value of an expression without names and calls; anything else is reported and stands for null."""
    match node:
        case ast.Literal(value=value):
            return value
        case ast.Parentheses():
            return literal_value(node.inner, diagnostics)
        case ast.Template(parts=parts) if all(isinstance(part, str) for part in parts):
            return "".join(part for part in parts if isinstance(part, str))
        case ast.Unary(operator="-", operand=ast.Literal(value=value)) if not isinstance(value, (str, type(None))):
            return -value
        case ast.TupleCons():
            return Tuple(literal_value(item, diagnostics) for item in node.items)
        case ast.ObjectCons():
            pairs = (
                (literal_value(item.key, diagnostics), literal_value(item.value, diagnostics)) for item in node.items
            )
            return Object({str(name): value for name, value in pairs})
    diagnostics.error("Not a literal value", "Neither references nor function calls are allowed here.", node.span)
    return None
