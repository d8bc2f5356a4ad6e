"""Text to syntax tree: a shift/reduce loop over the tables of python-hcl2's grammar, fed by our own scanner.

Bad input never raises. An error is recorded, the parser drops the item it was in, and goes on with the next item of
the same body, so that one run reports them all. What the grammar leaves open and the language does not, such as the
newline behind every argument, is checked here when an item is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

from brevplan.diagnostics import Diagnostic, Source
from brevplan.lang import ast
from brevplan.lang.ast import MAX_DEPTH
from brevplan.lang.collector import collector_paused
from brevplan.lang.grammar import SKIP, Grammar, grammar
from brevplan.lang.parser_actions import BY_HEAD, BY_RULE, Builder, Values
from brevplan.lang.parser_errors import (
    Situation,
    can_follow,
    explain,
    indentation_at,
    is_brace_below,
    line_end_hint,
    outside_item,
    starts_item,
    unclosed_block,
)
from brevplan.lang.scanner import KEYWORD_KINDS, Frame, Mode, Scanner, Token

MOST_PROBLEMS = 100
"""What has more mistakes than this is no configuration, or is broken from one place on."""


def parse(source: Source) -> tuple[ast.Body, list[Diagnostic]]:
    """Parse a file. What could be understood is in the body even when there are errors."""
    problems: list[Diagnostic] = []
    with collector_paused():
        parser = _Parser(source, problems)
        body = parser.parse_body()
    return body, _in_order(problems)


def parse_expression(source: Source) -> tuple[ast.Expression | None, list[Diagnostic]]:
    """Parse a lone expression. As inside parentheses, newlines do not count."""
    return _parse_lone(source, [Frame(Mode.GROUP, -1)], [])


def parse_template(source: Source) -> tuple[ast.Template | None, list[Diagnostic]]:
    """Parse a whole text as a template, by the rules of a heredoc's inside."""
    frames = [Frame(Mode.GROUP, -1), Frame(Mode.HEREDOC, -1)]
    value, problems = _parse_lone(source, frames, [("DBLQUOTE", "<<", 0, 0)])
    return value if isinstance(value, ast.Template) else None, problems


def _parse_lone(
    source: Source, frames: list[Frame], opening: list[Token]
) -> tuple[ast.Expression | None, list[Diagnostic]]:
    problems: list[Diagnostic] = []
    with collector_paused():
        value = _Parser(source, problems, frames).parse_value(opening)
    return (None if problems else value), _in_order(problems)


def _in_order(problems: list[Diagnostic]) -> list[Diagnostic]:
    return sorted(problems, key=lambda problem: problem.span.start if problem.span else 0)


@dataclass(slots=True)
class _OpenBody:
    """A body whose end has not been reached. `height` is the size of the stack when it was opened.

    As long as no newline has come (`is_one_line`), it may hold a single argument and no more.
    """

    body: ast.Body
    height: int
    is_one_line: bool
    header: Token = ("NAME", "", 0, 0)
    brace: Token = ("LBRACE", "{", 0, 0)
    labels: list[ast.Label] = field(default_factory=list)


