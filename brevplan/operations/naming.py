"""Addresses for machines that have none: the one on their tag where it is free, else one made of their name."""

from __future__ import annotations

import re
from itertools import count
from typing import Final

from brevplan.engine.address import Address
from brevplan.engine.discovery import Discovered
from brevplan.engine.observed import Facts
from brevplan.operations.project import Project

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


class Names:
    """Gives each machine a single resource of the root module that nothing else is called."""

    def __init__(self, project: Project, facts: Facts) -> None:
        records = [*facts.records, *(record.address for record in facts.deposed)]
        wanted = [block.to for block in project.config.imports]
        self._taken = {(block.kind, block.name) for block in (*project.config.resources, *records, *wanted)}

    def of(self, item: Discovered) -> Address:
        """Choose an address, which is taken from then on."""
        tagged = item.address
        is_single = tagged is not None and tagged.key is None and not tagged.module and tagged.kind == "instance"
        base = tagged.name if tagged is not None and is_single else _safe(_text(item))
        for number in count(1):
            name = base if number == 1 else f"{base}_{number}"
            if ("instance", name) not in self._taken:
                self._taken.add(("instance", name))
                return Address("instance", name)
        raise AssertionError


def _text(item: Discovered) -> str:
    tagged = item.address
    if tagged is None:
        return item.machine.name or str(item.machine.cloud_id)
    return tagged.name if tagged.key is None else f"{tagged.name}_{tagged.key}"


def _safe(text: str) -> str:
    name = _UNSAFE.sub("_", text).strip("_-")
    return name if name[:1].isalpha() else f"machine_{name}".rstrip("_")
