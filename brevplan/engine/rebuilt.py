"""What became of a state that was restored, as a value: recorded, left as it is, and not there."""

from __future__ import annotations

from dataclasses import dataclass, field

from brevplan.contract.model import Instance
from brevplan.diagnostics import Diagnostic
from brevplan.engine.address import Address
from brevplan.engine.change import OrphanNote


@dataclass(frozen=True, slots=True)
class Restored:
    """A machine that was recorded. `how` says what led from it to its address; `block` must be kept, if any."""

    address: Address
    alias: str
    machine: Instance
    how: str
    block: str = ""


@dataclass(slots=True)
class Rebuilt:
    """What became of it; addresses are in order."""

    restored: list[Restored] = field(default_factory=list)
    kept_in_state: list[Address] = field(default_factory=list)
    """What lives in the state alone, recorded as it is declared."""
    doubled: dict[Address, list[tuple[str, Instance]]] = field(default_factory=dict)
    orphans: list[OrphanNote] = field(default_factory=list)
    missing: list[Address] = field(default_factory=list)
    """Declared, and not there."""
    workspaces: list[str] = field(default_factory=list)
    """Other workspaces of which machines stand here."""
    unreported: dict[str, list[str]] = field(default_factory=dict)
    """What each provider does not tell of its machines, so that it was taken for what is declared."""
    warnings: list[Diagnostic] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)

    @property
    def left(self) -> int:
        return len(self.orphans) + sum(map(len, self.doubled.values()))


def counted(result: Rebuilt) -> str:
    """Say how much was recorded, as history and summary do."""
    kinds: dict[str, int] = {}
    for address in result.kept_in_state:
        kinds[address.kind] = kinds.get(address.kind, 0) + 1
    parts = [_plural(len(result.restored), "machine"), *(_plural(n, kind) for kind, n in sorted(kinds.items()))]
    return f"{' and '.join(parts)} recorded"


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"
