"""Outdated ways of writing, which `fmt` replaces as Terraform's does: text to text, by the syntax tree.

- `a = "${x}"`, the whole value of an argument, is `a = x`: a template of one interpolation is that value untouched.
- Labels of blocks get their quotes.
- In a `variable` block, `type = "list"` is `type = list(string)`, and `type = list` is `type = list(any)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from brevplan.diagnostics import Source
from brevplan.lang import ast
from brevplan.lang.scanner import Frame, Mode, Scanner

_QUOTED_TYPES: Final = {"string": "string", "list": "list(string)", "map": "map(string)"}
_BARE_TYPES: Final = {"list": "list(any)", "map": "map(any)", "set": "set(any)"}
_LINE_COMMENT: Final = re.compile(r"\#|//")
_INLINE_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def replace_outdated(source: Source, body: ast.Body) -> Source:
    """Give a source without errors in today's way of writing; itself when it is written so already."""
    pieces, position = [], 0
    for edit in sorted(_edits(source.text, body, is_top=True)):
        pieces += [source.text[position : edit.start], edit.text]
        position = edit.end
    return Source(source.name, "".join([*pieces, source.text[position:]])) if pieces else source


def _edits(text: str, body: ast.Body, *, is_top: bool = False, of_variable: bool = False) -> Iterator[_Edit]:
    for attribute in body.attributes.values():
        found = (
            _type(attribute.value) if of_variable and attribute.name == "type" else _unwrapped(text, attribute.value)
        )
        if found is not None:
            yield _Edit(attribute.value.start, attribute.value.end, found)
    for block in body.blocks:
        for label in block.labels:
            if not label.quoted:
                yield _Edit(label.start, label.end, f'"{text[label.start : label.end]}"')
        yield from _edits(text, block.body, of_variable=is_top and block.type == "variable")


def _type(node: ast.Expression) -> str | None:
    match node:
        case ast.Template(parts=[str() as name], heredoc=False):
            return _QUOTED_TYPES.get(name)
        case ast.Variable(name=name):
            return _BARE_TYPES.get(name)
    return None


def _unwrapped(text: str, node: ast.Expression) -> str | None:
    """Give the text of the expression that a template consists of, or None where it is something else."""
    inner: ast.Expression | None = None
    start, end = node.start, node.end
    while isinstance(node, ast.Template) and not node.heredoc and text.startswith('"${', start):
        if len(node.parts) != 1 or not isinstance(node.parts[0], ast.Expression):
            break
        start, end = _interior(text, start, end)
        inner = node = node.parts[0]
        if node.start != start:  # a comment stands before it
            break
    if inner is None:
        return None
    lines = _line_ends(text[start:end])
    if lines is None:
        return None
    is_wrapped = isinstance(inner, ast.Parentheses) and (inner.start, inner.end) == (start, end)
    return f"({text[start:end]})" if lines and not is_wrapped else text[start:end]


def _interior(text: str, start: int, end: int) -> tuple[int, int]:
    """Give the place of what is between `"${` and `}"`, without the marks that trim and the blanks."""
    start, end = start + 3, end - 2
    if text[start] == "~":
        start += 1
    if text[end - 1] == "~":
        end -= 1
    while text[start] in " \t\r\n":
        start += 1
    while text[end - 1] in " \t\r\n":
        end -= 1
    return start, end


def _line_ends(text: str) -> int | None:
    """Count the line ends in an expression that counts none; None when a comment or a heredoc needs one to end."""
    scanner = Scanner(Source("", text + "\n"), [])
    scanner.frames = [Frame(Mode.GROUP, -1)]
    count, position = 0, 0
    for kind, value, start, end in scanner.tokens():
        gap = text[position:start]
        is_heredoc = kind == "DBLQUOTE" and value != '"'
        if is_heredoc or _LINE_COMMENT.search(_INLINE_COMMENT.sub("", gap)):
            return None
        if kind == "END":
            break
        count += gap.count("\n")
        position = end
    return count