class _Parser(Builder):
    """The stacks of one parse. `lookahead` is the token that caused the reduction at hand."""

    __slots__ = ("bodies", "grammar", "is_lone", "lookahead", "previous", "reported_at", "scanner", "states", "values")

    def __init__(self, source: Source, problems: list[Diagnostic], frames: list[Frame] | None = None) -> None:
        super().__init__(source, problems)
        self.grammar: Grammar = grammar()
        self.scanner = Scanner(source, problems)
        self.is_lone = frames is not None
        if frames is not None:
            self.scanner.frames = frames
        self.states: list[int] = [0]
        self.values: Values = []
        self.bodies = [_OpenBody(ast.Body(source, 0, len(source.text)), 1, is_one_line=False)]
        self.lookahead: Token = ("NEWLINE", "", 0, 0)
        self.previous: Token = self.lookahead
        self.reported_at = -1

    def parse_body(self) -> ast.Body:
        while (culprit := self._consume(self.scanner.tokens())) is not None:
            situation = self._situation(culprit)
            self._complain(situation)
            if len(self.bodies) > MAX_DEPTH:
                return self.bodies[0].body
            if len(self.problems) >= MOST_PROBLEMS:
                self._give_up(situation)
                return self.bodies[0].body
            # A brace on the line below its header is read as if it stood above, which keeps the block.
            if not is_brace_below(situation):
                self._skip_item(situation)
        self._close_all()
        return self.bodies[0].body

    def _give_up(self, situation: Situation) -> None:
        self.error(
            "Too many mistakes",
            f"The file has {MOST_PROBLEMS} mistakes up to here, and the rest of it was not read.",
            situation.token[2],
            situation.token[3],
        )

    def parse_value(self, opening: list[Token]) -> ast.Expression | None:
        """Parse the text as the value of an argument without a name."""
        start: list[Token] = [("NAME", "", 0, 0), ("EQ", "", 0, 0), *opening]
        culprit = self._consume(chain(start, self.scanner.tokens()))
        if culprit is not None:
            self._complain(self._situation(culprit))
        attribute = self.bodies[0].body.attributes.get("")
        return attribute.value if attribute else None

    def _consume(self, tokens: Iterable[Token]) -> Token | None:
        """Shift and reduce until the end, or give the token that does not fit.

        This is the hot loop: names are local, and a whole ladder of rules that hand on one value is climbed in a
        single step that is remembered by `_climb`.
        """
        tables = self.grammar
        actions, gotos, heads, sizes, body_states = (
            tables.actions,
            tables.gotos,
            tables.heads,
            tables.sizes,
            tables.body_states,
        )
        states, values, ladders = self.states, self.values, _LADDERS
        functions = _functions()
        for token in tokens:
            self.previous, self.lookahead = self.lookahead, token
            given = token[0]
            kind = "DBLQUOTE" if given == "TEXT" else given
            while True:
                action = actions[states[-1]].get(kind)
                if action is None:
                    if kind not in KEYWORD_KINDS:
                        return token
                    kind = "NAME"
                    continue
                if action >= 0:
                    break
                rule = ~action
                size = sizes[rule]
                function = functions[rule]
                if size:
                    del states[-size:]
                if function is not None:
                    if size:
                        parts = values[-size:]
                        del values[-size:]
                        values.append(function(self, parts))
                    else:
                        values.append(None)
                step = (states[-1], heads[rule], kind)
                target = ladders.get(step)
                states.append(_climb(tables, step) if target is None else target)
            if action == SKIP:
                self.bodies[-1].is_one_line = False
                if given == "END":
                    return None
            elif given == "TEXT":
                states.append(gotos[states[-1]]["string"])
                text = token[1]
                values.append(ast.Template(self.source, token[2], token[3], [text] if text else []))
            else:
                states.append(action)
                values.append(token)
                if given == "LBRACE" and action in body_states:
                    self._open_body(token)
        return None

    def _open_body(self, brace: Token) -> None:
        """Begin the body of a block, whose header is on the stack."""
        labels = self.values[-2] if self.values[-2].__class__ is list else []
        header = self.values[-3] if self.values[-2].__class__ is list else self.values[-2]
        if ":" in header[1]:
            self._bad_name(header)
        body = ast.Body(self.source, brace[3], brace[3])
        opened = _OpenBody(body, len(self.states), True, header, brace, [self._label(label) for label in labels])
        if self.bodies[-1].is_one_line:
            self._nested_in_one_line(header)
        self.bodies.append(opened)

    def _label(self, value: Token | ast.Template) -> ast.Label:
        if not isinstance(value, ast.Template):
            if ":" in value[1]:
                self._bad_name(value)
            return ast.Label(self.source, value[2], value[3], value[1], False)
        if value.heredoc or not all(isinstance(part, str) for part in value.parts):
            self.error(
                "Invalid block label",
                "A label is a plain name: no heredoc, and no template sequences.",
                value.start,
                value.end,
                hint="Write a literal ${ as $${.",
            )
        text = "".join(part for part in value.parts if isinstance(part, str))
        return ast.Label(self.source, value.start, value.end, text, True)

    def _bad_name(self, token: Token) -> None:
        self.error("Invalid name", "A name cannot contain a colon.", token[2], token[3])

    def _nested_in_one_line(self, header: Token) -> None:
        self.error(
            "Argument definition required",
            "A block written on one line can hold a single argument, and no other block.",
            header[2],
            header[3],
            hint="Put the inner block on a line of its own.",
        )

    def attribute(self, values: Values) -> None:
        """Add a complete argument to the body at hand."""
        name, _, value = values
        opened = self.bodies[-1]
        self._check_end_of_argument(opened, name)
        if value.end - value.start > MAX_DEPTH and self._is_too_deep(value):
            return
        if ":" in name[1]:
            self._bad_name(name)
        before = opened.body.attributes.get(name[1])
        if before is not None:
            self._redefined(name, before)
            return
        node = ast.Attribute(self.source, name[2], value.end, name[1], value, name[3])
        opened.body.attributes[name[1]] = node

    def _check_end_of_argument(self, opened: _OpenBody, name: Token) -> None:
        kind, _, start, end = self.lookahead
        if opened.is_one_line:
            self._check_one_line_argument(opened, name)
        elif kind in ("NEWLINE", "END"):
            return
        elif self.is_lone:
            self.reported_at = start
            self.error("Extra characters after expression", "The expression is complete before this.", start, end)
        else:
            self.reported_at = start
            self.error(
                "Missing newline after argument",
                "An argument ends with its line; the next one, or a closing brace, begins on a line of its own.",
                start,
                end,
                hint=line_end_hint(self.previous, self.lookahead),
            )

    def _check_one_line_argument(self, opened: _OpenBody, name: Token) -> None:
        # When something stands before the argument in such a block, that was reported already.
        is_first = not opened.body.attributes and not opened.body.blocks
        if is_first and self.lookahead[0] != "RBRACE":
            self.error(
                "Invalid single-argument block definition",
                "A block with an argument on the line of its opening brace holds only that, and closes on that line.",
                name[2],
                name[3],
                hint="Put every argument and the closing brace on lines of their own.",
            )

    def _redefined(self, name: Token, before: ast.Attribute) -> None:
        self.error(
            "Attribute redefined",
            f'The argument "{name[1]}" was already set at {before.span}. Each argument may be set only once.',
            name[2],
            name[3],
            hint="Remove one of the two.",
        )

    def _is_too_deep(self, value: ast.Expression) -> bool:
        """Measure an expression without recursion: that is what its depth would break in later stages."""
        level: list[ast.Node] = [value]
        for _ in range(MAX_DEPTH):
            level = [child for node in level for child in ast.children(node)]
            if not level:
                return False
        deepest = level[0]
        self.error(
            "Nested too deeply",
            f"An expression may be nested {MAX_DEPTH} levels deep; chained operators and attributes count as levels.",
            value.start,
            min(value.end, deepest.end),
            hint="Move a part of it to a local value of its own.",
        )
        return True

    def block(self, values: Values) -> None:
        """Add a complete block to the body around it."""
        closing = values[-1]
        opened = self.bodies.pop()
        self._add_block(opened, closing[2], closing[3])
        kind, _, start, end = self.lookahead
        if kind not in ("NEWLINE", "END") and not self.bodies[-1].is_one_line:
            self.reported_at = start
            self.error(
                "Missing newline after block definition",
                "A block ends with its line; what follows begins on a line of its own.",
                start,
                end,
                hint="Start a new line here.",
            )

    def _add_block(self, opened: _OpenBody, body_end: int, end: int) -> None:
        opened.body.end = body_end
        header, brace = opened.header, opened.brace
        self.bodies[-1].body.blocks.append(
            ast.Block(self.source, header[2], end, header[1], opened.labels, opened.body, brace[3])
        )

    def object_item(self, values: Values) -> ast.ObjectItem:
        name, _, value = values
        if self.lookahead[0] not in ("COMMA", "RBRACE"):
            self.error(
                "Missing attribute separator",
                "The entries of an object are separated by commas or newlines.",
                self.lookahead[2],
                self.lookahead[3],
                hint="Add a comma before this.",
            )
        return ast.ObjectItem(self.source, name.start, value.end, name, value)

    def _complain(self, situation: Situation) -> None:
        """Record the error, unless one was already recorded for the place where its item begins."""
        culprit = situation.token
        if situation.item_start == self.reported_at:
            return
        self.problems.append(culprit[1] if culprit[0] == "ERROR" else explain(situation))

    def _situation(self, culprit: Token) -> Situation:
        return Situation(
            source=self.source,
            token=culprit,
            previous=self.previous,
            frames=self._frames_before(culprit),
            states=list(self.states),
            values=self.values,
            grammar=self.grammar,
            item_start=self._item_start(culprit),
            is_lone=self.is_lone,
        )

    def _frames_before(self, culprit: Token) -> list[Frame]:
        """Give what was open before the culprit, which the scanner has already opened or closed if it is a bracket."""
        frames, closed = self.scanner.frames, self.scanner.closed
        if len(frames) > 1 and frames[-1].start == culprit[2]:
            return frames[:-1]
        return [*frames, closed] if closed and culprit[0] in ("RPAR", "RSQB", "RBRACE") else frames

    def _item_start(self, culprit: Token) -> int:
        """Give the place of the first token of the item that the parser is in."""
        for value in self.values[self.bodies[-1].height - 1 :]:
            if value is not None:
                start: int = value[2] if value.__class__ is tuple else getattr(value, "start", culprit[2])
                return start
        return culprit[2]

    def _skip_item(self, situation: Situation) -> None:
        """Drop the item at hand and continue behind it, or where another item clearly begins."""
        opened = self.bodies[-1]
        start, culprit = situation.item_start, situation.token
        position = outside_item(situation)
        if position is None:
            position = self._next_item(self._end_of_item(culprit, start), culprit)
        del self.states[opened.height :]
        del self.values[opened.height - 1 :]
        opened.is_one_line = opened.is_one_line and "\n" not in self.source.text[start:position]
        self.lookahead = ("NEWLINE", "\n", position, position)
        self.scanner.restart(position, [Frame(Mode.BODY, opened.brace[2]) for opened in self.bodies])

    def _end_of_item(self, culprit: Token, start: int) -> int:
        indentation = indentation_at(self.source.text, start)
        depth = len(self.bodies)
        for token in chain([culprit], self._remaining(culprit)):
            kind, _, position, end = token
            if kind == "END":
                return end
            if kind == "NEWLINE" and len(self.scanner.frames) <= depth:
                return end
            if kind == "RBRACE" and len(self.scanner.frames) < depth:
                return position
            if (
                kind != "STRING_CHARS"
                and position > start
                and starts_item(self.source.text, position, indentation, is_nested=depth > 1)
            ):
                return position
        return len(self.source.text)

    def _next_item(self, position: int, culprit: Token) -> int:
        """Pass over lines that can only be the rest of the broken item."""
        text = self.source.text
        is_strict = culprit[0] == "ERROR"
        while text[position - 1 : position] == "\n" and not can_follow(text, position, is_strict=is_strict):
            line_end = text.find("\n", position)
            position = len(text) if line_end == -1 else line_end + 1
        return position

    def _remaining(self, culprit: Token) -> Iterator[Token]:
        """Give the tokens behind the culprit, passing over text that no token can be made of."""
        token = culprit
        while True:
            if token[0] == "ERROR":
                self._pass_over(token)
            previous = token[0]
            for token in self.scanner.tokens(previous):
                yield token
            if token[0] != "ERROR":
                return

    def _pass_over(self, token: Token) -> None:
        """Continue behind a token that is an error: on the next line, if it was inside quotes or a heredoc."""
        frames = self.scanner.frames
        position = max(token[3], token[2] + 1)
        while len(frames) > 1 and frames[-1].mode in (Mode.QUOTED, Mode.HEREDOC, Mode.INTERPOLATION):
            frames.pop()
        self.scanner.restart(min(position, len(self.source.text)), frames)

    def _close_all(self) -> None:
        """At the end of the text, report a block that is still open, and keep what it holds."""
        size = len(self.source.text)
        if len(self.bodies) > 1:
            opened = self.bodies[-1]
            self.problems.append(unclosed_block(self.source, opened.header, opened.brace, opened.body))
        while len(self.bodies) > 1:
            self._add_block(self.bodies.pop(), size, size)


_LADDERS: dict[tuple[int, str, str], int] = {}
"""Where climbing ends, for every (state below, nonterminal, next token) met so far: a fact about the grammar."""


@cache
def _functions() -> list[Callable[[_Parser, Values], Any] | None]:
    """Give the function of every rule, None for one that hands on its single value."""
    own: dict[str, Callable[[_Parser, Values], Any]] = {
        "attribute": _Parser.attribute,
        "block": _Parser.block,
        "object_elem": _Parser.object_item,
    }
    tables = grammar()
    return [
        own.get(head) or BY_RULE.get(rule) or BY_HEAD.get(head)
        for rule, head in zip(tables.rules, tables.heads, strict=True)
    ]


def _climb(tables: Grammar, step: tuple[int, str, str]) -> int:
    """Find the state behind a nonterminal, going on through rules that merely rename it."""
    below, head, kind = step
    functions = _functions()
    state = tables.gotos[below][head]
    while True:
        action = tables.actions[state].get(kind)
        if action is None or action >= 0 or functions[~action] is not None or tables.sizes[~action] != 1:
            break
        state = tables.gotos[below][tables.heads[~action]]
    _LADDERS[step] = state
    return state
