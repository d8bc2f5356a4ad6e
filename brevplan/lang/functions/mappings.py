"""Functions over maps and objects."""

from __future__ import annotations

from collections.abc import Sequence

from brevplan.diagnostics import suggest
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import ANY, STRING, ListType, MapType, ObjectType, TupleType, Type
from brevplan.lang.values import (
    List,
    Map,
    Mapping_,
    Object,
    Tuple,
    Unknown,
    Value,
    has_unknown,
    mark,
    type_of,
)

from .arguments import kind_of
from .partial import bare, bare_all, pending
from .text import quoted


def _keys(_: Environment, mapping: Value) -> Value:
    given, marks = bare(mapping)
    match given:
        case Object():
            return mark(Tuple(given.items), marks)
        case Map():
            return mark(List(given.items, STRING), marks)
        case Unknown(type=ObjectType(attributes=attributes)):
            return mark(Tuple(sorted(attributes)), marks)
        case Unknown(type=MapType()):
            return mark(pending(ListType(STRING), given), marks)
        case Unknown() if given.type is ANY:
            return mark(pending(ANY, given), marks)
        case _:
            raise FunctionError(f"a map or object is required, not {kind_of(given)}", 0)


def _values(_: Environment, mapping: Value) -> Value:
    given, marks = bare(mapping)
    match given:
        case Object():
            return mark(Tuple(given.items.values()), marks)
        case Map():
            return mark(List(given.items.values(), given.element), marks)
        case Unknown(type=ObjectType(attributes=attributes)):
            return mark(Tuple(Unknown(attributes[name], given.because) for name in sorted(attributes)), marks)
        case Unknown(type=MapType(element=element)):
            return mark(pending(ListType(element), given), marks)
        case Unknown() if given.type is ANY:
            return mark(pending(ANY, given), marks)
        case _:
            raise FunctionError(f"a map or object is required, not {kind_of(given)}", 0)


def _lookup(_: Environment, mapping: Value, key: Value, *default: Value) -> Value:
    given, marks = bare(mapping)
    name, key_marks = bare(key)
    type_ = type_of(given)
    if type_ is not ANY and not isinstance(type_, (MapType, ObjectType)):
        raise FunctionError(f"a map or object is required, not {kind_of(given)}", 0)
    element = type_.element if isinstance(type_, MapType) else ANY
    fallback = [_fallback(value, element) for value in default]
    return mark(_find(given, name, element, fallback), marks | key_marks)


def _fallback(value: Value, element: Type) -> Value:
    try:
        return convert(value, element)
    except ConversionError as problem:
        raise FunctionError(f"the default must have the type of the map's elements: {problem}", 2) from None


def _find(mapping: Value, name: Value, element: Type, fallback: Sequence[Value]) -> Value:
    if isinstance(name, Unknown):
        return pending(element, name, not_null=False)
    if isinstance(mapping, Unknown):
        if isinstance(mapping.type, ObjectType) and isinstance(name, str):
            if name in mapping.type.attributes:
                return pending(mapping.type.attributes[name], mapping, not_null=False)
            return _absent(name, mapping.type.attributes, fallback)
        return pending(element, mapping, not_null=False)
    assert isinstance(mapping, Mapping_)
    assert isinstance(name, str)
    return mapping.items[name] if name in mapping.items else _absent(name, mapping.items, fallback)


def _absent(name: str, known: object, fallback: Sequence[Value]) -> Value:
    if fallback:
        return fallback[0]
    hint = suggest(name, list(known))  # type: ignore[call-overload]  # a mapping's names
    raise FunctionError(f"there is no key {quoted(name)}, and no default was given{'. ' + hint if hint else ''}", 1)


