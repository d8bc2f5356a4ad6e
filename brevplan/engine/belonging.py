"""Whose a machine is and what it is called, made known to cloud and state: moves, and machines that are let go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from brevplan.contract.client import UpdateTags
from brevplan.contract.errors import CloudError, NotFound
from brevplan.contract.model import CloudId
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address
from brevplan.engine.change import Change
from brevplan.engine.graph import Step
from brevplan.engine.identity import address_tag
from brevplan.engine.machines import Workshop
from brevplan.engine.observed import Facts
from brevplan.engine.ports import DropRecord, Record, Role, SetRole, Write


async def rename_machine(shop: Workshop, change: Change) -> str:
    """Write the new address beside the mark of a machine, where the cloud lets us; say why it could not be done."""
    account = shop.accounts.get(change.alias)
    if account is None or not change.cloud_id or not isinstance(account.client, UpdateTags):
        return ""
    try:
        async with shop.slots.slot():
            await write_address(account, shop.workspace, change.cloud_id, change.address)
    except CloudError as problem:
        return f"{change.address}: the machine still bears the name {change.moved_from}: {problem}"
    return ""


async def write_address(account: Account, workspace: str, cloud_id: str, address: Address) -> None:
    """Make an address the one beside a machine's mark, where the cloud lets us; raise `CloudError`."""
    client = account.client
    if isinstance(client, UpdateTags):
        tag = address_tag(workspace, address)
        await account.patience.retried(partial(client.update_mark, CloudId(cloud_id), address=tag))


def moved_rows(facts: Facts, moved: Iterable[Change]) -> Iterator[tuple[str, Record]]:
    """Give the rows to rewrite: those of the moves that are part of the plan, and those that only read them."""
    kept_back = set(facts.moved) - {change.address for change in moved}
    for key, record in facts.rewritten:
        if record.role is not Role.CURRENT or record.address not in kept_back:
            yield key, record


async def let_go(shop: Workshop, step: Step) -> None:
    """Take our mark off a machine and forget it; where the mark cannot be taken off, remember that it is not ours."""
    change = step.change
    account = shop.accounts.get(change.alias)
    gone: Write = DropRecord(change.record_key)
    if account is not None and change.cloud_id:
        if isinstance(account.client, UpdateTags):
            await _take_mark_off(shop, account, account.client, CloudId(change.cloud_id))
        else:
            gone = SetRole(change.record_key, Role.FORGOTTEN)
    await shop.committer.commit(shop.open_step(step), gone, shop.close_step(step))


async def _take_mark_off(shop: Workshop, account: Account, client: UpdateTags, cloud_id: CloudId) -> None:
    try:
        async with shop.slots.slot():
            await account.patience.retried(partial(client.update_mark, cloud_id, address=None))
    except NotFound:
        return  # gone already, with its mark
