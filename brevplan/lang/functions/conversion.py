"""Functions that convert values, and those that add, remove and ask for the secret mark."""

from __future__ import annotations

from brevplan.lang.convert import convert
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
from brevplan.lang.values import Secret, Unknown, Value, reveal

from .arguments import converted
from .partial import bare, mark


def _to(type_: Type) -> Function:
    word = {ListType: "list", SetType: "set", MapType: "map"}.get(type(type_)) or str(type_)

    def body(_: Environment, value: Value) -> Value:
        given, secret = bare(value)
        return mark(converted(given, type_, "value", 0), secret)

    parameter = Parameter("value", ANY, nullable=True, sees_unknown=True, sees_secret=True)
    return Function(f"to{word}", (parameter,), body, type_, summary=f"the value as a {word}", never_null=False)


def _sensitive(_: Environment, value: Value) -> Value:
    return Secret(value)


def _nonsensitive(_: Environment, value: Value) -> Value:
    return reveal(value)


def _issensitive(_: Environment, value: Value) -> Value:
    if isinstance(value, Secret):
        return True
    # an unknown value may turn out to be a secret when it is known
    return Unknown(BOOL, value.because, not_null=True) if isinstance(value, Unknown) else False


def _ephemeralasnull(_: Environment, value: Value) -> Value:
    # no value of this language is ephemeral: the function is here for configurations that call it
    return convert(value, ANY)


_OPEN = Parameter("value", ANY, nullable=True, sees_unknown=True, sees_secret=True)

FUNCTIONS: tuple[Function, ...] = (
    _to(STRING),
    _to(NUMBER),
    _to(BOOL),
    _to(ListType(ANY)),
    _to(SetType(ANY)),
    _to(MapType(ANY)),
    Function("sensitive", (_OPEN,), _sensitive, ANY, summary="the value, marked as a secret", never_null=False),
    Function("nonsensitive", (_OPEN,), _nonsensitive, ANY, summary="the value without its mark", never_null=False),
    Function("issensitive", (_OPEN,), _issensitive, BOOL, summary="whether the value is marked as a secret"),
    Function("ephemeralasnull", (_OPEN,), _ephemeralasnull, ANY, summary="the value itself", never_null=False),
)
