"""`yamlencode` and `yamldecode`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from math import inf
from typing import Any

from brevplan.lang.convert import to_string
from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.numbers import format_number, parse_number
from brevplan.lang.types import ANY, STRING
from brevplan.lang.values import Mapping_, Object, Sequence_, Tuple, Value

from .dates import Moment
from .text import normal, quoted

_WIDTH = 80
_LONGEST_SIMPLE_KEY = 128
_MAX_NODES = 1_000_000
_CORE = "tag:yaml.org,2002:"
_MEANINGS: dict[str, Value] = dict.fromkeys(("true", "yes", "on", "y"), True)
_MEANINGS |= {**dict.fromkeys(("false", "no", "off", "n"), False), "null": None, "": None, "~": None}
_WORDS = {word: value for lower, value in _MEANINGS.items() for word in (lower, lower.capitalize(), lower.upper())}
_INTEGER = re.compile(r"[-+]?\d+\Z", re.ASCII)
_BASED = re.compile(r"0o([0-7]+)\Z|0x([0-9a-fA-F]+)\Z")
_REAL = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?\Z", re.ASCII)
_INFINITY = re.compile(r"([-+]?)\.(inf|Inf|INF)\Z")
_NAN = re.compile(r"\.(nan|NaN|NAN)\Z")
_DATE = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:(?:[Tt](\d\d?):(\d\d?):(\d\d?)(?:\.\d+)?(Z|[+-]\d\d:\d\d))"
    r"|(?: (\d\d?):(\d\d?):(\d\d?)(?:\.\d+)?))?\Z",
    re.ASCII,
)
_ESCAPES = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e",
    '"': '"', "\\": "\\", "\x85": "N", "\u2028": "L", "\u2029": "P",
}  # fmt: skip
_PRINTABLE = re.compile("[ -~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
_LITERAL = re.compile(r"(?:(?! \n)[\n -~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd])*(?<! )\Z")


def _yamlencode(_: Environment, value: Value) -> Value:
    writer = _Writer()
    writer.node(value, 0)
    plain_root = not isinstance(value, (str, Mapping_, Sequence_))
    return "".join(writer.parts) + ("\n...\n" if plain_root else "\n" if writer.column else "")


class _Writer:
    """Writes block style; knows the column, because long quoted texts are folded."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.column = 0

    def put(self, text: str) -> None:
        self.parts.append(text)
        self.column = len(text) - text.rfind("\n") - 1 if "\n" in text else self.column + len(text)

    def line(self, indent: int) -> None:
        """Start a new line, unless the one before is finished or nothing is written yet."""
        if self.column:
            self.put("\n")
        self.put(" " * indent)

    def node(self, value: Value, indent: int) -> None:
        """Write a value where the cursor is; `indent` is that of the collection around it."""
        if isinstance(value, Mapping_):
            self.mapping(value, indent)
        elif isinstance(value, Sequence_):
            self.sequence(value, indent)
        elif isinstance(value, str):
            self.text(value, indent + 2)
        else:
            self.put(_plain(value))

    def mapping(self, value: Mapping_, indent: int) -> None:
        if not value.items:
            self.put("{}")
        for position, (name, item) in enumerate(value.items.items()):
            if position:
                self.line(indent)
            self.key(name, indent)
            self.put(":")
            self.behind_key(item, indent, simple=_is_simple(name))

    def key(self, name: str, indent: int) -> None:
        if _is_simple(name):
            self.quoted(name, indent, folds=False)
        else:
            self.put("? ")
            self.text(name, indent + 2)
            self.line(indent)

    def behind_key(self, item: Value, indent: int, *, simple: bool) -> None:
        if not simple or not isinstance(item, (Mapping_, Sequence_)) or not item.items:
            self.put(" ")
            self.node(item, indent + 2 if isinstance(item, (Mapping_, Sequence_)) else indent)
            return
        # a sequence stands right under its key, a mapping further in
        inner = indent if isinstance(item, Sequence_) else indent + 2
        self.line(inner)
        self.node(item, inner)

    def sequence(self, value: Sequence_, indent: int) -> None:
        if not value.items:
            self.put("[]")
        for position, item in enumerate(value.items):
            if position:
                self.line(indent)
            self.put("- ")
            self.node(item, indent + 2 if isinstance(item, (Mapping_, Sequence_)) else indent)

    def text(self, value: str, indent: int) -> None:
        if "\n" in value and _LITERAL.match(value):
            self.literal(value, indent)
        else:
            self.quoted(value, indent, folds=True)

    def literal(self, value: str, indent: int) -> None:
        hint = "2" if value[0] in " \n" else ""
        ending = "-" if value[-1] != "\n" else "+" if value in ("\n",) or value[-2] == "\n" else ""
        self.put(f"|{hint}{ending}")
        for line in value.removesuffix("\n").split("\n"):
            self.put("\n" + (" " * indent + line if line else ""))
        if ending != "-":
            self.put("\n")

    def quoted(self, value: str, indent: int, *, folds: bool) -> None:
        self.put('"')
        after_space = False
        for position, letter in enumerate(value):
            if letter != " ":
                self.put(_escaped(letter))
            elif folds and not after_space and self.column > _WIDTH and 0 < position < len(value) - 1:
                self.line(indent)
                if value[position + 1] == " ":
                    self.put("\\")
            else:
                self.put(" ")
            after_space = letter == " "
        self.put('"')


