"""The row of a machine that was found and is taken in: by its mark, by an `import` block, or by a command."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from brevplan.contract.model import Instance
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address
from brevplan.engine.change import Change
from brevplan.engine.kind import Kind
from brevplan.engine.ports import Record, Role
from brevplan.engine.secrets import mark_like
from brevplan.lang.values import Value, has_unknown


def adopted_record(
    workspace: str,
    address: Address,
    kind: str,
    machine: Instance,
    account: Account,
    attributes: Mapping[str, Any],
    taken: Collection[str],
) -> Record:
    """Give the row, not settled. `taken` are the keys of the rows of other machines.

    A ref_id may have been copied onto a second machine: that one is called by account and cloud id.
    """
    key = machine.ref_id
    if not key or key in taken:
        key = f"{account.fingerprint}:{machine.cloud_id}"
    return Record(
        key=key,
        workspace=workspace,
        address=address,
        role=Role.CURRENT,
        kind=kind,
        attributes=attributes,
        alias=account.alias,
        account=account.fingerprint,
        ref_id=machine.ref_id,
        cloud_id=machine.cloud_id,
        settled=False,
    )


def attributes_as_seen(kind: Kind, change: Change, machine: Instance, account: Account) -> dict[str, Value]:
    """Give what is to be remembered of a machine as it stands, so that a plan shows what differs and nothing else.

    What the cloud reports is taken from there. What it does not report cannot be compared, and is taken for what is
    declared.
    """
    declared = {name: value for name, value in (change.after or {}).items() if not has_unknown(value)}
    observed = kind.observe(machine, account.traits)
    return {**declared, **{name: mark_like(value, declared.get(name)) for name, value in observed.items()}}
