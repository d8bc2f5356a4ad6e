"""How one machine is made, changed and unmade: the order of durable writes and calls that loses and doubles nothing.

Every function here is one step of an apply, carried out for one address. A step holds a slot only while a call is
under way; waiting for a machine to boot or to go holds none.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from brevplan.contract.client import Capability
from brevplan.contract.errors import CloudError, InstanceNotFound, Sent
from brevplan.contract.model import (
    DEAD,
    HALTED,
    CloudId,
    CreateInstanceAttrs,
    Instance,
    LifecycleStatus,
    RefId,
)
from brevplan.engine.accounts import Account, Snapshot
from brevplan.engine.adoption import adopted_record
from brevplan.engine.change import Change, Power
from brevplan.engine.graph import Step
from brevplan.engine.identity import address_tag, cred_ref_id, make_ref_id
from brevplan.engine.kind import Mark
from brevplan.engine.over_ssh import Unhealthy, change_over_ssh, enter, prove_healthy, prove_open
from brevplan.engine.ports import (
    CloseIntent,
    DropRecord,
    Intent,
    OpenIntent,
    PutRecord,
    Record,
    RetireIntent,
    Role,
    SetRole,
    Write,
)
from brevplan.engine.secrets import mark_like
from brevplan.engine.settle import TwoMachines, Uncertain, bound_record, settle
from brevplan.engine.workshop import Interrupted, StepError, Target, Workshop, change_attribute
from brevplan.lang.values import Value

_LOG = logging.getLogger(__name__)

CREATE_TIMEOUT = 45 * 60.0
UPDATE_TIMEOUT = 20 * 60.0
DELETE_TIMEOUT = 20 * 60.0
MAX_ATTEMPTS = 3


# create


async def create(shop: Workshop, step: Step, target: Callable[[], Target]) -> Mapping[str, Value]:
    """Make a machine: intent, launch, bound, ready, settled. Gives the actual attributes."""
    account = shop.accounts[step.change.made_at]
    shop.touched.add(account.alias)
    given_up: list[Write] = []
    unhealthy = ""
    for _ in range(MAX_ATTEMPTS):
        try:
            record, machine, goal = await _launch(shop, step, target, account, given_up)
        except _GivenUp as attempt:
            # written down together with the attempt that takes its place
            given_up = [RetireIntent(attempt.ref_id)]
            continue
        try:
            return await finish(shop, step, goal, account, record, machine)
        except Unhealthy as problem:
            if goal.access is None or not goal.access.replaces_unhealthy:
                raise
            shop.progress(step, f"{machine.cloud_id} is replaced: {problem}")
            await _drop_failed(shop, step, account, record)
            given_up = []
            unhealthy = str(problem)
    if unhealthy:
        raise StepError(f"{MAX_ATTEMPTS} machines were not what is paid for, and were ended: {unhealthy}")
    await shop.committer.commit(*given_up)
    raise StepError(f"{MAX_ATTEMPTS} launches were not answered and left no machine")


class _GivenUp(Exception):
    """A whole grace window has shown nothing of an attempt: it is to be retired, and another may be made."""

    def __init__(self, ref_id: str) -> None:
        super().__init__(ref_id)
        self.ref_id = ref_id


async def _launch(
    shop: Workshop, step: Step, target: Callable[[], Target], account: Account, given_up: Sequence[Write]
) -> tuple[Record, Instance, Target]:
    tries = 0
    while True:
        async with shop.slots.slot():
            goal = target()
            await shop.slots.reserve(account)
            intent, request = _intent(shop, step, goal, account)
            if account.places:
                account.look_at(account.places | {request.location})
            first: list[Write] = [*given_up, shop.open_step(step), *_known_first(shop, step)] if tries == 0 else []
            await shop.committer.commit(*first, OpenIntent(intent))
            _LOG.info("%s: launching %s at %s", step.address, intent.ref_id, account.alias)
            try:
                machine = await account.patience.once(partial(account.client.create_instance, request))
            except CloudError as problem:
                failure = problem
            else:
                record = await _bind(shop, step, goal, intent, machine, account)
                return record, machine, goal
        tries += 1
        if failure.sent is Sent.MAYBE:
            return await _uncertain(shop, step, goal, account, intent, request, failure)
        await _close_refused(shop, step, account, intent)
        if not failure.retryable or tries > account.patience.retries:
            raise failure
        await account.patience.wait(failure, tries)


def _intent(shop: Workshop, step: Step, goal: Target, account: Account) -> tuple[Intent, CreateInstanceAttrs]:
    address = step.address
    ref_id = make_ref_id(shop.project, shop.workspace, address, shop.world.ids.attempt())
    mark = Mark(ref_id, cred_ref_id(shop.project), address_tag(shop.workspace, address))
    intent = Intent(
        ref_id,
        shop.workspace,
        address,
        account.alias,
        account.fingerprint,
        shop.run_id,
        request=shop.sealed(goal.attributes),
        reads=goal.reads,
        protected=goal.protected,
        opened_at=shop.now(),
        replaces=_replaced_row(shop, step),
    )
    return intent, goal.kind.request(goal.attributes, mark)


def _replaced_row(shop: Workshop, step: Step) -> str:
    """Give the key of the row that gives up the address once there is a machine."""
    change = step.change
    if step.deposes:
        return change.record_key or _found_record(shop, change, Role.CURRENT).key
    return former_row(change)


def former_row(change: Change) -> str:
    """Give the key of the row of a machine that is gone, and whose address this change gives to another one."""
    return change.supersedes or (change.record_key if change.gone else "")


def _known_first(shop: Workshop, step: Step) -> list[Write]:
    """Record a machine that was found and is to go after this one: whoever goes on must know of both."""
    change = step.change
    if not step.deposes or change.record_key or not change.cloud_id:
        return []
    return [*_room_for(change), PutRecord(_found_record(shop, change, Role.CURRENT))]


async def _close_refused(shop: Workshop, step: Step, account: Account, intent: Intent) -> None:
    """Nothing was made: forget the attempt, and remove what was made beside it."""
    try:
        await account.patience.retried(lambda: account.client.release(RefId(intent.ref_id)))
    except CloudError as problem:
        shop.progress(step, f"left beside it: {problem}")
    await shop.committer.commit(CloseIntent(intent.ref_id))


async def _bind(
    shop: Workshop, step: Step, goal: Target, intent: Intent, machine: Instance, account: Account
) -> Record:
    """Record the machine under its cloud id, before anything else can go wrong with it."""
    owner = shop.bound_ids.get((account.fingerprint, machine.cloud_id))
    if owner is not None or machine.status in DEAD:
        # an answer about a machine of somebody else: this attempt is burnt, and looked for ever after
        await shop.committer.commit(RetireIntent(intent.ref_id))
        raise StepError(f"{account.alias} answered with {machine.cloud_id}, which is another machine")
    record = bound_record(intent, machine.cloud_id, goal.kind.name)
    writes: list[Write] = []
    if intent.replaces:
        # what is alive is destroyed after this; what is gone makes room
        writes.append(SetRole(intent.replaces, Role.DEPOSED) if step.deposes else DropRecord(intent.replaces))
    shop.bind(account, record)
    await shop.committer.commit(*writes, PutRecord(record), CloseIntent(intent.ref_id))
    _LOG.info("%s: bound to %s", step.address, machine.cloud_id)
    return record


async def _uncertain(
    shop: Workshop,
    step: Step,
    goal: Target,
    account: Account,
    intent: Intent,
    request: CreateInstanceAttrs,
    failure: CloudError,
) -> tuple[Record, Instance, Target]:
    """Find out what became of a launch without an answer."""
    shop.progress(step, f"no answer ({failure.message}), looking for the machine")
    if Capability.CREATE_IDEMPOTENT in account.traits.capabilities:
        # the same call again under the same name makes the same machine, or finds it
        for attempt in range(1, account.patience.retries + 1):
            await account.patience.wait(failure, attempt)
            if shop.slots.stopping:
                break  # no call any more that may make something: a list says what the first one did
            async with shop.slots.slot():
                try:
                    machine = await account.patience.once(lambda: account.client.create_instance(request))
                except CloudError as problem:
                    if problem.sent is not Sent.MAYBE and not problem.retryable:
                        break  # a refusal now says nothing of the first call: look
                    continue
                return await _bind(shop, step, goal, intent, machine, account), machine, goal
    try:
        found = await settle(account, intent)
    except Uncertain as problem:
        raise StepError(f"the launch was not answered, and {problem}; the next run goes on", uncertain=True) from None
    except TwoMachines as problem:
        raise StepError(f"one launch made several machines: {problem}", uncertain=True) from None
    if found is not None:
        return await _bind(shop, step, goal, intent, found, account), found, goal
    raise _GivenUp(intent.ref_id)


async def finish(
    shop: Workshop, step: Step, goal: Target, account: Account, record: Record, machine: Instance
) -> Mapping[str, Value]:
    """Wait until a machine is ready, stop it if that is declared, and record it as settled."""
    deadline = shop.world.clock.monotonic() + goal.timeout
    try:
        machine = await wait_ready(shop, step, account, machine, deadline)
    except _Failed as problem:
        await _drop_failed(shop, step, account, record)
        raise StepError(f"{account.alias} accepted the launch, and the machine failed: {problem}") from None
    if goal.access is not None and machine.status not in HALTED:
        record, shell = await enter(shop, step, goal, account, record, machine)
        await prove_healthy(shop, step, goal, account, machine, shell)
        for name in goal.kind.first_over_ssh(goal.attributes):
            await change_attribute(shop, goal, account, machine.cloud_id, name, deadline, shell)
    if goal.kind.wants_stopped(goal.attributes) and machine.status not in HALTED:
        machine = await _power(shop, step, account, machine, Power.STOP, deadline)
    actual = _with_key(merged(goal, machine, account), record)
    seen = account.traits.grace_window_s == 0 or machine.cloud_id in shop.listed
    done = dataclasses.replace(
        record, attributes=shop.sealed(actual), settled=True, seen=seen, reads=goal.reads,
        protected=goal.protected, alias=account.alias, account=account.fingerprint,
    )  # fmt: skip
    await shop.committer.commit(PutRecord(done), shop.close_step(step))
    shop.rows[step.address] = done
    return actual


def _with_key(actual: dict[str, Value], row: Record) -> dict[str, Value]:
    """Keep the host key of first contact: no cloud reports it."""
    key = row.attributes.get("host_key")
    return (
        {**actual, "host_key": key} if isinstance(key, str) and not isinstance(actual.get("host_key"), str) else actual
    )


def merged(goal: Target, machine: Instance, account: Account) -> dict[str, Value]:
    """Give the actual attributes: what was asked for, with what the cloud shows laid over it."""
    observed = goal.kind.observe(machine, account.traits)
    # what was secret on its way to the cloud is secret on its way back
    marked = {name: mark_like(value, goal.attributes.get(name)) for name, value in observed.items()}
    return {**goal.attributes, **marked}


class _Failed(Exception):
    """A machine reached a state that it does not come back from."""


def is_ready(machine: Instance, account: Account) -> bool:
    if machine.status in HALTED:
        return True
    addresses = account.traits.promises
    return machine.status is LifecycleStatus.RUNNING and all(getattr(machine, name, "") for name in addresses)


async def wait_ready(shop: Workshop, step: Step, account: Account, machine: Instance, deadline: float) -> Instance:
    """Wait until the machine runs and has its addresses; not found counts only after the grace window."""
    clock = shop.world.clock
    last_seen = clock.monotonic()
    while not is_ready(machine, account):
        if machine.status is LifecycleStatus.FAILED:
            raise _Failed("; ".join(machine.messages) or "no reason given")
        if shop.slots.stopping:
            raise Interrupted
        if clock.monotonic() >= deadline:
            raise StepError(f"{machine.cloud_id} is not ready in time; it stays recorded, and the next apply waits on",
                            uncertain=True)  # fmt: skip
        shop.progress(step, f"waiting for {machine.cloud_id} to run ({machine.status.value})")
        snapshot = await shop.slots.snapshot(account)
        if snapshot is None or snapshot.error:
            continue
        found = snapshot.machines.get(machine.cloud_id)
        if found is not None:
            shop.listed.add(machine.cloud_id)
        else:
            found = await account.find(machine.cloud_id)
        if found is not None and found.status not in DEAD:
            machine, last_seen = found, clock.monotonic()
        elif clock.monotonic() - last_seen >= account.traits.grace_window_s:
            raise _Failed(f"{machine.cloud_id} is gone")
    return machine


async def _drop_failed(shop: Workshop, step: Step, account: Account, record: Record) -> None:
    """End a machine of this very run that was never settled and failed: nobody else will."""
    await shop.committer.commit(SetRole(record.key, Role.DESTROYING))
    deadline = shop.world.clock.monotonic() + DELETE_TIMEOUT
    await _terminate(account, record.cloud_id, deadline)
    await _await_gone(shop, step, account, record.cloud_id, deadline)
    await account.patience.retried(lambda: account.client.release(RefId(record.ref_id)))
    await shop.committer.commit(DropRecord(record.key))


# update, stop, start, adopt


async def update(
    shop: Workshop, step: Step, goal: Target, record: Record | None, machine: Instance | None
) -> Mapping[str, Value]:
    """Adopt, finish, change in place, stop or start: whatever the change of this address asks for."""
    change = step.change
    account = shop.accounts[change.alias]
    deadline = shop.world.clock.monotonic() + goal.timeout
    row = record if record is not None else _adopted(shop, step, goal, account, machine)
    first: list[Write] = [shop.open_step(step)]
    if record is None:
        first += [*_room_for(change), PutRecord(row)]
    await shop.committer.commit(*first)
    seen = machine if machine is not None else await _must_get(account, row.cloud_id)
    first_contact: tuple[str, ...] = ()
    if change.finish:
        try:
            seen = await wait_ready(shop, step, account, seen, deadline)
        except _Failed as problem:
            # another run made it: only an approved plan may end it
            raise StepError(f"{row.cloud_id} failed before it was ready: {problem}") from None
        if goal.access is not None and seen.status not in HALTED:
            row, shell = await enter(shop, step, goal, account, row, seen)
            await prove_healthy(shop, step, goal, account, seen, shell)
            first_contact = tuple(goal.kind.first_over_ssh(goal.attributes))
    by_hand = [name for name in change.changed if goal.kind.is_over_ssh(name, account.traits)]
    while_stopped = [name for name in change.changed if goal.kind.is_while_stopped(name)]
    if while_stopped and seen.status is not LifecycleStatus.STOPPED:
        raise StepError(
            f"{row.cloud_id} is {seen.status.value}: {', '.join(while_stopped)} changes while it is stopped"
        )
    for name in while_stopped:
        await change_attribute(shop, goal, account, row.cloud_id, name, deadline)
    if change.power is Power.START:
        seen = await _power(shop, step, account, seen, change.power, deadline)
    for name in change.changed:
        if name not in by_hand and name not in while_stopped:
            await change_attribute(shop, goal, account, row.cloud_id, name, deadline)
    if "firewall_rules" in change.changed and "firewall_rules" not in by_hand:
        await prove_open(shop, step, goal, account, row, seen)
    over_ssh = tuple(dict.fromkeys((*first_contact, *by_hand)))
    row = await change_over_ssh(shop, step, goal, account, row, seen, over_ssh, deadline)
    if change.power is Power.STOP:
        seen = await _power(shop, step, account, seen, change.power, deadline)
    elif change.finish and goal.kind.wants_stopped(goal.attributes) and seen.status not in HALTED:
        seen = await _power(shop, step, account, seen, Power.STOP, deadline)
    elif change.changed:
        seen = await _must_get(account, row.cloud_id)
    actual = _with_key(merged(goal, seen, account), row)
    done = dataclasses.replace(
        row, attributes=shop.sealed(actual), settled=True, seen=True, reads=goal.reads,
        protected=goal.protected, alias=account.alias, account=account.fingerprint, role=Role.CURRENT,
    )  # fmt: skip
    await shop.committer.commit(PutRecord(done), shop.close_step(step))
    shop.rows[step.address] = done
    return actual


def _room_for(change: Change) -> list[Write]:
    """Forget the machine that is gone and whose address another one takes."""
    return [DropRecord(change.supersedes)] if change.supersedes else []


def _adopted(shop: Workshop, step: Step, goal: Target, account: Account, machine: Instance | None) -> Record:
    assert machine is not None
    observed = shop.sealed(goal.kind.observe(machine, account.traits))
    row = adopted_record(shop.workspace, step.address, goal.kind.name, machine, account, observed, shop.row_keys)
    shop.bind(account, row)
    return dataclasses.replace(row, protected=goal.protected, reads=goal.reads)


async def _must_get(account: Account, cloud_id: str) -> Instance:
    found = await account.find(cloud_id)
    if found is None:
        raise StepError(f"{cloud_id} is gone")
    return found


async def _power(
    shop: Workshop, step: Step, account: Account, machine: Instance, power: Power, deadline: float
) -> Instance:
    """Stop or start, again and again from what is seen, until the cloud shows it done."""
    client: Any = account.client
    call: Callable[[CloudId], Awaitable[None]] = client.stop_instance if power is Power.STOP else client.start_instance
    async with shop.slots.slot():
        await account.patience.retried(lambda: call(machine.cloud_id), until=deadline)
    while True:
        found = await _must_get(account, machine.cloud_id)
        if power is Power.STOP and found.status in HALTED:
            return found
        if power is Power.START and is_ready(found, account) and found.status not in HALTED:
            return found
        if found.status is LifecycleStatus.FAILED:
            raise StepError(f"{found.cloud_id} failed: {'; '.join(found.messages) or 'no reason given'}")
        if shop.slots.stopping:
            raise Interrupted
        if shop.world.clock.monotonic() >= deadline:
            told = "".join(f": {text}" for text in found.messages[:1])
            raise StepError(f"{found.cloud_id} is still {found.status.value} in the end{told}", uncertain=True)
        shop.progress(step, f"{found.cloud_id} is {found.status.value}")
        await shop.slots.snapshot(account)


# destroy


async def destroy(shop: Workshop, step: Step, begin: Callable[[], None], timeout: float = DELETE_TIMEOUT) -> None:
    """End a machine, wait until list and get both say that it is gone, and release what stood beside it.

    `begin` is called once the step has its slot.
    """
    change = step.change
    account = shop.accounts[change.alias]
    deadline = shop.world.clock.monotonic() + timeout
    row = change.record_key
    async with shop.slots.slot():
        # not before its turn: a run that is stopped leaves the machines that it did not get to as they are
        begin()
        first: list[Write] = [shop.open_step(step)]
        if row:
            first.append(SetRole(row, Role.DESTROYING))
        else:
            record = _found_record(shop, change, Role.DESTROYING)
            row = record.key
            first += [*_room_for(change), PutRecord(record)]
        await shop.committer.commit(*first)
        await _terminate(account, change.cloud_id, deadline)
    last = await _await_gone(shop, step, account, change.cloud_id, deadline)
    if change.ref_id and not _is_shared(last, change):
        async with shop.slots.slot():
            await account.patience.retried(lambda: account.client.release(RefId(change.ref_id)), until=deadline)
    retire: list[Write] = [CloseIntent(change.ref_id)] if change.deposed else []
    await shop.committer.commit(DropRecord(row), *retire, shop.close_step(step))


def _found_record(shop: Workshop, change: Change, role: Role) -> Record:
    """Give the row of a machine that was found and is to be destroyed by this plan."""
    account = shop.accounts[change.alias]
    key = f"{account.fingerprint}:{change.cloud_id}"
    return Record(
        key, shop.workspace, change.address, role, change.address.kind, shop.sealed(change.before or {}),
        account.alias, account.fingerprint, change.ref_id, change.cloud_id,
    )  # fmt: skip


async def _terminate(account: Account, cloud_id: str, deadline: float) -> None:
    """Terminate until the cloud has it: a refusal for now is tried again, one for good is an error."""

    async def terminate() -> None:
        try:
            await account.client.terminate_instance(CloudId(cloud_id))
        except InstanceNotFound:
            return  # gone already is what was wanted

    _LOG.info("terminating %s", cloud_id)
    await account.patience.retried(terminate, until=deadline)


def _is_shared(last: Snapshot, change: Change) -> bool:
    """Tell whether another living machine bears the same ref_id, and needs what stands beside it."""
    return any(found.cloud_id != change.cloud_id and found.status not in DEAD for found in last.by_ref(change.ref_id))


async def _await_gone(shop: Workshop, step: Step, account: Account, cloud_id: str, deadline: float) -> Snapshot:
    """Wait until list and get agree that a machine is gone; give the last list."""
    while True:
        snapshot = await shop.slots.snapshot(account)
        if snapshot is not None and not snapshot.error:
            listed = snapshot.machines.get(cloud_id)
            if listed is None or listed.status is LifecycleStatus.TERMINATED:
                found = await account.find(cloud_id)
                if found is None or found.status is LifecycleStatus.TERMINATED:
                    account.believe_gone(cloud_id)
                    return snapshot
        if shop.slots.stopping:
            raise Interrupted
        if shop.world.clock.monotonic() >= deadline:
            raise StepError(
                f"{cloud_id} is not gone in time; it stays recorded, and the next apply goes on", uncertain=True
            )
        shop.progress(step, f"waiting for {cloud_id} to go")
