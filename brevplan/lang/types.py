"""HCL types: what a value is, what a constraint asks for. Plain values, compared by structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Type:
    """Base of all types. `str()` gives the type as a user would write it."""


@dataclass(frozen=True, slots=True)
class Primitive(Type):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class AnyType(Type):
    """As a constraint: whatever the value is. As the type of a value: not known yet (null, or untyped unknown)."""

    def __str__(self) -> str:
        return "any"


STRING = Primitive("string")
NUMBER = Primitive("number")
BOOL = Primitive("bool")
ANY = AnyType()


@dataclass(frozen=True, slots=True)
class ListType(Type):
    element: Type

    def __str__(self) -> str:
        return f"list({self.element})"


@dataclass(frozen=True, slots=True)
class SetType(Type):
    element: Type

    def __str__(self) -> str:
        return f"set({self.element})"


@dataclass(frozen=True, slots=True)
class MapType(Type):
    element: Type

    def __str__(self) -> str:
        return f"map({self.element})"


@dataclass(frozen=True, slots=True)
class TupleType(Type):
    elements: tuple[Type, ...]

    def __str__(self) -> str:
        return f"tuple([{', '.join(map(str, self.elements))}])"


@dataclass(frozen=True, slots=True)
class ObjectType(Type):
    """`optional` names the attributes that may be missing; `defaults` holds the value that then takes their place."""

    attributes: Mapping[str, Type]
    optional: frozenset[str] = frozenset()
    defaults: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        inner = ", ".join(
            f"{name} = optional({type_})" if name in self.optional else f"{name} = {type_}"
            for name, type_ in sorted(self.attributes.items())
        )
        return f"object({{{inner}}})"

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.attributes)), self.optional))


def without_optional(type_: Type) -> Type:
    """Give the type of the values that suit a constraint: in these no attribute is missing."""
    match type_:
        case Primitive():
            return type_
        case ListType(element=element):
            return ListType(without_optional(element))
        case SetType(element=element):
            return SetType(without_optional(element))
        case MapType(element=element):
            return MapType(without_optional(element))
        case TupleType(elements=elements):
            return TupleType(tuple(map(without_optional, elements)))
        case ObjectType(attributes=attributes):
            return ObjectType({name: without_optional(inner) for name, inner in attributes.items()})
        case _:
            return type_


def is_open_type(type_: Type) -> bool:
    """Tell whether a type is not fully known: it is `any`, or has `any` somewhere inside."""
    match type_:
        case AnyType():
            return True
        case ListType(element=element) | SetType(element=element) | MapType(element=element):
            return is_open_type(element)
        case TupleType(elements=elements):
            return any(map(is_open_type, elements))
        case ObjectType(attributes=attributes):
            return any(map(is_open_type, attributes.values()))
        case _:
            return False


def friendly(type_: Type) -> str:
    """Give the word for a type that reads well in a sentence: `a string`, `a list of number`."""
    match type_:
        case Primitive(name=name):
            return name
        case ListType(element=element):
            return f"list of {friendly(element)}"
        case SetType(element=element):
            return f"set of {friendly(element)}"
        case MapType(element=element):
            return f"map of {friendly(element)}"
        case TupleType():
            return "tuple"
        case ObjectType():
            return "object"
        case _:
            return "any value"
