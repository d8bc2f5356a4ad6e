"""HCL values: plain Python where Python has the same thing, small frozen classes where it has not.

`None`, `bool` and `str` are themselves; a whole number is an `int`, another exact number a `Fraction`, and a
`float` only ever an infinity. `Tuple`, `List`, `Set`, `Object` and `Map` are frozen and know from their making
whether an `Unknown` or a `Secret` is anywhere inside, so that no later stage searches them again.

A `Secret` is always the outermost wrapper of what it hides, never nested directly in another `Secret`. Its marks say
why it is hidden: because it is sensitive, or ephemeral (there for one run only, and stored nowhere), or both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from brevplan.lang.numbers import round512
from brevplan.lang.types import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    ListType,
    MapType,
    ObjectType,
    SetType,
    TupleType,
    Type,
    is_open_type,
)

Number = int | Fraction | float

Marks = int
"""Why a value is hidden: a sum of the marks below, or 0 when it is not."""

SENSITIVE: Final[Marks] = 1
EPHEMERAL: Final[Marks] = 2

MAX_TEXT: Final = 1 << 26
"""How many characters a text that is put together may have: a few doublings more would fill the memory."""


MAX_DEPTH: Final = 200
"""How many collections may stand one in the other: more could not be looked through without an end of the stack."""

MAX_PARTS: Final = 1 << 24
"""How many parts a value may have at all depths: what shares its parts could have more than there are atoms."""


class ValueTooLarge(Exception):
    """A collection would have more parts than can be looked through."""


class Unknown:
    """A value that is decided later. `because` says what decides it, for messages: `instance.web.id`.

    What is known of it already: `not_null`; `prefix`, the beginning of a text; `least` and `most`, the bounds of a
    number or of the number of elements. It has no truth value: code that forgets to ask about it fails at once
    instead of taking a branch.
    """

    __slots__ = ("because", "least", "most", "not_null", "prefix", "type")

    def __init__(
        self,
        type: Type = ANY,
        because: str = "",
        *,
        not_null: bool = False,
        prefix: str = "",
        least: Number | None = None,
        most: Number | None = None,
    ) -> None:
        self.type = type
        self.because = because
        self.not_null = not_null
        self.prefix = prefix
        self.least = least
        self.most = most

    def __bool__(self) -> bool:
        raise TypeError("an unknown value has no truth value")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unknown) and other.type == self.type

    def __hash__(self) -> int:
        return hash(("unknown", self.type))

    def __repr__(self) -> str:
        return f"Unknown({self.type}, {self.because!r})"


class Secret:
    """A value that is never shown nor stored in plain text, because it is sensitive or ephemeral."""

    __slots__ = ("marks", "value")

    def __init__(self, value: Value, marks: Marks = SENSITIVE) -> None:
        self.value: Value = value.value if isinstance(value, Secret) else value
        self.marks: Marks = marks | value.marks if isinstance(value, Secret) else marks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)  # collections that differ only in marks are equal, so their hashes must be

    def __repr__(self) -> str:
        return "Secret(…)"


class Sequence_:
    """What `Tuple`, `List` and `Set` share: frozen items in order, and what they hold."""

    __slots__ = ("depth", "has_unknown", "inner_marks", "items", "size")

    def __init__(self, items: Iterable[Value]) -> None:
        self.items: tuple[Value, ...] = tuple(items)
        self.has_unknown, self.inner_marks, self.depth, self.size = _contents(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Value]:
        return iter(self.items)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Sequence_) and same_all(self.items, other.items)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.items))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.items)!r})"


class Tuple(Sequence_):
    """`[…]` as written: each element has its own type."""

    __slots__ = ()


class List(Sequence_):
    """Elements of one type. `element` is ANY when it is not known (an empty list)."""

    __slots__ = ("element",)

    def __init__(self, items: Iterable[Value], element: Type | None = None) -> None:
        super().__init__(items)
        self.element: Type = element if element is not None else common_type(self.items)


class Set(Sequence_):
    """Distinct elements of one type, kept in HCL's order: false before true, numbers and strings ascending."""

    __slots__ = ("element",)

    def __init__(self, items: Iterable[Value], element: Type | None = None) -> None:
        super().__init__(sorted(_distinct(items), key=_set_order))
        self.element: Type = element if element is not None else common_type(self.items)


