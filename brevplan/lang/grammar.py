"""The LALR tables that drive the parser, read from `grammar.json` (see `tools/make_grammar.py`).

The tables know nothing of newlines, which our scanner emits only where one ends an item of a body. A newline is
therefore given the reductions that a name beginning the next item would cause: it completes what stands before it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

SKIP = 1_000_000
"""The action on a newline between two items: nothing."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """State 0 is the start. An action is the state to shift to, or `~rule` to reduce by that rule."""

    actions: list[dict[str, int]]
    gotos: list[dict[str, int]]
    rules: list[str]
    heads: list[str]
    """The nonterminal that a rule makes."""
    sizes: list[int]
    """How many symbols it is made of."""
    body_states: frozenset[int]
    """The states in which an argument or a block may begin."""


@cache
def grammar() -> Grammar:
    """Read the tables, once."""
    content = json.loads(files("brevplan.lang").joinpath("grammar.json").read_text(encoding="utf-8"))
    gotos = [content["gotos"][goto_row] for _, goto_row in content["states"]]
    body_states = frozenset(state for state, row in enumerate(gotos) if "attribute" in row)
    actions = [
        _with_newline(content["actions"][row], is_body=state in body_states)
        for state, (row, _) in enumerate(content["states"])
    ]
    symbols = [rule.split() for rule in content["rules"]]
    return Grammar(
        actions=actions,
        gotos=gotos,
        rules=content["rules"],
        heads=[words[0] for words in symbols],
        sizes=[len(words) - 2 for words in symbols],
        body_states=body_states,
    )


def _with_newline(row: dict[str, int], *, is_body: bool) -> dict[str, int]:
    """Add the columns for the end of a line and of the text."""
    action: Any = SKIP if is_body else row.get("NAME")
    if action is None or 0 <= action < SKIP:
        return row
    return {**row, "NEWLINE": action, "END": action}
