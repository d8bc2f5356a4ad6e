"""Functions that convert values, and those that add, remove and ask for marks."""

from __future__ import annotations

from brevplan.lang.gate import Environment, Function, Parameter
from brevplan.lang.types import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    ListType,
    MapType,
    SetType,
    Type,
)
from brevplan.lang.values import (
    EPHEMERAL,
    SENSITIVE,
    Secret,
    Unknown,
    Value,
    has_ephemeral,
    mark,
    marks_of,
    rebuild,
    reveal,
)

from .arguments import converted
from .partial import bare


def _to(type_: Type) -> Function:
    word = {ListType: "list", SetType: "set", MapType: "map"}.get(type(type_)) or str(type_)

    def body(_: Environment, value: Value) -> Value:
        given, marks = bare(value)
        return mark(converted(given, type_, "value", 0), marks)

    parameter = Parameter("value", ANY, nullable=True, sees_unknown=True, sees_secret=True)
    return Function(f"to{word}", (parameter,), body, type_, summary=f"the value as a {word}", never_null=False)


def _sensitive(_: Environment, value: Value) -> Value:
    return mark(value, SENSITIVE)


def _nonsensitive(_: Environment, value: Value) -> Value:
    return mark(reveal(value), marks_of(value) & ~SENSITIVE)


def _issensitive(_: Environment, value: Value) -> Value:
    if marks_of(value) & SENSITIVE:
        return True
    # an unknown value may turn out to be sensitive when it is known
    given = reveal(value)
    return Unknown(BOOL, given.because, not_null=True) if isinstance(given, Unknown) else False


def _ephemeralasnull(_: Environment, value: Value) -> Value:
    return _without_ephemeral(value)


def _without_ephemeral(value: Value) -> Value:
    """Put null for each part that is ephemeral; one that is not known yet may be of another type: it stays unknown."""
    if not has_ephemeral(value):
        return value
    if not isinstance(value, Secret):
        return rebuild(value, _without_ephemeral)
    inner = value.value
    if not value.marks & EPHEMERAL:
        inner = rebuild(inner, _without_ephemeral)
    else:
        inner = Unknown(inner.type, inner.because) if isinstance(inner, Unknown) else None
    return mark(inner, value.marks & ~EPHEMERAL)


_OPEN = Parameter("value", ANY, nullable=True, sees_unknown=True, sees_secret=True)

FUNCTIONS: tuple[Function, ...] = (
    _to(STRING),
    _to(NUMBER),
    _to(BOOL),
    _to(ListType(ANY)),
    _to(SetType(ANY)),
    _to(MapType(ANY)),
    Function("sensitive", (_OPEN,), _sensitive, ANY, summary="the value, marked as sensitive", never_null=False),
    Function(
        "nonsensitive", (_OPEN,), _nonsensitive, ANY, summary="the value without the sensitive mark", never_null=False
    ),
    Function("issensitive", (_OPEN,), _issensitive, BOOL, summary="whether the value is marked as sensitive"),
    Function(
        "ephemeralasnull",
        (_OPEN,),
        _ephemeralasnull,
        ANY,
        summary="the value, with null for what is ephemeral",
        never_null=False,
    ),
)
