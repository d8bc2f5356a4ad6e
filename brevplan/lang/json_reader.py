"""JSON text to a tree that knows its places: what Python's own reader throws away.

The first mistake of syntax ends the reading, since what follows it would be guessed. Numbers stay exact, members keep
their order, and a name that is written twice stays twice: what that means is for the reader's user to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from brevplan.diagnostics import Diagnostic, Source, Span, error
from brevplan.lang.ast import MAX_DEPTH
from brevplan.lang.numbers import parse_number


@dataclass(slots=True)
class JsonNode:
    """Any value, with the stretch of characters that it came from."""

    start: int
    end: int


@dataclass(slots=True)
class JsonText(JsonNode):
    """A string. `places` gives the offset of every decoded character, and is None where nothing was escaped."""

    text: str
    places: list[int] | None = None

    def place(self, offset: int) -> int:
        """Give the offset in the file of a character of the decoded text, or of its end."""
        offset = min(offset, len(self.text))
        return self.start + 1 + offset if self.places is None else self.places[offset]


@dataclass(slots=True)
class JsonScalar(JsonNode):
    """A number, `true`, `false` or `null`."""

    value: bool | int | Fraction | None


@dataclass(slots=True)
class JsonArray(JsonNode):
    items: list[JsonNode]


@dataclass(slots=True)
class JsonObject(JsonNode):
    members: list[tuple[JsonText, JsonNode]]


def read_json(source: Source) -> tuple[JsonNode | None, list[Diagnostic]]:
    """Read a whole text as one value; None when it is not JSON."""
    reader = _Reader(source)
    try:
        return reader.whole(), reader.problems
    except _Broken as problem:
        return None, [*reader.problems, problem.diagnostic]


class _Broken(Exception):
    """The text is not JSON from here on."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.summary)
        self.diagnostic = diagnostic


