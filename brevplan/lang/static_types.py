"""What type an expression has before it is evaluated, as far as its text and what it names tell.

A null value has forgotten its type. Where people look at values, at the console, the types of variables, of resource
attributes and of converting functions say what it would have been. `any` stands for what is not told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from brevplan.lang import ast
from brevplan.lang.functions.registry import lookup
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType, Type
from brevplan.lang.values import type_of

Named = Callable[[str], Type]
"""Gives the type of a first name: of `var`, an object of all variables."""

_COMPARING: Final = frozenset({"||", "&&", "==", "!=", "<", "<=", ">", ">="})


def static_type(node: ast.Expression, named: Named, element: Type = ANY) -> Type:
    """Tell what is known of the type of an expression; `element` is that of the splat it stands in."""
    match node:
        case ast.Literal():
            return type_of(node.value)
        case ast.Template():
            return _template(node, named, element)
        case ast.Parentheses():
            return static_type(node.inner, named, element)
        case ast.Variable():
            return named(node.name)
        case ast.GetAttr():
            return part_type(static_type(node.object, named, element), node.name)
        case ast.Index():
            return part_type(static_type(node.object, named, element), _constant(node.key))
        case ast.Splat():
            return _splat(node, named, element)
        case ast.SplatItem():
            return element
        case ast.TupleCons():
            return TupleType(tuple(static_type(item, named, element) for item in node.items))
        case ast.ObjectCons():
            return _object(node, named, element)
        case ast.Conditional():
            return _either(node, named, element)
        case ast.Binary():
            return BOOL if node.operator in _COMPARING else NUMBER
        case ast.Unary():
            return BOOL if node.operator == "!" else NUMBER
        case ast.Call():
            function = lookup(node.name)
            return function.returns if function is not None else ANY
    return ANY


def _splat(node: ast.Splat, named: Named, element: Type) -> Type:
    whole = static_type(node.object, named, element)
    is_sequence = isinstance(whole, (ListType, SetType, TupleType))
    # the elements of a tuple differ: what is told of the first is not told of all
    each = ANY if isinstance(whole, TupleType) else part_type(whole, 0) if is_sequence else whole
    return ListType(static_type(node.each, named, each))


def _either(node: ast.Conditional, named: Named, element: Type) -> Type:
    return merged(static_type(node.then, named, element), static_type(node.otherwise, named, element))


def _template(node: ast.Template, named: Named, element: Type) -> Type:
    if len(node.parts) == 1 and isinstance(node.parts[0], ast.Expression):
        return static_type(node.parts[0], named, element)
    return STRING


def _object(node: ast.ObjectCons, named: Named, element: Type) -> Type:
    types: dict[str, Type] = {}
    for item in node.items:
        name = _constant(item.key)
        if not isinstance(name, str):
            return ANY
        types[name] = static_type(item.value, named, element)
    return ObjectType(types)


def _constant(node: ast.Expression) -> str | int | None:
    """Give the key that a step or an item has in its text: what is computed is not known."""
    match node:
        case ast.Literal(value=str() | int() as value):
            return value
        case ast.Template(parts=[str() as text]):
            return text
        case ast.Template(parts=[]):
            return ""
    return None


def part_type(type_: Type, key: str | int | None) -> Type:
    """Give the type of the part of a value under a key."""
    match type_:
        case ListType(element=element) | SetType(element=element) | MapType(element=element):
            return element
        case TupleType(elements=elements) if isinstance(key, int) and 0 <= key < len(elements):
            return elements[key]
        case ObjectType(attributes=attributes) if isinstance(key, str):
            return attributes.get(key, ANY)
    return ANY


def merged(surer: Type, other: Type) -> Type:
    """Fill what one type leaves open with what another tells, as far as they have the same shape."""
    match surer, other:
        case ListType(), (ListType() | SetType()):
            return ListType(merged(surer.element, other.element))
        case SetType(), (ListType() | SetType()):
            return SetType(merged(surer.element, other.element))
        case MapType(), MapType():
            return MapType(merged(surer.element, other.element))
        case TupleType(elements=elements), (TupleType() | ListType()):
            return TupleType(tuple(merged(part, part_type(other, at)) for at, part in enumerate(elements)))
        case ObjectType(attributes=attributes), (ObjectType() | MapType()):
            return ObjectType({name: merged(part, part_type(other, name)) for name, part in attributes.items()})
    return other if surer is ANY else surer
