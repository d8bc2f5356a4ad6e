"""Functions that promise something of a value that is not known yet, and check it as soon as it is known.

Each gives its value back. While that is unknown, what is promised decides what it can: a comparison with null, a test
of the beginning, the number of elements.
"""

from __future__ import annotations

from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.gate import Body, Environment, Function, FunctionError, Parameter
from brevplan.lang.refinements import bounds_of, equality
from brevplan.lang.types import ANY, NUMBER, STRING, ListType, MapType, SetType, Type
from brevplan.lang.values import List, Map, Number, Set, Unknown, Value, mark, reveal_deep, type_of

from .arguments import kind_of, not_negative
from .partial import bare
from .text import quoted

_MAX_STAND_INS = 1024
_LIMITLESS = 1 << 63


def _assumeequal(_: Environment, value: Value, expected: Value) -> Value:
    """The expected value tells nothing of the other one, so that its marks are left behind."""
    try:
        given = convert(reveal_deep(value), type_of(expected))
    except ConversionError:
        kinds = f"{kind_of(value)}, and {kind_of(expected)} was assumed"
        raise FunctionError(f"the assumption does not hold: the value is {kinds}", 0) from None
    if equality(given, expected) is False:
        raise FunctionError("the assumption does not hold: the value is not the one assumed", 0)
    return expected


def _assumenotnull(_: Environment, value: Value) -> Value:
    given, marks = bare(value)
    if given is None:
        raise FunctionError("the assumption does not hold: the value is null", 0)
    return mark(_narrowed(given, not_null=True) if isinstance(given, Unknown) else given, marks)


def _assumestringprefix(_: Environment, value: Value, prefix: str) -> Value:
    given, marks = bare(value)
    if isinstance(given, Unknown):
        longer, shorter = (given.prefix, prefix) if len(given.prefix) > len(prefix) else (prefix, given.prefix)
        if longer.startswith(shorter):
            return mark(_narrowed(given, prefix=longer), marks)
        raise _other_beginning(prefix, given.prefix)
    if isinstance(given, str) and not given.startswith(prefix):
        raise _other_beginning(prefix, given)
    return mark(given, marks)


def _other_beginning(prefix: str, text: str) -> FunctionError:
    return FunctionError(f"the assumption does not hold: {quoted(text)} does not begin with {quoted(prefix)}", 0)


def _between(_: Environment, value: Value, least: Number, most: Number) -> Value:
    low, high = not_negative(least, "least", 1), not_negative(most, "most", 2)
    if low > high:
        raise FunctionError(f'"most" is {high}, which is below "least", {low}', 2)
    return _bounded(value, low, high)


def _at_least(_: Environment, value: Value, least: Number) -> Value:
    return _bounded(value, not_negative(least, "least", 1), _LIMITLESS)


def _at_most(_: Environment, value: Value, most: Number) -> Value:
    return _bounded(value, 0, not_negative(most, "most", 1))


def _bounded(value: Value, least: int, most: int) -> Value:
    given, marks = bare(value)
    if given is None:
        return value
    low, high = bounds_of(given)
    if low is not None and low > most:
        raise _other_length("at least" if low != high else "", low, f"at most {most}")
    if high is not None and high < least:
        raise _other_length("at most" if low != high else "", high, f"at least {least}")
    if not isinstance(given, Unknown):
        return value
    narrowed = _narrowed(given, least=max(least, low or 0), most=most if high is None else min(most, high))
    return mark(_settled(narrowed), marks)


def _other_length(bound: str, count: Number, assumed: str) -> FunctionError:
    verb, noun = ("is", "element") if count == 1 else ("are", "elements")
    there = " ".join(filter(None, ("there", verb, bound, str(count), noun)))
    return FunctionError(f"the assumption does not hold: {there}, and {assumed} were assumed", 0)


def _narrowed(
    value: Unknown,
    *,
    not_null: bool = False,
    prefix: str = "",
    least: Number | None = None,
    most: Number | None = None,
) -> Unknown:
    return Unknown(
        value.type,
        value.because,
        not_null=value.not_null or not_null,
        prefix=prefix or value.prefix,
        least=value.least if least is None else least,
        most=value.most if most is None else most,
    )


def _settled(value: Unknown) -> Value:
    """Give the collection itself where its promised length leaves nothing open but its elements."""
    count = value.least
    if not value.not_null or count != value.most or not isinstance(count, int) or count > _MAX_STAND_INS:
        return value
    match value.type:
        case ListType(element=element):
            return List([Unknown(element, value.because)] * count, element)
        case SetType(element=element) if count <= 1:
            return Set([Unknown(element, value.because)] * count, element)
        case MapType(element=element) if count == 0:
            return Map({}, element)
    return value


_ANYTHING = Parameter("value", ANY, nullable=True, sees_unknown=True, sees_secret=True)
_PROMISES = "the value itself, assumed to"


def _lengths(word: str, type_: Type) -> list[Function]:
    """Make the three functions over the length of one kind of collection."""
    value = Parameter(word, type_, nullable=True, sees_unknown=True, sees_secret=True)
    least, most = Parameter("least", NUMBER), Parameter("most", NUMBER)
    name = f"assume{word}length"

    def make(suffix: str, bounds: tuple[Parameter, ...], body: Body, summary: str) -> Function:
        return Function(f"{name}{suffix}", (value, *bounds), body, type_, summary=summary, never_null=False)

    return [
        make("", (least, most), _between, f"{_PROMISES} have so many elements"),
        make("min", (least,), _at_least, f"{_PROMISES} have no fewer elements"),
        make("max", (most,), _at_most, f"{_PROMISES} have no more elements"),
    ]


FUNCTIONS: tuple[Function, ...] = (
    Function(
        "assumeequal",
        (_ANYTHING, Parameter("expected", ANY, nullable=True, sees_unknown=True, sees_secret=True)),
        _assumeequal,
        ANY,
        summary="the second value, assumed to equal the first",
        never_null=False,
    ),
    Function("assumenotnull", (_ANYTHING,), _assumenotnull, ANY, summary=f"{_PROMISES} be something"),
    Function(
        "assumestringprefix",
        (
            Parameter("value", STRING, nullable=True, sees_unknown=True, sees_secret=True),
            Parameter("prefix", STRING),
        ),
        _assumestringprefix,
        STRING,
        summary=f"{_PROMISES} begin so",
        never_null=False,
    ),
    *_lengths("list", ListType(ANY)),
    *_lengths("set", SetType(ANY)),
    *_lengths("map", MapType(ANY)),
)
