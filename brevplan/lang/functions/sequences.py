"""Functions over lists, tuples and sets as sequences."""

from __future__ import annotations

from collections.abc import Sequence

from brevplan.lang.convert import convert, unify
from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType, Type
from brevplan.lang.values import (
    List,
    Mapping_,
    Marks,
    Number,
    Sequence_,
    Set,
    Tuple,
    Unknown,
    Value,
    first_unknown,
    has_unknown,
    mark,
    marks_of,
    reveal,
    type_of,
)

from .arguments import kind_of, not_negative, require_sequence, whole
from .partial import bare, bare_all, compare, pending
from .text import characters

_SEQUENCE_TYPES = (ListType, SetType, TupleType)


def _chunklist(_: Environment, items: Value, size: Number) -> Value:
    given, marks = bare(items)
    width = not_negative(size, "size", 1)
    element = getattr(type_of(given), "element", ANY)
    if isinstance(given, Unknown):
        return mark(pending(ListType(ListType(element)), given), marks)
    assert isinstance(given, List)
    step = width or max(len(given), 1)
    chunks = [List(given.items[start : start + step], element) for start in range(0, len(given), step)]
    return mark(List(chunks, ListType(element)), marks)


def _concat(_: Environment, *sequences: Value) -> Value:
    if not sequences:
        raise FunctionError("at least one list is required")
    given, marks = bare_all(sequences)
    for position, sequence in enumerate(given):
        if not isinstance(type_of(sequence), (ListType, TupleType)) and type_of(sequence) is not ANY:
            raise FunctionError(f"only lists and tuples are possible, not {kind_of(sequence)}", position)
    type_ = _concat_type([type_of(sequence) for sequence in given])
    parts = [_known_items(sequence) for sequence in given]
    items = [item for part in parts if part is not None for item in part]
    if None in parts or type_ is ANY:
        return mark(pending(type_ if isinstance(type_, ListType) else ANY, *given), marks)
    if isinstance(type_, ListType):
        return mark(convert(Tuple(items), type_), marks)
    return mark(Tuple(items), marks)


def _concat_type(types: Sequence[Type]) -> Type:
    """Lists give a list when their elements have one type in common; anything else gives a tuple."""
    if ANY in types:
        return ANY
    lists = [type_ for type_ in types if isinstance(type_, ListType)]
    if len(lists) == len(types):
        element = unify(type_.element for type_ in lists)
        if element is not None:
            return ListType(element)
    return TupleType(()) if all(isinstance(type_, (TupleType, ListType)) for type_ in types) else ANY


def _known_items(sequence: Value) -> Sequence[Value] | None:
    """The elements, one unknown for each element of an unknown tuple; None for an unknown list."""
    if isinstance(sequence, (List, Tuple)):
        return sequence.items
    if isinstance(sequence, Unknown) and isinstance(sequence.type, TupleType):
        return [Unknown(type_, sequence.because) for type_ in sequence.type.elements]
    return None


def _contains(_: Environment, items: Value, wanted: Value) -> Value:
    if isinstance(items, Unknown):
        require_sequence(items, "list")
        return pending(BOOL, items)
    if not isinstance(items, Sequence_):
        raise FunctionError(f"a list, tuple or set is required, not {kind_of(items)}", 0)
    found = [compare(item, wanted) for item in items]
    if True in found:
        return True
    return pending(BOOL, items, wanted) if None in found else False


def _distinct(_: Environment, items: Value) -> Value:
    if has_unknown(items):
        return pending(type_of(items), items)
    assert isinstance(items, List)
    # all elements have one type: equality by hash cannot mistake 1 for true
    return List(dict.fromkeys(items), items.element)


def _element(_: Environment, items: Value, index: Number) -> Value:
    given, marks = bare(items)
    position = whole(index, "index", 1)
    if isinstance(given, Unknown):
        return mark(_unknown_element(given, position), marks)
    if not isinstance(given, (List, Tuple)):
        raise FunctionError(f"a list or tuple is required, not {kind_of(given)}", 0)
    if not given.items:
        raise FunctionError("an empty list has no elements", 0)
    if position < 0 and isinstance(given, Tuple):
        # Terraform counts back in lists only; what is written in brackets is a tuple there too
        raise FunctionError(f'"index" must be zero or more, not {position}', 1)
    return mark(given.items[position % len(given)], marks)


