"""What to say when a token does not fit: from the parser's state to a message a person can act on.

The checks run from the most telling to the most general. Most look at what the grammar would have accepted instead,
which `Situation.accepts` finds out by trying it on a copy of the stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from brevplan.diagnostics import Diagnostic, Source, Span, error
from brevplan.lang import ast
from brevplan.lang.grammar import Grammar
from brevplan.lang.scanner import Frame, Mode, Token

CLOSERS = {"(": ")", "[": "]", "{": "}"}
KIND_CLOSERS = {"RPAR": ")", "RSQB": "]", "RBRACE": "}"}

_ITEM = re.compile(r'[^\W\d][\w-]*[ \t]*(?:=(?![=>])|\{[ \t]*\r?$|(?:"[^"\n]*"[ \t]*)+\{)', re.MULTILINE)
_WORD = re.compile(r"[^\W\d]")
_BLOCK = re.compile(r'[^\W\d][\w-]*[ \t]*(?:\{[ \t]*\r?$|(?:"[^"\n]*"[ \t]*)+\{)', re.MULTILINE)
_FOR = re.compile(r"[\[{]\s*for(?![\w-])")
_BRACE_BELOW = re.compile(r"\s*\{")


@dataclass(slots=True)
class Situation:
    """All that is known at the token that does not fit."""

    source: Source
    token: Token
    previous: Token
    frames: list[Frame]
    states: list[int]
    values: list[Any]
    grammar: Grammar
    item_start: int
    is_lone: bool

    @property
    def kind(self) -> str:
        return self.token[0]

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def opener(self) -> str:
        """The innermost open bracket, or nothing directly in a body."""
        frame = self.frame
        is_bracket = frame.mode in (Mode.GROUP, Mode.OBJECT, Mode.INTERPOLATION) and frame.start >= 0
        return self.source.text[frame.start] if is_bracket else ""

    @property
    def is_line_end(self) -> bool:
        return self.kind in ("NEWLINE", "END") or (self.kind == "COMMA" and self.token[1] == "\n")

    def accepts(self, kind: str) -> bool:
        """Tell whether the grammar would have taken a token of this kind here."""
        tables, stack = self.grammar, list(self.states)
        while True:
            action = tables.actions[stack[-1]].get(kind)
            if action is None or action >= 0:
                return action is not None
            size = tables.sizes[~action]
            del stack[len(stack) - size :]
            stack.append(tables.gotos[stack[-1]][tables.heads[~action]])

    def at(self, start: int, end: int, summary: str, detail: str, hint: str = "") -> Diagnostic:
        return error(summary, detail, Span(self.source, start, end), hint=hint)

    def here(self, summary: str, detail: str, hint: str = "") -> Diagnostic:
        return self.at(self.token[2], self.token[3], summary, detail, hint)


def explain(situation: Situation) -> Diagnostic:
    """Give the message for a token that does not fit."""
    for check in _CHECKS:
        found = check(situation)
        if found is not None:
            return found
    return situation.here("Unexpected token", f"Did not expect {describe(situation.token)} here.")


def describe(token: Token) -> str:
    kind, value, _, _ = token
    if kind == "NEWLINE" or (kind == "COMMA" and value == "\n"):
        return "the end of the line"
    if kind == "END":
        return "the end of the text"
    if kind in ("TEXT", "DBLQUOTE", "STRING_CHARS"):
        return "a quoted string"
    word = value if isinstance(value, str) else value[0][0]
    return f'"{word[:30]}"'


def starts_item(text: str, position: int, indentation: int, *, is_nested: bool) -> bool:
    """Tell whether a new item of the body, or the end of the body, seems to begin at a place.

    It must be the first thing on its line and stand no further right than the item before it did.
    """
    if position >= len(text):
        return False
    begin = text.rfind("\n", 0, position) + 1
    if text[begin:position].strip(" \t") or position - begin > indentation:
        return False
    if text.startswith("}", position):
        return is_nested and position - begin < indentation
    return _ITEM.match(text, position) is not None


def can_follow(text: str, position: int, *, is_strict: bool) -> bool:
    """Tell whether parsing may go on at the line after an error, without a message that only repeats that error.

    After text that was not even tokens (`is_strict`), a line must look like an item; else a name at its beginning
    will do.
    """
    begin = position + indentation_at(text, position)
    if begin >= len(text) or text[begin] in "#/}\r\n":
        return True
    return (_ITEM if is_strict else _WORD).match(text, begin) is not None


def is_brace_below(situation: Situation) -> bool:
    """Tell whether a block's header is complete but for a brace that stands on a later line."""
    text, end = situation.source.text, situation.token[2]
    return situation.kind == "NEWLINE" and situation.accepts("LBRACE") and bool(_BRACE_BELOW.match(text, end))


