"""Functions over text, without patterns (`patterns`) and verbs (`formatting`)."""

from __future__ import annotations

from brevplan.lang.convert import ConversionError, to_string
from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.refinements import starts_with
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType
from brevplan.lang.values import List, Number, Sequence_, Unknown, Value, has_unknown, mark

from .arguments import converted, kind_of, not_negative, whole
from .partial import bare_deep, pending
from .text import characters, normal

_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_MAX_INDENT = 10_000


def _chomp(_: Environment, text: str) -> Value:
    return text.rstrip("\r\n")


def _startswith(_: Environment, text: Value, prefix: Value) -> Value:
    if not isinstance(prefix, str):
        return pending(BOOL, prefix)
    if isinstance(text, Unknown):
        found = starts_with(text, prefix)
        return pending(BOOL, text) if found is None else found
    assert isinstance(text, str)
    return text.startswith(prefix)


def _endswith(_: Environment, text: str, suffix: str) -> Value:
    return text.endswith(suffix)


def _strcontains(_: Environment, text: str, part: str) -> Value:
    return part in text


def _indent(_: Environment, spaces: Number, text: str) -> Value:
    width = not_negative(spaces, "spaces", 0)
    if width > _MAX_INDENT:
        raise FunctionError(f"at most {_MAX_INDENT} spaces are possible, not {width}", 0)
    return text.replace("\n", "\n" + " " * width)


def _join(_: Environment, separator: Value, *lists: Value) -> Value:
    if not lists:
        raise FunctionError("at least one list is required", 1)
    given, marks = bare_deep(separator)
    pieces: list[str] = []
    unknown = [given] if isinstance(given, Unknown) else []
    for position, argument in enumerate(lists, 1):
        items, list_marks = bare_deep(argument)
        marks |= list_marks
        if isinstance(items, Unknown):
            converted(items, ListType(STRING), "lists", position)
            unknown.append(items)
            continue
        if not isinstance(items, Sequence_):
            raise FunctionError(f"a list of strings is required, not {kind_of(items)}", position)
        pieces.extend(_piece(item, number, position) for number, item in enumerate(items))
        unknown.extend(item for item in items if isinstance(item, Unknown))
    if unknown:
        return mark(pending(STRING, *unknown), marks)
    assert isinstance(given, str)
    return mark(normal(given.join(pieces)), marks)


def _piece(item: Value, number: int, position: int) -> str:
    if item is None:
        raise FunctionError(f"element {number} is null; leave null elements out, for example with compact()", position)
    if isinstance(item, Unknown):
        converted(item, STRING, "lists", position)
        return ""
    try:
        return to_string(item)
    except ConversionError as problem:
        raise FunctionError(f"element {number}: {problem}", position) from None


def _split(_: Environment, separator: str, text: str) -> Value:
    # an empty separator splits code points, not what a reader calls characters: so does the reference engine
    pieces = text.split(separator) if separator else list(text)
    return List(map(normal, pieces), STRING)


def _lower(_: Environment, text: str) -> Value:
    return text.lower() if text.isascii() else normal("".join(map(_lower_letter, text)))


def _upper(_: Environment, text: str) -> Value:
    return text.upper() if text.isascii() else normal("".join(map(_upper_letter, text)))


def _title(_: Environment, text: str) -> Value:
    letters = []
    at_start = True
    for letter in text:
        letters.append(_title_letter(letter) if at_start else letter)
        at_start = _separates(letter)
    return normal("".join(letters))


def _lower_letter(letter: str) -> str:
    # Python maps the dotted capital I to two characters; a simple mapping never does
    return "i" if letter == "\u0130" else letter.lower()


def _upper_letter(letter: str) -> str:
    upper = letter.upper()
    return upper if len(upper) == 1 else _title_letter(letter)


def _title_letter(letter: str) -> str:
    title = letter.title()
    return title if len(title) == 1 else letter


def _separates(letter: str) -> bool:
    if letter.isascii():
        return not (letter.isalnum() or letter == "_")
    return letter in _SPACE


