"""Conversion of values to types, and unification of several types to one. Pure; raises `ConversionError`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from brevplan.lang.numbers import format_number, parse_number
from brevplan.lang.printing import quote
from brevplan.lang.types import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    AnyType,
    ListType,
    MapType,
    ObjectType,
    Primitive,
    SetType,
    TupleType,
    Type,
    friendly,
    is_open_type,
    without_optional,
)
from brevplan.lang.values import (
    SENSITIVE,
    List,
    Map,
    Mapping_,
    Object,
    Secret,
    Sequence_,
    Set,
    Tuple,
    Unknown,
    Value,
    first_unknown,
    mark,
    marks_of,
    reveal,
    reveal_deep,
    type_of,
)

_NUMBER_TEXT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)


class ConversionError(Exception):
    """A value does not suit a type. `path` leads from the value given to the part that does not: `.ports[2]`."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def under(self, step: str) -> ConversionError:
        return ConversionError(self.message, step + self.path)

    def __str__(self) -> str:
        return f"{self.path.lstrip('.')}: {self.message}" if self.path else self.message


def convert(value: Value, target: Type) -> Value:
    """Convert a value to a type, by the rules that function arguments, templates and schemas share.

    Null suits every type. An unknown becomes an unknown of the target type. A secret stays secret.
    """
    kind = value.__class__
    if value is None or target is ANY:
        return value
    if target is STRING and kind is str:
        return value
    match value:
        case Secret():
            return _convert_secret(value, target)
        case Unknown():
            return _convert_unknown(value, target)
    match target:
        case Primitive():
            return _to_primitive(value, target)
        case ListType() | SetType():
            return _to_sequence(value, target)
        case MapType():
            return _to_map(value, target)
        case TupleType():
            return _to_tuple(value, target)
        case ObjectType():
            return _to_object(value, target)
        case _:
            return value


def _mismatch(given: Type, target: Type) -> ConversionError:
    return ConversionError(f"{_wanted(target)} is required, not {friendly(given)}")


def _wanted(target: Type) -> str:
    word = friendly(target)
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _convert_secret(value: Secret, target: Type) -> Value:
    try:
        return Secret(convert(value.value, target), value.marks)
    except ConversionError:
        # the reason and the path may hold what must not be shown
        word = "sensitive" if value.marks & SENSITIVE else "ephemeral"
        raise ConversionError(f"{_wanted(target)} is required, and the {word} value is not one") from None


def _convert_unknown(value: Unknown, target: Type) -> Value:
    """Give the unknown of the target type; refuse what no value of the source type can become."""
    source = value.type
    if isinstance(source, TupleType) and not isinstance(target, Primitive):
        stand_in = convert(Tuple([Unknown(element) for element in source.elements]), target)
        return _refined(value, _type_once_known(stand_in, target))
    if isinstance(source, ObjectType) and not isinstance(target, Primitive) and not source.optional:
        stand_in = convert(Object({name: Unknown(type_) for name, type_ in source.attributes.items()}), target)
        return _refined(value, _type_once_known(stand_in, target))
    if source is not ANY and not _may_become(source, target):
        raise _mismatch(source, target)
    return _refined(value, _settle_unknown(source, target))


def _refined(value: Unknown, type_: Type) -> Unknown:
    """Give the unknown of another type, with what is known of it still."""
    prefix = value.prefix if type_ == STRING else ""
    if not (type_ == value.type == NUMBER or _structural(value.type, type_)):
        return Unknown(type_, value.because, not_null=value.not_null, prefix=prefix)
    count = len(value.type.elements) if isinstance(value.type, TupleType) else None
    least, most = (value.least, value.most) if count is None else (count, count)
    if isinstance(type_, SetType) and not isinstance(value.type, SetType) and least is not None:
        least = min(least, 1)  # elements that are equal become one
    return Unknown(type_, value.because, not_null=value.not_null, least=least, most=most)


def _type_once_known(stand_in: Value, target: Type) -> Type:
    return _settle_unknown(type_of(stand_in), target) if isinstance(target, ObjectType) else type_of(stand_in)


def _may_become(source: Type, target: Type) -> bool:
    if isinstance(source, Primitive) and isinstance(target, Primitive):
        return source == target or STRING in (source, target)
    return _structural(source, target)


def _settle_unknown(source: Type, target: Type) -> Type:
    """Decide what `any` inside a constraint stands for when the elements are unknown but their types are not."""
    if target is ANY:
        return source
    if source is ANY or not is_open_type(target):
        return without_optional(target)
    match source, target:
        case _, ListType() | SetType() | MapType():
            element = unify(_settle_unknown(inner, target.element) for inner in _elements(source))
            if element is None:
                raise ConversionError(f"all elements of the {friendly(source)} must have the same type")
            return type(target)(element)
        case ObjectType(), ObjectType():
            known = source.attributes
            return ObjectType({name: _settle_unknown(known.get(name, ANY), t) for name, t in target.attributes.items()})
    return without_optional(target)


