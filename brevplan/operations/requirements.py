"""Whether this version is one that the configuration wants: `required_version = ">= 0.1, < 2"`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Final

from brevplan.diagnostics import Diagnostics, Span

Version = tuple[int, ...]

_CONSTRAINT: Final = re.compile(r"\s*(=|!=|>=|<=|>|<|~>)?\s*v?(\d+(?:\.\d+){0,2})\s*\Z")
_COMPARE: Final[dict[str, Callable[[Version, Version], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def check_version(wanted: str, version: str, span: Span | None, diagnostics: Diagnostics) -> None:
    """Report when a version does not satisfy every constraint, or when they cannot be read."""
    if not wanted:
        return
    mine = _parts(version)
    for text in wanted.split(","):
        found = _CONSTRAINT.match(text)
        if found is None:
            diagnostics.error(
                "Invalid version constraint",
                f'"{text.strip()}" is not one.',
                span,
                hint='Write for example: required_version = ">= 0.1, < 2"',
            )
        elif not _satisfies(mine, found[1] or "=", found[2]):
            diagnostics.error(
                "Another version is needed",
                f'The configuration asks for brevplan "{wanted}", and this is {version}.',
                span,
                hint="Install a version that suits, or change required_version.",
            )


def _parts(text: str) -> Version:
    numbers = [int(part) for part in text.split(".")]
    return tuple([*numbers, 0, 0][:3])


def _satisfies(mine: Version, symbol: str, text: str) -> bool:
    wanted = _parts(text)
    if symbol != "~>":
        return _COMPARE[symbol](mine, wanted)
    # ~> 1.2 lets 1.9 in and 2.0 not; ~> 1.2.3 lets 1.2.9 in and 1.3.0 not
    fixed = max(1, text.count("."))
    return mine >= wanted and mine[:fixed] == wanted[:fixed]