def _unknown_element(items: Unknown, position: int) -> Value:
    match items.type:
        case TupleType(elements=()):
            raise FunctionError("an empty list has no elements", 0)
        case TupleType(elements=elements):
            return pending(elements[position % len(elements)], items, not_null=False)
        case ListType(element=element):
            return pending(element, items, not_null=False)
        case type_ if type_ is ANY:
            return pending(ANY, items, not_null=False)
        case _:
            raise FunctionError(f"a list or tuple is required, not {kind_of(items)}", 0)


def _flatten(_: Environment, items: Value) -> Value:
    """An unknown sequence anywhere leaves the whole result open; an unknown scalar is just an element."""
    if not isinstance(reveal(items), Sequence_):
        inner = reveal(items)
        if isinstance(inner, Unknown) and (inner.type is ANY or isinstance(inner.type, _SEQUENCE_TYPES)):
            return mark(pending(ANY, inner), marks_of(items))
        raise FunctionError(f"a list, tuple or set is required, not {kind_of(items)}", 0)
    result: list[Value] = []
    marks, waits = _flatten_into(result, items)
    return mark(pending(ANY, waits) if waits is not None else Tuple(result), marks)


def _flatten_into(result: list[Value], items: Value) -> tuple[Marks, Unknown | None]:
    """Add the elements; give the marks of the sequences on the way, and the unknown that hides how many."""
    given, marks = bare(items)
    assert isinstance(given, Sequence_)
    # of a set with unknown members neither the number nor the order is known
    waits = first_unknown(given) if isinstance(given, Set) and len(given) > 1 else None
    for item in given:
        inner = reveal(item)
        if isinstance(inner, Sequence_):
            inner_marks, found = _flatten_into(result, item)
            marks, waits = marks | inner_marks, found if waits is None else waits
        elif isinstance(inner, Unknown) and (inner.type is ANY or isinstance(inner.type, _SEQUENCE_TYPES)):
            marks, waits = marks | marks_of(item), inner
        else:
            result.append(item)
    return marks, waits


def _index(_: Environment, items: Value, wanted: Value) -> Value:
    if isinstance(items, Unknown):
        require_sequence(items, "list")
        return pending(NUMBER, items)
    if not isinstance(items, (List, Tuple)):
        raise FunctionError(f"a list or tuple is required, not {kind_of(items)}", 0)
    for position, item in enumerate(items):
        found = compare(item, wanted)
        if found is None:
            return pending(NUMBER, item, wanted)
        if found:
            return position
    raise FunctionError("no element of the list equals the value; contains() tells beforehand", 1)


def _length(_: Environment, value: Value) -> Value:
    given, marks = bare(value)
    return mark(_unknown_length(given) if isinstance(given, Unknown) else _known_length(given), marks)


def _known_length(value: Value) -> Value:
    if isinstance(value, str):
        return len(characters(value))
    if isinstance(value, Set) and value.has_unknown and len(value) > 1:
        # members that are not known yet may coincide
        return pending(NUMBER, value, least=1, most=len(value))
    if isinstance(value, (Sequence_, Mapping_)):
        return len(value)
    raise FunctionError(f"a string, a collection, a tuple or an object is required, not {kind_of(value)}", 0)


def _unknown_length(value: Unknown) -> Value:
    match value.type:
        case TupleType(elements=elements):
            return len(elements)
        case ObjectType(attributes=attributes):
            return len(attributes)
        case ListType() | SetType() | MapType():
            if value.least is not None and value.least == value.most:
                return value.least
            return pending(NUMBER, value, least=value.least or 0, most=value.most)
        case type_ if type_ in (ANY, STRING):
            return pending(NUMBER, value, least=1 if value.prefix else 0)
        case _:
            raise FunctionError(f"a string, a collection, a tuple or an object is required, not {kind_of(value)}", 0)


def _matchkeys(_: Environment, values: Value, keys: Value, wanted: Value) -> Value:
    assert isinstance(values, List)
    assert isinstance(keys, List)
    assert isinstance(wanted, List)
    if len(values) != len(keys):
        raise FunctionError(f"there are {len(values)} values and {len(keys)} keys; both must be as many", 1)
    element = unify((keys.element, wanted.element))
    if element is None:
        raise FunctionError("the keys and the keys to look for must have one type in common", 2)
    chosen = set(convert(wanted, ListType(element)))  # type: ignore[arg-type]  # a list stays a list
    pairs = zip(values, convert(keys, ListType(element)), strict=True)  # type: ignore[arg-type]
    return List((value for value, key in pairs if key in chosen), values.element)


