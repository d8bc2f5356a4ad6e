"""Bytes to the syntax tree that `tree_writer` wrote them from.

The bytes may be damaged, or made up by a stranger: whatever they are, the answer is a well-formed tree or none. A
node is taken from the stack of its own sort, so that none can stand where the grammar has no place for it; spans lie
inside the text; and nothing is nested deeper than the later stages, which walk the tree by recursion, can bear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from operator import le
from typing import Final, TypeVar

import msgspec

from brevplan.diagnostics import Source
from brevplan.lang import ast
from brevplan.lang.ast import MAX_DEPTH
from brevplan.lang.collector import collector_paused
from brevplan.lang.tree_format import BINARY, KINDS, UNARY, WORDS, Table

_Node = TypeVar("_Node")

_ATTRIBUTE: Final = bytes([KINDS.index("attribute")])
_SPLAT_ITEM: Final = KINDS.index("splat item")
_MAX_EXPRESSION_DEPTH: Final = 2 * MAX_DEPTH
"""In JSON, arrays nest on their own, and so do the brackets in a template inside of them."""

_MAX_HEX_DIGITS: Final = 40_000
"""Enough for any number that the parser lets pass, and few enough that a made-up one costs nothing."""


def decode(content: bytes, source: Source) -> ast.Body | None:
    """Read the tree of a source; None when the bytes are not one."""
    try:
        with collector_paused():
            return _Reader(msgspec.msgpack.decode(content, type=Table), source).whole()
    except (msgspec.MsgspecError, ArithmeticError, LookupError, ValueError):
        return None


class _Reader:
    """The stacks, one for each sort of node, and a method for each kind of row."""

    __slots__ = (
        "attributes", "blocks", "bodies", "expressions", "items", "labels", "numbers", "parts", "source", "table",
        "texts", "values",
    )  # fmt: skip

    def __init__(self, table: Table, source: Source) -> None:
        self.table = table
        self.source = source
        self.texts = table.texts
        self.numbers = [_number(digits) for digits in table.numbers]
        self.values: Iterator[bytes] = iter(table.kinds.split(_ATTRIBUTE))
        self.expressions: list[ast.Expression] = []
        self.parts: list[str | ast.TemplatePart] = []
        self.items: list[ast.ObjectItem] = []
        self.attributes: list[ast.Attribute] = []
        self.labels: list[ast.Label] = []
        self.blocks: list[ast.Block] = []
        self.bodies: list[ast.Body] = []

    def whole(self) -> ast.Body:
        table = self.table
        _check_offsets(table, len(self.source.text))
        functions = map(_FUNCTIONS.__getitem__, table.kinds)
        for function, start, end, first, second, third in zip(
            functions, table.starts, table.ends, table.first, table.second, table.third, strict=True
        ):
            function(self, start, end, first, second, third)
        body = self.bodies.pop()
        rest = (self.bodies, self.blocks, self.attributes, self.labels, self.expressions, self.parts, self.items)
        if any(rest):
            raise ValueError("something is left over")
        _check_blocks(body)
        return body

    def attribute(self, start: int, end: int, name: int, name_size: int, _: int) -> None:
        rows = next(self.values)
        value = self.expressions.pop()
        if self.expressions or self.parts or self.items:
            raise ValueError("an expression is not part of one argument")  # it could be as deep as it likes
        if len(rows) > MAX_DEPTH or _SPLAT_ITEM in rows:
            _check_expression(value)
        self.attributes.append(
            ast.Attribute(self.source, start, end, self.texts[name], value, _inside(start, name_size, end))
        )

    def block(self, start: int, end: int, type_: int, header_size: int, labels: int) -> None:
        taken, body = _taken(self.labels, labels), self.bodies.pop()
        self.blocks.append(
            ast.Block(self.source, start, end, self.texts[type_], taken, body, _inside(start, header_size, end))
        )

    def body(self, start: int, end: int, attributes: int, blocks: int, _: int) -> None:
        named = {attribute.name: attribute for attribute in _taken(self.attributes, attributes)}
        self.bodies.append(ast.Body(self.source, start, end, named, _taken(self.blocks, blocks)))

    def label(self, start: int, end: int, text: int, quoted: int, _: int) -> None:
        self.labels.append(ast.Label(self.source, start, end, self.texts[text], bool(quoted)))

    def plain_text(self, start: int, end: int, text: int, _: int, __: int) -> None:
        self.expressions.append(ast.Template(self.source, start, end, [self.texts[text]]))

    def template(self, start: int, end: int, parts: int, _: int, __: int) -> None:
        self.expressions.append(ast.Template(self.source, start, end, _taken(self.parts, parts)))

    def heredoc(self, start: int, end: int, parts: int, _: int, __: int) -> None:
        self.expressions.append(ast.Template(self.source, start, end, _taken(self.parts, parts), True))

    def key(self, start: int, end: int, text: int, _: int, __: int) -> None:
        self.expressions.append(ast.Literal(self.source, start, end, self.texts[text]))

    def word(self, start: int, end: int, word: int, _: int, __: int) -> None:
        self.expressions.append(ast.Literal(self.source, start, end, WORDS[word]))

    def number(self, start: int, end: int, number: int, _: int, __: int) -> None:
        self.expressions.append(ast.Literal(self.source, start, end, self.numbers[number]))

    def variable(self, start: int, end: int, name: int, _: int, __: int) -> None:
        self.expressions.append(ast.Variable(self.source, start, end, self.texts[name]))

    def get_attribute(self, start: int, end: int, name: int, _: int, __: int) -> None:
        target = self.expressions.pop()
        self.expressions.append(ast.GetAttr(self.source, start, end, target, self.texts[name]))

    def index(self, start: int, end: int, _: int, __: int, ___: int) -> None:
        target, key = self.pair()
        self.expressions.append(ast.Index(self.source, start, end, target, key))

    def splat(self, start: int, end: int, full: int, _: int, __: int) -> None:
        target, each = self.pair()
        self.expressions.append(ast.Splat(self.source, start, end, target, bool(full), each))

    def splat_item(self, start: int, end: int, _: int, __: int, ___: int) -> None:
        self.expressions.append(ast.SplatItem(self.source, start, end))

    def tuple_cons(self, start: int, end: int, items: int, _: int, __: int) -> None:
        self.expressions.append(ast.TupleCons(self.source, start, end, _taken(self.expressions, items)))

    def object_item(self, start: int, end: int, _: int, __: int, ___: int) -> None:
        key, value = self.pair()
        self.items.append(ast.ObjectItem(self.source, start, end, key, value))

    def object_cons(self, start: int, end: int, items: int, _: int, __: int) -> None:
        self.expressions.append(ast.ObjectCons(self.source, start, end, _taken(self.items, items)))

    def for_tuple(self, start: int, end: int, key_name: int, value_name: int, conditions: int) -> None:
        condition = self.expressions.pop() if conditions else None
        collection, value = self.pair()
        names = self.name(key_name), self.texts[value_name]
        self.expressions.append(ast.ForTuple(self.source, start, end, *names, collection, value, condition))

    def for_object(self, start: int, end: int, key_name: int, value_name: int, conditions: int) -> None:
        self.object_loop((start, end), (key_name, value_name), conditions, grouped=False)

    def for_groups(self, start: int, end: int, key_name: int, value_name: int, conditions: int) -> None:
        self.object_loop((start, end), (key_name, value_name), conditions, grouped=True)

    def object_loop(self, span: tuple[int, int], places: tuple[int, int], conditions: int, *, grouped: bool) -> None:
        condition = self.expressions.pop() if conditions else None
        key, value = self.pair()
        collection = self.expressions.pop()
        names = self.name(places[0]), self.texts[places[1]]
        self.expressions.append(ast.ForObject(self.source, *span, *names, collection, key, value, condition, grouped))

    def conditional(self, start: int, end: int, _: int, __: int, ___: int) -> None:
        then, otherwise = self.pair()
        condition = self.expressions.pop()
        self.expressions.append(ast.Conditional(self.source, start, end, condition, then, otherwise))

    def binary(self, start: int, end: int, operator: int, _: int, __: int) -> None:
        left, right = self.pair()
        self.expressions.append(ast.Binary(self.source, start, end, BINARY[operator], left, right))

    def unary(self, start: int, end: int, operator: int, _: int, __: int) -> None:
        operand = self.expressions.pop()
        self.expressions.append(ast.Unary(self.source, start, end, UNARY[operator], operand))

    def call(self, start: int, end: int, name: int, name_size: int, arguments: int) -> None:
        taken, name_end = _taken(self.expressions, arguments), _inside(start, name_size, end)
        self.expressions.append(ast.Call(self.source, start, end, self.texts[name], taken, False, name_end))

    def expanding_call(self, start: int, end: int, name: int, name_size: int, arguments: int) -> None:
        taken, name_end = _taken(self.expressions, arguments), _inside(start, name_size, end)
        if not taken:
            raise ValueError("there is nothing to expand")
        self.expressions.append(ast.Call(self.source, start, end, self.texts[name], taken, True, name_end))

    def parentheses(self, start: int, end: int, _: int, __: int, ___: int) -> None:
        self.expressions.append(ast.Parentheses(self.source, start, end, self.expressions.pop()))

    def text_part(self, _: int, __: int, text: int, ___: int, ____: int) -> None:
        self.parts.append(self.texts[text])

    def expression_part(self, _: int, __: int, ___: int, ____: int, _____: int) -> None:
        self.parts.append(self.expressions.pop())

    def if_part(self, start: int, end: int, then: int, otherwise: int, _: int) -> None:
        second, first = _taken(self.parts, otherwise), _taken(self.parts, then)
        self.parts.append(ast.TemplateIf(self.source, start, end, self.expressions.pop(), first, second))

    def for_part(self, start: int, end: int, key_name: int, value_name: int, parts: int) -> None:
        names = self.name(key_name), self.texts[value_name]
        body, collection = _taken(self.parts, parts), self.expressions.pop()
        self.parts.append(ast.TemplateFor(self.source, start, end, *names, collection, body))

    def pair(self) -> tuple[ast.Expression, ast.Expression]:
        second = self.expressions.pop()
        return self.expressions.pop(), second

    def name(self, place: int) -> str | None:
        """Give a name that may be left out; its place is counted from 1."""
        return self.texts[place - 1] if place else None


def _taken(stack: list[_Node], count: int) -> list[_Node]:
    """Take the last nodes off a stack, in the order in which they came."""
    if count > len(stack):
        raise ValueError("there are too few")
    first = len(stack) - count
    taken = stack[first:]
    del stack[first:]
    return taken


def _inside(start: int, size: int, end: int) -> int:
    """Give the offset that is so far behind the start."""
    if size > end - start:
        raise ValueError("it is outside of the node")
    return start + size


def _number(digits: str) -> int | Fraction:
    if len(digits) > _MAX_HEX_DIGITS:
        raise ValueError("no number is that long")
    numerator, _, denominator = digits.partition("/")
    value = Fraction(int(numerator, 16), int(denominator, 16))
    return value.numerator if value.denominator == 1 else value


def _check_offsets(table: Table, size: int) -> None:
    """Refuse spans that do not lie inside the text. These are loops of C, not of Python."""
    columns = (table.starts, table.ends, table.first, table.second, table.third)
    if min(map(min, columns)) < 0 or max(table.ends) > size or not all(map(le, table.starts, table.ends)):
        raise ValueError("a span is outside the text")


def _check_blocks(body: ast.Body) -> None:
    level = [body]
    for _ in range(MAX_DEPTH + 1):
        level = [block.body for body in level for block in body.blocks]
        if not level:
            return
    raise ValueError("blocks are nested too deeply")


def _check_expression(value: ast.Expression) -> None:
    """Refuse what is nested too deeply, and an element of a splat where there is none."""
    level: list[tuple[ast.Node, bool]] = [(value, False)]
    for _ in range(_MAX_EXPRESSION_DEPTH):
        below: list[tuple[ast.Node, bool]] = []
        for node, in_splat in level:
            if isinstance(node, ast.SplatItem) and not in_splat:
                raise ValueError("there is no splat around")
            if isinstance(node, ast.Splat):
                below += [(node.object, in_splat), (node.each, True)]
            else:
                below += [(child, in_splat) for child in ast.children(node)]
        if not below:
            return
        level = below
    raise ValueError("the expression is nested too deeply")


_FUNCTION_OF: Final[dict[str, Callable[[_Reader, int, int, int, int, int], None]]] = {
    "attribute": _Reader.attribute,
    "binary": _Reader.binary,
    "block": _Reader.block,
    "body": _Reader.body,
    "call": _Reader.call,
    "conditional": _Reader.conditional,
    "expanding call": _Reader.expanding_call,
    "expression part": _Reader.expression_part,
    "for object": _Reader.for_object,
    "for object of groups": _Reader.for_groups,
    "for part": _Reader.for_part,
    "for tuple": _Reader.for_tuple,
    "get attribute": _Reader.get_attribute,
    "heredoc": _Reader.heredoc,
    "if part": _Reader.if_part,
    "index": _Reader.index,
    "key": _Reader.key,
    "label": _Reader.label,
    "number": _Reader.number,
    "object": _Reader.object_cons,
    "object item": _Reader.object_item,
    "parentheses": _Reader.parentheses,
    "plain text": _Reader.plain_text,
    "splat": _Reader.splat,
    "splat item": _Reader.splat_item,
    "template": _Reader.template,
    "text part": _Reader.text_part,
    "tuple": _Reader.tuple_cons,
    "unary": _Reader.unary,
    "variable": _Reader.variable,
    "word": _Reader.word,
}
_FUNCTIONS: Final = [_FUNCTION_OF[name] for name in KINDS]
