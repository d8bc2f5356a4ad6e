"""Write `brevplan/lang/grammar.json`: the LALR tables of the installed python-hcl2, cut down to what our scanner emits.

This is the only place that looks into lark's private parts. The scanner drops comments and turns the newlines that
matter into tokens of its own, decodes templates and heredocs itself and folds `a::b` into one name, so a third of
the grammar's terminals never occur. States that only they lead to are left out, which shrinks the tables from 1,045
states to 228. States are numbered in the order of a breadth-first walk, so that the same grammar always gives
the same file.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import deque
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hcl2
from lark import Lark
from lark.parsers.lalr_analysis import Shift

TARGET = Path(__file__).resolve().parent.parent / "brevplan" / "lang" / "grammar.json"
NEVER_SCANNED = {
    "$END",
    "COLONS",
    "ESCAPED_DIRECTIVE",
    "ESCAPED_INTERPOLATION",
    "HEREDOC_TEMPLATE",
    "HEREDOC_TEMPLATE_TRIM",
    "NL_OR_COMMENT",
    "STRIP_MARKER",
    "TEMPLATE_STRING",
}

Row = dict[str, int]


def build() -> dict[str, Any]:
    """Give the content of the file, from the python-hcl2 that is installed now."""
    grammar_file = Path(hcl2.__file__).with_name("hcl2.lark")
    text = grammar_file.read_bytes()
    # Built afresh rather than taken from hcl2.parser: that one may come from a cache file of another version.
    table = Lark(text.decode(), parser="lalr").parser.parser._parse_table
    return {
        "python_hcl2": version("python-hcl2"),
        "sha256": hashlib.sha256(text).hexdigest(),
        **compress(table.states, table.start_states["start"]),
    }


def compress(states: dict[Any, dict[str, Any]], start: Any) -> dict[str, Any]:
    """Renumber the states that can be reached, and write equal rows once."""
    usable = producible(reductions(states))
    order = reachable(states, start, usable)
    rules = sorted(rule for rule in reductions({state: states[state] for state in order}) if is_whole(rule, usable))
    number = {rule: index for index, rule in enumerate(rules)}
    action_rows: dict[str, int] = {}
    goto_rows: dict[str, int] = {}
    pairs = []
    for state in order:
        actions, gotos = split(states[state], order, number, usable)
        pairs.append([share(actions, action_rows), share(gotos, goto_rows)])
    return {
        "rules": rules,
        "actions": [json.loads(row) for row in action_rows],
        "gotos": [json.loads(row) for row in goto_rows],
        "states": pairs,
    }


def reductions(states: dict[Any, dict[str, Any]]) -> set[str]:
    return {spell(argument) for row in states.values() for kind, argument in row.values() if kind is not Shift}


def spell(rule: Any) -> str:
    """Write a rule as `name : symbols`."""
    return " ".join([f"{plain(rule.origin.name)} :", *(plain(symbol.name) for symbol in rule.expansion)])


def plain(name: Any) -> str:
    return str(getattr(name, "value", name))


def producible(rules: set[str]) -> set[str]:
    """Give the nonterminals that can be made of terminals which the scanner emits."""
    found: set[str] = set()
    while True:
        more = {rule.split()[0] for rule in rules if is_whole(rule, found)}
        if more == found:
            return found
        found = more


def is_whole(rule: str, usable: set[str]) -> bool:
    return all(is_usable(symbol, usable) for symbol in rule.split()[2:])


def is_usable(symbol: str, nonterminals: set[str]) -> bool:
    return symbol in nonterminals or (symbol.isupper() and symbol.lstrip("_") == symbol and symbol not in NEVER_SCANNED)


def reachable(states: dict[Any, dict[str, Any]], start: Any, usable: set[str]) -> dict[Any, int]:
    order = {start: 0}
    queue = deque([start])
    while queue:
        row = states[queue.popleft()]
        for symbol in sorted(row):
            kind, target = row[symbol]
            if kind is Shift and is_usable(symbol, usable) and target not in order:
                order[target] = len(order)
                queue.append(target)
    return order


def split(row: dict[str, Any], order: dict[Any, int], number: dict[str, int], usable: set[str]) -> tuple[Row, Row]:
    """Part a state's row into what to do on a terminal (a reduction is `~rule`) and where a nonterminal leads."""
    actions: Row = {}
    gotos: Row = {}
    for symbol in sorted(row):
        kind, argument = row[symbol]
        if not is_usable(symbol, usable):
            continue
        if symbol in usable:
            gotos[symbol] = order[argument]
        else:
            actions[symbol] = order[argument] if kind is Shift else ~number[spell(argument)]
    return actions, gotos


def share(row: Row, seen: dict[str, int]) -> int:
    return seen.setdefault(json.dumps(row, separators=(",", ":")), len(seen))


def render(content: dict[str, Any]) -> str:
    """Write the content as JSON with one rule, row or state list a line, so that a change can be read as a diff."""
    lines = [f'"{key}":{json.dumps(content[key])}' for key in ("python_hcl2", "sha256")]
    for key in ("rules", "actions", "gotos"):
        items = ",\n".join(json.dumps(item, separators=(",", ":")) for item in content[key])
        lines.append(f'"{key}":[\n{items}\n]')
    lines.append(f'"states":{json.dumps(content["states"], separators=(",", ":"))}')
    return "{" + ",\n".join(lines) + "}\n"


def main() -> int:
    TARGET.write_text(render(build()), encoding="utf-8")
    print(f"wrote {TARGET.name}: {TARGET.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
