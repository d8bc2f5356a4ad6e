"""Attempts of which nothing is known: looked for, bound when found, retired when a whole grace window shows nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from brevplan.contract.errors import CloudError
from brevplan.contract.model import DEAD, Instance, RefId
from brevplan.engine.accounts import Account, Snapshot
from brevplan.engine.ports import CloseIntent, Intent, Journal, PutRecord, Record, Role, SetRole, Write

MOST_FAILURES: Final = 3
LEAST_LISTS: Final = 3


class Uncertain(Exception):
    """An attempt could not be settled: the account could not be listed. It stays open for the next run."""


class TwoMachines(Exception):
    """One attempt made more than one machine."""

    def __init__(self, machines: list[Instance]) -> None:
        super().__init__(", ".join(machine.cloud_id for machine in machines))
        self.machines = machines


def bound_record(intent: Intent, cloud_id: str, kind: str) -> Record:
    """Give the row of a machine that an attempt made, before anything more is known of it."""
    return Record(
        key=intent.ref_id,
        workspace=intent.workspace,
        address=intent.address,
        role=Role.CURRENT,
        kind=kind,
        attributes=intent.request,
        alias=intent.alias,
        account=intent.account,
        ref_id=intent.ref_id,
        cloud_id=cloud_id,
        settled=False,
        seen=False,
        protected=intent.protected,
        reads=intent.reads,
    )


def bind_found(
    intents: Iterable[Intent],
    machines_of: Mapping[str, Iterable[Instance]],
    records: Iterable[Record],
    journal: Journal,
) -> list[Intent]:
    """Bind the open attempts of a dead run whose machine is there; give those whose machine is not.

    `machines_of` gives the living machines by account fingerprint. The row that a launch was to replace is deposed;
    an address that has another current row by now keeps it, and the machine is recorded beside it as deposed.
    """
    current = {(record.workspace, record.address): record.key for record in records if record.role is Role.CURRENT}
    left: list[Intent] = []
    for intent in intents:
        found = [
            machine
            for machine in machines_of.get(intent.account, ())
            if machine.ref_id == intent.ref_id and machine.status not in DEAD
        ]
        if not found:
            left.append(intent)
            continue
        row = bound_record(intent, found[0].cloud_id, intent.address.kind)
        holder = current.get((intent.workspace, intent.address), "")
        writes: list[Write] = []
        if holder and holder == intent.replaces:
            writes.append(SetRole(holder, Role.DEPOSED))
        elif holder:
            row = replace(row, role=Role.DEPOSED)
        if row.role is Role.CURRENT:
            current[intent.workspace, intent.address] = row.key
        journal.transact([*writes, PutRecord(row), CloseIntent(intent.ref_id)])
    return left


async def look_for(account: Account, ref_id: str) -> Instance | None:
    """Look for an attempt's machine over one whole grace window, from the first clean list on.

    Gives the machine, or None when the window shows none. Raises `Uncertain` when the account cannot be listed.
    """
    window = account.traits.grace_window_s
    begin: float | None = None
    clean = failures = 0
    while True:
        snapshot = await account.next_snapshot()
        found = _living(snapshot, ref_id)
        if len(found) > 1:
            raise TwoMachines(found)
        if found:
            return found[0]
        problem = snapshot.error or await account.doubt(snapshot)
        if problem:
            failures += 1
            begin, clean = None, 0  # the window is one of clean lists
            if failures >= MOST_FAILURES:
                raise Uncertain(problem)
            continue
        clean, failures = clean + 1, 0
        begin = snapshot.at if begin is None else begin
        # where calls take long, few lists fit into the window, and one of them may have left something out
        if account.clock.monotonic() - begin >= window and (clean >= LEAST_LISTS or not window):
            return None


def _living(snapshot: Snapshot, ref_id: str) -> list[Instance]:
    return [machine for machine in snapshot.by_ref(ref_id) if machine.status not in DEAD]


async def settle(account: Account, intent: Intent) -> Instance | None:
    """Find an uncertain attempt's machine, or fence the attempt so that it can be retired.

    None means: no machine, a late launch is fenced off where the cloud can do that, and nothing is left of what was
    made beside the machine that did not come. Raises `Uncertain`.
    """
    found = await look_for(account, intent.ref_id)
    if found is not None:
        return found
    try:
        fenced = await account.patience.retried(lambda: account.client.fence(RefId(intent.ref_id)))
    except CloudError as problem:
        raise Uncertain(f"the fence failed: {problem}") from None
    # a launch that was on its way while the fence was set shows within one more window
    found = await look_for(account, intent.ref_id) if fenced else None
    if found is None:
        try:
            await account.patience.retried(lambda: account.client.release(RefId(intent.ref_id)))
        except CloudError as problem:
            raise Uncertain(f"what was made beside it could not be removed: {problem}") from None
    return found
