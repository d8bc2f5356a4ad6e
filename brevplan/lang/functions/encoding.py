"""Functions that write values as text and read them back: JSON, CSV, base64, URL escapes. YAML is in `yamltext`."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any

from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.numbers import format_number, parse_number
from brevplan.lang.types import ANY, STRING, ListType, ObjectType
from brevplan.lang.values import List, Mapping_, Object, Sequence_, Tuple, Unknown, Value, has_unknown

from .charsets import decode_charset, encode_charset
from .partial import pending
from .text import normal, quoted

# so that JSON can stand inside HTML and JavaScript
_JSON_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}\Z")
_MAX_UNPACKED = 64 << 20


def to_json(value: Value) -> str:
    """Write a known value as compact JSON, with names in order and numbers without exponents."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(_JSON_ESCAPES)
    if isinstance(value, Mapping_):
        return "{" + ",".join(f"{to_json(name)}:{to_json(item)}" for name, item in value.items.items()) + "}"
    if isinstance(value, Sequence_):
        return "[" + ",".join(map(to_json, value.items)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = format_number(value)  # type: ignore[arg-type]  # unknown and secret values do not come here
    if text.endswith("Inf"):
        raise FunctionError("infinity cannot be written as JSON")
    return text


def _jsonencode(_: Environment, value: Value) -> Value:
    if has_unknown(value):
        return pending(STRING, value, prefix=_json_beginning(value))
    return to_json(value)


def _json_beginning(value: Value) -> str:
    """Give how the JSON of a value begins that is not known in full."""
    if isinstance(value, Unknown):
        return ""  # it may be null
    return "[" if isinstance(value, Sequence_) else "{"


def _jsondecode(_: Environment, text: str) -> Value:
    try:
        data = json.loads(text, parse_float=parse_number, parse_int=parse_number, parse_constant=_no_constant)
        return _from_json(data)
    except json.JSONDecodeError as problem:
        # the parser's own words, but for those about Python and a stray "at" behind some
        reason = problem.msg[0].lower() + problem.msg[1:].removesuffix(" at").partition(" (")[0]
        where = f"line {problem.lineno}, column {problem.colno}"
        raise FunctionError(f"the text is not valid JSON: {reason} at {where}", 0) from None
    except RecursionError:
        raise FunctionError("the JSON is nested too deeply", 0) from None
    except ValueError as problem:
        raise FunctionError(f"the text is not valid JSON: {problem}", 0) from None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON value")


def _from_json(data: Any) -> Value:
    if isinstance(data, str):
        return _well_formed(data)
    if isinstance(data, dict):
        return Object({_well_formed(name): _from_json(item) for name, item in data.items()})
    if isinstance(data, list):
        return Tuple(map(_from_json, data))
    return data  # type: ignore[no-any-return]  # null, a bool or a number


def _well_formed(text: str) -> str:
    """Half of a surrogate pair can be escaped in JSON but is no character."""
    if text.isascii():
        return text
    return normal(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _base64encode(_: Environment, text: str) -> Value:
    return base64.b64encode(text.encode()).decode()


def _base64decode(_: Environment, text: str) -> Value:
    return _utf8(decode_base64(text), "the decoded bytes are")


def decode_base64(text: str) -> bytes:
    """Decode padded base64, which may be broken into lines."""
    joined = text.replace("\r", "").replace("\n", "")
    if not _BASE64.match(joined) or len(joined) % 4:
        raise FunctionError(f"{quoted(text)} is not valid base64 with padding", 0)
    try:
        return base64.b64decode(joined)
    except binascii.Error:
        raise FunctionError(f"{quoted(text)} is not valid base64 with padding", 0) from None


def _utf8(data: bytes, what: str) -> str:
    try:
        return normal(data.decode())
    except UnicodeDecodeError:
        raise FunctionError(f"{what} not UTF-8 text, and text is all that a string can hold", 0) from None


def _base64gzip(_: Environment, text: str) -> Value:
    import gzip

    # no time stamp: the same text must give the same result in every run
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _base64gunzip(_: Environment, text: str) -> Value:
    import zlib

    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(decode_base64(text), _MAX_UNPACKED)
    except zlib.error:
        raise FunctionError("the decoded bytes are not gzip data", 0) from None
    if unpacker.unconsumed_tail:
        raise FunctionError(f"the unpacked text is larger than {_MAX_UNPACKED} bytes", 0)
    if not unpacker.eof:
        raise FunctionError("the gzip data ends too early", 0)
    return _utf8(data, "the unpacked bytes are")


def _textencodebase64(_: Environment, text: str, encoding: str) -> Value:
    return base64.b64encode(encode_charset(text, encoding)).decode()


def _textdecodebase64(_: Environment, text: str, encoding: str) -> Value:
    return normal(decode_charset(decode_base64(text), encoding))


def _urlencode(_: Environment, text: str) -> Value:
    from urllib.parse import quote_plus

    return quote_plus(text, safe="")


def _urldecode(_: Environment, text: str) -> Value:
    from urllib.parse import unquote_to_bytes

    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise FunctionError('"%" must be followed by two hexadecimal digits; the sign itself is %25', 0)
    return _utf8(unquote_to_bytes(text.replace("+", " ")), "the decoded bytes are")


def _csvdecode(_: Environment, text: str) -> Value:
    records = _csv_records(text)
    line, header = next(records, (0, []))
    if not line:
        raise FunctionError("the text is empty; its first line must name the columns", 0)
    for position, name in enumerate(header):
        if name in header[:position]:
            raise FunctionError(f"the column {quoted(name)} is named twice", 0)
    rows = []
    for line, fields in records:
        if len(fields) != len(header):
            raise FunctionError(f"line {line} has {len(fields)} fields, and there are {len(header)} columns", 0)
        rows.append(Object(dict(zip(header, map(normal, fields), strict=True))))
    return List(rows, ObjectType(dict.fromkeys(header, STRING)))


def _csv_records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Give each record with the number of its first line. Empty lines are no records.

    Not the `csv` module: that one accepts stray quotation marks, which mostly mean that a file is broken.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    number = 0
    while number < len(lines):
        first, line = number + 1, lines[number]
        number += 1
        if not line:
            continue
        fields: list[str] = []
        rest: str | None = line
        while rest is not None:
            if rest.startswith('"'):
                field, rest, number = _quoted_field(rest[1:], lines, number, first)
            else:
                field, comma, after = rest.partition(",")
                if '"' in field:
                    raise FunctionError(f'line {first}: a field with a " in it must stand in quotation marks', 0)
                rest = after if comma else None
            fields.append(field)
        yield first, fields


def _quoted_field(rest: str, lines: list[str], number: int, first: int) -> tuple[str, str | None, int]:
    """Read behind the opening mark; give the field, what follows its comma, and the number of lines read so far."""
    pieces = []
    while True:
        piece, mark, after = rest.partition('"')
        pieces.append(piece)
        if not mark:
            if number == len(lines):
                raise FunctionError(f'line {first}: a closing " is missing', 0)
            pieces.append("\n")
            rest, number = lines[number], number + 1
        elif after.startswith('"'):
            pieces.append('"')
            rest = after[1:]
        elif not after or after.startswith(","):
            return "".join(pieces), after[1:] if after else None, number
        else:
            raise FunctionError(f'line {first}: a closing " must be followed by a comma or the end of the line', 0)


_TEXT = (Parameter("text", STRING),)
_ENCODING = Parameter("encoding", STRING)

FUNCTIONS: tuple[Function, ...] = (
    Function(
        "jsonencode",
        (Parameter("value", ANY, nullable=True, sees_unknown=True),),
        _jsonencode,
        STRING,
        summary="the value as JSON",
    ),
    Function("jsondecode", _TEXT, _jsondecode, ANY, summary="the value that JSON text stands for", never_null=False),
    Function("csvdecode", _TEXT, _csvdecode, ListType(ANY), summary="one object for each line of CSV text"),
    Function("base64encode", _TEXT, _base64encode, STRING, summary="the UTF-8 bytes of the text in base64"),
    Function("base64decode", _TEXT, _base64decode, STRING, summary="the text that base64 stands for"),
    Function("base64gzip", _TEXT, _base64gzip, STRING, summary="the text compressed with gzip, in base64"),
    Function("base64gunzip", _TEXT, _base64gunzip, STRING, summary="the text that compressed base64 stands for"),
    Function("textencodebase64", (*_TEXT, _ENCODING), _textencodebase64, STRING, summary="base64 in another charset"),
    Function("textdecodebase64", (*_TEXT, _ENCODING), _textdecodebase64, STRING, summary="the text of such base64"),
    Function("urlencode", _TEXT, _urlencode, STRING, summary="the text as it may stand in the query of a URL"),
    Function("urldecode", _TEXT, _urldecode, STRING, summary="the text that such a part of a URL stands for"),
)
