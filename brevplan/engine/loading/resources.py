"""`resource` and `data` blocks: arguments, nested blocks, and what is dynamic about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from brevplan.diagnostics import suggest
from brevplan.engine.address import Address
from brevplan.engine.config import Declaration, Lifecycle, NestedBlock
from brevplan.engine.kind import BlockSpec, Schema
from brevplan.engine.loading.lifecycle import load_lifecycle, load_timeouts
from brevplan.engine.loading.pieces import Pieces, is_identifier
from brevplan.lang import ast
from brevplan.lang.prepared import Prepared

META_ARGUMENTS: Final = frozenset({"count", "for_each", "depends_on", "provider"})
META_BLOCKS: Final = frozenset({"lifecycle", "timeouts", "dynamic"})


def load_resource(pieces: Pieces, block: ast.Block, address: Address, schema: Schema) -> Declaration | None:
    """Load a `resource` or `data` block; None when it has no name to be known by."""
    if not is_identifier(address.name):
        pieces.diagnostics.error(
            "Invalid name", f'"{address.name}" is not a name: a letter or _, then letters, digits, _ and -.',
            block.labels[1].span,
        )  # fmt: skip
        return None
    body = block.body
    _check_arguments(pieces, body, schema, address)
    for name, spec in schema.attributes.items():
        if spec.required and name not in body.attributes:
            pieces.missing(block, name)
    skip = META_ARGUMENTS | {name for name in body.attributes if not schema.is_argument(name)}
    arguments = pieces.prepare_all(body, skip=skip)
    blocks = tuple(_nested_blocks(pieces, body, schema, address))
    lifecycle = load_lifecycle(pieces, body, schema)
    meta = body.attributes
    count, for_each = pieces.repetition(body)
    return Declaration(
        address,
        arguments,
        blocks,
        block.header_span,
        count,
        for_each,
        pieces.depends_on(body),
        pieces.provider_ref(meta["provider"].value) if "provider" in meta else None,
        lifecycle,
        load_timeouts(pieces, body),
        {name: attribute.value.span for name, attribute in body.attributes.items()},
        _varies(arguments, blocks, lifecycle),
        tuple(name for name, prepared in arguments.items() if _depends_on_instance(prepared)),
    )


def _check_arguments(pieces: Pieces, body: ast.Body, schema: Schema, address: Address) -> None:
    known = [*schema.argument_names(), *schema.blocks, *META_ARGUMENTS, *META_BLOCKS]
    for attribute in body.attributes.values():
        name = attribute.name
        if name in META_ARGUMENTS or schema.is_argument(name):
            continue
        if name in schema.attributes:
            pieces.diagnostics.error(
                "Argument is computed", f'"{name}" is set by the provider and cannot be chosen.',
                attribute.name_span, hint="Take the line out.",
            )  # fmt: skip
        elif name in schema.blocks or name in META_BLOCKS:
            pieces.diagnostics.error(
                "Block written as an argument", f'"{name}" is a block.', attribute.name_span,
                hint=f"Write it without the equals sign: {name} {{ … }}",
            )  # fmt: skip
        else:
            pieces.diagnostics.error(
                "Unknown argument", f'"{address.kind}" has no argument "{name}".', attribute.name_span,
                hint=suggest(name, known) or f"Arguments are: {', '.join(schema.argument_names())}.",
            )  # fmt: skip


def _nested_blocks(pieces: Pieces, body: ast.Body, schema: Schema, address: Address) -> Iterator[NestedBlock]:
    seen: dict[str, ast.Block] = {}
    for block in body.blocks:
        if block.type == "dynamic":
            yield from _dynamic(pieces, block, schema, address)
            continue
        if block.type in META_BLOCKS:
            continue
        spec = schema.blocks.get(block.type)
        if spec is None:
            pieces.unknown_block(block, (*schema.blocks, *META_BLOCKS), f'resource "{address.kind}"', schema)
            continue
        if spec.single and block.type in seen:
            pieces.diagnostics.error(
                "Duplicate block",
                f'At most one "{block.type}" block is allowed; the first is at {seen[block.type].span}.',
                block.header_span,
            )  # fmt: skip
            continue
        seen[block.type] = block
        if spec.refusal:
            pieces.diagnostics.error("Block not supported yet", spec.refusal, block.header_span)
            continue
        if pieces.labels(block, 0):
            yield NestedBlock(spec, _block_arguments(pieces, block.body, spec, block), block.header_span)


def _block_arguments(pieces: Pieces, body: ast.Body, spec: BlockSpec, block: ast.Block) -> dict[str, Prepared]:
    pieces.known_arguments(body, tuple(spec.attributes), f'the block "{spec.name}"')
    for inner in body.blocks:
        pieces.unknown_block(inner, (), f'the block "{spec.name}"')
    for name, attribute in spec.attributes.items():
        if attribute.required and name not in body.attributes:
            pieces.missing(block, name)
    return pieces.prepare_all(body, skip={name for name in body.attributes if name not in spec.attributes})


def _dynamic(pieces: Pieces, block: ast.Block, schema: Schema, address: Address) -> Iterator[NestedBlock]:
    if not pieces.labels(block, 1):
        return
    name, body = block.labels[0].text, block.body
    spec = schema.blocks.get(name)
    if spec is None:
        why = "cannot be made by a dynamic one" if name in META_BLOCKS else f'is no block of "{address.kind}"'
        pieces.diagnostics.error(
            "Unknown block", f'"{name}" {why}.', block.labels[0].span, hint=suggest(name, schema.blocks)
        )
        return
    if spec.refusal:
        pieces.diagnostics.error("Block not supported yet", spec.refusal, block.labels[0].span)
        return
    pieces.known_arguments(body, ("for_each", "iterator"), "a dynamic block")
    contents = [inner for inner in body.blocks if inner.type == "content"]
    for inner in body.blocks:
        if inner.type != "content":
            pieces.unknown_block(inner, ("content",), "a dynamic block")
    if "for_each" not in body.attributes:
        pieces.missing(block, "for_each")
        return
    if len(contents) != 1:
        pieces.diagnostics.error(
            "Missing content", 'A dynamic block needs exactly one "content" block.', block.header_span,
            hint="content { … } holds the arguments of each block that is made.",
        )  # fmt: skip
        return
    each = pieces.prepare(body.attributes["for_each"].value)
    iterator = name
    if "iterator" in body.attributes:
        node = body.attributes["iterator"].value
        iterator = node.name if isinstance(node, ast.Variable) else pieces.literal_text(body, "iterator") or name
    if each is not None:
        arguments = _block_arguments(pieces, contents[0].body, spec, contents[0])
        yield NestedBlock(spec, arguments, block.header_span, each, iterator)


def _varies(arguments: Mapping[str, Prepared], blocks: Sequence[NestedBlock], lifecycle: Lifecycle) -> bool:
    expressions = [*arguments.values(), *(item for block in blocks for item in block.arguments.values())]
    expressions += [block.for_each for block in blocks if block.for_each is not None]
    expressions += [
        item for item in (lifecycle.prevent_destroy, lifecycle.create_before_destroy, lifecycle.ignore_changes) if item
    ]
    return any(map(_depends_on_instance, expressions))


def _depends_on_instance(prepared: Prepared) -> bool:
    return any(reference.root in ("each", "count", "self") for reference in prepared.references)
