"""`rebuild -map REF=ADDR`: which machine belongs where, as the user says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from brevplan.contract.model import DEAD, Instance
from brevplan.diagnostics import Diagnostic, DiagnosticsError, error, failure
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address
from brevplan.engine.imports import Import
from brevplan.engine.observed import Facts
from brevplan.engine.ports import Record
from brevplan.operations.importing import check_declared, check_unowned, living_machine, provider_of
from brevplan.operations.project import Project


@dataclass(frozen=True, slots=True)
class Wish:
    """One `-map`: `ref` is the ref_id or the cloud id of a machine."""

    ref: str
    address: Address


def parse_wishes(texts: Sequence[str]) -> tuple[Wish, ...]:
    """Read the options; raise `DiagnosticsError` for the wrong ones together."""
    wishes: list[Wish] = []
    problems: list[Diagnostic] = []
    for text in texts:
        ref, _, name = text.partition("=")
        try:
            if not ref or not name:
                raise ValueError("a machine and an address are needed: -map=REF=ADDRESS")
            wish = Wish(ref, Address.parse(name))
        except ValueError as problem:
            problems.append(error("Invalid option", f"-map={text}: {problem}."))
            continue
        for other in wishes:
            if other.ref == wish.ref or other.address == wish.address:
                what = wish.ref if other.ref == wish.ref else wish.address
                problems.append(error("Invalid option", f"-map={text}: {what} is mapped twice."))
        wishes.append(wish)
    if problems:
        raise DiagnosticsError(problems)
    return tuple(wishes)


@dataclass(slots=True)
class Mapper:
    """Finds the machines of all wishes, once the clouds have been looked at."""

    wishes: Sequence[Wish]
    rows: Sequence[Record]
    replaced: list[Record] = field(default_factory=list)
    """Rows of machines that are gone, whose addresses get another one."""

    async def __call__(self, project: Project, facts: Facts, accounts: Mapping[str, Account]) -> tuple[Import, ...]:
        problems: list[Diagnostic] = []
        found: dict[tuple[str, str], Import] = {}
        for wish in self.wishes:
            try:
                alias, machine = await self._machine(project, facts, accounts, wish)
                key = (facts.views[alias].fingerprint, str(machine.cloud_id))
                if key in found:
                    text = f"{machine.cloud_id} is mapped to {found[key].address} and to {wish.address}."
                    raise failure("Map is not possible", text, hint="One machine can have one address only.")
                if self._make_room(facts, wish, key):
                    check_unowned(machine, facts, alias, self.rows)
                    found[key] = Import(wish.address, machine.cloud_id, alias, None)
            except DiagnosticsError as problem:
                problems.extend(problem.diagnostics)
        if problems:
            raise DiagnosticsError(problems)
        return tuple(found.values())

    async def _machine(
        self, project: Project, facts: Facts, accounts: Mapping[str, Account], wish: Wish
    ) -> tuple[str, Instance]:
        check_declared(project, wish.address)
        found = [item for item in _living(facts) if wish.ref in (item[1].cloud_id, item[1].ref_id)]
        if len(found) > 1:
            ids = ", ".join(f"{machine.cloud_id} at {alias}" for alias, machine in found)
            raise failure("Map is not possible", f"{len(found)} machines are called {wish.ref}: {ids}.",
                          hint="Name the machine by its cloud id.")  # fmt: skip
        if found:
            return found[0]
        alias = provider_of(project, wish.address, facts)
        return alias, await living_machine(facts, accounts, alias, wish.ref)

    def _make_room(self, facts: Facts, wish: Wish, machine: tuple[str, str]) -> bool:
        """Tell whether something is to be recorded; raise `DiagnosticsError` where another machine is.

        `machine` is account and cloud id.
        """
        record = facts.records.get(wish.address)
        if record is None:
            return True
        if (record.account, record.cloud_id) == machine:
            return False
        view = facts.view_of(record)
        if view is None or record.cloud_id not in view.gone:
            raise failure(
                "Map is not possible", f"{wish.address} is {record.cloud_id} already.",
                hint=f"To put another machine in its place: brevplan state rm {wish.address}, then rebuild again.",
            )  # fmt: skip
        self.replaced.append(record)
        del facts.records[wish.address]
        return True


def _living(facts: Facts) -> Iterator[tuple[str, Instance]]:
    """Give the living machines, those of each account once."""
    views = {view.fingerprint: (alias, view) for alias, view in reversed(sorted(facts.views.items()))}
    for alias, view in views.values():
        for machine in view.machines.values() if not view.unverified else ():
            if machine.status not in DEAD:
                yield alias, machine
