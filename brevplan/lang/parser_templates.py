"""From the flat pieces of a quoted string or heredoc to the parts of a `Template`.

In order: `~` strips blanks, `<<-` takes the indentation away, directives are put inside one another. That order shows:
text that a `~` has joined to the line before keeps its indentation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brevplan.diagnostics import Diagnostic, Source, Span, error
from brevplan.lang import ast

WHITESPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What a `~` strips. `str.strip` alone would take some control characters, too."""

Parts = list[str | ast.TemplatePart]


@dataclass(slots=True)
class Mark:
    """An interpolation (`expr`) or one directive, as written; `~` at its left or right side strips the text there."""

    kind: str
    start: int
    end: int
    strips_left: bool
    strips_right: bool
    value: ast.Expression | None = None
    key_name: str | None = None
    value_name: str = ""


Piece = str | Mark


@dataclass(slots=True)
class _Open:
    """A directive that still waits for its end, and the lists its text goes to."""

    mark: Mark
    outer: Parts
    then: Parts = field(default_factory=list)
    otherwise: Parts | None = None


def assemble(source: Source, pieces: list[Piece], *, flush: bool, problems: list[Diagnostic]) -> Parts:
    """Give the parts of a template; unbalanced directives are added to the problems."""
    if any(isinstance(piece, Mark) for piece in pieces):
        pieces = _strip(pieces)
    if flush:
        pieces = _without_indentation(pieces)
    parts = _nest(source, pieces, problems)
    if len(parts) == 1 and len(pieces) > 1 and isinstance(parts[0], ast.Expression):
        # Text that was stripped to nothing still makes the whole a string: only "${x}" alone is x itself.
        return ["", parts[0]]
    return parts


def _strip(pieces: list[Piece]) -> list[Piece]:
    """Strip only the piece right beside the mark, which in a heredoc is the rest of that line."""
    result = list(pieces)
    for index, piece in enumerate(pieces):
        if not isinstance(piece, Mark):
            continue
        if piece.strips_left and index and isinstance(before := result[index - 1], str):
            result[index - 1] = before.rstrip(WHITESPACE)
        if piece.strips_right and index + 1 < len(result) and isinstance(after := result[index + 1], str):
            result[index + 1] = after.lstrip(WHITESPACE)
    return result


def _without_indentation(pieces: list[Piece]) -> list[Piece]:
    """Take the smallest indentation away from every line of `<<-`; blank lines neither count nor change."""
    indented: list[int] = []
    smallest: int | None = None
    at_line_start = True
    for index, piece in enumerate(pieces):
        if isinstance(piece, str):
            if at_line_start and not _is_blank_line(piece):
                indented.append(index)
                spaces = len(piece) - len(piece.lstrip(WHITESPACE))
                smallest = spaces if smallest is None else min(smallest, spaces)
            at_line_start = piece.endswith("\n")
        elif at_line_start:
            smallest = 0
    result = list(pieces)
    for index in indented:
        result[index] = str(pieces[index])[smallest:]
    return result


def _is_blank_line(text: str) -> bool:
    return text.endswith("\n") and not text.strip(WHITESPACE)


def _nest(source: Source, pieces: list[Piece], problems: list[Diagnostic]) -> Parts:
    """Put what stands between a directive and its end inside one node, and join neighbouring text."""
    result: Parts = []
    current = result
    stack: list[_Open] = []
    for piece in pieces:
        if isinstance(piece, str):
            _add_text(current, piece)
            continue
        if piece.kind == "expr" and piece.value is not None:
            current.append(piece.value)
            continue
        if piece.kind in ("if", "for"):
            stack.append(_Open(piece, current))
            current = stack[-1].then
            continue
        if problem := _mismatch(piece, stack):
            problems.append(error(*problem[:2], Span(source, piece.start, piece.end), hint=problem[2]))
        if piece.kind == "else" and stack:
            stack[-1].otherwise = current = []
        elif stack and piece.kind.startswith("end"):
            opened = stack.pop()
            opened.outer.append(_directive(source, opened, piece.end))
            current = opened.outer
    for opened in stack:
        problems.append(_unfinished(source, opened.mark))
    return result


def _add_text(parts: Parts, text: str) -> None:
    if not text:
        return
    if parts and isinstance(last := parts[-1], str):
        parts[-1] = last + text
    else:
        parts.append(text)


def _mismatch(mark: Mark, stack: list[_Open]) -> tuple[str, str, str] | None:
    """Say why an else or an end does not fit here, if it does not."""
    opened = stack[-1] if stack else None
    title = f"Unexpected {mark.kind} directive"
    if opened is None:
        return title, f"There is no open directive that this {mark.kind} could belong to.", "Remove it."
    if mark.kind == "else" and opened.mark.kind == "for":
        return title, "A for directive has no else.", "End the for with %{ endfor } first."
    if mark.kind == "else" and opened.otherwise is not None:
        return title, "This if directive already has an else.", "Nest a second %{ if } inside the else."
    if mark.kind.startswith("end") and mark.kind != f"end{opened.mark.kind}":
        return title, f"The innermost open directive is a {opened.mark.kind}.", f"Write %{{ end{opened.mark.kind} }}."
    return None


def _directive(source: Source, opened: _Open, end: int) -> ast.TemplatePart:
    mark = opened.mark
    value = mark.value or ast.Literal(source, mark.start, mark.end, None)
    if mark.kind == "if":
        return ast.TemplateIf(source, mark.start, end, value, opened.then, opened.otherwise or [])
    return ast.TemplateFor(source, mark.start, end, mark.key_name, mark.value_name, value, opened.then)


def _unfinished(source: Source, mark: Mark) -> Diagnostic:
    return error(
        "Unexpected end of template",
        f"The {mark.kind} directive is never ended.",
        Span(source, mark.start, mark.end),
        hint=f"Add %{{ end{mark.kind} }} behind the text it applies to.",
    )
