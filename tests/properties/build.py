"""Small configurations by chance, and what a cloud must hold once they are applied."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from brevplan.engine.change import Change, Plan
from brevplan.lang.values import Value, has_unknown, reveal_deep, to_python
from brevplan.operations.project import KINDS
from brevplan.render.plan_json import plan_document
from brevplan.render.text import render_plan
from brevplan.simcloud.model import Machine
from brevplan.simcloud.store import Store
from tests.world import KEY, Lab

BOUNDED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
PROVIDERS = ("local", "local.b")
PATHS = {"local": "local-cloud.db", "local.b": "b.db"}
SCHEMAS = {name: kind.schema for name, kind in KINDS.items()}


@dataclass(frozen=True)
class Block:
    """One `instance` block. `keys` is None for a single one, a number for `count`, names for `for_each`."""

    keys: int | tuple[str, ...] | None = None
    provider: str = "local"
    type: str = "gpu_1x_a10"
    tags: tuple[tuple[str, str], ...] | None = None
    firewalls: tuple[int, ...] | None = None
    power: str | None = None
    name: bool = False
    disk: str | None = None
    script: str | None = None
    reads: bool = False
    """Whether a tag holds the id of the first machine of block 0."""
    first: bool = False
    """Whether a replacement is created before the old one is destroyed."""

    def text(self, number: int) -> str:
        lines = []
        each = ""
        if isinstance(self.keys, int):
            lines.append(f"count = {self.keys}")
            each = "${count.index}"
        elif self.keys is not None:
            lines.append(f"for_each = toset({msgspec.json.encode(self.keys).decode()})")
            each = '${replace(each.key, " ", "_")}'
        lines += [f"provider = {self.provider}", f'instance_type = "{self.type}"', 'location = "us-west-1"']
        lines.append(f'public_key = "{KEY}"')
        if self.tags is not None or self.reads:
            pairs = dict(self.tags or ())
            lines.append("tags = {")
            lines += [f'  {name} = "{value}"' for name, value in pairs.items()]
            if self.reads:
                lines.append("  head = instance.head.id")
            lines.append("}")
        if self.firewalls is not None:
            lines.append(f"firewalls = [{', '.join(f'firewall.f{item}' for item in self.firewalls)}]")
        if self.power is not None:
            lines.append(f'power_state = "{self.power}"')
        if self.name:
            lines.append(f'name = "own{number}-{each}x"')
        if self.disk is not None:
            lines.append(f'disk_size = "{self.disk}"')
        if self.script is not None:
            lines.append(f'user_data = "{self.script}"')
        if self.first:
            lines.append("lifecycle {\n  create_before_destroy = true\n}")
        return f'resource "instance" "m{number}" {{\n' + "\n".join(lines) + "\n}\n"

    def addresses(self, number: int) -> list[str]:
        if self.keys is None:
            return [f"instance.m{number}"]
        if isinstance(self.keys, int):
            return [f"instance.m{number}[{index}]" for index in range(self.keys)]
        return [f'instance.m{number}["{key}"]' for key in self.keys]


@dataclass(frozen=True)
class Project:
    blocks: tuple[Block, ...]
    ports: tuple[int, ...] = (443, 80)
    settings: str = ""
    """Further arguments of both provider blocks."""
    head: bool = field(default=True)

    def text(self) -> str:
        parts = ['brevplan {\n  project = "lab"\n}\n']
        for alias in PROVIDERS:
            own = "" if alias == "local" else 'alias = "b"\n'
            parts.append(f'provider "local" {{\n{own}path = "{PATHS[alias]}"\n{self.settings}\n}}\n')
        for number, port in enumerate(self.ports):
            parts.append(f'resource "firewall" "f{number}" {{\n  ingress {{\n    from_port = {port}\n  }}\n}}\n')
        parts.append(f'resource "instance" "head" {{\n{HEAD}}}\n')
        parts += [block.text(number) for number, block in enumerate(self.blocks)]
        parts.append('output "head" {\n  value = instance.head.public_ip\n}\n')
        return "".join(parts)

    def declared(self) -> dict[str, str]:
        """Give every declared machine with the provider block it belongs to."""
        found = {"instance.head": "local"}
        for number, block in enumerate(self.blocks):
            found |= dict.fromkeys(block.addresses(number), block.provider)
        return found


HEAD = f'provider = local\ninstance_type = "cpu_4x_general"\nlocation = "us-west-1"\npublic_key = "{KEY}"\n'
WORDS = st.sampled_from(["a", "b", "ml", "x y"])
BLOCKS = st.builds(
    Block,
    keys=st.none() | st.integers(0, 3) | st.sets(st.sampled_from(["a", "b", "c d"]), max_size=3).map(sorted).map(tuple),
    provider=st.sampled_from(PROVIDERS),
    type=st.sampled_from(["gpu_1x_a10", "gpu_1x_h100_sxm5"]),
    tags=st.none()
    | st.dictionaries(st.sampled_from(["team", "env"]), WORDS, max_size=2).map(lambda d: tuple(d.items())),
    firewalls=st.none() | st.sampled_from([(), (0,), (1,), (0, 1)]),
    power=st.sampled_from([None, "running", "stopped"]),
    name=st.booleans(),
    disk=st.sampled_from([None, "3000GB", "4TB"]),
    script=st.sampled_from([None, "#!/bin/sh", "#!/bin/bash"]),
    reads=st.booleans(),
    first=st.booleans(),
)
PROJECTS = st.builds(
    Project, st.lists(BLOCKS, max_size=2).map(tuple), st.tuples(st.sampled_from([443, 8080]), st.just(80))
)


@contextmanager
def laboratory(project: Project, **fields: Any) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory() as folder:
        yield Lab(Path(folder), project.text(), **fields)


def machines(lab: Lab, alias: str) -> list[Machine]:
    store = Store(str(lab.folder / PATHS[alias]))
    try:
        return store.machines() if store.exists() else []
    finally:
        store.close()


def held(lab: Lab) -> dict[str, list[str]]:
    """Give the addresses of the living machines of every cloud, sorted."""
    return {alias: sorted(machine.body.address for machine in machines(lab, alias)) for alias in PROVIDERS}


def wanted(project: Project) -> dict[str, list[str]]:
    return {
        alias: sorted(address for address, home in project.declared().items() if home == alias) for alias in PROVIDERS
    }


def rendered(lab: Lab) -> tuple[str, bytes]:
    """Give a plan as text and as JSON, with the same time and id for every one."""
    plan, found = lab.planned()
    document = plan_document(
        plan,
        SCHEMAS,
        config=found.project.config,
        variables=found.values,
        version="0",
        timestamp="2026-01-01T00:00:00Z",
    )
    return "\n".join(render_plan(plan, SCHEMAS)), msgspec.json.encode(document)


def known_leaves(value: Value) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Give every leaf that is known, with its path."""
    bare = reveal_deep(value) if not has_unknown(value) else value
    items = getattr(bare, "items", None)
    if isinstance(items, dict):
        for name, item in items.items():
            for path, leaf in known_leaves(item):
                yield (name, *path), leaf
    elif isinstance(items, tuple):
        for number, item in enumerate(items):
            for path, leaf in known_leaves(item):
                yield (number, *path), leaf
    elif not has_unknown(bare):
        yield (), to_python(bare)


def effective(plan: Plan) -> list[Change]:
    return plan.effective
