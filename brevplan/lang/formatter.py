"""Text to the same text in canonical style, as `terraform fmt` lays it out.

First `lang/outdated.py` replaces outdated ways of writing. After that only blanks are changed: each line is cut into
pieces, and what stands between two pieces, before the first one, before an `=` and before a comment at the end of the
line is decided anew. Line breaks and comments stay as they are, and so does the text of heredocs.

Where Terraform's command loses something, this one does not: a comment between labels is kept, an expression is left
in its template where a comment or a heredoc in it needs a line end, and `"${"${x}"}"` is unwrapped at once, so that
formatting twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from brevplan.diagnostics import Diagnostic, Source
from brevplan.lang.functions.text import characters
from brevplan.lang.outdated import replace_outdated
from brevplan.lang.parser import parse
from brevplan.lang.scanner import Mode, Scanner, Token

INDENTATION = 2

_GAP = re.compile(r"(?P<newline>\r?\n)|(?P<comment>(?:\#|//)[^\n]*(?:\n|\Z))|(?P<inline>/\*.*?\*/)", re.DOTALL)
_BLANKS = re.compile(r"[ \t]*")
_WORD = re.compile(r"(?:[^\W]|[-·]|[^\x00-\x7f])+|::")


@dataclass(slots=True)
class Piece:
    """A stretch of text that is never changed, and the number of blanks before it."""

    kind: str
    text: str
    blanks: int = 0

    @property
    def is_line_end(self) -> bool:
        return self.text.endswith("\n") and self.kind in ("newline", "comment")

    @property
    def depth_change(self) -> int:
        return 1 if self.kind in _OPENING else -1 if self.kind in _CLOSING else 0


@dataclass(slots=True)
class Line:
    """The three cells of a line: what leads, an `=` with a whole value behind it, and a comment at the end."""

    lead: list[Piece]
    assign: list[Piece] = field(default_factory=list)
    comment: list[Piece] = field(default_factory=list)


_OPENING = {"(", "[", "{", "${"}
_CLOSING = {")", "]", "}", "}$"}


def format_text(source: Source) -> tuple[str, list[Diagnostic]]:
    """Give the text in canonical style; a text with errors comes back unchanged, with the errors."""
    body, problems = parse(source)
    if problems:
        return source.text, problems
    source = replace_outdated(source, body)
    lines = _split(list(_pieces(source)))
    _indent(lines)
    _space(lines)
    _align(lines, lambda line: line.assign, lambda line: _columns(line.lead))
    _align(lines, lambda line: line.comment, lambda line: _columns(line.lead) + _columns(line.assign))
    return _joined(lines), []


def _joined(lines: list[Line]) -> str:
    text = "".join(
        " " * piece.blanks + piece.text for line in lines for piece in (*line.lead, *line.assign, *line.comment)
    )
    if text and not text.endswith("\n"):
        text += "\n"
    return text


def _pieces(source: Source) -> Iterator[Piece]:
    """Cut a text without errors into pieces. Between two tokens there are only blanks, line ends and comments."""
    text, scanner = source.text, Scanner(source, [])
    position = 0
    tokens = scanner.tokens()
    for token in tokens:
        kind, value, start, end = token
        if kind == "NEWLINE" or (kind == "COMMA" and value == "\n"):
            continue
        yield from _gap(text, position, start)
        if kind == "END":
            return
        if kind == "DBLQUOTE" and value != '"':
            inside, end = _heredoc(text, scanner, tokens, end)
            yield Piece("heredoc", text[start : token[3]] + inside)
        else:
            yield from _token_pieces(text, token, scanner)
        position = end


def _gap(text: str, start: int, end: int) -> Iterator[Piece]:
    for match in _GAP.finditer(text, start, end):
        yield Piece("newline" if match.lastgroup == "newline" else "comment", match[0])


def _heredoc(text: str, scanner: Scanner, tokens: Iterator[Token], position: int) -> tuple[str, int]:
    """Take the tokens of a heredoc that has just begun; give its text with its closing marker, and where that ends.

    Only what stands in interpolations is spaced anew; lines in them begin at the margin.
    """
    depth, pieces = len(scanner.frames), list[Piece]()
    for token in tokens:
        kind, value, start, end = token
        is_text = kind == "STRING_CHARS" and len(scanner.frames) == depth
        if len(scanner.frames) < depth:
            blanks = _BLANKS.match(text, end)
            end = blanks.end() if blanks else end
            # the blanks before the closing marker are part of it
            return _spaced(pieces) + text[position:end], end
        pieces += _gap(text, position, start)
        if kind == "DBLQUOTE" and value != '"' and not is_text:
            inside, end = _heredoc(text, scanner, tokens, end)
            pieces.append(Piece("heredoc", text[start : token[3]] + inside))
        else:
            pieces += _token_pieces(text, token, scanner)
        position = end
    raise AssertionError("a text without errors has no open heredoc")


def _spaced(pieces: list[Piece]) -> str:
    _space_cell(pieces)
    return "".join(" " * piece.blanks + piece.text for piece in pieces)


def _token_pieces(text: str, token: Token, scanner: Scanner) -> Iterator[Piece]:
    """Give the pieces of one token, which are several where the scanner joined what the style tells apart."""
    kind, value, start, end = token
    if isinstance(value, tuple):
        yield from _signs(text, value)
    elif kind == "FULL_SPLAT_START":
        star = text.index("*", start, end)
        yield from (Piece("[", "["), *_gap(text, start, star), Piece("*", "*"), *_gap(text, star, end), Piece("]", "]"))
    elif kind == "ATTR_SPLAT":
        yield from (Piece(".", "."), Piece("*", "*"))
    elif kind == "NAME" and "::" in value:
        yield from (Piece("::" if word == "::" else "name", word) for word in _WORD.findall(text[start:end]))
    else:
        yield Piece(_kind(token, scanner), text[start:end])


def _signs(text: str, signs: tuple[tuple[str, int], ...]) -> Iterator[Piece]:
    position = signs[0][1]
    for sign, start in signs:
        yield from _gap(text, position, start)
        yield Piece(sign, sign)
        position = start + 1


def _kind(token: Token, scanner: Scanner) -> str:
    """Name a piece by what matters for the blanks around it."""
    kind, value, start, _ = token
    if kind in ("INT_LITERAL", "FLOAT_LITERAL"):
        return "number"
    if kind == "STRING_CHARS":
        return "literal"
    if kind in ("INTERP_START", "DIRECTIVE_START"):
        return "${"
    if kind == "DBLQUOTE":
        is_opening = scanner.frames[-1].mode is Mode.QUOTED and scanner.frames[-1].start == start
        return "open quote" if is_opening else "close quote"
    if kind == "RBRACE":
        return "}$" if scanner.closed is not None and scanner.closed.mode is Mode.INTERPOLATION else "}"
    if kind == "TEXT":
        return "text"
    word = str(value)
    return "name" if word[0].isalpha() or word[0] == "_" else word


def _split(pieces: list[Piece]) -> list[Line]:
    """Group the pieces into lines, and each line into its cells."""
    lines: list[Line] = [Line([])]
    for piece in pieces:
        lines[-1].lead.append(piece)
        if piece.is_line_end:
            lines.append(Line([]))
    for line in lines:
        if len(line.lead) > 1 and line.lead[-1].kind == "comment":
            line.comment = [line.lead.pop()]
        _split_at_equals(line)
    return lines


def _split_at_equals(line: Line) -> None:
    """Set the first `=` and what follows apart, unless it opens brackets that the line does not close."""
    for index, piece in enumerate(line.lead):
        if index and piece.kind == "=":
            if sum(part.depth_change for part in line.lead[index:]) == 0:
                line.lead, line.assign = line.lead[:index], line.lead[index:]
            return


def _indent(lines: list[Line]) -> None:
    """Indent by one step for every line that opens more brackets than it closes, however many those are."""
    opened: list[int] = []
    for line in lines:
        if not line.lead or line.lead[0].kind == "newline":
            continue
        change = sum(piece.depth_change for piece in (*line.lead, *line.assign))
        _close(opened, -change)
        line.lead[0].blanks = INDENTATION * len(opened)
        if change > 0:
            opened.append(change)


def _close(opened: list[int], count: int) -> None:
    """Take brackets off those that are open, and with the last one of a line that line's step."""
    while count > 0 and opened:
        taken = min(count, opened[-1])
        opened[-1] -= taken
        count -= taken
        if opened[-1] == 0:
            opened.pop()