def _is_simple(name: str) -> bool:
    return "\n" not in name and len(name.encode()) <= _LONGEST_SIMPLE_KEY


def _plain(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return (".inf" if value > 0 else "-.inf") if value else "-0"
    return format_number(value)  # type: ignore[arg-type]  # a number is all that is left


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return "\\" + _ESCAPES[letter]
    if _PRINTABLE.match(letter):
        return letter
    code = ord(letter)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def _yamldecode(_: Environment, text: str) -> Value:
    import yaml  # only configurations with YAML pay for it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Reader(yaml, yaml.parse(text, Loader=loader)).document()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise FunctionError(f"the text is not valid YAML: {problem.problem or problem.context}{where}", 0) from None
    except yaml.YAMLError as problem:
        raise FunctionError(f"the text is not valid YAML: {problem}", 0) from None
    except RecursionError:
        raise FunctionError("the YAML is nested too deeply", 0) from None


class _Reader:
    """Builds values from parser events, and counts what aliases repeat: a short text can stand for a huge value."""

    def __init__(self, yaml: Any, events: Iterator[Any]) -> None:
        self.yaml = yaml
        self.events = events
        self.anchors: dict[str, tuple[Value, int] | None] = {}
        self.count = 0

    def document(self) -> Value:
        next(self.events)
        if isinstance(next(self.events), self.yaml.StreamEndEvent):
            raise FunctionError("the text holds no YAML document", 0)
        value = self.node(next(self.events))
        next(self.events)
        if not isinstance(next(self.events), self.yaml.StreamEndEvent):
            raise FunctionError("the text holds more than one YAML document", 0)
        return value

    def node(self, event: Any) -> Value:
        if isinstance(event, self.yaml.AliasEvent):
            return self.alias(event)
        before = self.count
        self.add(1)
        if event.anchor:
            self.anchors[event.anchor] = None
        if isinstance(event, self.yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, self.yaml.SequenceStartEvent):
            _check_tag(event, "seq")
            value = Tuple(self.items())
        else:
            _check_tag(event, "map")
            value = self.mapping()
        if event.anchor:
            self.anchors[event.anchor] = (value, self.count - before)
        return value

    def add(self, nodes: int) -> None:
        self.count += nodes
        if self.count > _MAX_NODES:
            raise FunctionError(f"the YAML stands for more than {_MAX_NODES} values", 0)

    def alias(self, event: Any) -> Value:
        if event.anchor not in self.anchors:
            raise FunctionError(f"the YAML refers to an unknown anchor {quoted(event.anchor)}{_at(event)}", 0)
        known = self.anchors[event.anchor]
        if known is None:
            raise FunctionError(f"the YAML anchor {quoted(event.anchor)} refers to itself{_at(event)}", 0)
        self.add(known[1])
        return known[0]

    def items(self) -> Iterator[Value]:
        while not isinstance(event := next(self.events), self.yaml.SequenceEndEvent):
            yield self.node(event)

    def mapping(self) -> Value:
        written: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        while not isinstance(event := next(self.events), self.yaml.MappingEndEvent):
            key = self.node(event)
            value = self.node(next(self.events))
            if key == "<<" and isinstance(event, self.yaml.ScalarEvent) and event.implicit[0]:
                merged = _merge_in(value, event) | merged
            else:
                written[_key(key, event)] = value
        return Object(merged | written)


def _at(event: Any) -> str:
    return f" at line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"


def _merge_in(value: Value, event: Any) -> dict[str, Value]:
    if isinstance(value, Mapping_):
        return value.items
    if isinstance(value, Sequence_) and all(isinstance(item, Mapping_) for item in value):
        result: dict[str, Value] = {}
        for item in value:
            result = _merge_in(item, event) | result
        return result
    raise FunctionError(f'the value of the YAML merge key "<<" must be a mapping{_at(event)}', 0)


def _key(key: Value, event: Any) -> str:
    if key is None or isinstance(key, (Mapping_, Sequence_)):
        raise FunctionError(f"a YAML key must be a string, a number or a bool{_at(event)}", 0)
    return to_string(key)


def _check_tag(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", _CORE + kind):
        raise _unsupported(event)


def _unsupported(event: Any) -> FunctionError:
    return FunctionError(f"the YAML tag {quoted(event.tag)} is not supported{_at(event)}", 0)


def _scalar(event: Any) -> Value:
    text, tag = normal(event.value), event.tag
    if tag is None:
        return _resolve(text, event) if event.implicit[0] else text
    kind = tag.removeprefix(_CORE)
    if kind == tag or kind not in ("str", "binary", "null", "int", "float", "bool", "timestamp"):
        raise _unsupported(event)
    if kind in ("str", "binary"):
        return text
    return None if kind == "null" else _tagged(text, kind, event)


def _tagged(text: str, kind: str, event: Any) -> Value:
    value = _resolve(text, event)
    fits = {
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, (int, Fraction, float)) and not isinstance(value, bool),
        "timestamp": isinstance(value, str) and _DATE.match(text) is not None,
    }
    if not fits[kind]:
        raise FunctionError(f"{quoted(text)} is no YAML !!{kind}{_at(event)}", 0)
    return value


def _resolve(text: str, event: Any) -> Value:
    """Decide what an unquoted word is."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _NAN.match(text):
        raise FunctionError(f"the language has no value for the YAML number {text}{_at(event)}", 0)
    if infinite := _INFINITY.match(text):
        return -inf if infinite[1] == "-" else inf
    if based := _BASED.match(text):
        return int(based[1], 8) if based[1] else int(based[2], 16)
    if _INTEGER.match(text) or _REAL.match(text):
        return _number(text, event)
    date = _DATE.match(text)
    return (_timestamp(date) if date else None) or text


def _number(text: str, event: Any) -> Value:
    try:
        return parse_number(text.removeprefix("+"))
    except ValueError as problem:
        raise FunctionError(f"{problem}{_at(event)}", 0) from None


def _timestamp(match: re.Match[str]) -> str | None:
    year, month, day, *clock = match.groups()
    hour, minute, second = (clock[:3] if clock[0] else clock[4:]) if clock[0] or clock[4] else ("0", "0", "0")
    text = f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute:0>2}:{second:0>2}{clock[3] or 'Z'}"
    moment = Moment.parse(text)
    return str(moment) if isinstance(moment, Moment) else None


FUNCTIONS: tuple[Function, ...] = (
    Function("yamlencode", (Parameter("value", ANY, nullable=True),), _yamlencode, STRING, summary="the value as YAML"),
    Function(
        "yamldecode",
        (Parameter("text", STRING),),
        _yamldecode,
        ANY,
        summary="the value that YAML text stands for",
        never_null=False,
    ),
)