def _strrev(_: Environment, text: str) -> Value:
    return normal("".join(reversed(characters(text))))


def _substr(_: Environment, text: str, offset: Number, length: Number) -> Value:
    start, count = whole(offset, "offset", 1), whole(length, "length", 2)
    if count == 0:
        return ""
    letters = characters(text)
    begin = max(len(letters) + start, 0) if start < 0 else start
    return normal("".join(letters[begin:] if count < 0 else letters[begin : begin + count]))


def _trim(_: Environment, text: str, cutset: str) -> Value:
    # Python strips whitespace when told to strip nothing
    return text.strip(cutset) if cutset else text


def _trimprefix(_: Environment, text: str, prefix: str) -> Value:
    return text.removeprefix(prefix)


def _trimsuffix(_: Environment, text: str, suffix: str) -> Value:
    return text.removesuffix(suffix)


def _trimspace(_: Environment, text: str) -> Value:
    return text.strip(_SPACE)


def _sort(_: Environment, items: Value) -> Value:
    assert isinstance(items, List)
    for position, item in enumerate(items):
        if item is None:
            raise FunctionError(f"element {position} is null, and null has no place in an order", 0)
    return List(sorted(str(item) for item in items), STRING)


def _compact(_: Environment, items: Value) -> Value:
    if has_unknown(items):
        return pending(ListType(STRING), items)
    assert isinstance(items, List)
    return List((item for item in items if item is not None and item != ""), STRING)


_TEXT = Parameter("text", STRING)
_STRINGS = Parameter("list", ListType(STRING))

FUNCTIONS: tuple[Function, ...] = (
    Function("chomp", (_TEXT,), _chomp, STRING, summary="the text without its trailing line ends"),
    Function(
        "startswith",
        (Parameter("text", STRING, sees_unknown=True), Parameter("prefix", STRING, sees_unknown=True)),
        _startswith,
        BOOL,
        summary="whether it begins so",
    ),
    Function("endswith", (_TEXT, Parameter("suffix", STRING)), _endswith, BOOL, summary="whether it ends so"),
    Function("strcontains", (_TEXT, Parameter("part", STRING)), _strcontains, BOOL, summary="whether it has the part"),
    Function("indent", (Parameter("spaces", NUMBER), _TEXT), _indent, STRING, summary="all lines but the first moved"),
    Function(
        "join",
        (Parameter("separator", STRING, sees_unknown=True, sees_secret=True),),
        _join,
        STRING,
        Parameter("lists", ANY, sees_unknown=True, sees_secret=True),
        summary="the elements of lists as one text",
    ),
    Function("split", (Parameter("separator", STRING), _TEXT), _split, ListType(STRING), summary="the pieces"),
    Function("lower", (_TEXT,), _lower, STRING, summary="the text in lower case"),
    Function("upper", (_TEXT,), _upper, STRING, summary="the text in upper case"),
    Function("title", (_TEXT,), _title, STRING, summary="the text with a capital at the start of each word"),
    Function("strrev", (_TEXT,), _strrev, STRING, summary="the characters in reverse order"),
    Function(
        "substr",
        (_TEXT, Parameter("offset", NUMBER), Parameter("length", NUMBER)),
        _substr,
        STRING,
        summary="a part of the text; a negative offset counts from the end, the length -1 means up to the end",
    ),
    Function("trim", (_TEXT, Parameter("cutset", STRING)), _trim, STRING, summary="without these characters around"),
    Function("trimprefix", (_TEXT, Parameter("prefix", STRING)), _trimprefix, STRING, summary="without the prefix"),
    Function("trimsuffix", (_TEXT, Parameter("suffix", STRING)), _trimsuffix, STRING, summary="without the suffix"),
    Function("trimspace", (_TEXT,), _trimspace, STRING, summary="without whitespace around"),
    Function("sort", (_STRINGS,), _sort, ListType(STRING), summary="the strings in the order of their code points"),
    Function(
        "compact",
        (Parameter("list", ListType(STRING), sees_unknown=True),),
        _compact,
        ListType(STRING),
        summary="the strings that are neither null nor empty",
    ),
)
