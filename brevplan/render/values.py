"""Values and types as `console` and `output` print them, byte for byte as Terraform's console does.

A text of several lines becomes a heredoc, a list, set or map is wrapped in the call that makes one, and a null whose
type is known says so. Where Terraform would hand a terminal characters to obey, they are replaced, and a key that
holds a line end stays on one line.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Final

from brevplan.lang.numbers import format_number
from brevplan.lang.printing import print_value
from brevplan.lang.static_types import merged, part_type
from brevplan.lang.types import (
    ANY,
    AnyType,
    ListType,
    MapType,
    ObjectType,
    Primitive,
    SetType,
    TupleType,
    Type,
)
from brevplan.lang.values import List, Map, Object, Secret, Set, Tuple, Unknown, Value, type_of
from brevplan.render.paint import clean

_SHORT: Final = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
    "\v": "\\v",
}  # fmt: skip
_QUOTED_WHOLE: Final = re.compile(r"[^\"\\\x00-\x1f\x7f]*")
_STEP: Final = 2
_TYPE_STEP: Final = 4


def render_value(value: Value, type_: Type = ANY, *, indent: int = 0) -> str:
    """Write a value. `type_` is what is known of its type where it is null; `indent` the column it starts on."""
    match value:
        case None:
            return _null(type_)
        case bool():
            return "true" if value else "false"
        case int() | Fraction() | float():
            return "+Inf" if value == float("inf") else format_number(value)
        case str():
            return _heredoc(value, indent) if "\n" in value else quoted(value)
        case Unknown():
            return "(known after apply)"
        case Secret():
            return print_value(value)
        case Tuple() | List() | Set():
            return _sequence(value, type_, indent)
        case Object() | Map():
            return _mapping(value, type_, indent)
    raise AssertionError(f"not a value: {value!r}")


def quoted(text: str) -> str:
    """Write a text on one line; what does not print is escaped, and `${` stays as it is."""
    if text.isascii() and _QUOTED_WHOLE.fullmatch(text):
        return f'"{text}"'
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(letter: str) -> str:
    if letter in _SHORT:
        return _SHORT[letter]
    if letter == " " or unicodedata.category(letter)[0] in "LMNPS":
        return letter
    code = ord(letter)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _heredoc(text: str, indent: int) -> str:
    lines = text.split("\n")
    marker = "EOT"
    while marker in map(str.strip, lines):
        marker += "_"
    opening = f"<<-{marker}" if indent else f"<<{marker}"
    pad = " " * indent
    return "\n".join([opening, *(pad + _clean_line(line) for line in lines), pad + marker])


def _clean_line(line: str) -> str:
    """Replace what a terminal would obey; the carriage return of a line end from elsewhere is none of it."""
    return clean(line[:-1]) + "\r" if line.endswith("\r") else clean(line)


def _null(type_: Type) -> str:
    match type_:
        case Primitive():
            return f"to{type_.name}(null)"
        case ListType() | SetType() | MapType():
            word = {ListType: "list", SetType: "set", MapType: "map"}[type(type_)]
            return f"to{word}(null) /* of {_friendly(type_.element)} */"
        case ObjectType():
            return "null /* object */"
        case TupleType():
            return "null /* tuple */"
    return "null"


def _friendly(type_: Type) -> str:
    match type_:
        case Primitive():
            return type_.name
        case ListType(element=element):
            return f"list of {_friendly(element)}"
        case SetType(element=element):
            return f"set of {_friendly(element)}"
        case MapType(element=element):
            return f"map of {_friendly(element)}"
        case ObjectType():
            return "object"
        case TupleType():
            return "tuple"
    return "dynamic"


def _sequence(value: Tuple | List | Set, type_: Type, indent: int) -> str:
    inner = indent + _STEP
    known = merged(type_of(value), type_)
    lines = [
        f"{' ' * inner}{render_value(item, part_type(known, at), indent=inner)}," for at, item in enumerate(value.items)
    ]
    return _wrapped(value, "[", lines, "]", indent)


def _mapping(value: Object | Map, type_: Type, indent: int) -> str:
    inner = indent + _STEP
    known = merged(type_of(value), type_)
    lines = [
        f"{' ' * inner}{quoted(name)} = {render_value(item, part_type(known, name), indent=inner)}"
        for name, item in value.items.items()
    ]
    return _wrapped(value, "{", lines, "}", indent)


def _wrapped(value: Value, opening: str, lines: list[str], closing: str, indent: int) -> str:
    wrap = {List: "tolist(", Set: "toset(", Map: "tomap("}.get(type(value), "")
    end = f"{closing})" if wrap else closing
    if not lines:
        return f"{wrap}{opening}{end}"
    return "\n".join([f"{wrap}{opening}", *lines, f"{' ' * indent}{end}"])


def render_type(type_: Type, *, indent: int = 0) -> str:
    """Write a type as `type(…)` shows it at the console: what has parts of its own types takes several lines."""
    pad, inner = " " * indent, " " * (indent + _TYPE_STEP)
    match type_:
        case ListType(element=element) | SetType(element=element) | MapType(element=element):
            word = {ListType: "list", SetType: "set", MapType: "map"}[type(type_)]
            if isinstance(element, (ObjectType, TupleType)):
                return f"{word}(\n{inner}{render_type(element, indent=indent + _TYPE_STEP)},\n{pad})"
            return f"{word}({render_type(element, indent=indent)})"
        case TupleType(elements=elements):
            lines = [f"{inner}{render_type(element, indent=indent + _TYPE_STEP)},\n" for element in elements]
            return f"tuple([\n{''.join(lines)}{pad}])" if lines else "tuple([])"
        case ObjectType(attributes=attributes):
            lines = [
                f"{inner}{_one_line(name)}: {render_type(attributes[name], indent=indent + _TYPE_STEP)},\n"
                for name in sorted(attributes)
            ]
            return f"object({{\n{''.join(lines)}{pad}}})" if lines else "object({})"
        case AnyType():
            return "dynamic"
    return str(type_)


def _one_line(name: str) -> str:
    return clean(name.replace("\n", "\\n"))
