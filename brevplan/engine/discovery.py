"""What lives at the clouds and is not recorded: whose each machine is, told by its marks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from brevplan.contract.model import DEAD, HALTED, Instance
from brevplan.engine.address import Address
from brevplan.engine.identity import cred_ref_id
from brevplan.engine.observed import Facts, address_in, workspace_in
from brevplan.engine.ports import IntentState, Record, Role


class Standing(StrEnum):
    """Whose a machine is that no row is about."""

    ADOPTABLE = "adoptable"
    """Its mark leads to a declared address that has no machine: the next plan adopts it."""
    IMPORT = "import"
    """An `import` block names it."""
    ATTEMPT = "attempt"
    """An attempt of ours made it whose end is not recorded yet."""
    DOUBLED = "doubled"
    """Several machines bear the mark of its address."""
    ORPHAN = "orphan"
    """Ours, and nothing is declared for it."""
    FORGOTTEN = "forgotten"
    """Let go on purpose, where the mark could not be taken off."""
    WORKSPACE = "workspace"
    """Of another workspace of this project."""
    PROJECT = "project"
    """Of another project."""
    FOREIGN = "foreign"
    """Made by somebody else."""


UNACCOUNTED = frozenset({Standing.DOUBLED, Standing.ORPHAN, Standing.FOREIGN})
"""What nobody that we know of answers for."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """One machine. `owner` is the project or workspace that it belongs to, where that is another one."""

    alias: str
    machine: Instance
    standing: Standing
    address: Address | None = None
    owner: str = ""


def discover(
    facts: Facts, rows: Iterable[Record], declared: Iterable[Address], wanted: Mapping[tuple[str, str], Address]
) -> list[Discovered]:
    """Tell of each living machine without a row whose it is.

    `rows` are those of all workspaces, `wanted` the machines that `import` blocks name, by account and cloud id.
    """
    recorded: set[tuple[str, str]] = set()
    forgotten: set[tuple[str, str]] = set()
    for row in rows:
        (forgotten if row.role is Role.FORGOTTEN else recorded).add((row.account, row.cloud_id))
    claims = _claims(facts, declared)
    return [
        _judged(facts, alias, facts.priced(alias, machine), claims, wanted, forgotten)
        for alias, machine in _machines(facts)
        if _key(facts, alias, machine) not in recorded
    ]


def _machines(facts: Facts) -> Iterator[tuple[str, Instance]]:
    """Give the living machines, each account once, in order."""
    seen: set[str] = set()
    for alias, view in sorted(facts.views.items()):
        if view.fingerprint not in seen:
            seen.add(view.fingerprint)
            yield from ((alias, machine) for _, machine in sorted(view.machines.items()) if machine.status not in DEAD)


def _key(facts: Facts, alias: str, machine: Instance) -> tuple[str, str]:
    return facts.views[alias].fingerprint, str(machine.cloud_id)


def _claims(facts: Facts, declared: Iterable[Address]) -> dict[tuple[str, str], tuple[Address, bool]]:
    """Give the addresses to which marks lead, and whether a machine is the only one of its address."""
    found: dict[tuple[str, str], tuple[Address, bool]] = {}
    for address in declared:
        claims = facts.claims(address)
        for alias, machine in claims:
            found.setdefault(_key(facts, alias, machine), (address, len(claims) == 1))
    return found


def _judged(
    facts: Facts,
    alias: str,
    machine: Instance,
    claims: Mapping[tuple[str, str], tuple[Address, bool]],
    wanted: Mapping[tuple[str, str], Address],
    forgotten: set[tuple[str, str]],
) -> Discovered:
    key = _key(facts, alias, machine)
    tagged = tagged_address(machine)
    if key in wanted:
        return Discovered(alias, machine, Standing.IMPORT, wanted[key])
    if key in forgotten:
        return Discovered(alias, machine, Standing.FORGOTTEN, tagged)
    other = project_of(machine)
    if other and other != facts.project:
        return Discovered(alias, machine, Standing.PROJECT, tagged, other)
    if not other:
        return Discovered(alias, machine, Standing.FOREIGN)
    workspace = workspace_in(machine.address) if machine.address else facts.workspace
    if workspace != facts.workspace:
        return Discovered(alias, machine, Standing.WORKSPACE, tagged, workspace)
    attempt = next((intent for intent in facts.intents if intent.ref_id == machine.ref_id), None)
    if attempt is not None and attempt.state in (IntentState.OPEN, IntentState.RETIRED):
        return Discovered(alias, machine, Standing.ATTEMPT, attempt.address)
    if key in claims:
        address, is_sole = claims[key]
        return Discovered(alias, machine, Standing.ADOPTABLE if is_sole else Standing.DOUBLED, address)
    return Discovered(alias, machine, Standing.ORPHAN, tagged)


def project_of(machine: Instance) -> str:
    """Give the project whose mark a machine bears; empty where it bears none."""
    mark, prefix = machine.cloud_cred_ref_id, cred_ref_id("")
    return mark.removeprefix(prefix) if mark.startswith(prefix) else ""


def tagged_address(machine: Instance) -> Address | None:
    """Read the address beside a mark; None where there is none that can be read."""
    try:
        return Address.parse(address_in(machine.address)) if machine.address else None
    except ValueError:
        return None


def hourly_price(machine: Instance) -> Decimal | None:
    """Give USD per hour as a machine stands: nothing while it is stopped, None where it is not known."""
    return Decimal(0) if machine.status in HALTED else machine.hourly_price


def hourly_total(found: Iterable[Discovered]) -> tuple[Decimal, int]:
    """Add up USD per hour of what nobody accounts for, and count the machines whose price is not known."""
    prices = [hourly_price(item.machine) for item in found if item.standing in UNACCOUNTED]
    return sum((price for price in prices if price is not None), Decimal(0)), sum(price is None for price in prices)
