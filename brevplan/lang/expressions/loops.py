"""`for` in its three forms: one that makes a tuple, one that makes an object, and the directive of templates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from brevplan.lang import ast
from brevplan.lang.expressions.constructors import object_key, outcome
from brevplan.lang.prepared import EvaluationError, Loop, Preparer, Run, Scope, fault, touched, truth_of
from brevplan.lang.printing import print_value
from brevplan.lang.types import ANY, ListType, MapType, Primitive, SetType, friendly
from brevplan.lang.values import (
    Mapping_,
    Marks,
    Object,
    Secret,
    Sequence_,
    Set,
    Tuple,
    Unknown,
    Value,
    all_marks,
    marks_of,
    reveal,
    type_of,
)

AnyFor = ast.ForTuple | ast.ForObject | ast.TemplateFor


def prepare_for_tuple(preparer: Preparer, node: ast.ForTuple, loops: frozenset[str]) -> Run:
    head = prepare_head(preparer, node, loops, node.condition)
    value = preparer.expression(node.value, loops | head.names)

    def run(scope: Scope, loop: Loop) -> Value:
        rounds = Rounds(head, scope, loop)
        items: list[Value] = []
        for names, is_certain in rounds:
            if is_certain:
                items.append(value(scope, names))
            else:
                rounds.marks |= touched(value, scope, names)
        return outcome(Tuple(items), rounds.waits, rounds.marks)

    return run


def prepare_for_object(preparer: Preparer, node: ast.ForObject, loops: frozenset[str]) -> Run:
    head = prepare_head(preparer, node, loops, node.condition)
    key_of = preparer.expression(node.key, loops | head.names)
    value = preparer.expression(node.value, loops | head.names)

    def run(scope: Scope, loop: Loop) -> Value:
        rounds = Rounds(head, scope, loop)
        groups: dict[str, list[Value]] = {}
        for names, is_certain in rounds:
            if not is_certain:
                rounds.marks |= touched(key_of, scope, names) | touched(value, scope, names)
                continue
            raw = key_of(scope, names)
            name: str | Unknown
            if raw.__class__ is str:
                name = raw
            else:
                rounds.marks |= marks_of(raw)
                name = object_key(raw, node.key)
            item = value(scope, names)
            if isinstance(name, Unknown):
                rounds.waits = name
                rounds.marks |= all_marks(item)
                continue
            if name in groups and not node.grouped:
                raise _duplicate_key(node, raw)
            groups.setdefault(name, []).append(item)
        result = Object({name: Tuple(found) if node.grouped else found[0] for name, found in groups.items()})
        return outcome(result, rounds.waits, rounds.marks)

    return run


def _duplicate_key(node: ast.ForObject, key: Value) -> EvaluationError:
    return fault(
        "Duplicate object key",
        f"Two elements give the key {print_value(key, short=True)}.",
        node.key.span,
        hint="Write three dots behind the value to collect all values of a key: => value...",
    )


@dataclass(frozen=True, slots=True)
class Head:
    """What is written before the value of a `for`."""

    node: AnyFor
    names: frozenset[str]
    collection: Run
    condition: Run | None


def prepare_head(
    preparer: Preparer, node: AnyFor, loops: frozenset[str], condition: ast.Expression | None = None
) -> Head:
    names = frozenset(name for name in (node.key_name, node.value_name) if name is not None)
    collection = preparer.expression(node.collection, loops)
    return Head(node, names, collection, None if condition is None else preparer.expression(condition, loops | names))


class Rounds:
    """One run of a loop: gives the names bound for each element, and whether the element is certain to count.

    Afterwards `waits` is the unknown that decides which elements there are, if there is one, and `marks` are those
    of what decided it. The names are bound in one mapping that changes from round to round.
    """

    __slots__ = ("head", "marks", "outer", "scope", "waits")

    def __init__(self, head: Head, scope: Scope, outer: Loop) -> None:
        self.head = head
        self.scope = scope
        self.outer = outer
        self.marks: Marks = 0
        self.waits: Unknown | None = None

    def __iter__(self) -> Iterator[tuple[Loop, bool]]:
        node, condition = self.head.node, self.head.condition
        source = self.head.collection(self.scope, self.outer)
        of_all = self.marks = marks_of(source)
        collection = reveal(source)
        names = dict(self.outer)
        if isinstance(collection, Unknown) and not isinstance(collection.type, Primitive):
            self.waits = collection
            self._bind(names, *_stand_ins(collection), of_all)
            if condition is not None:
                self.marks |= touched(condition, self.scope, names)
            yield names, False
            return
        for key, item in _pairs(collection, node.collection):
            self._bind(names, key, item, of_all)
            wanted = True if condition is None else self._is_wanted(condition, names)
            if isinstance(wanted, Unknown):
                self.waits = wanted
                yield names, False
            elif wanted:
                yield names, True

    def _bind(self, names: dict[str, Value], key: Value, item: Value, marks: Marks) -> None:
        node = self.head.node
        if node.key_name is not None:
            names[node.key_name] = Secret(key, marks) if marks else key
        names[node.value_name] = Secret(item, marks) if marks else item

    def _is_wanted(self, condition: Run, names: Loop) -> bool | Unknown:
        node = self.head.node
        assert not isinstance(node, ast.TemplateFor)
        assert node.condition is not None
        value = condition(self.scope, names)
        if value is True or value is False:
            return value
        self.marks |= marks_of(value)
        return truth_of(node.condition, value, 'The condition behind "if"')


def _pairs(value: Value, node: ast.Expression) -> Iterable[tuple[Value, Value]]:
    match value:
        case Set():
            return zip(value.items, value.items, strict=True)
        case Sequence_():
            return enumerate(value.items)
        case Mapping_():
            return value.items.items()
        case None:
            raise fault("Iteration over null", "The collection is null.", node.span)
        case _:
            raise fault(
                "Iteration over a single value",
                f"A list, set, map or object is needed, not {friendly(type_of(value))}.",
                node.span,
            )


def _stand_ins(collection: Unknown) -> tuple[Value, Value]:
    """Give an unknown key and an unknown element of a collection that is not known."""
    kind, because = collection.type, collection.because
    element = kind.element if isinstance(kind, (ListType, SetType, MapType)) else ANY
    return Unknown(ANY, because, not_null=True), Unknown(element, because)
