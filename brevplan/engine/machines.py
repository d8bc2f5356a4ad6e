"""How one machine is made, changed and unmade: the order of durable writes and calls that loses and doubles nothing.

Every function here is one step of an apply, carried out for one address. A step holds a slot only while a call is
under way; waiting for a machine to boot or to go holds none.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from brevplan.contract.client import Capability
from brevplan.contract.errors import CloudError, InstanceNotFound, Sent
from brevplan.contract.model import (
    DEAD,
    HALTED,
    CloudId,
    CreateInstanceAttrs,
    Instance,
    InstanceType,
    LifecycleStatus,
    RefId,
)
from brevplan.engine.access import Access, Shell
from brevplan.engine.accounts import Account, Snapshot
from brevplan.engine.address import Address
from brevplan.engine.adoption import adopted_record
from brevplan.engine.change import Change, Power
from brevplan.engine.committer import Committer
from brevplan.engine.graph import Step
from brevplan.engine.health import judge
from brevplan.engine.identity import address_tag, cred_ref_id, make_ref_id
from brevplan.engine.kind import MachineKind, Mark
from brevplan.engine.ports import (
    CloseIntent,
    CloseStep,
    DropRecord,
    Intent,
    OpenIntent,
    OpenStep,
    PutRecord,
    Record,
    RetireIntent,
    Role,
    SetRole,
    StepRow,
    World,
    Write,
    rfc3339,
)
from brevplan.engine.reach import ReachError
from brevplan.engine.secrets import mark_like, seal_attributes
from brevplan.engine.settle import TwoMachines, Uncertain, bound_record, settle
from brevplan.lang.values import Value

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

CREATE_TIMEOUT = 45 * 60.0
UPDATE_TIMEOUT = 20 * 60.0
DELETE_TIMEOUT = 20 * 60.0
MAX_ATTEMPTS = 3
BEING_CHANGED = "(being changed)"
"""Stands in a row for what is being changed on the machine itself: when the run dies it is like nothing declared."""


class StepError(Exception):
    """A step did not reach its end. `uncertain` says that the next run goes on with it."""

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class Interrupted(Exception):
    """The run was asked to stop, and this step lets go at a safe place."""


class Slots(Protocol):
    """Bounds the calls under way; refuses entry once the run is asked to stop."""

    def slot(self) -> AbstractAsyncContextManager[None]: ...

    @property
    def stopping(self) -> bool: ...

    async def reserve(self, account: Account) -> None:
        """Wait for the rate token of a launch; raises `Interrupted` as soon as the run is asked to stop."""
        ...

    async def snapshot(self, account: Account) -> Snapshot | None:
        """Wait for the account's next list; None as soon as the run is asked to stop."""
        ...

    async def unless_stopped(self, awaited: Coroutine[Any, Any, T]) -> T | None:
        """Wait for something; None as soon as the run is asked to stop."""
        ...


@dataclass(slots=True)
class Workshop:
    """What every step of a run needs."""

    workspace: str
    project: str
    salt: str
    run_id: str
    plan_id: str
    world: World
    committer: Committer
    slots: Slots
    accounts: Mapping[str, Account]
    bound_ids: dict[tuple[str, str], str]
    """(account, cloud id) of every machine that is recorded, with the key of its row."""
    progress: Callable[[Step, str], None]
    listed: set[str] = field(default_factory=set)
    """Cloud ids that a list has shown since they were bound."""
    row_keys: set[str] = field(default_factory=set)
    """The keys of the rows of `bound_ids`."""
    types: dict[str, dict[tuple[str, str], InstanceType]] = field(default_factory=dict)
    """The catalogues that were read, by provider block."""
    rows: dict[Address, Record] = field(default_factory=dict)
    """The rows of machines that this run has brought to an end: made, changed, or taken in."""
    touched: set[str] = field(default_factory=set)
    """Aliases of accounts in which this run launched something: looked at once more at the end."""

    def __post_init__(self) -> None:
        self.row_keys.update(self.bound_ids.values())

    def bind(self, account: Account, record: Record) -> None:
        """Remember whose a machine is."""
        self.bound_ids[(account.fingerprint, record.cloud_id)] = record.key
        self.row_keys.add(record.key)

    def now(self) -> str:
        return rfc3339(self.world.clock.now())

    def open_step(self, step: Step) -> OpenStep:
        return OpenStep(
            StepRow(
                self.run_id,
                self.plan_id,
                step.step_id,
                str(step.address),
                step.verb.value,
                "running",
                self.now(),
                "",
                "",
            )
        )

    def close_step(self, step: Step, status: str = "done", error: str = "") -> CloseStep:
        return CloseStep(self.run_id, step.step_id, status, self.now(), error)

    def sealed(self, attributes: Mapping[str, Value]) -> dict[str, Any]:
        return seal_attributes(attributes, self.salt)