_BLANK: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_WORD: Final = re.compile(r"[\w.+-]+")
_HEX: Final = re.compile(r"[0-9a-fA-F]{4}")
_WORDS: Final = {"true": True, "false": False, "null": None}
_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_REPLACEMENT: Final = "\ufffd"


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.position = 1 if source.text.startswith("\ufeff") else 0
        self.depth = 0
        self.problems: list[Diagnostic] = []

    def whole(self) -> JsonNode:
        value = self.value()
        if self.next_sign():
            raise self.broken(
                "Extra text behind the value", "A file holds a single JSON value, which ends before this."
            )
        return value

    def next_sign(self) -> str:
        """Pass over blanks; give the character behind them, or nothing at the end."""
        match = _BLANK.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.text[self.position : self.position + 1]

    def value(self) -> JsonNode:
        match self.next_sign():
            case "{":
                return self.object()
            case "[":
                return self.array()
            case '"':
                return self.string()
            case _:
                return self.scalar()

    def object(self) -> JsonObject:
        start = self.open()
        members: list[tuple[JsonText, JsonNode]] = []
        if self.next_sign() != "}":
            members.append((self.name(start), self.value()))
            while self.goes_on(start, "}"):
                members.append((self.name(start), self.value()))
        return JsonObject(start, self.close(), members)

    def array(self) -> JsonArray:
        start = self.open()
        items: list[JsonNode] = []
        if self.next_sign() != "]":
            items.append(self.value())
            while self.goes_on(start, "]"):
                items.append(self.value())
        return JsonArray(start, self.close(), items)

    def open(self) -> int:
        start = self.position
        if self.depth >= MAX_DEPTH:
            raise self.broken("Nested too deeply", f"Objects and arrays may be nested {MAX_DEPTH} levels deep.")
        self.depth += 1
        self.position += 1
        return start

    def close(self) -> int:
        self.depth -= 1
        self.position += 1
        return self.position

    def goes_on(self, start: int, closing: str) -> bool:
        """Read what stands behind an item: a comma, which is passed over, or the end of its container."""
        sign = self.next_sign()
        if sign == closing:
            return False
        if sign != ",":
            self.refuse_end_and_comment(start)
            shown = "object" if closing == "}" else "array"
            raise self.broken(
                "Missing comma",
                f"What is in an {shown} is separated by commas.",
                hint=f'Write "," or "{closing}" here.',
            )
        comma = self.position
        self.position += 1
        if self.next_sign() == closing:
            self.position = comma
            raise self.broken("Trailing comma", "JSON has no comma behind the last item.", hint="Take the comma out.")
        return True

    def name(self, start: int) -> JsonText:
        """Read the name of a member and the colon behind it."""
        if self.next_sign() != '"':
            self.refuse_end_and_comment(start)
            raise self.broken("Missing name", "A member of an object begins with its name in double quotes.")
        key = self.string()
        sign = self.next_sign()
        if sign != ":":
            self.refuse_end_and_comment(start)
            hint = "JSON has a colon where HCL has an equals sign." if sign == "=" else ""
            raise self.broken("Missing colon", "A colon is needed between a name and its value.", hint=hint)
        self.position += 1
        return key

    def scalar(self) -> JsonNode:
        self.refuse_end_and_comment()
        start = self.position
        number = _NUMBER.match(self.text, start)
        if number is not None:
            self.position = number.end()
            return JsonScalar(start, number.end(), self.number(number[0], start))
        word = _WORD.match(self.text, start)
        if word is not None and word[0] in _WORDS:
            self.position = word.end()
            return JsonScalar(start, word.end(), _WORDS[word[0]])
        raise self.no_value(word[0] if word is not None else self.text[start])

    def number(self, text: str, start: int) -> int | Fraction:
        try:
            return parse_number(text)
        except ValueError as problem:
            self.report("Invalid number", f"{problem}.", start, start + len(text))
            return 0

    def no_value(self, found: str) -> _Broken:
        size = len(found)
        if found[0].isdigit() or found[0] in "-+.":
            return self.broken(
                "Invalid number", f"{found} is not a JSON number.", size,
                hint="No leading zeros or plus sign, and digits on both sides of the point.",
            )  # fmt: skip
        if found.lower() in _WORDS:
            return self.broken("Invalid value", f"JSON writes {found} in small letters: {found.lower()}.", size)
        hint = f'A text is written in quotes: "{found}".' if _WORD.fullmatch(found) else ""
        detail = "An object, an array, a text in double quotes, a number, true, false or null is needed here."
        return self.broken("Invalid value", detail, size, hint=hint)

    def string(self) -> JsonText:
        start = self.position
        self.position += 1
        pieces: list[str] = []
        places: list[int] = []
        while True:
            begin = self.position
            match = _PLAIN.match(self.text, begin)
            self.position = end = match.end() if match else begin
            plain = self.text[begin:end]
            sign = self.text[end : end + 1]
            if sign == '"' and not pieces:
                self.position = end + 1
                return JsonText(start, end + 1, plain)
            pieces.append(plain)
            places.extend(range(begin, end))
            if sign == '"':
                self.position = end + 1
                return JsonText(start, end + 1, "".join(pieces), [*places, end])
            if sign != "\\":
                raise self.unterminated(start, sign)
            pieces.append(self.escape())
            places.append(end)

    def unterminated(self, start: int, sign: str) -> _Broken:
        if sign in ("\n", "\r", ""):
            end = self.position
            self.position = start
            return self.broken(
                "Unterminated string", "The closing quote is missing on this line.", end - start,
                hint='Add the closing ", and write a line end inside of a text as \\n.',
            )  # fmt: skip
        detail = f"U+{ord(sign):04X} must be written as an escape."
        written = "\\t" if sign == "\t" else f"\\u{ord(sign):04x}"
        return self.broken("Control character in a string", detail, hint=f"Write {written} in its place.")

    def escape(self) -> str:
        start = self.position
        letter = self.text[start + 1 : start + 2]
        if letter in _ESCAPES:
            self.position = start + 2
            return _ESCAPES[letter]
        if letter != "u":
            self.position = start + 1 + (letter >= " ")
            self.report(
                "Invalid escape sequence", f"\\{letter.strip()} has no meaning in a JSON string.", start, self.position,
                hint="Write \\\\ for a backslash.",
            )  # fmt: skip
            return _REPLACEMENT
        return self.character(start)

    def character(self, start: int) -> str:
        """Read `\\uXXXX`; two of them where a character beyond U+FFFF is written as a pair."""
        code = self.code_unit(start)
        if code is None:
            self.position = start + 2
            detail = "\\u must be followed by four hexadecimal digits."
            self.report("Invalid escape sequence", detail, start, start + 2)
            return _REPLACEMENT
        self.position = start + 6
        if not 0xD800 <= code <= 0xDFFF:
            return chr(code)
        second = self.code_unit(start + 6)
        if code <= 0xDBFF and second is not None and 0xDC00 <= second <= 0xDFFF:
            self.position = start + 12
            return chr(0x10000 + ((code - 0xD800) << 10) + second - 0xDC00)
        self.report("Invalid escape sequence", "This is one half of a pair, and no character.", start, start + 6)
        return _REPLACEMENT

    def code_unit(self, start: int) -> int | None:
        digits = _HEX.match(self.text, start + 2) if self.text.startswith("\\u", start) else None
        return int(digits[0], 16) if digits is not None else None

    def refuse_end_and_comment(self, start: int | None = None) -> None:
        if self.position >= len(self.text):
            where = f"; what is open begins at {Span(self.source, start, start)}" if start is not None else ""
            raise self.broken("Unexpected end of file", f"The JSON value is not complete{where}.")
        if self.text.startswith(("//", "/*", "#"), self.position):
            raise self.broken(
                "Comment not allowed", "JSON has no comments.", hint='Inside of a block, write a member: "//": "…"'
            )

    def broken(self, summary: str, detail: str, size: int = 1, *, hint: str = "") -> _Broken:
        end = min(self.position + size, len(self.text))
        return _Broken(error(summary, detail, Span(self.source, self.position, end), hint=hint))

    def report(self, summary: str, detail: str, start: int, end: int, *, hint: str = "") -> None:
        self.problems.append(error(summary, detail, Span(self.source, start, end), hint=hint))
