"""Colour where it is asked for, and nothing on the screen that the screen would obey."""

from __future__ import annotations

import unicodedata
from typing import Final

_CODES: Final = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36",
}  # fmt: skip

_UNSAFE: Final = {
    code: "\ufffd"
    for code in (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Control characters, and those that turn the direction of text: a cloud or a file may hold them."""


class Paint:
    """Writes text in a colour, or as it is."""

    __slots__ = ("color",)

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, text: str, *styles: str) -> str:
        if not self.color or not styles or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def clean(text: str) -> str:
    """Replace what a terminal would obey instead of show; tabs and line ends stay."""
    return text if text.isprintable() else text.translate(_UNSAFE)


def cell_width(text: str) -> int:
    """Count the columns of a screen: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
