"""`variable`, `locals` and `output` blocks."""

from __future__ import annotations

from brevplan.engine.config import Condition, Config, OutputBlock, VariableBlock
from brevplan.engine.loading.pieces import Pieces
from brevplan.lang import ast
from brevplan.lang.constraints import read_constraint
from brevplan.lang.types import ANY, Type


def load_variable(pieces: Pieces, config: Config, block: ast.Block) -> None:
    if not pieces.labels(block, 1):
        return
    name, body = block.labels[0].text, block.body
    if not pieces.unique(config.variables, name, block, "variable"):
        return
    known = ("type", "default", "description", "sensitive", "ephemeral", "nullable")
    pieces.known_arguments(body, known, "a variable block")
    type_: Type = ANY
    if "type" in body.attributes:
        type_ = read_constraint(body.attributes["type"].value, pieces.diagnostics, pieces.literal)
    config.variables[name] = VariableBlock(
        name,
        type_,
        "type" in body.attributes,
        pieces.literal(body.attributes["default"].value) if "default" in body.attributes else None,
        "default" in body.attributes,
        pieces.literal_bool(body, "sensitive", False),
        pieces.literal_bool(body, "ephemeral", False),
        pieces.literal_bool(body, "nullable", True),
        pieces.literal_text(body, "description") or "",
        _validations(pieces, block, name),
        block.header_span,
    )


def _validations(pieces: Pieces, block: ast.Block, name: str) -> tuple[Condition, ...]:
    rules = pieces.rules(block.body, "validation", "a variable block")
    for rule in rules:
        read = [(reference.root, *reference.steps[:1]) for reference in rule.condition.references]
        if ("var", name) not in read:
            pieces.diagnostics.error(
                "Condition about something else",
                f"A validation rule of var.{name} must refer to var.{name} in its condition.",
                rule.span,
                hint="A rule about other things belongs into a check block, or a precondition.",
            )
    return rules


def load_locals(pieces: Pieces, config: Config, block: ast.Block) -> None:
    if not pieces.labels(block, 0):
        return
    for inner in block.body.blocks:
        pieces.unknown_block(inner, (), "locals")
    for name, attribute in block.body.attributes.items():
        if name in config.locals:
            first = config.locals[name].node.span
            pieces.diagnostics.error(
                "Duplicate local", f'"{name}" has a value at {first} already.', attribute.name_span
            )
            continue
        prepared = pieces.prepare(attribute.value)
        if prepared is not None:
            config.locals[name] = prepared


def load_output(pieces: Pieces, config: Config, block: ast.Block, *, is_root: bool) -> None:
    if not pieces.labels(block, 1):
        return
    name, body = block.labels[0].text, block.body
    if not pieces.unique(config.outputs, name, block, "output"):
        return
    pieces.known_arguments(body, ("value", "description", "sensitive", "ephemeral", "depends_on"), "an output block")
    rules = pieces.rules(body, "precondition", "an output block")
    if "value" not in body.attributes:
        pieces.missing(block, "value")
        return
    value = pieces.prepare(body.attributes["value"].value)
    if value is None:
        return
    ephemeral = pieces.literal_bool(body, "ephemeral", False)
    if ephemeral and is_root:
        pieces.diagnostics.error(
            "Ephemeral output of the root module",
            "What the root module gives is kept in the state, and an ephemeral value never is.",
            body.attributes["ephemeral"].value.span,
            hint="Take the line out; sensitive = true hides a value.",
        )
        ephemeral = False
    config.outputs[name] = OutputBlock(
        name,
        value,
        pieces.literal_text(body, "description") or "",
        pieces.literal_bool(body, "sensitive", False),
        ephemeral,
        pieces.depends_on(body),
        rules,
        block.header_span,
    )