class Mapping_:
    """What `Object` and `Map` share: names in code point order with their values, and what they hold."""

    __slots__ = ("depth", "has_unknown", "inner_marks", "items", "size")

    def __init__(self, items: Mapping[str, Value]) -> None:
        self.items: dict[str, Value] = {name: items[name] for name in sorted(items)}
        self.has_unknown, self.inner_marks, self.depth, self.size = _contents(self.items.values())

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[str]:
        return iter(self.items)

    def __getitem__(self, name: str) -> Value:
        return self.items[name]

    def __contains__(self, name: object) -> bool:
        return name in self.items

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is type(self)
            and isinstance(other, Mapping_)
            and self.items.keys() == other.items.keys()
            and all(same(value, other.items[name]) for name, value in self.items.items())
        )

    def __hash__(self) -> int:
        return hash((type(self).__name__, tuple(self.items.items())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.items!r})"


class Object(Mapping_):
    """`{…}` as written: each attribute has its own type."""

    __slots__ = ()


class Map(Mapping_):
    """Elements of one type under string keys. `element` is ANY when it is not known (an empty map)."""

    __slots__ = ("element",)

    def __init__(self, items: Mapping[str, Value], element: Type | None = None) -> None:
        super().__init__(items)
        self.element: Type = element if element is not None else common_type(self.items.values())


Value = None | bool | int | Fraction | float | str | Tuple | List | Set | Object | Map | Unknown | Secret


def _contents(values: Collection[Value]) -> tuple[bool, Marks, int, int]:
    """Say what is known of a collection from its making: an unknown, marks, how deep it is, how many parts it has."""
    unknown, marks, depth, size = False, 0, 0, len(values)
    for value in values:
        kind = value.__class__
        if kind is str or value is None or kind is int or kind is bool:
            continue
        if kind is Unknown:
            unknown = True
            continue
        if kind is Secret:
            marks |= all_marks(value)
            unknown = unknown or has_unknown(value)
            value = reveal(value)
        if isinstance(value, (Sequence_, Mapping_)):
            unknown = unknown or value.has_unknown
            marks |= value.inner_marks
            size += value.size
            depth = max(depth, value.depth)
    if depth >= MAX_DEPTH:
        raise RecursionError("a value nested too deeply")
    if size > MAX_PARTS:
        raise ValueTooLarge
    return unknown, marks, depth + 1, size


