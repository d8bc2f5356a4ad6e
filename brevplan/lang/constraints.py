"""Type constraints: `list(object({ name = string, size = optional(number, 1) }))` as written, into a `Type`."""

from __future__ import annotations

from collections.abc import Callable

from brevplan.diagnostics import Diagnostics, suggest
from brevplan.lang import ast
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType, Type
from brevplan.lang.values import Value

_PRIMITIVES: dict[str, Type] = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": ANY}
_COLLECTIONS: dict[str, Callable[[Type], Type]] = {"list": ListType, "set": SetType, "map": MapType}

Evaluate = Callable[[ast.Expression], Value]


def read_constraint(node: ast.Expression, diagnostics: Diagnostics, evaluate: Evaluate) -> Type:
    """Read a constraint; a mistake is reported and stands for `any`. `evaluate` gives the defaults of `optional`."""
    match node:
        case ast.Parentheses():
            return read_constraint(node.inner, diagnostics, evaluate)
        case ast.Variable(name=name) if name in _PRIMITIVES:
            return _PRIMITIVES[name]
        case ast.Variable(name=name) if name in _COLLECTIONS:
            return _COLLECTIONS[name](ANY)
        case ast.Call(name=name) if name in _COLLECTIONS and len(node.arguments) == 1:
            return _COLLECTIONS[name](read_constraint(node.arguments[0], diagnostics, evaluate))
        case ast.Call(name="tuple", arguments=[ast.TupleCons(items=items)]):
            return TupleType(tuple(read_constraint(item, diagnostics, evaluate) for item in items))
        case ast.Call(name="object", arguments=[ast.ObjectCons() as body]):
            return _object(body, diagnostics, evaluate)
    _report(node, diagnostics)
    return ANY


def _object(body: ast.ObjectCons, diagnostics: Diagnostics, evaluate: Evaluate) -> Type:
    attributes: dict[str, Type] = {}
    optional: set[str] = set()
    defaults: dict[str, object] = {}
    for item in body.items:
        name = item.key.value if isinstance(item.key, ast.Literal) else None
        if not isinstance(name, str):
            diagnostics.error("Invalid type", "An attribute of object({…}) has a bare name.", item.key.span)
            continue
        value = item.value
        if isinstance(value, ast.Call) and value.name == "optional" and 1 <= len(value.arguments) <= 2:
            optional.add(name)
            attributes[name] = read_constraint(value.arguments[0], diagnostics, evaluate)
            if len(value.arguments) == 2:
                defaults[name] = evaluate(value.arguments[1])
        else:
            attributes[name] = read_constraint(value, diagnostics, evaluate)
    return ObjectType(attributes, frozenset(optional), defaults)


def _report(node: ast.Expression, diagnostics: Diagnostics) -> None:
    known = [*_PRIMITIVES, *_COLLECTIONS, "tuple", "object"]
    if isinstance(node, ast.Template):
        diagnostics.error(
            "Invalid type", "A type is written without quotes.", node.span, hint="For example: type = list(string)"
        )
        return
    name = node.name if isinstance(node, (ast.Variable, ast.Call)) else ""
    hint = (
        suggest(name, known)
        or "Types are: string, number, bool, any, list(T), set(T), map(T), tuple([…]), object({…})."
    )
    diagnostics.error("Invalid type", "This is not a type.", node.span, hint=hint)
