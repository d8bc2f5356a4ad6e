"""Type constraints: `list(object({ name = string, size = optional(number, 1) }))` as written, into a `Type`."""

from __future__ import annotations

from collections.abc import Callable

from brevplan.diagnostics import Diagnostics, Span, suggest
from brevplan.lang import ast
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType, Type
from brevplan.lang.values import Value

_PRIMITIVES: dict[str, Type] = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": ANY}
_COLLECTIONS: dict[str, Callable[[Type], Type]] = {"list": ListType, "set": SetType, "map": MapType}
_KNOWN = (*_PRIMITIVES, *_COLLECTIONS, "tuple", "object")
_ALL_TYPES = "Types are: string, number, bool, any, list(T), set(T), map(T), tuple([…]), object({…})."

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
        case ast.Call(name=name, arguments=[argument], expand=False) if name in _COLLECTIONS:
            return _COLLECTIONS[name](read_constraint(argument, diagnostics, evaluate))
        case ast.Call(name="tuple", arguments=[ast.TupleCons(items=items)], expand=False):
            return TupleType(tuple([read_constraint(item, diagnostics, evaluate) for item in items]))
        case ast.Call(name="object", arguments=[ast.ObjectCons() as body], expand=False):
            return _object(body, diagnostics, evaluate)
    detail, span, hint = _mistake(node)
    diagnostics.error("Invalid type", detail, span, hint=hint)
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
        if name in attributes:
            diagnostics.error("Invalid type", f'The attribute "{name}" is given twice.', item.key.span)
        value = item.value
        if isinstance(value, ast.Call) and value.name == "optional" and 1 <= len(value.arguments) <= 2:
            optional.add(name)
            attributes[name] = read_constraint(value.arguments[0], diagnostics, evaluate)
            if len(value.arguments) == 2:
                defaults[name] = _default(value.arguments[1], attributes[name], diagnostics, evaluate)
        else:
            attributes[name] = read_constraint(value, diagnostics, evaluate)
    return ObjectType(attributes, frozenset(optional), defaults)


def _default(node: ast.Expression, type_: Type, diagnostics: Diagnostics, evaluate: Evaluate) -> Value:
    value = evaluate(node)
    try:
        convert(value, type_)
    except ConversionError as problem:
        diagnostics.error("Invalid default", f"The default does not suit the type: {problem}.", node.span)
        return None
    return value


def _mistake(node: ast.Expression) -> tuple[str, Span, str]:
    """Give what is wrong with something that is no type, where, and what to write instead."""
    match node:
        case ast.Template():
            return "A type is written without quotes.", node.span, "For example: type = list(string)"
        case ast.Variable(name="object" | "tuple" as name) | ast.Call(name="object" | "tuple" as name):
            inner = "{ name = string }" if name == "object" else "[string, number]"
            return f'"{name}" needs the types of what is in it.', node.span, f"For example: {name}({inner})"
        case ast.Call(name="optional"):
            example = "For example: object({ size = optional(number, 1) })"
            return "optional() takes a type and perhaps a default, inside of object({…}).", node.span, example
        case ast.Call(name=name) if name in _COLLECTIONS:
            return f'"{name}" needs one type, that of its elements.', node.span, f"For example: {name}(string)"
        case ast.Call(name=name) if name in _PRIMITIVES:
            return f'"{name}" has no other types in it.', node.span, f"Write {name} alone."
    name = node.name if isinstance(node, (ast.Variable, ast.Call)) else ""
    return "This is not a type.", node.span, suggest(name, _KNOWN) or _ALL_TYPES
