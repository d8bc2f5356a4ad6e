"""A diagnostic as a person reads it, in a box with its source line, and as Terraform's machine-readable object.

Takes a `Diagnostic` only: neither reads files nor evaluates anything.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import Any, Final

from brevplan.diagnostics import Diagnostic, Severity, Span
from brevplan.render.paint import Paint, cell_width, clean

_TAB: Final = 4
_HEADER: Final = re.compile(r'([A-Za-z_][\w-]*)((?:[ \t]+(?:"[^"\n]*"|[\w-]+))*)[ \t]*\{')
_SECRET: Final = re.compile(
    r"""^(\s*["']?(?!public_key)\w*(?:api_key|secret|token|passw|private_key|account_key|user_data)\w*["']?\s*[=:]\s*"?)(.*?)("?[\s,}]*)$"""
)
"""A line that gives a credential: the message about it must not carry it into a log."""


@dataclass(frozen=True, slots=True)
class _Bars:
    top: str
    side: str
    bottom: str
    branch: str


_DRAWN: Final = _Bars("╷", "│", "╵", "├────────────────")
_ASCII: Final = _Bars(",", "|", "'", "+----------------")


def render_diagnostic(d: Diagnostic, *, color: bool = False, width: int = 100, ascii: bool = False) -> str:
    """Give the box as lines joined by line ends, without one at its end."""
    bars = _ASCII if ascii else _DRAWN
    paint = Paint(color)
    tone = "red" if d.severity is Severity.ERROR else "yellow"
    word = "Error" if d.severity is Severity.ERROR else "Warning"
    inner = max(width - 2, 20)
    lines = [paint(f"{word}: ", "bold", tone) + paint(clean(d.summary), "bold")]
    place = [*_place(d), *(_snippet(d, bars, paint, inner) if d.span is not None else [])]
    if not d.span and d.values:
        place.extend(_values(d, bars))
    paragraphs = [place, _wrapped(d.detail, inner), _wrapped(d.hint, inner)]
    for paragraph in paragraphs:
        if paragraph:
            lines += ["", *paragraph]
    side = paint(bars.side, tone)
    drawn = [f"{side} {line}" if line else side for line in lines]
    return "\n".join([paint(bars.top, tone), *drawn, paint(bars.bottom, tone)])


def _place(d: Diagnostic) -> list[str]:
    lines = [f"  with {clean(d.address)},"] if d.address else []
    if d.span is not None:
        line, column = d.span.source.position(d.span.start)
        context = _context(d.span)
        inside = f", in {context}" if context else ""
        lines.append(f"  on {clean(d.span.file)} line {line}, column {column}{inside}:")
    return lines


def _context(span: Span) -> str:
    """Give the header of the top-level block around a span: `resource "instance" "web"`.

    Read off the text, since a diagnostic knows no syntax tree: the nearest line above that starts a block at the
    margin, unless one that ends a block comes first.
    """
    first = span.line
    for number in range(first, 0, -1):
        text = span.source.line(number)
        found = _HEADER.match(text)
        is_closed = text[:1] == "}" or (found is not None and text.rstrip().endswith("}"))
        if is_closed and number != first:
            return ""
        if found is not None:
            return clean(f"{found[1]}{' '.join(['', *found[2].split()])}")
    return ""


def _snippet(d: Diagnostic, bars: _Bars, paint: Paint, width: int) -> list[str]:
    assert d.span is not None
    line, column = d.span.source.position(d.span.start)
    text = d.span.source.line(line)
    label = f"{line:>4}: "
    begin, end = _columns(d.span, text, column)
    shown, offset, size = _cut(_hidden(text), begin, end, width - len(label))
    lines = [f"{label}{shown[:offset]}{paint(shown[offset : offset + size], 'bold')}{shown[offset + size :]}"]
    cells = cell_width(shown[offset : offset + size])
    lines.append(" " * (len(label) + cell_width(shown[:offset])) + paint("^" * max(cells, 1), "red", "bold"))
    return [*lines, *_values(d, bars)]


def _columns(span: Span, text: str, column: int) -> tuple[int, int]:
    """Give the stretch of the first line that the span covers, as character positions."""
    begin = min(column - 1, len(text))
    return begin, min(begin + max(span.end - span.start, 1), max(len(text), begin))


def _cut(text: str, begin: int, end: int, room: int) -> tuple[str, int, int]:
    """Give the line as it is drawn, where the marked stretch starts in it and how long it is, within `room` cells."""
    # what is far off is cut away first: a line may have millions of characters
    first, last = max(0, begin - 4 * room), min(end, begin + 4 * room) + 4 * room
    begin, end, text = begin - first, end - first, text[first:last]
    before, marked, after = (clean(part) for part in _tabbed(text, begin, end))
    if cell_width(before) + cell_width(marked) + cell_width(after) > room:
        half = max(room // 3, 8)
        before = before if cell_width(before) <= half else "..." + before[len(before) - half + 3 :]
        marked = _fitted(marked, max(room - cell_width(before) - 3, 8))
        after = _fitted(after, max(room - cell_width(before) - cell_width(marked), 3))
    return before + marked + after, len(before), len(marked)


def _tabbed(text: str, begin: int, end: int) -> tuple[str, str, str]:
    """Spread tabs into spaces, so that the underline meets its columns whatever a terminal makes of a tab."""
    parts, cells = [], 0
    for part in (text[:begin], text[begin:end], text[end:]):
        drawn = ""
        for character in part:
            piece = " " * (_TAB - cells % _TAB) if character == "\t" else character
            cells += cell_width(piece)
            drawn += piece
        parts.append(drawn)
    return parts[0], parts[1], parts[2]


def _fitted(text: str, room: int) -> str:
    if cell_width(text) <= room:
        return text
    while text and cell_width(text) > room - 3:
        text = text[: min(len(text) - 1, room)]
    return text + "..."


def _hidden(text: str) -> str:
    found = _SECRET.match(text)
    # a bare reference such as var.api_key shows nothing
    if found is None or not found[2] or (not found[1].endswith('"') and not re.search(r'"|<<', found[2])):
        return text
    return f"{found[1]}{'*' * len(found[2])}{found[3]}"


def _values(d: Diagnostic, bars: _Bars) -> list[str]:
    if not d.values:
        return []
    shown = [f"    {bars.side} {clean(name)} {_statement(value)}" for name, value in d.values]
    return [f"    {bars.branch}", *shown]


def _statement(value: str) -> str:
    if value == "(known after apply)":
        return "will be known only after apply"
    if value == "(sensitive value)":
        return "has a sensitive value"
    return f"is {clean(value)}"


def _wrapped(text: str, width: int) -> list[str]:
    """Wrap prose; a line that starts with a blank is laid out already and stays."""
    lines: list[str] = []
    for line in clean(text).split("\n") if text else []:
        if line.startswith((" ", "\t")) or not line:
            lines.append(line.rstrip())
        else:
            lines += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    return lines


def diagnostic_json(d: Diagnostic) -> dict[str, Any]:
    """Give the object that Terraform's machine-readable output has for a diagnostic."""
    detail = "\n\n".join(text for text in (d.detail, d.hint) if text)
    data: dict[str, Any] = {"severity": d.severity.value, "summary": d.summary, "detail": detail}
    if d.address:
        data["address"] = d.address
    if d.span is not None:
        data["range"] = _range(d.span)
        data["snippet"] = _snippet_json(d, d.span)
    return data


def _range(span: Span) -> dict[str, Any]:
    return {"filename": span.file, "start": _position(span, span.start), "end": _position(span, span.end)}


def _position(span: Span, offset: int) -> dict[str, int]:
    line, column = span.source.position(offset)
    return {"line": line, "column": column, "byte": len(span.source.text[:offset].encode())}


def _snippet_json(d: Diagnostic, span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    text = span.source.line(line)
    begin, end = _columns(span, text, column)
    code = _hidden(text)
    return {
        "context": _context(span) or None,
        "code": code,
        "start_line": line,
        # Terraform counts these in bytes of the code
        "highlight_start_offset": len(code[:begin].encode()),
        "highlight_end_offset": len(code[:end].encode()),
        "values": [{"traversal": name, "statement": _statement(value)} for name, value in d.values],
    }
