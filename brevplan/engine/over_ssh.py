"""What is done on a machine itself: entered, proved to be what is paid for, and changed where the cloud cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from brevplan.contract.errors import CloudError
from brevplan.contract.model import DEAD, HALTED, Instance, LifecycleStatus
from brevplan.engine.access import Shell
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address
from brevplan.engine.graph import Step
from brevplan.engine.health import judge
from brevplan.engine.ports import PutRecord, Record
from brevplan.engine.reach import ReachError
from brevplan.engine.workshop import Interrupted, StepError, Target, Workshop, change_attribute

PROOF_TIMEOUT: Final = 60.0
"""How long a machine may take to let us in under new rules."""
BEING_CHANGED: Final = "(being changed)"
"""Stands in a row for what is being changed on the machine itself: when the run dies it is like nothing declared."""


class Unhealthy(StepError):
    """A machine is not what is paid for. It is kept, and what is said of it leads on."""

    def __init__(self, cloud_id: str, problem: str, address: Address) -> None:
        super().__init__(
            f"{cloud_id}: {problem}; it is kept, the next apply looks again, and -replace={address} makes a new one",
            uncertain=True,
        )


async def enter(
    shop: Workshop, step: Step, goal: Target, account: Account, row: Record, machine: Instance
) -> tuple[Record, Shell]:
    """Wait until SSH answers, and keep the host key of first contact; raise `StepError`."""
    reach = shop.world.reach
    assert goal.access is not None
    assert reach is not None, "whoever applies can reach machines"
    known = row.attributes.get("host_key")
    door = goal.access.door(machine, known if isinstance(known, str) else "")

    async def gone() -> str:
        try:
            found = await account.find(machine.cloud_id)
        except CloudError:
            return ""  # nothing is known: the wait goes on
        if found is None or found.status in DEAD:
            return f"{machine.cloud_id} is gone"
        return f"{machine.cloud_id} has failed" if found.status is LifecycleStatus.FAILED else ""

    def told(phase: str) -> None:
        shop.progress(step, phase)

    told(f"waiting for SSH at {door.user}@{door.host}:{door.port}")
    try:
        key = await shop.slots.unless_stopped(
            reach.ready(door, timeout=goal.access.timeout_s, progress=told, gone=gone)
        )
    except ReachError as problem:
        raise StepError(f"{machine.cloud_id} cannot be reached over SSH: {problem}", uncertain=True) from None
    if key is None:
        raise Interrupted
    if key != known:
        # with its addresses, so that a person gets in as well, whatever becomes of it next
        seen = shop.sealed(goal.kind.observe(machine, account.traits))
        row = dataclasses.replace(row, attributes={**row.attributes, **seen, "host_key": key})
        await shop.committer.commit(PutRecord(row))
    return row, Shell(reach, dataclasses.replace(door, host_key=key))


async def prove_open(
    shop: Workshop, step: Step, goal: Target, account: Account, row: Record, machine: Instance
) -> None:
    """Prove that the rules which the cloud has just changed still let us in; put the old ones back otherwise."""
    key, before = row.attributes.get("host_key"), (step.change.before or {}).get("firewall_rules")
    reach = shop.world.reach
    if goal.access is None or reach is None or not isinstance(key, str) or before is None or machine.status in HALTED:
        return  # nobody was let in before either, or nobody asked to be
    shop.progress(step, f"proving that {machine.cloud_id} still lets us in")
    door = goal.access.door(machine, key)
    try:
        await reach.ready(door, timeout=PROOF_TIMEOUT, progress=lambda phase: None)
    except ReachError as problem:
        await account.patience.retried(
            lambda: goal.kind.update(
                account.client, machine.cloud_id, "firewall_rules", {**goal.attributes, "firewall_rules": before}, None
            )
        )
        raise StepError(
            f"the new rules shut us out of {machine.cloud_id}, and the old ones are back: {problem}"
        ) from None


async def prove_healthy(
    shop: Workshop, step: Step, goal: Target, account: Account, machine: Instance, shell: Shell
) -> None:
    """Compare the GPUs of a machine with those that are paid for; raise `Unhealthy`."""
    if goal.access is None or not goal.access.verify_gpu:
        return
    shop.progress(step, f"looking at the GPUs of {machine.cloud_id}")
    if account.alias not in shop.types:
        listed = await account.patience.retried(account.client.get_instance_types)
        shop.types[account.alias] = {(item.type, item.location): item for item in listed}
    paid_for = shop.types[account.alias].get((machine.instance_type, machine.location))
    if paid_for is None:
        raise StepError(f"{machine.instance_type} is not in the catalogue: what is paid for is not known")
    try:
        problem = judge(await shell.gpus(), paid_for.gpus)
    except ReachError as failure:
        problem = str(failure)
    if problem:
        raise Unhealthy(machine.cloud_id, problem, step.address)


async def change_over_ssh(
    shop: Workshop, step: Step, goal: Target, account: Account, row: Record, machine: Instance, names: Sequence[str],
    deadline: float,
) -> Record:  # fmt: skip
    """Change attributes on the machine itself: recorded as unknown before, as they are after."""
    if not names or goal.access is None:
        return row
    row, shell = await enter(shop, step, goal, account, row, machine)
    row = dataclasses.replace(row, attributes={**row.attributes, **dict.fromkeys(names, BEING_CHANGED)})
    await shop.committer.commit(PutRecord(row))
    for name in names:
        await change_attribute(shop, goal, account, row.cloud_id, name, deadline, shell)
    return row
