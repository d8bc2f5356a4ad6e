"""`format` and `formatlist`: the verbs of printf, over exact numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from brevplan.lang.convert import ConversionError, convert, to_string
from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.numbers import NEGATIVE_ZERO, format_number
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType
from brevplan.lang.values import List, Number, Sequence_, Unknown, Value, first_unknown

from .arguments import kind_of
from .encoding import to_json
from .partial import pending
from .text import characters, normal

_VERB = re.compile(r"%(?:(%)|([#0+\- ]*)(\d*)(\.\d*)?(?:\[([1-9]\d*)\])?([A-Za-z]))", re.ASCII)
_MAX_WIDTH = 100_000
_BASES = {"b": "b", "o": "o", "d": "d", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "o": "0", "d": "", "x": "0x", "X": "0X"}
_KNOWN = "vtbdoxXeEfgGsq"


@dataclass(frozen=True, slots=True)
class Verb:
    """One `%...` of a format: its text and place for messages, and what it asks for."""

    text: str
    offset: int
    flags: str
    width: int
    precision: int | None
    argument: int
    letter: str

    def refuse(self, reason: str) -> FunctionError:
        return FunctionError(f'"{self.text}" at offset {self.offset}: {reason}', self.argument + 1)


def _format(_: Environment, text: str, *arguments: Value) -> Value:
    unknown = first_unknown(arguments)
    pieces = _parse(text)
    _check_count(pieces, len(arguments))
    if unknown is not None:
        return pending(STRING, unknown)
    return _fill(pieces, arguments)


def _formatlist(_: Environment, text: str, *arguments: Value) -> Value:
    if any(isinstance(argument, Unknown) for argument in arguments):
        return pending(ListType(STRING), *arguments)
    pieces = _parse(text)
    _check_count(pieces, len(arguments))
    rows = _rows(arguments)
    return List((_fill_row(pieces, row, number) for number, row in enumerate(rows)), STRING)


def _rows(arguments: Sequence[Value]) -> list[tuple[Value, ...]]:
    """One row of arguments for each element; scalars repeat."""
    lengths = {position: len(given) for position, given in enumerate(arguments, 1) if isinstance(given, Sequence_)}
    if not lengths:
        return [tuple(arguments)]
    first, length = next(iter(lengths.items()))
    for position, other in lengths.items():
        if other != length:
            raise FunctionError(
                f"argument {position} has {other} elements, and argument {first} has {length}", position
            )
    columns = [given.items if isinstance(given, Sequence_) else (given,) * length for given in arguments]
    return list(zip(*columns, strict=True))


def _fill_row(pieces: Sequence[str | Verb], row: Sequence[Value], number: int) -> Value:
    unknown = first_unknown(row)
    if unknown is not None:
        return pending(STRING, unknown)
    try:
        return _fill(pieces, row)
    except FunctionError as problem:
        raise FunctionError(f"in the text number {number}: {problem.message}", problem.argument) from None


def _parse(text: str) -> list[str | Verb]:
    """Split a format into literal text and verbs."""
    pieces: list[str | Verb] = []
    position, argument = 0, 0
    while (found := text.find("%", position)) >= 0:
        pieces.append(text[position:found])
        match = _VERB.match(text, found)
        if match is None:
            raise FunctionError(f"there is no valid verb at offset {found}; for the sign itself, write %%", 0)
        position = match.end()
        if match[1]:
            pieces.append("%")
            continue
        argument = int(match[5]) - 1 if match[5] else argument
        pieces.append(_verb(match, argument))
        argument += 1
    pieces.append(text[position:])
    return pieces


def _verb(match: re.Match[str], argument: int) -> Verb:
    letter = match[6]
    if letter not in _KNOWN:
        raise FunctionError(f'"{match[0]}" at offset {match.start()}: there is no verb "{letter}"; try %v', 0)
    width, precision = int(match[3] or 0), match[4]
    digits = int(precision[1:] or 0) if precision else None
    if width > _MAX_WIDTH or (digits or 0) > _MAX_WIDTH:
        raise FunctionError(f'"{match[0]}" at offset {match.start()}: at most {_MAX_WIDTH} characters are possible', 0)
    return Verb(match[0], match.start(), match[2], width, digits, argument, letter)


def _check_count(pieces: Sequence[str | Verb], given: int) -> None:
    verbs = [piece for piece in pieces if isinstance(piece, Verb)]
    for verb in verbs:
        if verb.argument >= given:
            raise FunctionError(
                f'"{verb.text}" at offset {verb.offset} wants argument {verb.argument + 1}, and {given} are given', 0
            )
    used = max((verb.argument + 1 for verb in verbs), default=0)
    if given > used:
        raise FunctionError(f"the format uses {used} of the {given} arguments; each must be used", used + 1)


def _fill(pieces: Sequence[str | Verb], arguments: Sequence[Value]) -> str:
    return normal("".join(p if isinstance(p, str) else _show(p, arguments[p.argument]) for p in pieces))


def _show(verb: Verb, value: Value) -> str:
    if verb.letter == "v":
        return _show_default(verb, value)
    if value is None:
        raise verb.refuse("null cannot be shown; only %v shows it")
    if verb.letter in "sq":
        return _show_text(verb, value)
    if verb.letter == "t":
        # the one verb without a width in the reference engine
        return to_string(_need(verb, value, BOOL, "a bool"))
    number = _need(verb, value, NUMBER, "a number")
    assert isinstance(number, (int, Fraction, float))
    if verb.letter in _BASES:
        return _show_whole(verb, number)
    return _show_real(verb, number)


def _show_default(verb: Verb, value: Value) -> str:
    if isinstance(value, str) and "#" not in verb.flags:
        return _pad(verb, value)
    if value.__class__ is float and not value:
        return _pad(verb, format_number(NEGATIVE_ZERO))
    if isinstance(value, (int, Fraction, float)) and not isinstance(value, bool) and "#" not in verb.flags:
        return _pad(verb, _sign(value) + _general(_size(value), None))
    return _pad(verb, to_json(value))


def _size(value: Number) -> Number:
    return -value if value < 0 else value


def _need(verb: Verb, value: Value, type_: object, words: str) -> Value:
    try:
        return convert(value, type_)  # type: ignore[arg-type]  # BOOL or NUMBER
    except ConversionError:
        raise verb.refuse(f"{words} is required, not {kind_of(value)}") from None


def _show_text(verb: Verb, value: Value) -> str:
    try:
        text = to_string(value)
    except ConversionError:
        raise verb.refuse(f"a string is required, not {kind_of(value)}; %v shows any value") from None
    if verb.precision is not None:
        text = "".join(characters(text)[: verb.precision])
    return _pad(verb, to_json(text) if verb.letter == "q" else text)


def _pad(verb: Verb, text: str) -> str:
    """Fill up to the width, counted in what a reader calls characters."""
    missing = verb.width - len(characters(text))
    if missing <= 0:
        return text
    filler = ("0" if "0" in verb.flags else " ") * missing
    return text + filler if "-" in verb.flags else filler + text


def _pad_number(verb: Verb, sign: str, digits: str, *, zeros: bool = True) -> str:
    """Zeros go between the sign and the digits, spaces before both."""
    missing = verb.width - len(sign) - len(digits)
    if missing > 0 and zeros and "0" in verb.flags and "-" not in verb.flags and digits != "Inf":
        return sign + "0" * missing + digits
    text = sign + digits
    return text.ljust(verb.width) if "-" in verb.flags else text.rjust(verb.width)


def _sign(value: Number, flags: str = "") -> str:
    if value < 0:
        return "-"
    if "+" in flags or value == float("inf"):
        return "+"
    return " " if " " in flags else ""


def _show_whole(verb: Verb, number: Number) -> str:
    if not isinstance(number, int):
        raise verb.refuse("a whole number is required")
    digits = format(abs(number), _BASES[verb.letter])
    if verb.precision is not None:
        digits = "" if verb.precision == 0 and number == 0 else digits.rjust(verb.precision, "0")
    prefix = _PREFIXES[verb.letter] if "#" in verb.flags else ""
    return _pad_number(verb, _sign(number, verb.flags) + prefix, digits, zeros=verb.precision is None)


def _show_real(verb: Verb, number: Number) -> str:
    size = _size(number)
    letter = verb.letter.lower()
    if isinstance(size, float):
        digits = "Inf"
    elif letter == "g":
        digits = _general(size, verb.precision)
    else:
        places = 6 if verb.precision is None else verb.precision
        digits = _exponential(size, places) if letter == "e" else _fixed(size, places)
    if verb.letter in "EG" and digits != "Inf":
        digits = digits.upper()
    return _pad_number(verb, _sign(number, verb.flags), digits)


def _fixed(size: int | Fraction, places: int) -> str:
    scaled = str(round(Fraction(size) * 10**places)).rjust(places + 1, "0")
    return f"{scaled[:-places]}.{scaled[-places:]}" if places else scaled


def _exponential(size: int | Fraction, places: int) -> str:
    digits, exponent = _significant(size, places + 1)
    return _scientific(digits.ljust(places + 1, "0"), exponent)


def _scientific(digits: str, exponent: int) -> str:
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _general(size: Number, precision: int | None) -> str:
    """The shorter of both forms: with an exponent below -4, or at and above the precision (6 when it is free)."""
    if isinstance(size, float):
        return "Inf"
    digits, exponent = _shortest(size) if precision is None else _significant(size, precision or 1)
    digits = digits.rstrip("0") or "0"
    limit = 6 if precision is None else precision or 1
    if precision is not None and limit > len(digits) > exponent:
        limit = len(digits)
    if size and (exponent < -4 or exponent >= limit):
        return _scientific(digits, exponent)
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return whole + ("." + digits[exponent + 1 :] if len(digits) > exponent + 1 else "")


def _shortest(size: int | Fraction) -> tuple[str, int]:
    """The digits that the number prints with, and the power of ten of the first."""
    whole, _, part = format_number(size).partition(".")
    if whole != "0":
        return whole + part, len(whole) - 1
    digits = part.lstrip("0")
    return (digits, len(digits) - len(part) - 1) if digits else ("0", 0)


def _significant(size: int | Fraction, count: int) -> tuple[str, int]:
    """Round to a count of digits, half to even; give them with the power of ten of the first."""
    if not size:
        return "0" * count, 0
    exponent = _shortest(size)[1]
    scale = count - 1 - exponent
    digits = str(round(Fraction(size) * (Fraction(10) ** scale)))
    if len(digits) > count:
        return digits[:count], exponent + 1
    return digits, exponent


_FORMAT = Parameter("format", STRING)
_ARGUMENTS = Parameter("arguments", ANY, nullable=True, sees_unknown=True)

FUNCTIONS: tuple[Function, ...] = (
    Function("format", (_FORMAT,), _format, STRING, _ARGUMENTS, summary="a text with values in the place of verbs"),
    Function(
        "formatlist",
        (_FORMAT,),
        _formatlist,
        ListType(STRING),
        _ARGUMENTS,
        summary="one text for each element of the lists",
    ),
)
