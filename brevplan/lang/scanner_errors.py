"""What to say about a character that begins no token: most are habits from other languages."""

from __future__ import annotations

import unicodedata

_STRAY = {
    "'": ("Invalid character", "Single quotes are not used in this language.", 'Enclose text in double quotes (").'),
    "`": ("Invalid character", "Backticks are not used in this language.", "Write several lines as a heredoc (<<EOT)."),
    ";": (
        "Invalid character",
        "Semicolons are not used in this language.",
        "Separate arguments by newlines, and the items of a collection by commas.",
    ),
    "$": (
        "Invalid character",
        "A template sequence ${ } belongs inside double quotes.",
        "Write the expression without ${ }, or put all of it in double quotes.",
    ),
    "&": ("Unsupported operator", "There are no bitwise operators.", 'Did you mean "&&"?'),
    "|": ("Unsupported operator", "There are no bitwise operators.", 'Did you mean "||"?'),
    "^": ("Unsupported operator", "There are no bitwise operators.", "Powers are written pow(x, y)."),
    "~": ("Unsupported operator", "There are no bitwise operators.", 'Did you mean "!"?'),
    "\r": ("Invalid character", "A carriage return must be followed by a newline.", "Save with \\n line ends."),
    "\\": ("Invalid character", "A backslash has a meaning inside quotes only.", "Wrap a long expression in ( )."),
}


def stray(text: str, position: int) -> tuple[str, str, str]:
    """Say what is wrong with a character that begins no token: summary, detail and hint."""
    character = text[position]
    if character in _STRAY:
        return _STRAY[character]
    if text.startswith("/*", position):
        return "Unterminated comment", "The comment is never closed.", "Close it with */."
    if character in "“”„‟‘’‚‛«»":
        return "Invalid character", "Curly quotes are not used in this language.", 'Type straight double quotes (").'
    name = unicodedata.name(character, "a control character")
    return "Invalid character", f"The character U+{ord(character):04X} ({name}) is not used in this language.", ""
