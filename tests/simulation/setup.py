"""What a schedule declares: a few machines in a few shapes, as HCL and as what must stand in the cloud for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from tests.simulation.site import PROJECT, Character
from tests.world import KEY

TYPES = ("gpu_1x_a10", "gpu_1x_h100_sxm5", "cpu_4x_general")


@dataclass(frozen=True, slots=True)
class Expected:
    """What one machine must be like. None where nothing is declared."""

    type: str
    tag: str | None
    power: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """One `instance` block. `keys` is None for a single one, a number for `count`, names for `for_each`."""

    keys: int | tuple[str, ...] | None = None
    type: str = TYPES[0]
    tag: str | None = None
    power: str | None = None
    first: bool = False
    reads: str = ""
    """The block whose machines must be there before."""
    firewall: bool = False

    def text(self, name: str) -> str:
        lines = [f'instance_type = "{self.type}"', 'location = "us-west-1"', f'public_key = "{KEY}"']
        if isinstance(self.keys, int):
            lines.append(f"count = {self.keys}")
        elif self.keys is not None:
            keys = ", ".join(f'"{key}"' for key in self.keys)
            lines.append(f"for_each = toset([{keys}])")
        if self.tag is not None:
            lines.append(f'tags = {{ team = "{self.tag}" }}')
        if self.power is not None:
            lines.append(f'power_state = "{self.power}"')
        if self.firewall:
            lines.append("firewalls = [firewall.web]")
        if self.reads:
            lines.append(f"depends_on = [instance.{self.reads}]")
        if self.first:
            lines.append("lifecycle {\n    create_before_destroy = true\n  }")
        return f'resource "instance" "{name}" {{\n  ' + "\n  ".join(lines) + "\n}\n"

    def addresses(self, name: str) -> Iterator[str]:
        if self.keys is None:
            yield f"instance.{name}"
        elif isinstance(self.keys, int):
            yield from (f"instance.{name}[{index}]" for index in range(self.keys))
        else:
            yield from (f'instance.{name}["{key}"]' for key in self.keys)


@dataclass(frozen=True, slots=True)
class Setup:
    """`names` counts the names that were ever given, `moved` are the renamings so far: old and new block."""

    blocks: tuple[tuple[str, Block], ...]
    port: int = 443
    names: int = 2
    moved: tuple[tuple[str, str], ...] = ()

    def text(self, character: Character) -> str:
        parts = [f'brevplan {{\n  project = "{PROJECT}"\n}}\nprovider "local" {{\n  {character.settings()}\n}}\n']
        if any(block.firewall for _, block in self.blocks):
            parts.append(f'resource "firewall" "web" {{\n  ingress {{\n    from_port = {self.port}\n  }}\n}}\n')
        parts += [block.text(name) for name, block in self.blocks]
        parts += [f"moved {{\n  from = instance.{old}\n  to   = instance.{new}\n}}\n" for old, new in self.moved]
        return "".join(parts)

    def expected(self) -> dict[str, Expected]:
        return {
            address: Expected(block.type, block.tag, block.power)
            for name, block in self.blocks
            for address in block.addresses(name)
        }

    @property
    def creates_first(self) -> bool:
        return any(block.first for _, block in self.blocks)


def drawn(chance: Random) -> Setup:
    """Draw a first configuration."""
    blocks = [("a", _block(chance))]
    if chance.random() < 0.5:
        blocks.append(("b", replace(_block(chance), reads=chance.choice(("", "a")))))
    return Setup(tuple(blocks), chance.choice((80, 443)))


def edited(setup: Setup, chance: Random) -> Setup:
    """Draw the next one: a block changed in one thing, gone, or new."""
    blocks = dict(setup.blocks)
    name = chance.choice(sorted(blocks))
    match chance.randrange(8):
        case 0:
            blocks[name] = replace(blocks[name], type=chance.choice(TYPES), power=None)
        case 1:
            blocks[name] = replace(blocks[name], tag=chance.choice(("red", "blue", None)))
        case 2:
            blocks[name] = replace(blocks[name], keys=_keys(chance))
        case 3:
            blocks[name] = replace(blocks[name], first=not blocks[name].first)
        case 4:
            blocks[name] = replace(blocks[name], type="cpu_4x_general", power=chance.choice(("stopped", "running")))
        case 5 if len(blocks) > 1:
            del blocks[name]
            blocks = {other: _without(block, name) for other, block in blocks.items()}
        case 6:
            return _renamed(setup, name)
        case _ if len(blocks) < 3:
            blocks[f"n{setup.names}"] = _block(chance)
            ports = chance.choice((80, 443))
            return replace(setup, blocks=tuple(sorted(blocks.items())), port=ports, names=setup.names + 1)
        case _:
            blocks[name] = replace(blocks[name], firewall=not blocks[name].firewall)
    return replace(setup, blocks=tuple(sorted(blocks.items())))


def _without(block: Block, name: str) -> Block:
    return replace(block, reads="") if block.reads == name else block


def _renamed(setup: Setup, old: str) -> Setup:
    """Call a block otherwise, with the `moved` block that says so."""
    new = f"n{setup.names}"
    blocks = {
        (new if name == old else name): replace(block, reads=new) if block.reads == old else block
        for name, block in setup.blocks
    }
    moved = (*setup.moved, (old, new))
    return replace(setup, blocks=tuple(sorted(blocks.items())), names=setup.names + 1, moved=moved)


def _block(chance: Random) -> Block:
    kind = chance.choice(TYPES)
    power = chance.choice((None, None, "running", "stopped")) if kind == "cpu_4x_general" else None
    return Block(
        _keys(chance),
        kind,
        chance.choice((None, "red", "blue")),
        power,
        chance.random() < 0.25,
        firewall=chance.random() < 0.3,
    )


def _keys(chance: Random) -> int | tuple[str, ...] | None:
    return chance.choice((None, 1, 2, 3, 4, ("x",), ("x", "y"), ("y", "z")))