def unclosed_block(source: Source, header: Token, brace: Token, body: ast.Body) -> Diagnostic:
    """Point at the brace or bracket that lacks its closing one, given the innermost block left open at the end.

    Brackets pair up from the inside, so a forgotten one is made good by that of the block around it, and so on
    outwards. What was forgotten is the innermost whose closing bracket stands further left than its line begins.
    """
    shifted = [node for node in _bracketed(body) if _closes_too_far_left(source, node)]
    node = min(shifted, key=lambda node: node.end, default=None)
    if node is None:
        return _unclosed(f'block "{header[1]}"', Span(source, brace[2], brace[3]))
    if isinstance(node, ast.Block):
        return _unclosed(f'block "{node.type}"', Span(source, node.header_end - 1, node.header_end))
    return _unclosed("value", Span(source, node.start, node.start + 1))


def _bracketed(body: ast.Body) -> Iterator[ast.Node]:
    """Give the blocks, objects and tuples of a body, at any depth."""
    bodies, nodes = [body], list[ast.Node]()
    while bodies:
        current = bodies.pop()
        yield from current.blocks
        bodies.extend(block.body for block in current.blocks)
        nodes.extend(attribute.value for attribute in current.attributes.values())
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.ObjectCons | ast.TupleCons):
            yield node
        nodes.extend(ast.children(node))


def _closes_too_far_left(source: Source, node: ast.Node) -> bool:
    last_line = source.text.rfind("\n", 0, node.end) + 1
    before = source.text[last_line : node.end - 1]
    return last_line > node.start and not before.strip() and len(before) < indentation_at(source.text, node.start)


def indentation_at(text: str, position: int) -> int:
    """Give the indentation of the line that a place is on."""
    begin = text.rfind("\n", 0, position) + 1
    end = text.find("\n", begin)
    line = text[begin : end if end != -1 else len(text)]
    return len(line) - len(line.lstrip(" \t\ufeff"))


def _unclosed(what: str, span: Span) -> Diagnostic:
    hint = "Add the closing bracket on a line of its own."
    return error(
        "Unclosed block" if "block" in what else "Unclosed bracket",
        f"The {what} that begins here is never closed.",
        span,
        hint=hint,
    )


def _unclosed_bracket(s: Situation) -> Diagnostic | None:
    if not s.opener:
        return None
    if s.kind != "END" and outside_item(s) is None:
        return None
    if s.opener in "$%":
        return _unclosed_sequence(s)
    start, closing = s.frame.start, CLOSERS[s.opener]
    detail = f'This "{s.opener}" is never closed.'
    return s.at(start, start + 1, "Unclosed bracket", detail, f'Add the missing "{closing}".')


def _unclosed_sequence(s: Situation) -> Diagnostic:
    start, detail = s.frame.start, f'This "{s.opener}{{" is never closed.'
    return s.at(start, start + 2, "Unclosed template sequence", detail, 'Add the missing "}".')


def outside_item(s: Situation) -> int | None:
    """Give where the token's line begins if that looks like the next item: then a bracket before it was forgotten."""
    text = s.source.text
    begin = text.rfind("\n", 0, s.token[2]) + 1
    if not s.opener or begin <= s.frame.start:
        return None
    first = begin + indentation_at(text, begin)
    indentation = indentation_at(text, s.item_start)
    if s.opener == "{":
        is_outside = first - begin <= indentation and _BLOCK.match(text, first) is not None
    elif s.kind == "RBRACE" and first == s.token[2] and s.opener in "([":
        is_outside = first - begin < indentation
    else:
        is_outside = starts_item(text, first, indentation, is_nested=True)
    return first if is_outside else None


