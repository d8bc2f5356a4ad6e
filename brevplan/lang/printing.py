"""Values as a person reads them: in messages, in plans, at the console."""

from __future__ import annotations

import re
from fractions import Fraction

from brevplan.lang.numbers import format_number
from brevplan.lang.values import SENSITIVE, Mapping_, Secret, Sequence_, Unknown, Value

_BARE = re.compile(r"[^\W\d][\w-]*\Z")
_ESCAPED = re.compile(r"[\"\\\x00-\x1f\x7f-\x9f\u2028\u2029]|[$%](?=\{)")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "$": "$$", "%": "%%"}


def quote(text: str) -> str:
    """Write a text as an HCL string literal; control characters are escaped, so that none reaches a terminal."""
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    return _SHORT.get(letter) or f"\\u{ord(letter):04x}"


def is_name(text: str) -> bool:
    """Tell whether a text can be written as a name."""
    return _BARE.match(text) is not None


def name_of(key: str) -> str:
    """Write the key of an object: bare where that is allowed, else quoted."""
    # `for` behind an opening brace begins a for expression
    return key if is_name(key) and key != "for" else quote(key)


def print_value(value: Value, *, short: bool = False) -> str:
    """Write a value on one line; `short` cuts what is long, for messages."""
    text = _one_line(value)
    return text if not short or len(text) <= 80 else text[:77] + "..."


def _one_line(value: Value) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | Fraction() | float():
            return format_number(value)
        case str():
            return quote(value)
        case Unknown():
            return "(known after apply)"
        case Secret():
            return "(sensitive value)" if value.marks & SENSITIVE else "(ephemeral value)"
        case Sequence_():
            return f"[{', '.join(map(_one_line, value.items))}]"
        case Mapping_():
            inner = ", ".join(f"{name_of(name)} = {_one_line(item)}" for name, item in value.items.items())
            return f"{{{inner}}}"
    raise AssertionError(f"not a value: {value!r}")
