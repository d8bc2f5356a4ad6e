"""What every block is read with: labels, arguments, literals, prepared expressions, and the messages about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from brevplan.diagnostics import Diagnostics, Span, suggest
from brevplan.engine.config import Condition, ProviderRef
from brevplan.engine.kind import Schema
from brevplan.lang import ast
from brevplan.lang.evaluate import prepare
from brevplan.lang.literals import literal_value
from brevplan.lang.prepared import EvaluationError, Prepared, Reference
from brevplan.lang.values import Value


class Placed(Protocol):
    """Something declared at a place."""

    @property
    def span(self) -> Span: ...


class Pieces:
    """Reads the parts of blocks and reports what is wrong with them."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self._unreadable = [item.span for item in diagnostics if item.span is not None]

    def conditions(self, block: ast.Block) -> Condition | None:
        self.known_arguments(block.body, ("condition", "error_message"), f'the block "{block.type}"')
        condition, message = self.optional(block.body, "condition"), self.optional(block.body, "error_message")
        if condition is None or message is None:
            for name in ("condition", "error_message"):
                if name not in block.body.attributes:
                    self.missing(block, name)
            return None
        return Condition(condition, message, condition.node.span)

    def rules(self, body: ast.Body, type_: str, where: str) -> tuple[Condition, ...]:
        """Read the rules of a block that has no other blocks inside."""
        for inner in body.blocks:
            if inner.type != type_:
                self.unknown_block(inner, (type_,), where)
        found = [self.conditions(inner) for inner in body.blocks if inner.type == type_]
        return tuple(rule for rule in found if rule is not None)

    def repetition(self, body: ast.Body) -> tuple[Prepared | None, Prepared | None]:
        """Read `count` and `for_each`."""
        if "count" in body.attributes and "for_each" in body.attributes:
            self.diagnostics.error(
                "count and for_each together", "A block is repeated by one of them, not by both.",
                body.attributes["for_each"].name_span,
            )  # fmt: skip
        return self.optional(body, "count"), self.optional(body, "for_each")

    def no_blocks(self, block: ast.Block, where: str) -> None:
        for inner in block.body.blocks:
            self.unknown_block(inner, (), where)

    def depends_on(self, body: ast.Body) -> tuple[Reference, ...]:
        attribute = body.attributes.get("depends_on")
        if attribute is None:
            return ()
        if not isinstance(attribute.value, ast.TupleCons):
            self.diagnostics.error(
                "Invalid depends_on", "A list of resources is needed.", attribute.value.span,
                hint="For example: depends_on = [instance.head]",
            )  # fmt: skip
            return ()
        found: list[Reference] = []
        for item in attribute.value.items:
            prepared = self.prepare(item)
            if prepared is not None and prepared.references:
                found.append(prepared.references[0])
            elif prepared is not None:
                self.diagnostics.error("Invalid depends_on", "This is not a resource.", item.span)
        return tuple(found)

    def provider_ref(self, node: ast.Expression) -> ProviderRef | None:
        match node:
            case ast.Variable(name=name):
                return ProviderRef(name, node.span)
            case ast.GetAttr(object=ast.Variable(name=name), name=alias):
                return ProviderRef(f"{name}.{alias}", node.span)
            case ast.Template(parts=[str() as text]) | ast.Literal(value=str() as text):
                return ProviderRef(text, node.span)
        self.diagnostics.error(
            "Invalid provider", "A provider is named directly: lambda, or shadeform.burst for an alias.", node.span
        )
        return None

    def prepare(self, node: ast.Expression) -> Prepared | None:
        try:
            return prepare(node)
        except EvaluationError as problem:
            self.diagnostics.add(problem.diagnostic)
            return None

    def prepare_all(self, body: ast.Body, skip: Iterable[str] = ()) -> dict[str, Prepared]:
        left_out = set(skip)
        prepared = {
            name: self.prepare(attribute.value) for name, attribute in body.attributes.items() if name not in left_out
        }
        return {name: item for name, item in prepared.items() if item is not None}

    def optional(self, body: ast.Body, name: str) -> Prepared | None:
        return self.prepare(body.attributes[name].value) if name in body.attributes else None

    def literal(self, node: ast.Expression) -> Value:
        return literal_value(node, self.diagnostics)

    def literal_text(self, body: ast.Body, name: str) -> str | None:
        attribute = body.attributes.get(name)
        if attribute is None:
            return None
        known = len(self.diagnostics)
        value = self.literal(attribute.value)
        if isinstance(value, str):
            return value
        if len(self.diagnostics) == known:
            self.diagnostics.error("Unsuitable value", f'"{name}" is a literal text.', attribute.value.span)
        return None

    def literal_bool(self, body: ast.Body, name: str, default: bool) -> bool:
        attribute = body.attributes.get(name)
        if attribute is None:
            return default
        known = len(self.diagnostics)
        value = self.literal(attribute.value)
        if isinstance(value, bool):
            return value
        if len(self.diagnostics) == known:
            self.diagnostics.error("Unsuitable value", f'"{name}" is true or false.', attribute.value.span)
        return default

    def labels(self, block: ast.Block, count: int) -> bool:
        if len(block.labels) == count:
            return True
        shapes = {
            "resource": 'resource "instance" "name" { … }', "data": 'data "images" "name" { … }',
            "variable": 'variable "name" { … }', "output": 'output "name" { … }',
            "provider": 'provider "local" { … }', "backend": 'backend "sqlite" { … }',
            "dynamic": 'dynamic "ingress" { … }', "module": 'module "name" { source = "./modules/name" }',
            "check": 'check "name" { … }',
        }  # fmt: skip
        at = block.labels[count].span if len(block.labels) > count else block.header_span
        self.diagnostics.error(
            "Wrong number of labels",
            f'A "{block.type}" block has {count or "no"} label{"s" if count != 1 else ""}, not {len(block.labels)}.',
            at,
            hint=f"Write: {shapes.get(block.type, block.type + ' { … }')}",
        )
        return False

    def unique(self, known: Mapping[str, Placed], name: str, block: ast.Block, what: str) -> bool:
        if not is_identifier(name):
            self.diagnostics.error(
                "Invalid name", f'"{name}" is not a name: a letter or _, then letters, digits, _ and -.',
                block.labels[0].span,
            )  # fmt: skip
            return False
        if name not in known:
            return True
        self.diagnostics.error(
            f"Duplicate {what}", f'"{name}" is declared at {known[name].span} already.', block.header_span
        )
        return False

    def repeated(self, block: ast.Block, first: Span | None, what: str) -> bool:
        if first is None:
            return False
        self.diagnostics.error("Duplicate block", f'"{what}" stands at {first} already.', block.header_span)
        return True

    def known_arguments(self, body: ast.Body, known: Sequence[str], where: str) -> None:
        for attribute in body.attributes.values():
            if attribute.name not in known:
                self.diagnostics.error(
                    "Unknown argument",
                    f'There is no argument "{attribute.name}" in {where}.',
                    attribute.name_span,
                    hint=suggest(attribute.name, known) or (f"Arguments are: {', '.join(known)}." if known else ""),
                )

    def unknown_block(self, block: ast.Block, known: Sequence[str], where: str, schema: Schema | None = None) -> None:
        if schema is not None and block.type in schema.attributes:
            self.diagnostics.error(
                "Argument written as a block", f'"{block.type}" is an argument.', block.header_span,
                hint=f"Write it with an equals sign: {block.type} = …",
            )  # fmt: skip
            return
        self.diagnostics.error(
            "Unknown block",
            f'There is no block "{block.type}" in {where}.',
            block.header_span,
            hint=suggest(block.type, known),
        )

    def missing(self, block: ast.Block, name: str) -> None:
        if self._is_broken(block):
            return  # it may stand in what could not be read
        self.diagnostics.error(
            "Missing argument",
            f'The argument "{name}" is required, and it is not there.',
            block.header_span,
            hint=f"Add a line to the block: {name} = …",
        )

    def _is_broken(self, block: ast.Block) -> bool:
        """Tell whether something inside of a block could not be parsed."""
        return any(s.source is block.source and block.start <= s.start <= block.end for s in self._unreadable)


def is_identifier(text: str) -> bool:
    return re.fullmatch(r"[^\W\d][\w-]*", text) is not None