def _mismatched_bracket(s: Situation) -> Diagnostic | None:
    given, expected = KIND_CLOSERS.get(s.kind), CLOSERS.get(s.opener)
    if given is None or expected is None or given == expected:
        return None
    place = s.source.position(s.frame.start)
    return s.here(
        "Mismatched bracket",
        f'"{given}" cannot close the "{s.opener}" at line {place[0]}, column {place[1]}.',
        f'Write "{expected}", or add it before this.',
    )


def _at_item_start(s: Situation) -> Diagnostic | None:
    if s.states[-1] not in s.grammar.body_states:
        return None
    if s.kind == "RBRACE":
        return s.here("Unexpected closing brace", "There is no open block that this brace could close.", "Remove it.")
    if s.kind in _CONTINUING and _is_indented_further(s):
        return s.here(
            "Expression broken over lines",
            f"An argument ends with its line, so that {describe(s.token)} cannot continue the one above.",
            "Wrap the whole expression in parentheses; inside of them lines do not count.",
        )
    if s.kind in ("TEXT", "DBLQUOTE"):
        return s.here("Invalid argument name", "Names of arguments and blocks are not quoted.", "Remove the quotes.")
    return s.here(
        "Argument or block definition required",
        f"An argument or a block begins with a name, not with {describe(s.token)}.",
        "Write name = value, or name { … }.",
    )


_CONTINUING = {
    *("PLUS", "MINUS", "ASTERISK", "SLASH", "PERCENT", "QMARK", "DOT", "DOUBLE_AMP", "DOUBLE_PIPE"),
    *("DOUBLE_EQ", "NEQ", "LT", "GT", "LEQ", "GEQ"),
}


def _is_indented_further(s: Situation) -> bool:
    """Tell whether the token's line is written as if it continued the one above."""
    above = s.source.text[: s.token[2]].rstrip()
    is_behind_item = bool(above) and above[-1] not in "{}"
    return is_behind_item and indentation_at(s.source.text, s.token[2]) > indentation_at(above, len(above))


def _after_item_name(s: Situation) -> Diagnostic | None:
    if s.opener or s.is_lone or not s.accepts("LBRACE") or s.accepts("MINUS"):
        return None
    if not s.accepts("EQ"):
        return _after_labels(s)
    name = str(s.previous[1])
    if s.is_line_end:
        return _name_alone(s, name)
    if s.kind in ("DOT", "LSQB", "ATTR_SPLAT", "FULL_SPLAT_START"):
        return s.here(
            "Invalid argument name",
            "The name of an argument is a single word, without dots or brackets.",
            "Set nested values by an object: name = { key = value }.",
        )
    hint = f"Write {name} = …"
    if s.kind == "COLON":
        sign = ":=" if s.source.text.startswith(":=", s.token[2]) else ":"
        return s.here("Missing equals sign", f'An argument is set by "=", not by "{sign}".', hint)
    return s.here(
        "Argument or block definition required",
        f'Expected "=" and a value, or a block\'s labels and "{{", but found {describe(s.token)}.',
        hint,
    )


def _name_alone(s: Situation, name: str) -> Diagnostic:
    if _BRACE_BELOW.match(s.source.text, s.token[2]):
        return _brace_below(s)
    return s.at(
        s.previous[2],
        s.previous[3],
        "Argument or block definition required",
        "A name alone means nothing.",
        f"Write {name} = value to set an argument, or {name} {{ … }} for a block.",
    )


def _after_labels(s: Situation) -> Diagnostic:
    if s.is_line_end and _BRACE_BELOW.match(s.source.text, s.token[2]):
        return _brace_below(s)
    found = describe(s.token)
    hint = 'Write name = value to set an argument, or put "{" behind the labels of a block.'
    if s.kind == "EQ":
        return s.here("Invalid block definition", "An argument has a name of one word, without labels.", hint)
    return s.here("Invalid block definition", f'Expected "{{" after the labels of the block, but found {found}.', hint)


