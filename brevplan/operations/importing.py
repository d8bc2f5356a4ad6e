"""`brevplan import ADDR ID`: a machine that is there is recorded at a declared address. The cloud stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from brevplan.contract.errors import CloudError
from brevplan.contract.model import Instance
from brevplan.diagnostics import Diagnostic, Diagnostics, failure, suggest, warning
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address, path_names
from brevplan.engine.bench import Options
from brevplan.engine.discovery import project_of
from brevplan.engine.imports import Import
from brevplan.engine.observed import Facts
from brevplan.engine.ports import Record, Role
from brevplan.engine.provider_choice import ProviderChoice
from brevplan.engine.refresh import look_up
from brevplan.operations.adopting import recorded_rows
from brevplan.operations.planning import Planned, Request, planned
from brevplan.operations.project import KINDS, Project
from brevplan.operations.recording import writable
from brevplan.operations.world import Outside

UNHINDERED = Options(allow_no_stock=True, ignore_orphans=True)
"""What stands in the way of new machines does not matter to those that are there."""


@dataclass(frozen=True, slots=True)
class Imported:
    """`block` is the `import` block to keep, empty where the machine's mark leads to its address anyway."""

    address: Address
    alias: str
    machine: Instance
    block: str
    warnings: tuple[Diagnostic, ...] = ()


async def import_machine(
    project: Project, request: Request, world: Outside, address: Address, cloud_id: str, say: Callable[[str], None]
) -> Imported:
    """Record one machine; raise `DiagnosticsError` where that cannot be."""
    check_declared(project, address)
    with writable(project, request, world, "import", say) as state:
        rows = state.store.records() if state.store is not None else []

        async def find(project: Project, facts: Facts, accounts: Mapping[str, Account]) -> tuple[Import, ...]:
            _check_free(facts, address)
            alias = provider_of(project, address, facts)
            say(f'{address}: Importing from ID "{cloud_id}"...')
            machine = await living_machine(facts, accounts, alias, cloud_id)
            check_unowned(machine, facts, alias, rows)
            return (Import(address, cloud_id, alias, None),)

        async with planned(project, request, world, state.store, writing=True, taking=find) as found:
            salt = state.ready().meta().salt
            writes = recorded_rows(found, [address], rows, salt)
            state.record(found.facts.workspace, f"{address} imported from {cloud_id}", writes)
            return _imported(found, address)


def _imported(found: Planned, address: Address) -> Imported:
    change = next(change for change in found.folded.plan.changes if change.address == address)
    machine = found.facts.views[change.alias].machines[change.cloud_id]
    items = list(found.diagnostics)
    other = project_of(machine)
    if other and other != found.facts.project:
        text = f'{machine.cloud_id} bears the mark of the project "{other}", which may change or destroy it too.'
        items.append(
            warning(
                "Machine of another project", text,
                hint="Let it go there: a removed block with lifecycle { destroy = false }.",
            )
        )  # fmt: skip
    machine = found.facts.priced(change.alias, machine)
    return Imported(address, change.alias, machine, block_to_keep(found, address), tuple(items))


def check_declared(project: Project, address: Address) -> None:
    """Refuse what cannot hold a machine: undeclared, or no machine at all; raise `DiagnosticsError`."""
    kind = KINDS.get(address.kind)
    if address.is_data or kind is None or not kind.needs_provider:
        raise failure(
            "Import is not possible", f"{address} is no machine: there is nothing at a cloud to take in.",
            hint="Only instances are imported; what lives in the state alone is recorded by brevplan rebuild.",
        )  # fmt: skip
    if project.config.declaration(address) is not None:
        return
    names = [str(block) for block in project.config.resources] if not address.module else []
    example = f'resource "{address.kind}" "{address.name}" {{\n  # arguments\n}}'
    hint = f"{suggest(str(address.declared), names)} Declare it first, for example:\n\n{example}".lstrip()
    raise failure("Import of something undeclared", f"{address} is not declared.", hint=hint)


def provider_of(project: Project, address: Address, facts: Facts) -> str:
    """Give the key of the provider block of a declared address; raise `DiagnosticsError`."""
    declaration = project.config.declaration(address)
    assert declaration is not None
    problems = Diagnostics()
    alias = ProviderChoice(project.config).of(path_names(address.module), declaration, problems)
    problems.raise_if_errors()
    if alias not in facts.views:
        raise failure("Unknown provider", f'There is no provider "{alias}", where {address} belongs.')
    return alias


async def living_machine(facts: Facts, accounts: Mapping[str, Account], alias: str, cloud_id: str) -> Instance:
    """Find a machine in the list of an account, else by itself; raise `DiagnosticsError`."""
    view = facts.views[alias]
    if view.unverified:
        raise failure("Import is not possible", f"Nothing certain is known of {cloud_id}: {view.unverified}.")
    try:
        machine = await look_up(accounts[alias], view, cloud_id)
    except CloudError as problem:
        raise failure("Import is not possible", f"{cloud_id} could not be looked up: {problem}.") from None
    if machine is None:
        raise failure(
            "Import is not possible", f'There is no machine "{cloud_id}" at "{alias}".',
            hint="brevplan discover lists what is there, with its ids.",
        )  # fmt: skip
    return machine


def _check_free(facts: Facts, address: Address) -> None:
    record = facts.records.get(address)
    if record is not None:
        raise failure(
            "Resource already managed", f"{address} is {record.cloud_id} already.",
            hint=f"To put another machine in its place: brevplan state rm {address}, then import again.",
        )  # fmt: skip


def check_unowned(machine: Instance, facts: Facts, alias: str, rows: Sequence[Record]) -> None:
    """Refuse a machine that has an address already, in any workspace; raise `DiagnosticsError` naming it."""
    account = facts.views[alias].fingerprint
    for row in rows:
        if (row.account, row.cloud_id) == (account, machine.cloud_id) and row.role is not Role.FORGOTTEN:
            where = "" if row.workspace == facts.workspace else f" in the workspace {row.workspace}"
            state = "" if row.role is Role.CURRENT else f" ({row.role.value})"
            raise failure(
                "Import is not possible", f"{machine.cloud_id} is recorded as {row.address}{state}{where} already.",
                hint="One machine can have one address only; brevplan state mv gives it another one.",
            )  # fmt: skip


def block_to_keep(found: Planned, address: Address) -> str:
    """Give the `import` block without which a lost state could not be found again; empty where the mark is enough."""
    from brevplan.lang.writer import Code, write_block  # it brings the parser along

    change = next(change for change in found.folded.plan.changes if change.address == address)
    marked = found.facts.marked(address)
    if len(marked) == 1 and marked[0][1].cloud_id == change.cloud_id:
        return ""
    return write_block("import", [], {"to": Code(str(address)), "id": change.cloud_id})
