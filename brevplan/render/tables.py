"""Plain tables: columns as wide as their widest cell, nothing drawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from brevplan.render.paint import cell_width, clean

_GAP = "  "


def render_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, right: Collection[str] = ()) -> list[str]:
    """Give the lines of a table; the columns named in `right` are set to the right. None is an empty cell."""
    cells = [list(headers), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(cell_width, column)) for column in zip(*cells, strict=True)]
    is_right = [header in right for header in headers]
    return [_line(row, widths, is_right) for row in cells]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(str(value)).replace("\n", " ").replace("\t", " ")


def _line(row: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> str:
    padded = []
    for text, width, right in zip(row, widths, is_right, strict=True):
        space = " " * (width - cell_width(text))
        padded.append(space + text if right else text + space)
    return _GAP.join(padded).rstrip()