def _brace_below(s: Situation) -> Diagnostic:
    return s.at(
        s.previous[2],
        s.previous[3],
        "Invalid block definition",
        "The opening brace of a block stands on the line of its name and labels.",
        'Move the "{" from the next line up to this one.',
    )


def _at_line_end(s: Situation) -> Diagnostic | None:
    if not s.is_line_end or s.is_lone:
        return None
    previous = s.previous
    if previous[0] in ("EQ", "COLON") and s.accepts("NAME"):
        return s.at(
            previous[2],
            previous[3],
            "Missing value",
            f'The value must begin on the line of its "{previous[1]}".',
            "Write the value here; wrap a value of several lines in ( ), [ ] or { }.",
        )
    if previous[0] != "DOT" and s.accepts("NAME"):
        return s.at(
            previous[2],
            previous[3],
            "Unfinished expression",
            f"The line ends after {describe(previous)}, where an operand is expected.",
            "Wrap an expression of several lines in parentheses.",
        )
    if s.kind == "COMMA" and s.accepts("EQ"):
        return s.at(
            previous[2],
            previous[3],
            "Missing attribute value",
            'The key of an object must be followed by "=" and a value on the same line.',
            "Write key = value.",
        )
    return None


def _after_dot(s: Situation) -> Diagnostic | None:
    if s.previous[0] != "DOT":
        return None
    hint = 'Write ["…"] for a key that is no plain name.' if s.kind in ("TEXT", "DBLQUOTE") else ""
    return s.here("Invalid attribute name", f"A name is required after a dot, but found {describe(s.token)}.", hint)


def _in_for(s: Situation) -> Diagnostic | None:
    if s.opener not in ("[", "{") or not _FOR.match(s.source.text, s.frame.start):
        return None
    summary = "Invalid for expression"
    if s.previous[0] == "FOR":
        return s.here(summary, 'A name is required after "for".', "Write [for item in list : …].")
    if s.kind == "COMMA" and s.accepts(_closing_kind(s)):
        return s.here(summary, "A for expression is the only thing between its brackets.", "Remove the comma.")
    if s.kind == "ELLIPSIS":
        return s.here(summary, "Grouping by ... is for objects, { for … : key => value... }.", "Remove the dots.")
    for kind, sign in (("IN", "in"), ("COLON", ":"), ("FOR_OBJECT_ARROW", "=>")):
        if s.accepts(kind) and not s.accepts("RSQB"):
            return s.here(summary, f'Expected "{sign}", but found {describe(s.token)}.', _FOR_HINTS[s.opener])
    if s.accepts("IF"):
        return s.here(summary, f'Expected "if" or the end, but found {describe(s.token)}.', _FOR_HINTS[s.opener])
    return None


_FOR_HINTS = {
    "[": "The form is [for item in list : value if condition].",
    "{": "The form is {for key, item in map : key => value if condition}.",
}


def _closing_kind(s: Situation) -> str:
    return "RSQB" if s.opener == "[" else "RBRACE"


def _in_template(s: Situation) -> Diagnostic | None:
    previous = s.previous[0]
    if previous == "DIRECTIVE_START":
        return s.here(
            "Invalid template directive",
            f"A directive begins with if, else, endif, for or endfor, not with {describe(s.token)}.",
            "Write %%{ for a literal %{.",
        )
    if previous == "INTERP_START" and s.kind == "RBRACE":
        return s.at(
            s.previous[2],
            s.token[3],
            "Invalid expression",
            "There is nothing between the braces.",
            "Write $${ for a literal ${.",
        )
    if s.opener not in ("$", "%") or not s.accepts("RBRACE"):
        return None
    if previous == "ELSE" and s.kind == "IF":
        hint = "Nest a second %{ if } … %{ endif } inside the else."
        return s.here("Invalid template directive", "There is no else if.", hint)
    if s.kind in ("TEXT", "DBLQUOTE") or "\n" in s.source.text[s.previous[3] : s.token[2]]:
        return _unclosed_sequence(s)
    kind = "interpolation" if s.opener == "$" else "directive"
    return s.here(f"Extra characters in {kind}", f'Expected the closing "}}", but found {describe(s.token)}.')


