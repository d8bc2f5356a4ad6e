"""Texts of every sort that the language reads, made by chance: from a grammar, by breaking what is well made, or blind.

The grammar is a table of productions, in which `<name>` stands for one of another row. The first productions of a row
are its shortest, and the only ones taken far down. As in `expressions`, anything like `random.Random` chooses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.expressions import sure_expression

ROOT = Path(__file__).parent.parent.parent
DEEPEST = 9
_PLACE = re.compile(r"<(\w+)>")

GRAMMAR: dict[str, list[str]] = {
    "file": ["<item>", "", "<item><file>", "<item><item><file>", "\ufeff<item>"],
    "item": [
        "<name><b>=<b><value><end>",
        "<indent><name><b>=<b><value><end>",
        "<name><b><labels><b>{\n}<end>",
        "<name><b><labels><b>{\n<inner>}<end>",
        "<name> <labels>{ <name> = <value> }<end>",
        "<name> <labels>{<comment><inner><indent>}<end>",
        "\n",
        "<comment>",
    ],
    "inner": ["<item>", "<item><item>", "<item><inner>"],
    "labels": ["", '"<plain>" ', "<name> ", '"<plain>" "<plain>" '],
    "end": ["\n", "\n", "\n", "\r\n", " # <plain>\n", "// <plain>\n", " /* <plain> */\n"],
    "comment": ["# <plain>\n", "// <plain>\r\n", "/* <plain>\n<plain> */\n"],
    "indent": ["", "  ", "\t", "     "],
    "b": [" ", "", "  ", "\t", " /* <plain> */ "],
    "g": ["", " ", "\n", " # <plain>\n  ", "/* <plain>\n */", "\r\n\t"],
    "name": ["a", "b_1", "x-y", "été", "e\u0301", "_", "for_each", "null", "in", "日本", "Ω2", "if", "endif"],
    "plain": ["", "x", "a b", "é\u200d", "😀", "1", "it's; `$`", "%"],
    "value": ["<expr>", "<expr>", "<heredoc>"],
    "expr": [
        "<number>",
        "<name>",
        '"<chars>"',
        "true",
        "null",
        '"<quoted>"',
        "<name><steps>",
        "<expr><b><op><b><expr>",
        "<expr><b>?<b><expr><b>:<b><expr>",
        "<sign><expr>",
        "(<g><expr><g>)",
        "(<g><expr><g><op><g><expr><g>)",
        "[<g><items><g>]",
        "{<entries>}",
        "<call>",
        "<for>",
        "(<expr>)<steps>",
    ],
    "number": ["0", "1", "12", "1.5", "1e3", "2E-2", "007", "99999999999999999999", "1.50"],
    "op": ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||"],
    "sign": ["-", "!", "- ", "!!", "-!-", "! -"],
    "steps": [".<name>", "[<expr>]", "[*]", ".*", ".0", "[ * ].<name>", ".<name><steps>", "[<g><expr><g>]<steps>"],
    "items": ["", "<expr>", "<expr><b>,<g><items>", "<expr>,", "<expr><b>,<b><expr>"],
    "entries": ["", "<key><b>=<b><expr>", "<key><b>:<b><expr>,<entries>", "\n<key> = <value>\n<entries>",
                "<g><entries>"],
    "key": ["<name>", '"<chars>"', "(<expr>)", "<number>", '"<quoted>"'],
    "call": ["f()", "<fn>(<items>)", "<fn>(<g><items><g>)", "<fn>(<expr>...)", "core::<fn>(<items>)", "a :: b(<expr>)"],
    "fn": ["upper", "length", "try", "max", "jsonencode", "nosuch", "été"],
    "for": [
        "[for<s><name> in<s><expr><b>: <expr>]",
        "[<g>for <name>,<b><name> in <expr> : <expr><g>if <expr><g>]",
        "{<g>for <name> in <expr><g>:<g><expr> => <expr><g>}",
        "{for <name>,<name> in <expr> : <expr> => <expr>... if <expr>}",
    ],
    "s": [" ", "  ", "\n", " /* c */ "],
    "chars": ["", "x", "a b", "é", "\\n\\t\\\"", "\\u00e9", "$${x}", "%%{", "$", "%", "$$", "#", "//", "e\u0301", "😀"],
    "quoted": ["<chars>", "<chars><hole><chars>", "<hole>", "<chars><directive><chars>", "<hole><hole><quoted>"],
    "hole": ["${<expr>}", "${ <expr> }", "${~<expr>~}", "${<g><expr><g>}", "${~ <expr>}"],
    "directive": [
        "%{ if <expr> }<quoted>%{ endif }",
        "%{ if <expr> ~}<quoted>%{ else }<quoted>%{~ endif ~}",
        "%{ for <name> in <expr> }<quoted>%{ endfor }",
        "%{for <name>, <name> in <expr>~}<quoted>%{endfor}",
    ],
    "heredoc": ["<<E\n<lines>E", "<<-E\n<lines>  E", "<<été\n<lines>été", "<<-E_1\n<lines>\t\tE_1"],
    "lines": ["<indent><text>\n", "\n", "<indent><text>\n<lines>", "<indent><hole><text>\n<lines>"],
    "text": [
        "x", "", "a \"b\" \\n", "${<name>}", "$${x}", "<directive>", "<hole> <hole>", "E x", "# no",
        "%{ if true ~}\nx\n%{~ endif }",
    ],
    "template": ["<text>", "<text>\n<template>", "<hole>", "<directive>", "<quoted>"],
    "json": ["<scalar>", "{<members>}", "[<elements>]", " {<members>}\n"],
    "scalar": ["1", "true", "null", '"<plain>"', "-1.5e3", '"${<jname>}"', '"<jname>.b"', '"\\u00e9\\n"', '"$${x}"'],
    "jname": ["a", "local.x", "var.b[0]", "1 +", "upper(\\\"x\\\")", "\\\"a\\\""],
    "members": ["", '<jkey>:<json>', '<jkey> : <json> , <members>', '<jkey>:<json>,<jkey>:<json>'],
    "elements": ["", "<json>", "<json>,<elements>"],
    "jkey": ['"a"', '"//"', '"resource"', '"instance"', '"locals"', '"variable"', '"x y"', '"${a}"', '"été"',
             '"count"'],
    "literals": ["<name> = <literal>\n", "<name> = <literal>\n<literals>"],
    "literal": ["1", "-2.5", '"<chars>"', "null", "true", "[<literal>, <literal>]", "{<name> = <literal>}", "<expr>"],
}  # fmt: skip
_SHORTEST = {name: rows[: max(1, min(4, len(rows) // 2))] for name, rows in GRAMMAR.items()}

ALPHABET = [
    *"abxyzE_0123456789", *"()[]{}", *" \t\n\r", *"\"'`\\$%#/*+-~!=<>&|?:.,;@^", "${", "%{", "~}", "<<E\n", "\nE\n",
    "...", "=>", "==", "&&", "||", "::", "for ", " in ", "if ", "endif", "else", "[*]", ".*", "$${", "/*", "*/", "//",
    "é", "\u0301", "\u200d", "😀", "\ufeff", "\x00", "\x7f", "\u2028", "“", "\U000e0001", "true", "null", '"a"', "{}",
    "[]", "1e9",
]  # fmt: skip


def produce(random: Random, name: str, depth: int = 0) -> str:
    """Make a text by the grammar."""
    rows = _SHORTEST[name] if depth >= DEEPEST else GRAMMAR[name]
    return _PLACE.sub(lambda place: produce(random, place[1], depth + 1), random.choice(rows))


def blind(random: Random) -> str:
    """Make a text of any signs of the language, or of any bytes, in no order."""
    if random.random() < 0.3:
        data = bytes(random.choice(range(256)) for _ in range(random.choice(range(40))))
        return data.decode("utf-8", errors="replace")
    return "".join(random.choice(ALPHABET) for _ in range(random.choice(range(30))))


def mutated(random: Random, text: str) -> str:
    """Break a text in a few places: leave out, double, swap, put in."""
    for _ in range(random.choice([1, 1, 2, 4])):
        start = random.choice(range(len(text) + 1))
        end = min(len(text), start + random.choice([0, 1, 1, 2, 5, 20]))
        part = text[start:end]
        change: Callable[[], str] = random.choice([
            lambda: "",
            lambda part=part: part * 2,
            lambda part=part: part[::-1],
            lambda part=part: part + random.choice(ALPHABET),
            lambda: random.choice(ALPHABET),
            lambda text=text: text[random.choice(range(len(text) + 1)) :][:10],
        ])  # fmt: skip
        text = text[:start] + change() + text[end:]
    return text


@cache
def seeds() -> tuple[str, ...]:
    """Give the examples, and the cases of the syntax, as texts to be broken."""
    found = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").rglob("*.hcl"))]
    for path in sorted((ROOT / "tests" / "lang" / "cases" / "syntax").glob("*.txt")):
        parts = path.read_text(encoding="utf-8").split("\n=== ")[1:]
        found += [part.partition("\n")[2].rstrip("\n") + "\n" for part in parts]
    return tuple(found)


def file_text(random: Random) -> str:
    return produce(random, "file")


def mutated_text(random: Random) -> str:
    return mutated(random, random.choice([random.choice(seeds()), produce(random, "file")]))


def mutated_expression(random: Random) -> str:
    return mutated(random, sure_expression(random))


def json_text(random: Random) -> str:
    text = "{" + produce(random, "members") + "}"
    return mutated(random, text) if random.random() < 0.4 else text


def template_text(random: Random) -> str:
    text = produce(random, "template")
    return mutated(random, text) if random.random() < 0.3 else text


def values_text(random: Random) -> str:
    text = produce(random, "literals")
    return mutated(random, text) if random.random() < 0.3 else text


SORTS: dict[str, Callable[[Random], str]] = {
    "file": file_text,
    "broken file": mutated_text,
    "signs in no order": blind,
    "expression": sure_expression,
    "broken expression": mutated_expression,
    "free expression": lambda random: produce(random, "expr", 2),
    "template": template_text,
    "JSON": json_text,
    "values": values_text,
}
"""How a text of each sort is made."""
