"""Splats: `list[*].name`, what follows the star applied to each element."""

from __future__ import annotations

from collections.abc import Callable

from brevplan.lang import ast
from brevplan.lang.convert import convert, unify
from brevplan.lang.prepared import EvaluationError, Loop, Preparer, Run, Scope
from brevplan.lang.types import ANY, ListType, SetType, TupleType, Type
from brevplan.lang.values import (
    EMPTY_TUPLE,
    List,
    Marks,
    Secret,
    Set,
    Tuple,
    Unknown,
    Value,
    all_marks,
    is_open,
    mark,
    mark_whole,
    rebuild,
    type_of,
)

Apply = Callable[[Value], Value]


def prepare_splat(preparer: Preparer, node: ast.Splat, loops: frozenset[str]) -> Run:
    source = preparer.expression(node.object, loops)
    each = preparer.expression(node.each, loops)

    def run(scope: Scope, loop: Loop) -> Value:
        def apply(item: Value) -> Value:
            return each(scope, {**loop, "*": item})

        value = source(scope, loop)
        if isinstance(value, Secret):
            return mark_whole(_spread(_members_marked(value), apply), value.marks)
        return _spread(value, apply)

    return run


def prepare_item(preparer: Preparer, node: ast.SplatItem, loops: frozenset[str]) -> Run:
    return lambda scope, loop: loop["*"]


def _spread(value: Value, apply: Apply) -> Value:
    match value:
        case None:
            return EMPTY_TUPLE
        case Unknown():
            return _spread_unknown(value, apply)
        case Tuple():
            return Tuple(map(apply, value.items))
        case List() | Set():
            items = [apply(item) for item in value.items]
            element = unify(map(type_of, items)) if items else _type_of_none(value.element, apply)
            if element is None:  # what follows the star may differ where the elements hold `any`
                return Tuple(items)
            return List([convert(item, element) for item in items], element)
        case _:
            return Tuple([apply(value)])


def _type_of_none(element: Type, apply: Apply) -> Type:
    """Give the type that the elements of an empty list would come to have."""
    try:
        stand_in = apply(Unknown(element))
    except EvaluationError as problem:
        if not problem.catchable:
            raise
        return ANY  # no element, no mistake
    return ANY if is_open(stand_in) else type_of(stand_in)


def _spread_unknown(value: Unknown, apply: Apply) -> Value:
    match value.type:
        case ListType(element=element) | SetType(element=element):
            item = apply(Unknown(element, value.because))
            type_ = ListType(ANY if is_open(item) else type_of(item))
            result = Unknown(type_, value.because, not_null=True, least=value.least, most=value.most)
            return mark(result, all_marks(item))
        case TupleType(elements=elements):
            items = Tuple([apply(Unknown(element, value.because)) for element in elements])
            return mark(Unknown(type_of(items), value.because, not_null=True), items.inner_marks)
    if value.not_null and value.type is not ANY:
        return Tuple([apply(value)])
    item = apply(value)  # its reads count; whether there will be an element at all is not known
    return mark(Unknown(ANY, value.because, not_null=True), all_marks(item))


def _members_marked(value: Secret) -> Value:
    """Mark the elements instead of the whole, so that no message about one of them shows it."""

    def marked(item: Value, marks: Marks = value.marks) -> Value:
        return Secret(item, marks)

    match value.value:
        case Tuple() | List():
            return rebuild(value.value, marked)
        case Set(items=items, element=element):
            return List(map(marked, items), element)
        case None | Unknown():
            return value.value
        case _:
            return Tuple([value])