def _reverse(_: Environment, items: Value) -> Value:
    given, marks = bare(items)
    match given:
        case Unknown():
            return mark(pending(_reverse_type(given), given), marks)
        case Tuple():
            return mark(Tuple(reversed(given.items)), marks)
        case Set() if given.has_unknown:
            return mark(pending(ListType(given.element), given), marks)
        case List() | Set():
            return mark(List(reversed(given.items), given.element), marks)
        case _:
            advice = "; strrev() reverses a string" if isinstance(given, str) else ""
            raise FunctionError(f"a list, tuple or set is required, not {kind_of(given)}{advice}", 0)


def _reverse_type(items: Unknown) -> Type:
    require_sequence(items, "list")
    match items.type:
        case TupleType(elements=elements):
            return TupleType(elements[::-1])
        case SetType(element=element):
            return ListType(element)
        case type_:
            return type_


def _slice(_: Environment, items: Value, start: Value, end: Value) -> Value:
    given, marks = bare(items)
    type_ = type_of(given)
    if isinstance(type_, SetType):
        raise FunctionError("the elements of a set have no positions; convert it with tolist() first", 0)
    if type_ is not ANY and not isinstance(type_, (ListType, TupleType)):
        advice = "; substr() takes a part of a string" if type_ == STRING else ""
        raise FunctionError(f"a list or tuple is required, not {kind_of(given)}{advice}", 0)
    unknown = first_unknown((start, end))
    if isinstance(given, Unknown) or unknown is not None:
        waits = given if isinstance(given, Unknown) else unknown
        return mark(pending(type_ if isinstance(type_, ListType) else ANY, waits), marks)
    assert isinstance(given, (List, Tuple))
    first, last = _slice_bounds(len(given), start, end)
    part = given.items[first:last]
    return mark(List(part, given.element) if isinstance(given, List) else Tuple(part), marks)


def _slice_bounds(length: int, start: Value, end: Value) -> tuple[int, int]:
    first, last = whole(start, "start", 1), whole(end, "end", 2)  # type: ignore[arg-type]  # the gate made numbers
    if first < 0:
        raise FunctionError(f'"start" must be zero or more, not {first}', 1)
    if last > length:
        raise FunctionError(f'"end" is {last}, and there are only {length} elements', 2)
    if first > last:
        raise FunctionError(f'"start" is {first}, behind "end", which is {last}', 1)
    return first, last


_UNSURE = Parameter("list", ANY, sees_unknown=True)
_OPEN = Parameter("list", ANY, sees_unknown=True, sees_secret=True)

FUNCTIONS: tuple[Function, ...] = (
    Function(
        "chunklist",
        (Parameter("list", ListType(ANY), sees_unknown=True, sees_secret=True), Parameter("size", NUMBER)),
        _chunklist,
        ListType(ListType(ANY)),
        summary="the list in pieces of at most so many elements",
    ),
    Function(
        "concat",
        (),
        _concat,
        ANY,
        Parameter("lists", ANY, sees_unknown=True, sees_secret=True),
        summary="one list of the elements of all",
    ),
    Function(
        "contains",
        (_UNSURE, Parameter("value", ANY, sees_unknown=True)),
        _contains,
        BOOL,
        summary="whether an element equals the value",
    ),
    Function(
        "distinct",
        (Parameter("list", ListType(ANY), sees_unknown=True),),
        _distinct,
        ListType(ANY),
        summary="the list without repetitions",
    ),
    Function(
        "element",
        (_OPEN, Parameter("index", NUMBER)),
        _element,
        ANY,
        summary="the element at a position, counted round and round",
        never_null=False,
    ),
    Function("flatten", (_OPEN,), _flatten, ANY, summary="the elements of all nested lists as one tuple"),
    Function(
        "index",
        (_UNSURE, Parameter("value", ANY, sees_unknown=True)),
        _index,
        NUMBER,
        summary="the position of the first element that equals the value",
    ),
    Function(
        "length",
        (Parameter("value", ANY, sees_unknown=True, sees_secret=True),),
        _length,
        NUMBER,
        summary="the number of elements, or of characters",
    ),
    Function(
        "matchkeys",
        (Parameter("values", ListType(ANY)), Parameter("keys", ListType(ANY)), Parameter("wanted", ListType(ANY))),
        _matchkeys,
        ListType(ANY),
        summary="the values whose keys are among the wanted",
    ),
    Function("reverse", (_OPEN,), _reverse, ANY, summary="the elements in reverse order"),
    Function(
        "slice",
        (
            _OPEN,
            Parameter("start", NUMBER, sees_unknown=True),
            Parameter("end", NUMBER, sees_unknown=True),
        ),
        _slice,
        ANY,
        summary="the elements from start up to, not including, end",
    ),
)