def _merge(_: Environment, *mappings: Value) -> Value:
    given, marks = bare_all(mappings)
    types: list[Type] = []
    merged: dict[str, Value] = {}
    unknown: list[Value] = []
    for position, mapping in enumerate(given):
        type_ = type_of(mapping)
        if mapping is not None and type_ is not ANY and not isinstance(type_, (MapType, ObjectType)):
            raise FunctionError(f"only maps and objects can be merged, not {kind_of(mapping)}", position)
        types.append(type_)
        if isinstance(mapping, Unknown):
            if isinstance(type_, ObjectType):
                merged |= {name: Unknown(inner, mapping.because) for name, inner in type_.attributes.items()}
            else:
                unknown.append(mapping)
        elif isinstance(mapping, Mapping_):
            merged |= mapping.items
    return mark(_merged(types, merged, unknown), marks)


def _merged(types: Sequence[Type], merged: dict[str, Value], unknown: Sequence[Value]) -> Value:
    """Maps of one type give such a map; anything else gives an object."""
    first = types[0] if types else ANY
    alike = isinstance(first, MapType) and all(type_ == first for type_ in types)
    if unknown:
        return pending(first if alike else ANY, *unknown)
    return Map(merged, first.element) if alike and isinstance(first, MapType) else Object(merged)


def _transpose(_: Environment, mapping: Value) -> Value:
    assert isinstance(mapping, Map)
    result: dict[str, list[Value]] = {}
    for name, members in mapping.items.items():
        for member in members if isinstance(members, List) else (None,):
            if not isinstance(member, str):
                raise FunctionError(f"{quoted(name)} is or holds null; each must be a list of strings", 0)
            result.setdefault(member, []).append(name)
    # names come in order, so each list is sorted already
    return Map({name: List(members, STRING) for name, members in result.items()}, ListType(STRING))


def _zipmap(_: Environment, keys: Value, values: Value) -> Value:
    given, marks = bare(values)
    type_ = type_of(given)
    if type_ is not ANY and not isinstance(type_, (ListType, TupleType)):
        raise FunctionError(f"the values must be a list or tuple, not {kind_of(given)}", 1)
    if isinstance(given, Unknown) or has_unknown(keys):
        return mark(pending(MapType(type_.element) if isinstance(type_, ListType) else ANY, keys, given), marks)
    assert isinstance(keys, List)
    assert isinstance(given, (List, Tuple))
    if len(keys) != len(given):
        raise FunctionError(f"there are {len(keys)} keys and {len(given)} values; both must be as many", 1)
    pairs: dict[str, Value] = {}
    for position, (key, value) in enumerate(zip(keys, given, strict=True)):
        if not isinstance(key, str):
            raise FunctionError(f"key {position} is null; every key must be a string", 0)
        pairs[key] = value
    return mark(Map(pairs, given.element) if isinstance(given, List) else Object(pairs), marks)


_OPEN = Parameter("map", ANY, sees_unknown=True, sees_secret=True)

FUNCTIONS: tuple[Function, ...] = (
    Function("keys", (_OPEN,), _keys, ANY, summary="the keys in order"),
    Function("values", (_OPEN,), _values, ANY, summary="the values in the order of their keys"),
    Function(
        "lookup",
        (
            _OPEN,
            Parameter("key", STRING, sees_unknown=True, sees_secret=True),
            Parameter("default", ANY, nullable=True, sees_unknown=True, sees_secret=True),
        ),
        _lookup,
        ANY,
        optional=1,
        summary="the value of a key, or the default",
        never_null=False,
    ),
    Function(
        "merge",
        (),
        _merge,
        ANY,
        Parameter("maps", ANY, nullable=True, sees_unknown=True, sees_secret=True),
        summary="one map of all pairs, later ones win",
    ),
    Function(
        "transpose",
        (Parameter("map", MapType(ListType(STRING))),),
        _transpose,
        MapType(ListType(STRING)),
        summary="a map of lists with keys and members swapped",
    ),
    Function(
        "zipmap",
        (
            Parameter("keys", ListType(STRING), sees_unknown=True),
            Parameter("values", ANY, sees_unknown=True, sees_secret=True),
        ),
        _zipmap,
        ANY,
        summary="a map of keys from one list and values from another",
    ),
)