def _space(lines: list[Line]) -> None:
    for line in lines:
        _space_cell(line.lead)
        _space_cell(line.assign)


def _space_cell(pieces: list[Piece]) -> None:
    before: Piece | None = None
    for piece, after in pairwise(pieces):
        after.blanks = 1 if _is_spaced(before, piece, after) and not piece.is_line_end else 0
        before = piece
    _keep_numbers_apart(pieces)


def _keep_numbers_apart(pieces: list[Piece]) -> None:
    """Leave a blank in `a.0 .1`, which is an index of an index: without it, 0.1 would be a fraction."""
    for left, dot, right in zip(pieces, pieces[1:], pieces[2:], strict=False):
        if (left.kind, dot.kind, right.kind) == ("number", ".", "number"):
            dot.blanks = 1


_NEGATION_AFTER = {
    *("(", "{", "[", "=", ":", ",", "?", "+", "*", "/", "%", "-", "!"),
    *("==", "!=", ">", ">=", "<", "<=", "&&", "||"),
}


def _is_spaced(before: Piece | None, piece: Piece, after: Piece) -> bool:
    """Tell whether a blank belongs between a piece and the one after it. The first rule that fits decides."""
    this, following = piece.kind, after.kind
    if following == "newline" or (this == "name" and following in ("(", "::")) or this == "::":
        return False
    if "." in (this, following) or following in (",", "..."):
        return False
    if this == ",":
        return True
    if this in ("literal", "open quote") or following in ("literal", "close quote"):
        return False
    if piece.text == "in" and before is not None and before.kind == "name":
        return True
    if following == "[" and (this in ("name", "number") or this in _CLOSING):
        return False
    if this == "!":
        return False
    if this == "-":
        return before is not None and before.kind not in _NEGATION_AFTER
    return _is_spaced_by_brackets(this, following)


def _is_spaced_by_brackets(this: str, following: str) -> bool:
    if this == "{" or following == "}":
        return not (this == "{" and following == "}")
    if (this == "${" and following == "{") or (this == "}" and following == "}$"):
        return True
    if this == "}$" and following == "${":
        return False
    return this not in _OPENING and following not in _CLOSING


def _align(lines: list[Line], cell: Callable[[Line], list[Piece]], width: Callable[[Line], int]) -> None:
    """Let a cell begin at the same column in all of a run of neighbouring lines that have it."""
    run: list[Line] = []
    for line in [*lines, Line([])]:
        if cell(line):
            run.append(line)
            continue
        widths = [width(member) for member in run]
        for member, columns in zip(run, widths, strict=True):
            cell(member)[0].blanks = max(widths) - columns + 1
        run = []


def _columns(pieces: list[Piece]) -> int:
    return sum(piece.blanks + _width(piece.text) for piece in pieces)


def _width(text: str) -> int:
    """Count the characters a reader sees; a letter with its marks, or an emoji with its joiners, is one."""
    return len(text) if text.isascii() else len(characters(text))
