"""`brevplan graph`: what depends on what in a configuration."""

from __future__ import annotations

from brevplan.engine.address import Address
from brevplan.engine.config import Config
from brevplan.engine.dependencies import Dependencies
from brevplan.operations.project import KINDS


def dependencies(config: Config) -> dict[Address, list[Address]]:
    """Give for every block the blocks that it refers to, directly or through other values, in order."""
    found = Dependencies(config, KINDS).blocks_read()
    return {block: [read for read in found[block] if read != block] for block in sorted(found)}


def render_dot(edges: dict[Address, list[Address]]) -> str:
    lines = ["digraph {", "  rankdir = BT"]
    lines += [f'  "{address}"' for address in edges]
    lines += [f'  "{address}" -> "{read}"' for address, reads in edges.items() for read in reads]
    return "\n".join([*lines, "}"])


def render_mermaid(edges: dict[Address, list[Address]]) -> str:
    names = {address: f"n{number}" for number, address in enumerate(edges)}
    lines = ["flowchart BT"]
    lines += [f'  {names[address]}["{address}"]' for address in edges]
    lines += [f"  {names[address]} --> {names[read]}" for address, reads in edges.items() for read in reads]
    return "\n".join(lines)
