"""How a syntax tree is kept as data: a table of rows, one a node, a node behind those that it is made of.

Read from the front, every row takes its parts from stacks and puts what it makes on one, so that neither nesting nor
the order of reading needs to be written down. The table is kept by column, which msgpack packs tightly and reads at
once. The meaning of the columns `first`, `second` and `third` depends on the kind of row.
"""

from __future__ import annotations

from typing import Final

import msgspec

FORMAT: Final = 1
"""To be raised with every change of what the rows mean."""

KINDS: Final = (
    "attribute",
    "block",
    "body",
    "label",
    "plain text",  # a template of one literal part, by far the most frequent expression
    "template",
    "heredoc",
    "key",
    "word",
    "number",
    "variable",
    "get attribute",
    "index",
    "splat",
    "splat item",
    "tuple",
    "object item",
    "object",
    "for tuple",
    "for object",
    "for object of groups",
    "conditional",
    "binary",
    "unary",
    "call",
    "expanding call",
    "parentheses",
    "text part",
    "expression part",
    "if part",
    "for part",
)
"""Every kind of row; a row holds the place in this list."""

BINARY: Final = ("||", "&&", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%")
UNARY: Final = ("-", "!")
WORDS: Final = (None, False, True)


class Table(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The columns. An `end` is an offset in the text as a `start` is; other offsets are counted from the start."""

    texts: list[str]
    numbers: list[str]
    """Numerator and denominator, hexadecimal: of any size, exact, and read in a time that grows with the size."""
    kinds: bytes
    starts: list[int]
    ends: list[int]
    first: list[int]
    second: list[int]
    third: list[int]
