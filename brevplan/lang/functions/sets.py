"""Functions of set algebra."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from brevplan.lang.convert import ConversionError, convert, unify
from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import ANY, ListType, SetType, TupleType, Type
from brevplan.lang.values import List, Sequence_, Set, Tuple, Unknown, Value, has_unknown, mark, type_of

from .arguments import kind_of
from .partial import bare_all, pending

_MAX_COMBINATIONS = 1_000_000


def _setunion(_: Environment, *sets: Value) -> Value:
    element, members = _alike(sets)
    if members is None:
        return pending(SetType(element), *sets)
    return Set(itertools.chain.from_iterable(members), element)


def _setintersection(_: Environment, *sets: Value) -> Value:
    element, members = _alike(sets)
    if members is None:
        return pending(SetType(element), *sets)
    first, *others = members
    kept = [set(other) for other in others]
    return Set((item for item in first if all(item in other for other in kept)), element)


def _setsubtract(_: Environment, first: Value, second: Value) -> Value:
    element, members = _alike((first, second))
    if members is None:
        return pending(SetType(element), first, second)
    dropped = set(members[1])
    return Set((item for item in members[0] if item not in dropped), element)


def _alike(sets: Sequence[Value]) -> tuple[Type, list[tuple[Value, ...]] | None]:
    """Give the members of all sets in one type; None in their place when a set is not known yet."""
    element = unify(getattr(type_of(given), "element", ANY) for given in sets)
    if element is None:
        raise FunctionError("the elements of all sets must have one type in common")
    if any(isinstance(given, Unknown) and type_of(given) in (ANY, SetType(ANY)) for given in sets):
        return ANY, None
    if any(map(has_unknown, sets)):
        return element, None
    alike = [convert(given, SetType(element)) for given in sets]
    return element, [given.items for given in alike if isinstance(given, Set)]


def _setproduct(_: Environment, *sequences: Value) -> Value:
    if len(sequences) < 2:
        raise FunctionError("at least two lists or sets are required")
    bare, marks = bare_all(sequences)
    given = [_operand(sequence, position) for position, sequence in enumerate(bare)]
    element = TupleType(tuple(getattr(type_of(operand), "element", ANY) for operand in given))
    as_set = any(isinstance(type_of(operand), SetType) for operand in given)
    type_ = SetType(element) if as_set else ListType(element)
    known = [operand.items for operand in given if isinstance(operand, Sequence_)]
    if len(known) < len(given):
        return mark(pending(type_, *given), marks)
    if math.prod(map(len, known)) > _MAX_COMBINATIONS:
        raise FunctionError(f"there are {math.prod(map(len, known))} combinations; at most {_MAX_COMBINATIONS} may be")
    rows = List(map(Tuple, itertools.product(*known)), element)
    return mark(convert(rows, type_) if as_set else rows, marks)


def _operand(value: Value, position: int) -> Value:
    if isinstance(value, Unknown) and value.type is ANY:
        return value
    type_ = type_of(value)
    if not isinstance(type_, (ListType, SetType, TupleType)):
        raise FunctionError(f"a list or set is required, not {kind_of(value)}", position)
    if isinstance(type_, (ListType, SetType)):
        return value
    try:
        return convert(value, ListType(ANY))
    except ConversionError as problem:
        raise FunctionError(str(problem), position) from None


_SET = Parameter("set", SetType(ANY), sees_unknown=True)
_SETS = Parameter("sets", SetType(ANY), sees_unknown=True)

FUNCTIONS: tuple[Function, ...] = (
    Function("setunion", (_SET,), _setunion, SetType(ANY), _SETS, summary="what is in any of the sets"),
    Function("setintersection", (_SET,), _setintersection, SetType(ANY), _SETS, summary="what is in all of the sets"),
    Function("setsubtract", (_SET, _SET), _setsubtract, SetType(ANY), summary="what is in the first set alone"),
    Function(
        "setproduct",
        (),
        _setproduct,
        ANY,
        Parameter("sets", ANY, sees_unknown=True, sees_secret=True),
        summary="every combination of an element of each",
    ),
)
