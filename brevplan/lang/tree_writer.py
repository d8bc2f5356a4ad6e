"""A syntax tree as bytes: see `tree_format` for the form, `tree_reader` for the way back."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import msgspec

from brevplan.lang import ast
from brevplan.lang.collector import collector_paused
from brevplan.lang.tree_format import BINARY, KINDS, UNARY, WORDS, Table

_NUMBER_OF = {name: number for number, name in enumerate(KINDS)}


def encode(body: ast.Body) -> bytes:
    """Write the tree of a whole file."""
    with collector_paused():
        writer = _Writer()
        writer.body(body)
        return msgspec.msgpack.encode(writer.table())


class _Writer:
    """Writes the parts of a node, then its own row."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        self.rows: list[tuple[int, int, int, int, int, int]] = []

    def table(self) -> Table:
        kinds, *columns = zip(*self.rows, strict=True)
        return Table(list(self.texts), list(self.numbers), bytes(kinds), *map(list, columns))

    def row(self, kind: str, node: ast.Node, first: int = 0, second: int = 0, third: int = 0) -> None:
        self.rows.append((_NUMBER_OF[kind], node.start, node.end, first, second, third))

    def text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def name(self, name: str | None) -> int:
        """Give the place of a name that may be left out, counted from 1."""
        return 0 if name is None else self.text(name) + 1

    def body(self, body: ast.Body) -> None:
        for attribute in body.attributes.values():
            self.write(attribute.value)
            name_size = attribute.name_end - attribute.start
            self.row("attribute", attribute, self.text(attribute.name), name_size)
        for block in body.blocks:
            self.block(block)
        self.row("body", body, len(body.attributes), len(body.blocks))

    def block(self, block: ast.Block) -> None:
        for label in block.labels:
            self.row("label", label, self.text(label.text), int(label.quoted))
        self.body(block.body)
        self.row("block", block, self.text(block.type), block.header_end - block.start, len(block.labels))

    def write(self, node: ast.Node) -> None:
        _WRITERS[node.__class__](self, node)

    def literal(self, node: ast.Literal) -> None:
        value = node.value
        if isinstance(value, str):
            self.row("key", node, self.text(value))
        elif value is None or isinstance(value, bool):
            self.row("word", node, WORDS.index(value))
        else:
            exact = Fraction(value)
            digits = f"{exact.numerator:x}/{exact.denominator:x}"
            self.row("number", node, self.numbers.setdefault(digits, len(self.numbers)))

    def template(self, node: ast.Template) -> None:
        parts = node.parts
        if len(parts) == 1 and isinstance(parts[0], str) and not node.heredoc:
            self.row("plain text", node, self.text(parts[0]))
            return
        self.parts(parts, node)
        self.row("heredoc" if node.heredoc else "template", node, len(parts))

    def parts(self, parts: list[str | ast.TemplatePart], around: ast.Node) -> None:
        for part in parts:
            if isinstance(part, str):
                self.row("text part", around, self.text(part))
                continue
            self.write(part)
            if isinstance(part, ast.Expression):
                self.row("expression part", part)

    def if_part(self, node: ast.TemplateIf) -> None:
        self.write(node.condition)
        self.parts(node.then, node)
        self.parts(node.otherwise, node)
        self.row("if part", node, len(node.then), len(node.otherwise))

    def for_part(self, node: ast.TemplateFor) -> None:
        self.write(node.collection)
        self.parts(node.body, node)
        self.row("for part", node, self.name(node.key_name), self.text(node.value_name), len(node.body))

    def parentheses(self, node: ast.Parentheses) -> None:
        self.write(node.inner)
        self.row("parentheses", node)

    def variable(self, node: ast.Variable) -> None:
        self.row("variable", node, self.text(node.name))

    def get_attribute(self, node: ast.GetAttr) -> None:
        self.write(node.object)
        self.row("get attribute", node, self.text(node.name))

    def index(self, node: ast.Index) -> None:
        self.write(node.object)
        self.write(node.key)
        self.row("index", node)

    def splat(self, node: ast.Splat) -> None:
        self.write(node.object)
        self.write(node.each)
        self.row("splat", node, int(node.full))

    def splat_item(self, node: ast.SplatItem) -> None:
        self.row("splat item", node)

    def tuple_cons(self, node: ast.TupleCons) -> None:
        for item in node.items:
            self.write(item)
        self.row("tuple", node, len(node.items))

    def object_cons(self, node: ast.ObjectCons) -> None:
        for item in node.items:
            self.write(item.key)
            self.write(item.value)
            self.row("object item", item)
        self.row("object", node, len(node.items))

    def for_tuple(self, node: ast.ForTuple) -> None:
        self.write(node.collection)
        self.write(node.value)
        self.loop("for tuple", node)

    def for_object(self, node: ast.ForObject) -> None:
        self.write(node.collection)
        self.write(node.key)
        self.write(node.value)
        self.loop("for object of groups" if node.grouped else "for object", node)

    def loop(self, kind: str, node: ast.ForTuple | ast.ForObject) -> None:
        if node.condition is not None:
            self.write(node.condition)
        self.row(kind, node, self.name(node.key_name), self.text(node.value_name), int(node.condition is not None))

    def conditional(self, node: ast.Conditional) -> None:
        self.write(node.condition)
        self.write(node.then)
        self.write(node.otherwise)
        self.row("conditional", node)

    def binary(self, node: ast.Binary) -> None:
        self.write(node.left)
        self.write(node.right)
        self.row("binary", node, BINARY.index(node.operator))

    def unary(self, node: ast.Unary) -> None:
        self.write(node.operand)
        self.row("unary", node, UNARY.index(node.operator))

    def call(self, node: ast.Call) -> None:
        for argument in node.arguments:
            self.write(argument)
        kind = "expanding call" if node.expand else "call"
        self.row(kind, node, self.text(node.name), node.name_end - node.start, len(node.arguments))


_WRITERS: dict[type[ast.Node], Callable[[_Writer, Any], None]] = {
    ast.Binary: _Writer.binary,
    ast.Call: _Writer.call,
    ast.Conditional: _Writer.conditional,
    ast.ForObject: _Writer.for_object,
    ast.ForTuple: _Writer.for_tuple,
    ast.GetAttr: _Writer.get_attribute,
    ast.Index: _Writer.index,
    ast.Literal: _Writer.literal,
    ast.ObjectCons: _Writer.object_cons,
    ast.Parentheses: _Writer.parentheses,
    ast.Splat: _Writer.splat,
    ast.SplatItem: _Writer.splat_item,
    ast.Template: _Writer.template,
    ast.TemplateFor: _Writer.for_part,
    ast.TemplateIf: _Writer.if_part,
    ast.TupleCons: _Writer.tuple_cons,
    ast.Unary: _Writer.unary,
    ast.Variable: _Writer.variable,
}
