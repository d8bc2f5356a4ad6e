"""Tuples and objects as written: `[…]` and `{…}`."""

from __future__ import annotations

from brevplan.lang import ast
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.prepared import Loop, Preparer, Run, Scope, fault
from brevplan.lang.types import ANY, STRING
from brevplan.lang.values import Marks, Object, Tuple, Unknown, Value, all_marks, mark_whole, marks_of, reveal


def prepare_tuple(preparer: Preparer, node: ast.TupleCons, loops: frozenset[str]) -> Run:
    items = [preparer.expression(item, loops) for item in node.items]
    return lambda scope, loop: Tuple([run(scope, loop) for run in items])


def prepare_object(preparer: Preparer, node: ast.ObjectCons, loops: frozenset[str]) -> Run:
    pairs = [
        (item, preparer.expression(item.key, loops), preparer.expression(item.value, loops)) for item in node.items
    ]

    def run(scope: Scope, loop: Loop) -> Value:
        items: dict[str, Value] = {}
        marks = 0
        waits: Unknown | None = None
        for item, key, value in pairs:
            name = key(scope, loop)
            if name.__class__ is not str:
                marks |= marks_of(name)
                name = object_key(name, item.key)
            element = value(scope, loop)
            if isinstance(name, Unknown):
                waits = name
                marks |= all_marks(element)
            else:
                items[name] = element
        return outcome(Object(items), waits, marks)

    return run


def object_key(value: Value, node: ast.Expression) -> str | Unknown:
    """Give the text of a key; its marks are the caller's matter."""
    if value.__class__ is str:
        return value
    if reveal(value) is None:
        raise fault("Null object key", "The key of an object cannot be null.", node.span)
    try:
        name = reveal(convert(value, STRING))
    except ConversionError as problem:
        raise fault("Invalid object key", f"The key of an object is a text: {problem}.", node.span) from None
    assert isinstance(name, (str, Unknown))
    return name


def outcome(result: Value, waits: Unknown | None, marks: Marks) -> Value:
    """Give the collection that was built, or the unknown that stands for it when something decides it later."""
    if waits is None:
        return mark_whole(result, marks)
    # it may come to hold a part that is hidden
    return mark_whole(Unknown(ANY, waits.because, not_null=True), marks | all_marks(result))