def _after_value(s: Situation) -> Diagnostic | None:
    """The value is complete, and something follows that cannot."""
    if s.opener or not s.accepts("NEWLINE"):
        return None
    if s.is_lone:
        return s.here("Extra characters after expression", "The expression is complete before this.")
    if s.kind == "COMMA":
        return s.here("Unexpected comma", "Arguments are separated by newlines.", "Remove the comma.")
    hint = line_end_hint(s.previous, s.token)
    if s.kind == "EQ":
        hint = 'Two values are compared by "=="; a second argument begins on a line of its own.'
    elif s.kind == "LPAR":
        hint = "Only a plain name can be called as a function: name(…)."
    elif s.kind in ("IF", "IN"):
        hint = "A condition is written test ? value : other value."
    return s.here(
        "Missing newline after argument",
        f"The value is complete, and an argument ends with its line; found {describe(s.token)}.",
        hint,
    )


_WORD_OPERATORS = {"and": "&&", "or": "||", "is": "==", "not": "!"}


def line_end_hint(previous: Token, token: Token) -> str:
    """Say what to do about a token behind a complete value: some write operators as words."""
    sign = _WORD_OPERATORS.get(str(token[1])) or ("!" if previous[1] == "not" else None)
    return f'Did you mean "{sign}"?' if sign else "Start a new line here."


def _stray_brace(s: Situation) -> Diagnostic | None:
    if s.kind != "RBRACE" or len(s.frames) > 1:
        return None
    return s.here("Unexpected closing brace", "There is no open block that this brace could close.", "Remove it.")


def _between_items(s: Situation) -> Diagnostic | None:
    if s.opener == "(" and s.previous[0] == "ELLIPSIS":
        detail = "An argument expanded by ... is the last one."
        return s.here("Missing closing parenthesis", detail, 'Put ")" directly behind the dots.')
    if not s.accepts("COMMA"):
        return None
    found = describe(s.token)
    if s.opener == "{":
        return s.here("Missing attribute separator", f"Expected a comma or a newline before {found}.", "Add a comma.")
    if s.opener == "[":
        hint = "Use concat() or flatten() to join lists." if s.kind == "ELLIPSIS" else "Add a comma."
        return s.here("Missing item separator", f"Expected a comma before {found}.", hint)
    return s.here("Missing argument separator", f"Expected a comma before {found}.", "Add a comma.")


def _after_key(s: Situation) -> Diagnostic | None:
    if s.opener != "{" or not s.accepts("EQ"):
        return None
    hint = "Write key = value."
    if s.kind in ("LBRACE", "TEXT"):
        hint = 'Write key = { … } for an object; for a nested block, remove the "=" before the outer brace.'
    return s.here("Missing key/value separator", f'Expected "=" after the key, but found {describe(s.token)}.', hint)


_BETTER = {
    "**": "Powers are written pow(x, y).",
    "===": 'Equality is written "==".',
    "??": "Use coalesce(a, b) for the first value that is not null.",
    "++": "Add numbers with +; join text by a template, lists by concat().",
}


def _missing_operand(s: Situation) -> Diagnostic | None:
    if not s.accepts("NAME"):
        return None
    text, end = s.source.text, s.token[3]
    hint = next((advice for sign, advice in _BETTER.items() if text[:end].endswith(sign)), "")
    return s.here("Invalid expression", f"Expected the start of an expression, but found {describe(s.token)}.", hint)


def _missing_closer(s: Situation) -> Diagnostic | None:
    for kind, sign in (("RPAR", ")"), ("RSQB", "]"), ("COLON", ":")):
        if s.accepts(kind):
            what = "Unfinished conditional" if kind == "COLON" else "Missing closing bracket"
            hint = "The form is test ? value : other value." if kind == "COLON" else ""
            return s.here(what, f'Expected "{sign}", but found {describe(s.token)}.', hint)
    return None


_CHECKS: list[Callable[[Situation], Diagnostic | None]] = [
    _unclosed_bracket,
    _mismatched_bracket,
    _at_item_start,
    _after_item_name,
    _at_line_end,
    _after_dot,
    _in_for,
    _in_template,
    _after_value,
    _between_items,
    _after_key,
    _missing_operand,
    _missing_closer,
    _stray_brace,
]
