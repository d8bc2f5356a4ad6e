"""Whose a machine is and what it is called, made known to cloud and state: moves, and machines that are let go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from brevplan.contract.client import UpdateTags
from brevplan.contract.errors import CloudError, NotFound
from brevplan.contract.model import CloudId
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address
from brevplan.engine.change import Change
from brevplan.engine.graph import Step
from brevplan.engine.identity import address_tag
from brevplan.engine.observed import Facts
from brevplan.engine.ports import DropRecord, Record, Role, SetRole, Write
from brevplan.engine.workshop import Workshop


async def rename_machine(shop: Workshop, change: Change) -> str:
    """Write the new address beside the mark of a machine, where the cloud lets us; say why it could not be done."""
    account = shop.accounts.get(change.alias)
    if account is None or not change.cloud_id:
        return ""
    try:
        async with shop.slots.slot():
            await write_address(account, CloudId(change.cloud_id), shop.workspace, change.address)
    except CloudError as problem:
        return f"{change.address}: the machine still bears the name {change.moved_from}: {problem}"
    return ""


async def write_address(account: Account, cloud_id: CloudId, workspace: str, address: Address) -> None:
    """Write an address beside the mark of a machine, where the cloud lets us; raise `CloudError`."""
    if isinstance(account.client, UpdateTags):
        tag = address_tag(workspace, address)
        await account.patience.retried(partial(account.client.update_mark, cloud_id, address=tag))


def moved_rows(facts: Facts, moved: Iterable[Change]) -> Iterator[tuple[str, Record]]:
    """Give the rows to rewrite: those of the moves that are part of the plan, and those that only read them."""
    kept_back = set(facts.moved) - {change.address for change in moved}
    for key, record in facts.rewritten:
        if record.role is not Role.CURRENT or record.address not in kept_back:
            yield key, record


async def let_go(shop: Workshop, step: Step) -> None:
    """Take our mark off a machine and forget it; where the mark cannot be taken off, remember that it is not ours.

    It is not ours from the first write on: a run that dies in between leaves no machine managed that bears no mark.
    """
    change = step.change
    account = shop.accounts.get(change.alias)
    await shop.committer.commit(shop.open_step(step), SetRole(change.record_key, Role.FORGOTTEN))
    is_clean = True
    if account is not None and change.cloud_id:
        async with shop.slots.slot():
            is_clean = await take_mark_off(account, CloudId(change.cloud_id))
    gone = forgotten(change.record_key, is_clean=is_clean)
    await shop.committer.commit(gone, shop.close_step(step))


def forgotten(key: str, *, is_clean: bool) -> Write:
    """Give the write that forgets a row; a machine that still bears our mark leaves a tombstone."""
    return DropRecord(key) if is_clean else SetRole(key, Role.FORGOTTEN)


async def take_mark_off(account: Account, cloud_id: CloudId) -> bool:
    """Take our mark off a machine; False where a cloud cannot change tags. Raises `CloudError`."""
    if not isinstance(account.client, UpdateTags):
        return False
    with suppress(NotFound):  # gone already, with its mark
        await account.patience.retried(partial(account.client.update_mark, cloud_id, address=None))
    return True
