"""Blocks about what is there already: `moved`, `import`, `removed`; and `check`."""

from __future__ import annotations

from brevplan.engine.address import Address, ModuleAddress, Target
from brevplan.engine.config import CheckBlock, Config, ImportBlock, MovedBlock, RemovedBlock
from brevplan.engine.loading.addresses import NoAddress, read_instance, read_target
from brevplan.engine.loading.pieces import Pieces
from brevplan.lang import ast


def load_moved(pieces: Pieces, config: Config, block: ast.Block) -> None:
    if not pieces.labels(block, 0):
        return
    pieces.known_arguments(block.body, ("from", "to"), "a moved block")
    pieces.no_blocks(block, "a moved block")
    source, target = (_target(pieces, block, name) for name in ("from", "to"))
    if source is None or target is None:
        return
    if isinstance(source, ModuleAddress) is not isinstance(target, ModuleAddress):
        why = "A module moves to a module, and a resource to a resource."
    elif isinstance(source, Address) and isinstance(target, Address) and source.kind != target.kind:
        why = f'A "{source.kind}" cannot become a "{target.kind}".'
    elif source == target:
        why = "It moves nowhere: both addresses are the same."
    else:
        config.moved.append(MovedBlock(source, target, block.header_span))
        return
    pieces.diagnostics.error("Invalid move", why, block.body.attributes["to"].value.span)


def load_import(pieces: Pieces, config: Config, block: ast.Block) -> None:
    if not pieces.labels(block, 0):
        return
    body = block.body
    pieces.known_arguments(body, ("to", "id", "for_each", "provider"), "an import block")
    pieces.no_blocks(block, "an import block")
    for name in ("to", "id"):
        if name not in body.attributes:
            pieces.missing(block, name)
    cloud_id, for_each = pieces.optional(body, "id"), pieces.optional(body, "for_each")
    if "to" not in body.attributes or cloud_id is None:
        return
    node = body.attributes["to"].value
    try:
        address, path_keys, index = read_instance(node)
    except NoAddress as problem:
        pieces.diagnostics.error("Not an address", f"{problem}.", node.span, hint="For example: to = instance.web[0]")
        return
    provider = pieces.provider_ref(body.attributes["provider"].value) if "provider" in body.attributes else None
    keys = [pieces.prepare(key) if key is not None else None for key in (*path_keys, index)]
    config.imports.append(
        ImportBlock(address, tuple(keys[:-1]), keys[-1], cloud_id, for_each, provider, block.header_span)
    )


def load_removed(pieces: Pieces, config: Config, block: ast.Block) -> None:
    if not pieces.labels(block, 0):
        return
    pieces.known_arguments(block.body, ("from",), "a removed block")
    destroys = True
    for inner in block.body.blocks:
        if inner.type != "lifecycle":
            pieces.unknown_block(inner, ("lifecycle",), "a removed block")
        elif pieces.labels(inner, 0):
            pieces.known_arguments(inner.body, ("destroy",), "the lifecycle block")
            destroys = pieces.literal_bool(inner.body, "destroy", True)
    source = _target(pieces, block, "from")
    if source is None:
        return
    if _has_key(source):
        pieces.diagnostics.error(
            "Invalid removal",
            "A whole resource or module is removed, not one instance of it.",
            block.body.attributes["from"].value.span,
            hint="Write the address without an index.",
        )
        return
    config.removed.append(RemovedBlock(source, destroys, block.header_span))


def load_check(pieces: Pieces, config: Config, block: ast.Block) -> None:
    """Load the rules of a `check`; its data source is loaded with the others."""
    if not pieces.labels(block, 1) or not pieces.unique(config.checks, block.labels[0].text, block, "check"):
        return
    pieces.known_arguments(block.body, (), "a check block")
    for inner in block.body.blocks:
        if inner.type not in ("assert", "data"):
            pieces.unknown_block(inner, ("assert", "data"), "a check block")
    found = [pieces.conditions(inner) for inner in block.body.blocks if inner.type == "assert"]
    if not found:
        pieces.diagnostics.error(
            "Nothing is checked", "A check block needs at least one assert block.", block.header_span,
            hint='assert { condition = …  error_message = "…" }',
        )  # fmt: skip
    name = block.labels[0].text
    config.checks[name] = CheckBlock(name, tuple(rule for rule in found if rule is not None), block.header_span)


def _target(pieces: Pieces, block: ast.Block, name: str) -> Target | None:
    attribute = block.body.attributes.get(name)
    if attribute is None:
        pieces.missing(block, name)
        return None
    try:
        return read_target(attribute.value)
    except NoAddress as problem:
        pieces.diagnostics.error(
            "Not an address", f"{str(problem).capitalize()}.", attribute.value.span,
            hint=f"For example: {name} = instance.web",
        )  # fmt: skip
        return None


def _has_key(source: Target) -> bool:
    own = source.key is not None if isinstance(source, Address) else False
    return own or any(key is not None for _, key in source.module)
