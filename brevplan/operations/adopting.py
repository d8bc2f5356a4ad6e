"""The rows of what a plan adopts, written without carrying the plan out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from brevplan.contract.model import LifecycleStatus
from brevplan.diagnostics import Diagnostics
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address
from brevplan.engine.adoption import adopted_record, attributes_as_seen
from brevplan.engine.change import Change
from brevplan.engine.desired import known_bool
from brevplan.engine.ports import AccountRow, DropRecord, PutAccount, PutRecord, Record, Role, Write, state_key
from brevplan.engine.secrets import seal_attributes
from brevplan.operations.planning import Planned
from brevplan.operations.project import KINDS


def recorded_rows(found: Planned, addresses: Iterable[Address], rows: Sequence[Record], salt: str) -> list[Write]:
    """Give what records each address as it stands, with the accounts. `rows` is what the state holds so far."""
    changes = {change.address: change for change in found.folded.plan.changes}
    written: list[Write] = list(_accounts(found))
    taken = {row.key: (row.account, row.cloud_id) for row in rows}
    for address in addresses:
        change = changes[address]
        if not KINDS[address.kind].needs_provider:
            written.append(PutRecord(_kept_in_state(found, change, salt)))
            continue
        row = _machine_row(found, change, taken, salt)
        taken[row.key] = (row.account, row.cloud_id)
        # one that was let go before is taken in again
        written += [DropRecord(old.key) for old in rows if old.role is Role.FORGOTTEN and _is_same(old, row)]
        written.append(PutRecord(row))
    return written


def _accounts(found: Planned) -> Iterable[Write]:
    for alias, account in found.accounts.items():
        if not found.facts.views[alias].unverified:
            yield PutAccount(
                AccountRow(alias, account.fingerprint, account.spec.name, account.tenant, account.endpoint)
            )


def _is_same(old: Record, row: Record) -> bool:
    return (old.account, old.cloud_id) == (row.account, row.cloud_id) and old.key != row.key


def _machine_row(found: Planned, change: Change, taken: dict[str, tuple[str, str]], salt: str) -> Record:
    kind = KINDS[change.address.kind]
    account: Account = found.accounts[change.alias]
    view = found.facts.views[change.alias]
    machine = view.machines[change.cloud_id]
    attributes = seal_attributes(attributes_as_seen(kind, change, machine, account), salt)
    mine = (account.fingerprint, str(machine.cloud_id))
    others = {machine.ref_id} if taken.get(machine.ref_id, mine) != mine else set()
    row = adopted_record(
        found.facts.workspace, change.address, kind.name, machine, account, attributes, others
    )  # fmt: skip
    return replace(
        row,
        settled=machine.status is not LifecycleStatus.PENDING,
        seen=change.cloud_id not in view.hidden,
        protected=_is_protected(found, change.address),
        reads=_reads(change),
    )


def _kept_in_state(found: Planned, change: Change, salt: str) -> Record:
    """Give the row of something that lives in the state alone, as it is declared."""
    address, workspace = change.address, found.facts.workspace
    return Record(
        state_key(workspace, address),
        workspace,
        address,
        Role.CURRENT,
        address.kind,
        seal_attributes(change.after or {}, salt),
        protected=_is_protected(found, address),
        reads=_reads(change),
    )


def _reads(change: Change) -> tuple[str, ...]:
    return tuple(sorted(map(str, change.reads)))


def _is_protected(found: Planned, address: Address) -> bool:
    declaration = found.project.config.declaration(address)
    context = found.folded.contexts.get(address)
    if declaration is None or context is None:
        return False
    return bool(known_bool(declaration.lifecycle.prevent_destroy, context, "prevent_destroy", Diagnostics()))
