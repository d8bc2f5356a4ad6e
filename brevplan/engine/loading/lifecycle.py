"""`lifecycle` and `timeouts`: how a resource is to be treated, apart from what it is."""

from __future__ import annotations

from collections.abc import Iterator

from brevplan.contract.duration import parse_duration
from brevplan.diagnostics import suggest
from brevplan.engine.config import Condition, Lifecycle
from brevplan.engine.kind import Schema
from brevplan.engine.loading.pieces import Pieces
from brevplan.engine.references import RESERVED_ROOTS
from brevplan.lang import ast
from brevplan.lang.prepared import Prepared

_Ignored = tuple[frozenset[str], tuple[tuple[str, str], ...], bool, Prepared | None]
"""Names, elements of maps, whether all is ignored, and an expression that says it."""


def load_lifecycle(pieces: Pieces, body: ast.Body, schema: Schema) -> Lifecycle:
    blocks = [block for block in body.blocks if block.type == "lifecycle"]
    for extra in blocks[1:]:
        pieces.diagnostics.error("Duplicate block", f"lifecycle stands at {blocks[0].span} already.", extra.header_span)
    if not blocks:
        return Lifecycle()
    inner = blocks[0].body
    known = ("create_before_destroy", "prevent_destroy", "ignore_changes", "replace_triggered_by")
    pieces.known_arguments(inner, known, "the lifecycle block")
    rules: dict[str, list[Condition]] = {"precondition": [], "postcondition": []}
    for block in inner.blocks:
        if block.type not in rules:
            pieces.unknown_block(block, tuple(rules), "the lifecycle block")
            continue
        rule = pieces.conditions(block)
        if rule is not None:
            rules[block.type].append(rule)
    ignored, ignored_keys, ignores_all, ignore_expression = _ignore_changes(pieces, inner, schema)
    return Lifecycle(
        pieces.optional(inner, "create_before_destroy"),
        pieces.optional(inner, "prevent_destroy"),
        ignore_expression,
        ignored,
        ignored_keys,
        ignores_all,
        tuple(_triggers(pieces, inner)),
        tuple(rules["precondition"]),
        tuple(rules["postcondition"]),
    )


def _ignore_changes(pieces: Pieces, body: ast.Body, schema: Schema) -> _Ignored:
    attribute = body.attributes.get("ignore_changes")
    if attribute is None:
        return frozenset(), (), False, None
    node = attribute.value
    if isinstance(node, ast.Variable) and node.name == "all":
        return frozenset(), (), True, None
    if not isinstance(node, ast.TupleCons):
        return frozenset(), (), False, pieces.prepare(node)
    names: set[str] = set()
    keys: list[tuple[str, str]] = []
    for item in node.items:
        name = _root_name(item)
        if name is None or not schema.is_argument(name):
            pieces.diagnostics.error(
                "Unknown argument", "ignore_changes lists arguments of this block by name.", item.span,
                hint=suggest(name or "", schema.argument_names()) or "For example: ignore_changes = [tags]",
            )  # fmt: skip
        elif (key := _element_key(item)) is not None:
            keys.append((name, key))
        else:
            names.add(name)
    return frozenset(names), tuple(keys), False, None


def _triggers(pieces: Pieces, body: ast.Body) -> Iterator[Prepared]:
    attribute = body.attributes.get("replace_triggered_by")
    if attribute is None:
        return
    items = attribute.value.items if isinstance(attribute.value, ast.TupleCons) else [attribute.value]
    for item in items:
        prepared = pieces.prepare(item)
        if prepared is None:
            continue
        if not prepared.references or prepared.references[0].root in RESERVED_ROOTS - {"each", "count"}:
            pieces.diagnostics.error(
                "Invalid replace_triggered_by", "A resource or one of its attributes is needed.", item.span,
                hint="For example: replace_triggered_by = [firewall.web]",
            )  # fmt: skip
        else:
            yield prepared


def load_timeouts(pieces: Pieces, body: ast.Body) -> dict[str, float]:
    found: dict[str, float] = {}
    for block in body.blocks:
        if block.type != "timeouts":
            continue
        pieces.known_arguments(block.body, ("create", "update", "delete"), "the timeouts block")
        for name in block.body.attributes:
            text = pieces.literal_text(block.body, name)
            if text is None:
                continue
            try:
                found[name] = parse_duration(text)
            except ValueError as problem:
                pieces.diagnostics.error("Invalid timeout", f"{problem}.", block.body.attributes[name].value.span)
    return found


def _element_key(node: ast.Expression) -> str | None:
    """Give the key of `tags["owner"]` or `tags.owner`; None for a name alone."""
    if isinstance(node, ast.GetAttr):
        return node.name
    if isinstance(node, ast.Index) and isinstance(node.key, ast.Template) and len(node.key.parts) == 1:
        part = node.key.parts[0]
        return part if isinstance(part, str) else None
    return None


def _root_name(node: ast.Expression) -> str | None:
    while isinstance(node, (ast.GetAttr, ast.Index)):
        node = node.object
    if isinstance(node, ast.Variable):
        return node.name
    if isinstance(node, ast.Template) and len(node.parts) == 1 and isinstance(node.parts[0], str):
        return node.parts[0]
    return None
