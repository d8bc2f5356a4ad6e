"""Text to tokens: the scanner under the grammar of python-hcl2.

A token is `(kind, value, start, end)`: the terminal's name in the grammar, its decoded value, and its place. The
scanner keeps a stack of open brackets, quotes and heredocs, because nearly everything depends on the innermost one:
what text means, what a closing brace closes, and whether a newline counts. It does not know the grammar; a bracket
that closes the wrong one is passed on for the parser to complain about.

Beside the grammar's terminals it emits `NEWLINE` (the end of a line in a body), `END`, and `ERROR`, whose value is a
`Diagnostic` and which stands for text that no token can be made of. A newline between the entries of an object is
a `COMMA`, which is what it means there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from brevplan.diagnostics import Diagnostic, Source, Span, error
from brevplan.lang.ast import MAX_DEPTH
from brevplan.lang.scanner_errors import stray

Token = tuple[str, Any, int, int]

KEYWORDS = {
    "else": "ELSE",
    "endfor": "ENDFOR",
    "endif": "ENDIF",
    "false": "FALSE",
    "for": "FOR",
    "for_each": "FOR_EACH",
    "if": "IF",
    "in": "IN",
    "null": "NULL",
    "true": "TRUE",
}
KEYWORD_KINDS = frozenset(KEYWORDS.values())

OPERATORS = {
    "!=": "NEQ",
    "%": "PERCENT",
    "&&": "DOUBLE_AMP",
    "(": "LPAR",
    ")": "RPAR",
    "*": "ASTERISK",
    "+": "PLUS",
    ",": "COMMA",
    ".": "DOT",
    "...": "ELLIPSIS",
    "/": "SLASH",
    ":": "COLON",
    "<": "LT",
    "<=": "LEQ",
    "=": "EQ",
    "==": "DOUBLE_EQ",
    "=>": "FOR_OBJECT_ARROW",
    ">": "GT",
    ">=": "GEQ",
    "?": "QMARK",
    "[": "LSQB",
    "]": "RSQB",
    "{": "LBRACE",
    "||": "DOUBLE_PIPE",
    "}": "RBRACE",
}

OPERAND_ENDS = frozenset(
    (
        *("NAME", "TEXT", "CLOSE", "INT_LITERAL", "FLOAT_LITERAL", "TRUE", "FALSE", "NULL"),
        *("RPAR", "RSQB", "RBRACE", "FULL_SPLAT_START", "ATTR_SPLAT"),
    )
)
"""Kinds after which a minus subtracts. `CLOSE` is our own name for the end of a quoted string or a heredoc."""

# Letters beyond ASCII are taken here without looking and sorted out in `_checked_name`: the character classes of `re`
# lack the combining marks that Unicode allows in identifiers.
_NAME = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\-\x80-\U0010ffff]*"
_IGNORED = r"(?:[ \t\r\n]|\#[^\n]*\n|//[^\n]*\n|/\*.*?\*/)*"

_MAIN = re.compile(
    rf"""[ \t]*(?:
      (?P<name>{_NAME}(?:[ \t]*::[ \t]*{_NAME})*)
    | (?P<newline>\r?\n(?:[ \t]*\r?\n)*)
    | "(?P<text>[^"\\$%\r\n]*)"
    | (?P<comment>\#[^\n]*|//[^\n]*|/\*.*?\*/)
    | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<splat>\[{_IGNORED}\*{_IGNORED}\])
    | (?P<dotstar>\.[ \t]*\*)
    | (?P<heredoc><<-?{_NAME}\r?\n)
    | (?P<badheredoc><<(?!<-?{_NAME}\r?\n))
    | (?P<operator>==|!=|<=|>=|=>|&&|\|\||\.\.\.|[-<>*/%+!?()\[\],.=:{{}}])
    | (?P<tilde>~}})
    | (?P<quote>")
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NAME_PART = re.compile(r"[^: \t]+")
_DIGITS = re.compile(r"[0-9]+")
_SIGN = re.compile(rf"{_IGNORED}(-|!(?!=))", re.DOTALL)
_FOR = re.compile(rf"{_IGNORED}for(?![\w-])", re.DOTALL)
_QUOTED = re.compile(r'(?:[^"\\$%\r\n]|\\[^\r\n]|\$\$\{|%%\{|\$(?!\{)|%(?!\{))+')
_LINE = re.compile(r"(?:[^$%\n]+|\$\$\{|%%\{|\$(?!\{)|%(?!\{))*\n?")
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\.|\$\$\{|%%\{")
_RAW_ESCAPE = re.compile(r"(\$|%)\1\{")
_SIMPLE_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t", '\\"': '"', "\\\\": "\\", "$${": "${", "%%{": "%{"}


class Mode(Enum):
    """What the innermost open thing is."""

    BODY = "a file or a block"
    OBJECT = "an object"
    GROUP = "brackets in which newlines do not count"
    INTERPOLATION = "${ } or %{ } in a template"
    QUOTED = "a quoted string"
    HEREDOC = "a heredoc, or a whole text read as a template"


@dataclass(slots=True)
class Frame:
    """One open bracket, quote or heredoc: where it begins, and for a heredoc the word that ends it."""

    mode: Mode
    start: int
    marker: str = ""


class Scanner:
    """Gives the tokens of one source. `restart` lets the parser go on behind an error."""

    __slots__ = ("_in_value", "_position", "_source", "_text", "closed", "frames", "problems")

    def __init__(self, source: Source, problems: list[Diagnostic]) -> None:
        self._source = source
        self._text = source.text
        self._position = 1 if source.text.startswith("\ufeff") else 0
        self._in_value = False
        self.frames: list[Frame] = [Frame(Mode.BODY, 0)]
        self.closed: Frame | None = None  # what the last closing bracket closed
        self.problems = problems

    def restart(self, position: int, frames: list[Frame]) -> None:
        """Go on at another place, at the beginning of an item; generators made before are of no use afterwards."""
        self._position = position
        self._in_value = False
        self.frames = frames

    def tokens(self, previous: str = "NEWLINE") -> Iterator[Token]:
        """Give the tokens from the current position on, ending with `END` or right behind an `ERROR`.

        `previous` is the kind of the token before: a newline behind a newline is not worth another token.
        """
        while True:
            mode = self.frames[-1].mode
            if mode is Mode.QUOTED or mode is Mode.HEREDOC:
                token = self._template_token()
                previous = "CLOSE" if token[0] == "DBLQUOTE" else token[0]
                yield token
                if previous == "ERROR":
                    return
                continue
            match = _MAIN.match(self._text, self._position)
            if match is None:
                yield self._stray_character()
                return
            group = match.lastgroup or ""
            start, end = match.span(group)
            self._position = end
            # Names, plain strings and line ends are nine tenths of a file, and spared a call.
            if group == "name" and (value := match["name"]).isascii() and ":" not in value:
                kind = KEYWORDS.get(value, "NAME") if previous != "DOT" else "NAME"
                token = (kind, value, start, end)
            elif group == "text":
                self._position = end + 1
                token = ("TEXT", self._normal(match["text"]), start - 1, end + 1)
            elif group == "comment":
                continue
            elif group == "newline":
                separator = self._separator(mode, previous)
                if not separator:
                    continue
                token = (separator, "\n", start, end)
            else:
                token = _OTHERS[group](self, match[group], start, end, previous)
            previous = token[0]
            yield token
            if previous in ("END", "ERROR"):
                return

    def _separator(self, mode: Mode, previous: str) -> str:
        """Give the token that a line end is, or nothing where it does not count."""
        if mode is Mode.BODY:
            self._in_value = False
            return "NEWLINE" if previous != "NEWLINE" else ""
        return "COMMA" if mode is Mode.OBJECT and previous not in ("LBRACE", "COMMA") else ""

    def _end(self, _: str, start: int, end: int, __: str) -> Token:
        return ("END", "", start, end)

    def _full_splat(self, _: str, start: int, end: int, __: str) -> Token:
        return ("FULL_SPLAT_START", "[*]", start, end)

    def _attribute_splat(self, _: str, start: int, end: int, __: str) -> Token:
        return ("ATTR_SPLAT", ".*", start, end)

    def _quote(self, _: str, start: int, end: int, __: str) -> Token:
        return self._open(Mode.QUOTED, ("DBLQUOTE", '"', start, end))

    def _operator(self, value: str, start: int, end: int, previous: str) -> Token:
        if value in "-!":
            return self._sign(value, start, end, previous)
        if value in "([":
            return self._open(Mode.GROUP, (OPERATORS[value], value, start, end))
        if value == "{":
            return self._open(self._brace_mode(end), ("LBRACE", value, start, end))
        if value in ")]}":
            self._close(value)
        elif value == "=" and self.frames[-1].mode is Mode.BODY:
            self._in_value = True
        elif value == "/" and self._text.startswith("*", end):
            return self._stray_at(start)
        return (OPERATORS[value], value, start, end)

    def _sign(self, value: str, start: int, end: int, previous: str) -> Token:
        """Give a minus that subtracts, or a whole chain such as `!!` or `-!-` as one token of (sign, place) pairs.

        The grammar allows a single sign before an operand, so the chain is folded here.
        """
        if value == "-" and previous in OPERAND_ENDS:
            return ("MINUS", value, start, end)
        signs = []
        position = start
        while match := _SIGN.match(self._text, position):
            if self._is_line_end_between(position, match.start(1)):
                break
            signs.append((match[1], match.start(1)))
            position = match.end()
        self._position = position
        return ("MINUS" if value == "-" else "NOT", tuple(signs), start, position)

    def _is_line_end_between(self, start: int, end: int) -> bool:
        counts = self.frames[-1].mode in (Mode.BODY, Mode.OBJECT)
        return counts and end - start > 0 and "\n" in self._text[start:end]

    def _brace_mode(self, end: int) -> Mode:
        if self.frames[-1].mode is Mode.BODY and not self._in_value:
            return Mode.BODY
        return Mode.GROUP if _FOR.match(self._text, end) else Mode.OBJECT

    def _open(self, mode: Mode, token: Token) -> Token:
        if len(self.frames) > MAX_DEPTH:
            return self._error(
                "Nested too deeply",
                f"Brackets, blocks and templates may be nested {MAX_DEPTH} levels deep.",
                token[2],
                token[3],
                hint="Move the inner part to a local value of its own.",
            )
        self.frames.append(Frame(mode, token[2]))
        return token

    def _close(self, value: str) -> None:
        """Leave the innermost bracket if this one closes it; if not, the parser will say so."""
        self.closed = None
        frame = self.frames[-1]
        if len(self.frames) == 1 or frame.start < 0:
            return
        opener = self._text[frame.start]
        if {"(": ")", "[": "]"}.get(opener, "}") != value:
            return
        self.closed = self.frames.pop()
        if frame.mode is Mode.BODY:
            self._in_value = False

    def _close_trimming(self, _: str, start: int, end: int, __: str) -> Token:
        if self.frames[-1].mode is not Mode.INTERPOLATION:
            return self._stray_at(start)
        self.closed = self.frames.pop()
        return ("RBRACE", "~}", start, end)

    def _number(self, value: str, start: int, end: int, previous: str) -> Token:
        if previous == "DOT":
            return self._legacy_index(value, start)
        following = self._text[end : end + 1]
        if following == "_" or following.isalpha():
            return self._bad_number(start, end)
        kind = "INT_LITERAL" if value.isdecimal() else "FLOAT_LITERAL"
        return (kind, value, start, end)

    def _legacy_index(self, value: str, start: int) -> Token:
        """Give the `0` of `list.0`; `list.0.1` is not allowed, and would be read as a fraction."""
        digits = _DIGITS.match(value)
        end = start + (digits.end() if digits else 0)
        if "." not in value:
            self._position = end
            return ("INT_LITERAL", value[: end - start], start, end)
        first, second = value.split(".")
        return self._error(
            "Invalid legacy index syntax",
            "Two indexes written with dots cannot follow each other.",
            start,
            start + len(value),
            hint=f"Write [{first}][{second}] instead.",
        )

    def _bad_number(self, start: int, end: int) -> Token:
        while end < len(self._text) and (self._text[end].isalnum() or self._text[end] == "_"):
            end += 1
        return self._error(
            "Invalid number",
            f'"{self._text[start:end]}" is not a number, and a name cannot begin with a digit.',
            start,
            end,
            hint="Numbers are decimal, such as 1000, 2.5 or 1e6; anything else goes in double quotes.",
        )

    def _checked_name(self, value: str, start: int, _: int, __: str) -> Token:
        """Take the blanks out of `a :: b`, normalise, and cut where a character beyond ASCII is not for names."""
        length = 0
        for character in value:
            if not (character in "-: \t" or ("a" + character).isidentifier()):
                break
            length += 1
        good = value[:length].rstrip("-: \t") if length < len(value) else value
        name = unicodedata.normalize("NFC", re.sub(r"[ \t]", "", good))
        if not name or not all(part[:1].isidentifier() for part in name.split("::")):
            begins = (match.start() for match in _NAME_PART.finditer(value) if not match[0][0].isidentifier())
            return self._stray_at(start + next(begins, min(length, len(value) - 1)))
        self._position = start + len(good)
        return ("NAME", name, start, start + len(good))

    def _open_heredoc(self, value: str, start: int, end: int, __: str) -> Token:
        opening = value.rstrip("\r\n")
        name = opening.lstrip("<").removeprefix("-")
        if not name.replace("-", "_").isidentifier():
            return self._stray_at(start + len(opening) - len(name))
        ended = re.compile(rf"^[ \t]*{re.escape(name)}[ \t]*\r?\n", re.MULTILINE).search(self._text, end)
        if ended is None:
            return self._endless_heredoc(name, start, end)
        flavour = "<<-" if opening.startswith("<<-") else "<<"
        token = self._open(Mode.HEREDOC, ("DBLQUOTE", flavour, start, end))
        if token[0] != "ERROR":
            self.frames[-1].marker = name
        return token

    def _bad_heredoc(self, _: str, start: int, __: int, ___: str) -> Token:
        """Refuse a heredoc whose first line is wrong. The token reaches to its end, so that its text is passed over."""
        line_end = self._text.find("\n", start)
        line_end = len(self._text) if line_end == -1 else line_end
        opening = self._text[start:line_end].rstrip()
        word = re.sub(r"\W", " ", opening.replace("-", "_")).split()[:1]
        ended = re.compile(rf"^[ \t]*{word[0]}[ \t]*$", re.MULTILINE).search(self._text, line_end) if word else None
        token = self._error(
            "Invalid heredoc",
            "A heredoc begins with << or <<- and directly behind it a plain word, the last on its line.",
            start,
            start + len(opening),
            hint="Write <<EOT, without quotes or blanks.",
        )
        return (*token[:3], ended.end() if ended else line_end)

    def _template_token(self) -> Token:
        frame = self.frames[-1]
        if self._text.startswith(("${", "%{"), self._position):
            return self._open_interpolation()
        return self._quoted_part(frame) if frame.mode is Mode.QUOTED else self._heredoc_part(frame)

    def _open_interpolation(self) -> Token:
        start = self._position
        trims = self._text.startswith("~", start + 2) and not self._text.startswith("~}", start + 2)
        self._position = end = start + (3 if trims else 2)
        kind = "INTERP_START" if self._text[start] == "$" else "DIRECTIVE_START"
        return self._open(Mode.INTERPOLATION, (kind, self._text[start:end], start, end))

    def _quoted_part(self, frame: Frame) -> Token:
        start = self._position
        if match := _QUOTED.match(self._text, start):
            self._position = match.end()
            return ("STRING_CHARS", self._decode(match[0], start), start, match.end())
        if self._text.startswith('"', start):
            self._position = start + 1
            self.frames.pop()
            return ("DBLQUOTE", '"', start, start + 1)
        return self._unterminated_string(frame, start)

    def _unterminated_string(self, frame: Frame, end: int) -> Token:
        self.frames.pop()
        return self._error(
            "Unterminated string",
            "The closing quote is missing: a quoted string ends on the line on which it begins.",
            frame.start,
            end,
            hint='Add the closing ", or write several lines with \\n or as a heredoc (<<EOT).',
        )

    def _heredoc_part(self, frame: Frame) -> Token:
        start = self._position
        if self._text[start - 1 : start] == "\n" and frame.marker:
            ended = re.compile(rf"[ \t]*({re.escape(frame.marker)})[ \t]*(?=\r?\n)").match(self._text, start)
            if ended:
                self._position = ended.end()
                self.frames.pop()
                return ("DBLQUOTE", "<<", ended.start(1), ended.end(1))
        match = _LINE.match(self._text, start)
        end = match.end() if match else start
        if end > start:
            self._position = end
            return ("STRING_CHARS", self._normal(_RAW_ESCAPE.sub(r"\1{", self._text[start:end])), start, end)
        return self._end_of_text(frame)

    def _end_of_text(self, frame: Frame) -> Token:
        """Close a whole text read as a template. A heredoc only gets here when a `${` took in its closing marker."""
        size = len(self._text)
        self.frames.pop()
        if frame.marker:
            return self._endless_heredoc(frame.marker, frame.start, frame.start + 2)
        return ("DBLQUOTE", "<<", size, size)

    def _endless_heredoc(self, marker: str, start: int, end: int) -> Token:
        size = len(self._text)
        last_line = self._text[self._text.rfind("\n") + 1 :]
        if last_line.strip() == marker:
            return self._error(
                "Unterminated heredoc",
                f"The closing marker {marker} must be followed by a newline.",
                size - len(last_line.lstrip()),
                size,
                hint="End the file with a newline.",
            )
        return self._error(
            "Unterminated heredoc",
            f"No line holding only the closing marker {marker} was found.",
            start,
            end,
            hint=f"End the text with {marker} on a line of its own.",
        )

    def _decode(self, text: str, start: int) -> str:
        if "\\" not in text and "$${" not in text and "%%{" not in text:
            return self._normal(text)

        def replace(match: re.Match[str]) -> str:
            return self._escape(match[0], start + match.start())

        return self._normal(_ESCAPE.sub(replace, text))

    def _escape(self, sequence: str, start: int) -> str:
        simple = _SIMPLE_ESCAPES.get(sequence)
        if simple is not None:
            return simple
        if len(sequence) > 2:
            code = int(sequence[2:], 16)
            if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
                return chr(code)
            self._bad_escape(sequence, start, f"U+{code:04X} is not a character.")
        elif sequence in ("\\u", "\\U"):
            digits = "four" if sequence == "\\u" else "eight"
            self._bad_escape(sequence, start, f"{sequence} must be followed by {digits} hexadecimal digits.")
        else:
            self._bad_escape(sequence, start, f"{sequence} has no meaning in a quoted string.")
        return sequence

    def _bad_escape(self, sequence: str, start: int, detail: str) -> None:
        span = Span(self._source, start, start + len(sequence))
        hint = 'Known are \\n, \\r, \\t, \\", \\\\, \\uXXXX and \\UXXXXXXXX; write \\\\ for a backslash.'
        self.problems.append(error("Invalid escape sequence", detail, span, hint=hint))

    @staticmethod
    def _normal(text: str) -> str:
        return text if text.isascii() else unicodedata.normalize("NFC", text)

    def _stray_character(self) -> Token:
        start = self._position
        while self._text[start] in " \t":
            start += 1
        return self._stray_at(start)

    def _stray_at(self, start: int) -> Token:
        summary, detail, hint = stray(self._text, start)
        if not self._text.startswith("/*", start):
            return self._error(summary, detail, start, start + 1, hint=hint)
        return (*self._error(summary, detail, start, start + 2, hint=hint)[:3], len(self._text))

    def _error(self, summary: str, detail: str, start: int, end: int, *, hint: str = "") -> Token:
        return ("ERROR", error(summary, detail, Span(self._source, start, end), hint=hint), start, end)


_OTHERS: dict[str, Callable[[Scanner, str, int, int, str], Token]] = {
    "badheredoc": Scanner._bad_heredoc,
    "dotstar": Scanner._attribute_splat,
    "end": Scanner._end,
    "heredoc": Scanner._open_heredoc,
    "name": Scanner._checked_name,
    "number": Scanner._number,
    "operator": Scanner._operator,
    "quote": Scanner._quote,
    "splat": Scanner._full_splat,
    "tilde": Scanner._close_trimming,
}
