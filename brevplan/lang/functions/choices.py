"""Functions that decide over a list as a whole: whether all hold, which is the first of use, which is the only one."""

from __future__ import annotations

from brevplan.lang.convert import ConversionError, unify_values
from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import ANY, BOOL, ListType, SetType, TupleType, Type
from brevplan.lang.values import List, Sequence_, Set, Tuple, Unknown, Value, mark, type_of

from .arguments import kind_of, require_sequence
from .partial import bare, pending


def _alltrue(_: Environment, items: Value) -> Value:
    return _decided(items, False)


def _anytrue(_: Environment, items: Value) -> Value:
    return _decided(items, True)


def _decided(items: Value, decisive: bool) -> Value:
    """One decisive element settles the answer, whatever else is not known yet; null counts as false."""
    if isinstance(items, Unknown):
        return pending(BOOL, items)
    assert isinstance(items, Sequence_)
    if any((False if item is None else item) is decisive for item in items):
        return decisive
    return pending(BOOL, items) if items.has_unknown else not decisive


def _coalesce(_: Environment, *values: Value) -> Value:
    if not values:
        raise FunctionError("at least one argument is required")
    try:
        unified = unify_values(values)
    except ConversionError as problem:
        raise FunctionError(f"all arguments must have one type in common: {problem}") from None
    open_ = next((value for value in values if isinstance(value, Unknown) and value.type is ANY), None)
    for value in unified:
        if open_ is not None and not isinstance(value, str) and value is not None:
            # the type that all have in common is not known: what is a number now may become a string
            return Unknown(ANY, open_.because, not_null=not isinstance(value, Unknown))
        if isinstance(value, Unknown):
            return Unknown(value.type, value.because, not_null=value.not_null)
        if value is not None and value != "":
            return value
    raise FunctionError("every argument is null or an empty string; give a last one that never is")


def _coalescelist(_: Environment, *lists: Value) -> Value:
    if not lists:
        raise FunctionError("at least one argument is required")
    for position, argument in enumerate(lists):
        if not isinstance(argument, (Unknown, List, Tuple)):
            raise FunctionError(f"only lists and tuples are possible, not {kind_of(argument)}", position)
    for argument in lists:
        if isinstance(argument, Unknown):
            types = {type_of(value) for value in lists}
            return pending(types.pop() if len(types) == 1 else ANY, argument)
        assert isinstance(argument, (List, Tuple))
        if argument.items:
            return argument
    raise FunctionError("every list is empty; give a last one that never is")


def _one(_: Environment, items: Value) -> Value:
    given, marks = bare(items)
    if isinstance(given, Unknown):
        require_sequence(given, "list")
        return mark(pending(_only_type(given.type), given, not_null=False), marks)
    if not isinstance(given, Sequence_):
        raise FunctionError(f"a list, tuple or set is required, not {kind_of(given)}", 0)
    if len(given) > 1:
        if isinstance(given, Set) and given.has_unknown:
            return mark(pending(given.element, given, not_null=False), marks)
        raise FunctionError(f"there are {len(given)} elements; one() takes a list of none or one", 0)
    return mark(given.items[0] if given.items else None, marks)


def _only_type(type_: Type) -> Type:
    match type_:
        case ListType(element=element) | SetType(element=element):
            return element
        case TupleType(elements=(element,)):
            return element
        case TupleType(elements=(_, _, *_)):
            raise FunctionError("there is more than one element; one() takes a list of none or one", 0)
        case _:
            return ANY


_OPEN = Parameter("list", ANY, sees_unknown=True, sees_secret=True)
_BOOLS = Parameter("list", ListType(BOOL), sees_unknown=True)

FUNCTIONS: tuple[Function, ...] = (
    Function("alltrue", (_BOOLS,), _alltrue, BOOL, summary="whether all elements are true"),
    Function("anytrue", (_BOOLS,), _anytrue, BOOL, summary="whether an element is true"),
    Function(
        "coalesce",
        (),
        _coalesce,
        ANY,
        Parameter("values", ANY, nullable=True, sees_unknown=True),
        summary="the first value that is neither null nor an empty string",
    ),
    Function(
        "coalescelist",
        (),
        _coalescelist,
        ANY,
        Parameter("lists", ANY, sees_unknown=True),
        summary="the first list that is not empty",
    ),
    Function("one", (_OPEN,), _one, ANY, summary="the only element, or null", never_null=False),
)
