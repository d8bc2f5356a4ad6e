"""Names that were functions once and now only say what to write instead."""

from __future__ import annotations

from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import ANY
from brevplan.lang.values import Value


def _list(_: Environment, *__: Value) -> Value:
    raise FunctionError("list() no longer exists: write tolist([...])")


def _map(_: Environment, *__: Value) -> Value:
    raise FunctionError("map() no longer exists: write tomap({...})")


_ANYTHING = Parameter("values", ANY, nullable=True, sees_unknown=True)

FUNCTIONS: tuple[Function, ...] = (
    Function("list", (), _list, ANY, _ANYTHING, summary="retired"),
    Function("map", (), _map, ANY, _ANYTHING, summary="retired"),
)
