"""Override files: `override.hcl` and `*_override.hcl` change blocks of the other files, argument by argument.

They are read after all others, in order of name. Nested blocks of a type replace all of that type, but for
`lifecycle`, whose arguments are merged like those of the block itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from brevplan.diagnostics import Diagnostics
from brevplan.lang import ast

_NAME: Final = re.compile(r"(?:.*_)?override\.hcl(?:\.json)?\Z")
_MERGEABLE: Final = frozenset({"brevplan", "provider", "variable", "resource", "data", "output", "module"})

Key = tuple[str, ...]


def is_override(body: ast.Body) -> bool:
    return _NAME.match(body.source.name.rpartition("/")[2]) is not None


def merged(bodies: Sequence[ast.Body], diagnostics: Diagnostics) -> list[ast.Body]:
    """Give the files of a folder with the override files worked into the others; the trees given stay as they are."""
    found = [replace(body, blocks=list(body.blocks)) for body in bodies if not is_override(body)]
    for body in filter(is_override, bodies):
        for block in body.blocks:
            if block.type == "locals":
                _override_locals(found, block, diagnostics)
            else:
                _override_block(found, block, diagnostics)
    return found


def _override_block(bodies: Sequence[ast.Body], block: ast.Block, diagnostics: Diagnostics) -> None:
    if block.type not in _MERGEABLE:
        diagnostics.error(
            "Block cannot override", f'A "{block.type}" block has no place in an override file.', block.header_span
        )
        return
    for body in bodies:
        for position, base in enumerate(body.blocks):
            if _key(base) == _key(block):
                body.blocks[position] = replace(base, body=_merged_body(base.body, block.body))
                return
    labels = "".join(f' "{label.text}"' for label in block.labels)
    diagnostics.error(
        "Nothing to override", f"No other file has a block {block.type}{labels}.", block.header_span,
        hint="Declare it in a file that is not called override.hcl.",
    )  # fmt: skip


def _override_locals(bodies: Sequence[ast.Body], block: ast.Block, diagnostics: Diagnostics) -> None:
    for name, attribute in block.body.attributes.items():
        for body, position, base in _locals(bodies):
            if name in base.body.attributes:
                changed = replace(base.body, attributes={**base.body.attributes, name: attribute})
                body.blocks[position] = replace(base, body=changed)
                break
        else:
            diagnostics.error("Nothing to override", f"No other file has a local {name}.", attribute.name_span)


def _locals(bodies: Sequence[ast.Body]) -> Iterator[tuple[ast.Body, int, ast.Block]]:
    for body in bodies:
        for position, base in enumerate(body.blocks):
            if base.type == "locals":
                yield body, position, base


def _merged_body(base: ast.Body, over: ast.Body) -> ast.Body:
    attributes = {**base.attributes, **over.attributes}
    # one of them says how often there is a block: the newer word counts
    for name, other in (("count", "for_each"), ("for_each", "count")):
        if name in over.attributes and other not in over.attributes:
            attributes.pop(other, None)
    return replace(base, attributes=attributes, blocks=list(_merged_blocks(base, over)))


def _merged_blocks(base: ast.Body, over: ast.Body) -> Iterator[ast.Block]:
    replaced = {_made_type(block) for block in over.blocks}
    newer = {block.type: block for block in over.blocks if block.type == "lifecycle"}
    for block in base.blocks:
        if block.type in newer:
            yield replace(block, body=_merged_body(block.body, newer.pop(block.type).body))
        elif _made_type(block) not in replaced:
            yield block
    yield from (block for block in over.blocks if block.type != "lifecycle" or block.type in newer)


def _made_type(block: ast.Block) -> str:
    """Give the type that a block has, or that a dynamic one makes."""
    return block.labels[0].text if block.type == "dynamic" and block.labels else block.type


def _key(block: ast.Block) -> Key:
    """Say which block it is: by type and labels, a provider also by its alias."""
    alias = block.body.attributes.get("alias") if block.type == "provider" else None
    written = alias.value.span.text if alias is not None else ""
    return block.type, *(label.text for label in block.labels), written