@dataclass(frozen=True, slots=True)
class Target:
    """The declared side of a step: the kind, final attributes, and what goes into the row."""

    kind: MachineKind
    attributes: Mapping[str, Value]
    reads: tuple[str, ...]
    protected: bool
    timeout: float
    access: Access | None = None
    """How the machine is reached over SSH, where its declaration asks for that."""


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


class Unhealthy(StepError):
    """A machine is not what is paid for. It is kept, and what is said of it leads on."""

    def __init__(self, cloud_id: str, problem: str, address: Address) -> None:
        super().__init__(
            f"{cloud_id}: {problem}; it is kept, the next apply looks again, and -replace={address} makes a new one",
            uncertain=True,
        )


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
        record, shell = await _enter(shop, step, goal, account, record, machine)
        await _prove_healthy(shop, step, goal, account, machine, shell)
        for name in goal.kind.first_over_ssh(goal.attributes):
            await _change_attribute(shop, goal, account, machine.cloud_id, name, deadline, shell)
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


# over SSH


async def _enter(
    shop: Workshop, step: Step, goal: Target, account: Account, row: Record, machine: Instance
) -> tuple[Record, Shell]:
    """Wait until SSH answers, and keep the host key of first contact; raise `StepError`."""
    assert goal.access is not None
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
            shop.world.reach.ready(door, timeout=goal.access.timeout_s, progress=told, gone=gone)
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
    return row, Shell(shop.world.reach, dataclasses.replace(door, host_key=key))


async def _prove_healthy(
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


async def _change_over_ssh(
    shop: Workshop, step: Step, goal: Target, account: Account, row: Record, machine: Instance, names: Sequence[str],
    deadline: float,
) -> Record:  # fmt: skip
    """Change attributes on the machine itself: recorded as unknown before, as they are after."""
    if not names or goal.access is None:
        return row
    row, shell = await _enter(shop, step, goal, account, row, machine)
    row = dataclasses.replace(row, attributes={**row.attributes, **dict.fromkeys(names, BEING_CHANGED)})
    await shop.committer.commit(PutRecord(row))
    for name in names:
        await _change_attribute(shop, goal, account, row.cloud_id, name, deadline, shell)
    return row


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
            row, shell = await _enter(shop, step, goal, account, row, seen)
            await _prove_healthy(shop, step, goal, account, seen, shell)
            first_contact = tuple(goal.kind.first_over_ssh(goal.attributes))
    by_hand = [name for name in change.changed if goal.kind.is_over_ssh(name, account.traits)]
    if change.power is Power.START:
        seen = await _power(shop, step, account, seen, change.power, deadline)
    for name in change.changed:
        if name not in by_hand:
            await _change_attribute(shop, goal, account, row.cloud_id, name, deadline)
    over_ssh = tuple(dict.fromkeys((*first_contact, *by_hand)))
    row = await _change_over_ssh(shop, step, goal, account, row, seen, over_ssh, deadline)
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


async def _change_attribute(
    shop: Workshop, goal: Target, account: Account, cloud_id: str, name: str, deadline: float,
    shell: Shell | None = None,
) -> None:  # fmt: skip
    try:
        async with shop.slots.slot():
            await account.patience.retried(
                lambda: goal.kind.update(account.client, CloudId(cloud_id), name, goal.attributes, shell),
                until=deadline,
            )
    except ReachError as problem:
        raise StepError(f"{name} of {cloud_id} could not be changed over SSH: {problem}", uncertain=True) from None


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
            raise StepError(f"{found.cloud_id} is still {found.status.value} in the end", uncertain=True)
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
                    return snapshot
        if shop.slots.stopping:
            raise Interrupted
        if shop.world.clock.monotonic() >= deadline:
            raise StepError(
                f"{cloud_id} is not gone in time; it stays recorded, and the next apply goes on", uncertain=True
            )
        shop.progress(step, f"waiting for {cloud_id} to go")