def _structural(source: Type, target: Type) -> bool:
    sequences = (ListType, SetType, TupleType)
    mappings = (MapType, ObjectType)
    return (isinstance(source, sequences) and isinstance(target, sequences)) or (
        isinstance(source, mappings) and isinstance(target, mappings)
    )


def _to_primitive(value: Value, target: Type) -> Value:
    if target == STRING:
        return to_string(value)
    if target == NUMBER:
        if isinstance(value, str):
            if not _NUMBER_TEXT.match(value):
                raise ConversionError(f'a number is required, and "{_short(value)}" is not one')
            try:
                return parse_number(value.removeprefix("+"))
            except ValueError as problem:
                raise ConversionError(str(problem)) from None
        if value.__class__ is float and not value:
            return 0  # zero has no sign wherever a number is asked for
        if isinstance(value, (int, Fraction, float)) and not isinstance(value, bool):
            return value
    if target == BOOL:
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            if value in ("true", "1"):
                return True
            if value in ("false", "0"):
                return False
            raise ConversionError(f'a bool is required: true or false, not "{_short(value)}"')
    raise _mismatch(type_of(value), target)


def to_string(value: Value) -> str:
    """Give the text of a known, not null scalar; raise `ConversionError` for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Fraction, float)):
        return format_number(value)
    raise _mismatch(type_of(value), STRING)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _to_sequence(value: Value, target: ListType | SetType) -> Value:
    if not isinstance(value, Sequence_):
        raise _mismatch(type_of(value), target)
    make = List if isinstance(target, ListType) else Set
    if type(value) is make and getattr(value, "element", None) == target.element:
        return value
    open_ = _open_unknown(value, target.element)
    if open_ is not None:
        return _unknown_instead(value, target, open_)
    element = _settle_element(target.element, value)
    items = []
    for position, item in enumerate(value.items):
        try:
            items.append(convert(item, element))
        except ConversionError as problem:
            raise problem.under(f"[{position}]") from None
    items, element = _alike(items, element)
    if make is List and not (isinstance(value, Set) and value.has_unknown and len(value) > 1):
        return List(items, element)
    result = Tuple(items)
    if result.has_unknown:
        # the members of a set may coincide: how many there will be, and in which order, is not known
        return _unknown_instead(value, ListType(element) if make is List else SetType(element), result)
    # a set shows by its order and length what is in it: one secret member makes it secret as a whole
    marks = result.inner_marks
    return Secret(Set(map(reveal_deep, items), element), marks) if marks else Set(items, element)


def _alike(items: Iterable[Value], element: Type) -> tuple[list[Value], Type]:
    """Give the elements one type, also where the constraint has `any` inside, and that type."""
    converted, type_ = list(items), without_optional(element)
    if converted and is_open_type(type_):
        found = unify(map(type_of, converted))
        if found is None:
            raise ConversionError("all elements must have the same type")
        if found != type_:
            return [convert(item, found) for item in converted], found
    return converted, type_


def _settle_element(element: Type, value: Sequence_ | Mapping_) -> Type:
    """Decide what `any` inside a constraint stands for: one type that all elements can have."""
    if not isinstance(element, AnyType):
        return element
    if isinstance(value, (List, Set, Map)) and value.element is not ANY:
        return value.element
    found = unify(map(type_of, value.items.values() if isinstance(value, Mapping_) else value.items))
    if found is None:
        raise ConversionError("all elements must have the same type")
    return found


def _open_unknown(value: Sequence_ | Mapping_, element: Type) -> Value:
    """Find an unknown whose type is not known either, when it has a say in what `any` stands for."""
    if element is not ANY or not value.has_unknown or getattr(value, "element", ANY) is not ANY:
        return None
    for item in value.items.values() if isinstance(value, Mapping_) else value.items:
        inner = reveal(item)
        if isinstance(inner, Unknown) and inner.type is ANY:
            return inner
        if isinstance(inner, (Sequence_, Mapping_)):
            found = _open_unknown(inner, element)
            if found is not None:
                return found
    return None


def _unknown_instead(value: Sequence_ | Mapping_, type_: Type, cause: Value) -> Value:
    """Make the unknown that stands for a collection which cannot be made yet."""
    found = first_unknown((cause,))
    may_coincide = isinstance(type_, SetType) or isinstance(value, Set)
    least = min(len(value), 1) if may_coincide else len(value)
    result = Unknown(type_, found.because if found is not None else "", not_null=True, least=least, most=len(value))
    return mark(result, value.inner_marks)


def _to_map(value: Value, target: MapType) -> Value:
    if not isinstance(value, Mapping_):
        raise _mismatch(type_of(value), target)
    if isinstance(value, Map) and value.element == target.element:
        return value
    open_ = _open_unknown(value, target.element)
    if open_ is not None:
        return _unknown_instead(value, target, open_)
    try:
        element = _settle_element(target.element, value)
    except ConversionError:
        raise ConversionError("all map elements must have the same type") from None
    items = {}
    for name, item in value.items.items():
        try:
            items[name] = convert(item, element)
        except ConversionError as problem:
            raise problem.under(f"[{quote(name)}]") from None
    alike, element = _alike(items.values(), element)
    return Map(dict(zip(items, alike, strict=True)), element)


def _to_tuple(value: Value, target: TupleType) -> Value:
    if not isinstance(value, Sequence_) or isinstance(value, Set):
        raise _mismatch(type_of(value), target)
    if len(value.items) != len(target.elements):
        raise ConversionError(f"a tuple of length {len(target.elements)} is required, not of {len(value.items)}")
    items = []
    for position, (item, element) in enumerate(zip(value.items, target.elements, strict=True)):
        try:
            items.append(convert(item, element))
        except ConversionError as problem:
            raise problem.under(f"[{position}]") from None
    return Tuple(items)


def _to_object(value: Value, target: ObjectType) -> Value:
    if not isinstance(value, Mapping_):
        raise _mismatch(type_of(value), target)
    items: dict[str, Value] = {}
    for name, type_ in target.attributes.items():
        item = value.items.get(name)
        if name not in value.items and name not in target.optional:
            raise ConversionError(f'attribute "{name}" is required')
        if name in target.defaults and reveal(item) is None:
            default: Value = target.defaults[name]  # type: ignore[assignment]  # defaults are values
            item = mark(default, marks_of(item))
        try:
            items[name] = convert(item, type_)
        except ConversionError as problem:
            raise problem.under(f".{name}") from None
    return Object(items)


def unify(types: Iterable[Type]) -> Type | None:
    """Find the one type that values of all these types convert to, or None. No types give `any`."""
    distinct: list[Type] = []
    for type_ in types:
        if type_ is not ANY and type_ not in distinct:
            distinct.append(type_)
    if len(distinct) < 2:
        return distinct[0] if distinct else ANY
    if all(isinstance(type_, Primitive) for type_ in distinct):
        return STRING if STRING in distinct else None
    if all(isinstance(type_, (ListType, SetType, TupleType)) for type_ in distinct):
        return _unify_tuples(distinct) or _unify_sequences(distinct)
    if all(isinstance(type_, (MapType, ObjectType)) for type_ in distinct):
        return _unify_objects(distinct) or _unify_mappings(distinct)
    return None


def unify_two(left: Type, right: Type) -> Type | None:
    return unify((left, right))


def _unify_tuples(types: Sequence[Type]) -> Type | None:
    """Unify tuples of one length element by element."""
    tuples = [type_.elements for type_ in types if isinstance(type_, TupleType)]
    if len(tuples) < len(types) or len(set(map(len, tuples))) > 1:
        return None
    merged = [unify(column) for column in zip(*tuples, strict=True)]
    elements = tuple(type_ for type_ in merged if type_ is not None)
    return TupleType(elements) if len(elements) == len(merged) else None


def _unify_sequences(types: Sequence[Type]) -> Type | None:
    element = unify(element for type_ in types for element in _elements(type_))
    if element is None:
        return None
    # a set stays a set only beside other sets and tuples
    is_set = any(isinstance(type_, SetType) for type_ in types) and not any(
        isinstance(type_, ListType) for type_ in types
    )
    return SetType(element) if is_set else ListType(element)


def _unify_objects(types: Sequence[Type]) -> Type | None:
    """Unify objects of the same attribute names attribute by attribute."""
    objects = [type_.attributes for type_ in types if isinstance(type_, ObjectType)]
    names = objects[0].keys() if objects else frozenset[str]()
    if len(objects) < len(types) or any(attributes.keys() != names for attributes in objects):
        return None
    merged = {name: unify(attributes[name] for attributes in objects) for name in names}
    known = {name: type_ for name, type_ in merged.items() if type_ is not None}
    return ObjectType(known) if len(known) == len(merged) else None


def _unify_mappings(types: Sequence[Type]) -> Type | None:
    element = unify(element for type_ in types for element in _elements(type_))
    return None if element is None else MapType(element)


def _elements(type_: Type) -> Sequence[Type]:
    match type_:
        case ListType() | SetType() | MapType():
            return (type_.element,)
        case TupleType():
            return type_.elements
        case ObjectType():
            return tuple(type_.attributes.values())
        case _:
            return (type_,)


def unify_values(values: Sequence[Value]) -> list[Value]:
    """Convert several values to their common type; raise `ConversionError` when there is none."""
    target = unify(map(type_of, values))
    if target is None:
        names = " and ".join(sorted({friendly(type_of(value)) for value in values}))
        raise ConversionError(f"the values must have one type in common, and {names} have none")
    return [convert(value, target) for value in values]
