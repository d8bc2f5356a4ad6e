"""The JSON way of writing configuration, into the same syntax tree as the native one.

JSON alone does not say what is a block, a label, a template or a name, so the caller gives a `Shape`. A string is a
template unless the shape says otherwise; its expressions are parsed by the parser of the native syntax, and then moved
to the places in the file that they came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from unicodedata import normalize

from brevplan.diagnostics import Diagnostic, Source, Span, error
from brevplan.lang import ast
from brevplan.lang.json_reader import JsonArray, JsonNode, JsonObject, JsonScalar, JsonText, read_json
from brevplan.lang.json_shape import Shape
from brevplan.lang.parser import parse_expression, parse_template

COMMENT: Final = "//"
_NAME: Final = re.compile(r"[^\W\d][\w-]*\Z")


def parse_json(source: Source, shape: Shape) -> tuple[ast.Body, list[Diagnostic]]:
    """Parse a file. The body is empty when the text is not JSON."""
    root, problems = read_json(source)
    builder = _Builder(source, problems)
    body = ast.Body(source, 0, len(source.text))
    if root is not None:
        builder.file(body, root, shape)
    return body, sorted(problems, key=lambda problem: problem.span.start if problem.span else 0)


class _Builder:
    def __init__(self, source: Source, problems: list[Diagnostic]) -> None:
        self.source = source
        self.problems = problems

    def file(self, body: ast.Body, root: JsonNode, shape: Shape) -> None:
        for part in root.items if isinstance(root, JsonArray) else [root]:
            if isinstance(part, JsonObject):
                self.fill(body, part, shape)
            else:
                self.error("Object needed", "The file holds a JSON object.", part, hint='For example: { "locals": {} }')

    def fill(self, body: ast.Body, node: JsonObject, shape: Shape) -> None:
        for key, value in node.members:
            name = normalize("NFC", key.text)
            if name == COMMENT:
                continue
            if name in shape.blocks:
                body.blocks.extend(self.blocks(name, value, shape.blocks[name], [], key.start + 1))
            elif shape.is_file and isinstance(value, (JsonObject, JsonArray)):
                inside = ast.Body(self.source, value.start, value.end)
                body.blocks.append(ast.Block(self.source, key.start + 1, value.end, name, [], inside, value.start))
            else:
                self.argument(body, name, key, value, shape)

    def blocks(
        self, type_: str, node: JsonNode, shape: Shape, labels: list[ast.Label], start: int, *, in_array: bool = False
    ) -> Iterator[ast.Block]:
        """Give the blocks of a type. `start` is where a message about the block points when it has no label."""
        match node:
            case JsonScalar(value=None):
                return
            case JsonArray() if not in_array:
                for item in node.items:
                    yield from self.blocks(type_, item, shape, labels, item.start, in_array=True)
            case JsonObject() if len(labels) < shape.labels:
                for key, value in node.members:
                    if key.text == COMMENT:
                        continue
                    label = ast.Label(self.source, key.start, key.end, normalize("NFC", key.text), True)
                    yield from self.blocks(type_, value, shape, [*labels, label], key.start)
            case JsonObject():
                inside = ast.Body(self.source, node.start, node.end)
                self.fill(inside, node, shape.by_label.get(labels[0].text, shape) if labels else shape)
                begin = labels[-1].start if labels else start
                yield ast.Block(self.source, begin, node.end, type_, labels, inside, node.start + 1)
            case _:
                self.not_a_block(type_, node, shape, labels)

    def not_a_block(self, type_: str, node: JsonNode, shape: Shape, labels: list[ast.Label]) -> None:
        if len(labels) < shape.labels:
            detail = f'A "{type_}" block has {shape.labels} label{"s" if shape.labels > 1 else ""}: names of objects.'
            inner = "{ … }"
            for place in reversed(range(shape.labels)):
                inner = f'{{ "{labels[place].text if place < len(labels) else "name"}": {inner} }}'
            self.error("Missing label", detail, node, hint=f'Write: "{type_}": {inner}')
            return
        detail = f'"{type_}" is a block: an object, or an array of objects for several.'
        self.error("Object needed", detail, node)

    def argument(self, body: ast.Body, name: str, key: JsonText, value: JsonNode, shape: Shape) -> None:
        if name in body.attributes:
            before = body.attributes[name].span
            detail = f'The argument "{name}" was already set at {before}. Each argument may be set only once.'
            self.error("Attribute redefined", detail, key, hint="Remove one of the two.")
            return
        if not _NAME.match(name):
            detail = "The name of an argument is a letter or _, then letters, digits, _ and -."
            self.error("Invalid name", detail, key)
            return
        if isinstance(value, JsonScalar) and value.value is None and name not in shape.nulls:
            return
        is_literal = name in shape.literal
        node = self.bare(value) if name in shape.bare else self.expression(value, is_literal=is_literal)
        body.attributes[name] = ast.Attribute(self.source, key.start, value.end, name, node, key.end)

    def expression(self, node: JsonNode, *, is_literal: bool) -> ast.Expression:
        match node:
            case JsonScalar():
                return ast.Literal(self.source, node.start, node.end, node.value)
            case JsonArray():
                items = [self.expression(item, is_literal=is_literal) for item in node.items]
                return ast.TupleCons(self.source, node.start, node.end, items)
            case JsonObject():
                return self.object(node, is_literal=is_literal)
            case JsonText():
                return self.template(node, is_literal=is_literal) or self.nothing(node)
        raise AssertionError(f"no such JSON: {node!r}")

    def object(self, node: JsonObject, *, is_literal: bool) -> ast.ObjectCons:
        items: list[ast.ObjectItem] = []
        seen: dict[str, JsonText] = {}
        for key, value in node.members:
            first = seen.setdefault(key.text, key)
            if first is not key:
                where = Span(self.source, first.start, first.end)
                self.error(
                    "Duplicate key", f'"{key.text}" stands at {where} already.', key, hint="Remove one of the two."
                )
                continue
            name = self.template(key, is_literal=is_literal) or self.nothing(key)
            element = self.expression(value, is_literal=is_literal)
            items.append(ast.ObjectItem(self.source, key.start, value.end, name, element))
        return ast.ObjectCons(self.source, node.start, node.end, items)

    def template(self, node: JsonText, *, is_literal: bool) -> ast.Template | None:
        """Give a text as a template; None after reporting what is wrong with it."""
        text = normalize("NFC", node.text)
        plain: list[str | ast.TemplatePart] = [text] if text else []
        result = ast.Template(self.source, node.start, node.end, plain)
        if not is_literal and _has_sequence(text):
            inner = Source(self.source.name, node.text)
            parsed, problems = parse_template(inner)
            self.adopt(parsed, problems, node, inner)
            if parsed is None:
                return None
            result.parts = parsed.parts
        return result

    def nothing(self, node: JsonNode) -> ast.Literal:
        """Stand for a value whose mistake is told already: what is left out leads to the fewest further messages."""
        return ast.Literal(self.source, node.start, node.end, None)

    def bare(self, node: JsonNode) -> ast.Expression:
        """Read a text as an expression; also one that stands in `${ }`, as old habits have it."""
        if isinstance(node, JsonArray):
            return ast.TupleCons(self.source, node.start, node.end, [self.bare(item) for item in node.items])
        if isinstance(node, JsonObject):
            pairs = [(self.bare(key), self.bare(value)) for key, value in node.members]
            items = [ast.ObjectItem(self.source, key.start, value.end, key, value) for key, value in pairs]
            return ast.ObjectCons(self.source, node.start, node.end, items)
        if not isinstance(node, JsonText):
            return self.expression(node, is_literal=False)
        if _has_sequence(node.text):
            template = self.template(node, is_literal=False)
            if template is None:
                return self.nothing(node)
            alone = template.parts[0] if len(template.parts) == 1 else None
            return alone if isinstance(alone, ast.Expression) else template
        inner = Source(self.source.name, node.text)
        parsed, problems = parse_expression(inner)
        self.adopt(parsed, problems, node, inner)
        return parsed if parsed is not None else self.nothing(node)

    def adopt(self, root: ast.Node | None, problems: list[Diagnostic], text: JsonText, inner: Source) -> None:
        """Move what was parsed from a decoded text to its places in the file."""
        for problem in problems:
            assert problem.span is not None
            span = Span(self.source, text.place(problem.span.start), text.place(problem.span.end))
            self.problems.append(replace(problem, span=span))
        pending = [root] if root is not None else []
        while pending:
            node = pending.pop()
            if node.source is not inner:
                continue  # was here before
            node.source, node.start, node.end = self.source, text.place(node.start), text.place(node.end)
            if isinstance(node, ast.Call):
                node.name_end = text.place(node.name_end)
            pending.extend(ast.children(node))
            if isinstance(node, ast.ObjectCons):
                for item in node.items:
                    item.source, item.start, item.end = self.source, text.place(item.start), text.place(item.end)

    def error(self, summary: str, detail: str, node: JsonNode, *, hint: str = "") -> None:
        self.problems.append(error(summary, detail, Span(self.source, node.start, node.end), hint=hint))


def _has_sequence(text: str) -> bool:
    return "${" in text or "%{" in text
