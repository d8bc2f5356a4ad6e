"""Text as the language sees it: normalised (NFC), and counted in what a reader calls characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def normal(text: str) -> str:
    """Give the NFC form. Functions that put pieces of text together call it: two normal pieces may join to one
    that is not."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def characters(text: str) -> Sequence[str]:
    """Split into grapheme clusters (UAX #29): a family emoji is one."""
    if text.isascii() and "\r" not in text:
        return text
    import regex  # type: ignore[import-untyped]  # slow to import, and most texts are ASCII

    return regex.findall(r"\X", text)  # type: ignore[no-any-return]  # regex has no types


def quoted(text: str, limit: int = 60) -> str:
    """Show a text in a message, shortened."""
    return f'"{text}"' if len(text) <= limit else f'"{text[: limit - 3]}..."'