def has_unknown(value: Value) -> bool:
    """Tell whether a value is, or holds at any depth, something not known yet."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Secret):
        return has_unknown(value.value)
    return isinstance(value, (Sequence_, Mapping_)) and value.has_unknown


def first_unknown(values: Iterable[Value]) -> Unknown | None:
    """Find the first unknown among values, at any depth: what a result that depends on them has to wait for."""
    for value in values:
        inner = reveal(value)
        if isinstance(inner, Unknown):
            return inner
        if isinstance(inner, (Sequence_, Mapping_)) and inner.has_unknown:
            return first_unknown(inner.items.values() if isinstance(inner, Mapping_) else inner.items)
    return None


def is_open(value: Value) -> bool:
    """Tell whether an unknown in the value may turn out to be of any type, so that `type_of` says too much."""
    inner = reveal(value)
    if isinstance(inner, Unknown):
        return is_open_type(inner.type)
    if isinstance(inner, (Sequence_, Mapping_)) and inner.has_unknown:
        return any(map(is_open, inner.items.values() if isinstance(inner, Mapping_) else inner.items))
    return False


def marks_of(value: Value) -> Marks:
    """Give the marks of the value itself, not of its parts."""
    return value.marks if isinstance(value, Secret) else 0


def all_marks(value: Value) -> Marks:
    """Give the marks of a value and of its parts at any depth."""
    if isinstance(value, Secret):
        return value.marks | all_marks(value.value)
    return value.inner_marks if isinstance(value, (Sequence_, Mapping_)) else 0


def has_secret(value: Value) -> bool:
    """Tell whether a value is, or holds at any depth, a secret: something sensitive or ephemeral."""
    return isinstance(value, Secret) or (isinstance(value, (Sequence_, Mapping_)) and value.inner_marks != 0)


def has_ephemeral(value: Value) -> bool:
    """Tell whether a value is, or holds at any depth, something ephemeral."""
    return all_marks(value) & EPHEMERAL != 0


def ephemeral(value: Value) -> Secret:
    """Mark a value as there for this run only: it may be used, and is stored nowhere."""
    return Secret(value, EPHEMERAL)


def mark(value: Value, marks: Marks) -> Value:
    """Give a value the marks of what it was derived from; its parts keep theirs."""
    return Secret(value, marks) if marks else value


def mark_whole(value: Value, marks: Marks) -> Value:
    """Mark a value that shows by its very form something of what is hidden: then no part needs these marks too."""
    if not marks:
        return value
    return Secret(value if all_marks(value) & ~marks else reveal_deep(value), marks)


def reveal(value: Value) -> Value:
    """Take the outermost marks off."""
    return value.value if isinstance(value, Secret) else value


def reveal_deep(value: Value) -> Value:
    """Take every mark off, at every depth: for the request that goes to the cloud, and nothing else."""
    if not has_secret(value):
        return value
    return rebuild(reveal(value), reveal_deep)


def rebuild(value: Value, change: Callable[[Value], Value]) -> Value:
    """Make a collection anew with `change` applied to each direct element; give any other value back as it is."""
    match value:
        case Tuple():
            return Tuple(map(change, value.items))
        case List():
            return List(map(change, value.items), value.element)
        case Set():
            return Set(map(change, value.items), value.element)
        case Object():
            return Object({name: change(item) for name, item in value.items.items()})
        case Map():
            return Map({name: change(item) for name, item in value.items.items()}, value.element)
        case _:
            return value


def same(left: Value, right: Value) -> bool:
    """Type-exact, deep equality of two known values: `1` is not `"1"`, `true` is not `1`. Secret marks do not count."""
    left, right = reveal(left), reveal(right)
    if left is right:
        return not isinstance(left, Unknown)
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if isinstance(left, (int, Fraction, float)):
        return isinstance(right, (int, Fraction, float)) and left == right
    return left.__class__ is right.__class__ and bool(left == right)


def same_all(left: Sequence[Value], right: Sequence[Value]) -> bool:
    return len(left) == len(right) and all(map(same, left, right))


def _identity(value: Value) -> object:
    """Give a hashable stand-in under which only `same` values meet."""
    match value:
        case str():
            return value
        case None | bool():
            return (bool, value)
        case Secret():
            return _identity(value.value)
        case Sequence_():
            return (type(value), *map(_identity, value.items))
        case Mapping_():
            return (type(value), *value.items, *map(_identity, value.items.values()))
        case _:
            return (int, value)


def _distinct(items: Iterable[Value]) -> list[Value]:
    seen: dict[object, Value] = {}
    for item in items:
        if item.__class__ is str:
            key: object = item
        else:
            # two unknown members may turn out different: both stay
            key = object() if has_unknown(item) else _identity(item)
        seen.setdefault(key, item)
    return list(seen.values())


def _set_order(value: Value) -> tuple[int, Any]:
    match reveal(value):
        case str() as text:
            return (2, text)
        case bool() as truth:
            return (0, truth)
        case int() | Fraction() | float() as number:
            return (1, number)
        case Sequence_() as sequence:
            return (3, tuple(map(_set_order, sequence.items)))
        case Mapping_() as mapping:
            return (4, (tuple(mapping.items), tuple(map(_set_order, mapping.items.values()))))
        case None:
            return (5, None)
        case _:
            return (6, 0)


def type_of(value: Value) -> Type:
    """Give the type of a value; null and untyped unknown have the type `any`."""
    kind = value.__class__
    if kind is str:
        return STRING
    if kind is bool:
        return BOOL
    if kind is int or kind is Fraction or kind is float:
        return NUMBER
    match value:
        case Secret():
            return type_of(value.value)
        case Unknown():
            return value.type
        case Tuple():
            return TupleType(tuple(map(type_of, value.items)))
        case List():
            return ListType(value.element)
        case Set():
            return SetType(value.element)
        case Object():
            return ObjectType({name: type_of(item) for name, item in value.items.items()})
        case Map():
            return MapType(value.element)
        case _:
            return ANY


def common_type(items: Iterable[Value]) -> Type:
    """Give the type of the first element whose type is known: all others agree in a well-made collection."""
    for item in items:
        found = type_of(item)
        if found is not ANY:
            return found
    return ANY


def from_python(data: Any) -> Value:
    """Make a value of plain JSON-like Python data: dicts become objects, lists become tuples."""
    if data is None or isinstance(data, (bool, str, int)):
        return data
    if isinstance(data, Fraction):
        return int(data) if data.denominator == 1 else data
    if isinstance(data, float):
        return round512(Fraction(str(data)))
    if isinstance(data, dict):
        return Object({str(name): from_python(item) for name, item in data.items()})
    if isinstance(data, (list, tuple)):
        return Tuple(map(from_python, data))
    return data  # type: ignore[no-any-return]  # already a value


def to_python(value: Value, *, unknown: Any = None, secret: Any = None) -> Any:
    """Give plain JSON-like Python data; an unknown and a secret become the stand-ins given.

    A fraction becomes the nearest `float`: for output formats, never for reckoning.
    """
    match value:
        case Secret():
            return secret
        case Unknown():
            return unknown
        case Sequence_():
            return [to_python(item, unknown=unknown, secret=secret) for item in value.items]
        case Mapping_():
            return {name: to_python(item, unknown=unknown, secret=secret) for name, item in value.items.items()}
        case Fraction():
            return float(value)
        case _:
            return value


EMPTY_TUPLE: Final = Tuple(())
EMPTY_OBJECT: Final = Object({})
