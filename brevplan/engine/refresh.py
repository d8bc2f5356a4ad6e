"""What the clouds show, asked with one list an account; gets only for recorded machines that the list lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence

from brevplan.contract.errors import CloudError
from brevplan.contract.model import DEAD, Instance
from brevplan.engine.accounts import Account
from brevplan.engine.change import Change
from brevplan.engine.identity import address_digest, cred_ref_id, ref_digest
from brevplan.engine.observed import AccountView, found, workspace_in
from brevplan.engine.ports import Intent, Record
from brevplan.lang.values import reveal


async def observe(
    accounts: Iterable[Account],
    records: Sequence[Record],
    project: str,
    accepted: frozenset[str] = frozenset(),
) -> dict[str, AccountView]:
    """Look at every account, all at once. Never raises: what fails makes its machines unverified."""
    accounts = list(accounts)
    present = {account.fingerprint for account in accounts}
    by_fingerprint: dict[str, Account] = {}
    for account in accounts:
        by_fingerprint.setdefault(account.fingerprint, account)
    looks = {
        fingerprint: asyncio.create_task(_look(account, _mine(account, records, present), project, accepted))
        for fingerprint, account in by_fingerprint.items()
    }
    views: dict[str, AccountView] = {}
    for account in accounts:
        found = await looks[account.fingerprint]
        views[account.alias] = AccountView(
            account.alias, account.fingerprint, account.spec, account.traits, found.machines, found.unverified,
            found.hidden, found.gone, found.doubtful,
        )  # fmt: skip
    return views


def remembered_places(account: Account, records: Iterable[Record], intents: Iterable[Intent]) -> frozenset[str]:
    """Give the locations where the state knows, or may have, machines of an account."""
    rows = [(record.account, record.alias, record.attributes) for record in records if record.cloud_id]
    rows += [(intent.account, intent.alias, intent.request) for intent in intents]
    mine = (about for owner, alias, about in rows if account.fingerprint == owner or account.alias == alias)
    found = (about.get("location") for about in mine)
    return frozenset(place for place in found if isinstance(place, str) and place)


def planned_places(account: Account, changes: Iterable[Change]) -> frozenset[str]:
    """Give the locations where a plan has, or makes, machines of an account."""
    found = [change.before for change in changes if change.alias == account.alias]
    found += [change.after for change in changes if change.made_at == account.alias]
    places = (reveal(values.get("location")) for values in found if values is not None)
    return frozenset(place for place in places if isinstance(place, str) and place)


async def look_up(account: Account, view: AccountView, cloud_id: str) -> Instance | None:
    """Give one living machine of an account by its id: from the list, else by itself; raise `CloudError`."""
    machine = view.machines.get(cloud_id)
    if machine is None:
        machine = await account.find(cloud_id)
        if machine is None:
            return None
        if machine.status not in DEAD:
            view.machines[cloud_id] = machine
            view.hidden.add(cloud_id)
    return machine if machine.status not in DEAD else None


def blank_view(account: Account) -> AccountView:
    """Give the view of an account that is not looked at (`-refresh=false`)."""
    return AccountView(account.alias, account.fingerprint, account.spec, account.traits)


def _mine(account: Account, records: Sequence[Record], present: set[str]) -> list[Record]:
    """Give the records of an account; those of an account that is nowhere now go by their provider block's name."""
    return [
        record
        for record in records
        if record.cloud_id
        and (record.account == account.fingerprint or (record.alias == account.alias and record.account not in present))
    ]


async def _look(
    account: Account,
    records: list[Record],
    project: str,
    accepted: frozenset[str],
) -> AccountView:
    view = AccountView(account.alias, account.fingerprint, account.spec, account.traits)
    try:
        listed = await account.fetch()
    except CloudError as problem:
        view.unverified = f"the list of {account.alias} failed: {problem}"
        return view
    if any(not machine.cloud_id for machine in listed):
        view.unverified = f"the list of {account.alias} is malformed: a machine without an id"
        return view
    view.machines = {str(machine.cloud_id): machine for machine in listed}
    if not _is_same_account(view, records, project) and account.alias not in accepted:
        view.unverified = (
            f'the account behind provider "{account.alias}" is another one than before, and shows nothing of ours; '
            f"if that is right: -accept-account={account.alias}"
        )
        return view
    await _judge_missing(account, view, records)
    return view


def _is_same_account(view: AccountView, records: list[Record], project: str) -> bool:
    """Tell whether what is recorded of another account can be looked for in this one.

    Each row knows its account. What the provider block led to last is no proof: another workspace, or a run that was
    not let near its machines, may have used it since.
    """
    elsewhere = [record for record in records if record.account != view.fingerprint]
    if not elsewhere or any(found(view, record) is not None for record in elsewhere):
        return True
    workspace = elsewhere[0].workspace
    digests = {address_digest(workspace, record.address) for record in elsewhere}
    mark = cred_ref_id(project)
    return any(m.cloud_cred_ref_id == mark and _is_of(m, workspace, digests) for m in view.machines.values())


def _is_of(machine: Instance, workspace: str, digests: Collection[str]) -> bool:
    """Tell whether a mark of our project is of this workspace: another one may have an account of its own."""
    if machine.address:
        return workspace_in(machine.address) == workspace
    digest = ref_digest(machine.ref_id)
    return digest is None or digest in digests


async def _judge_missing(account: Account, view: AccountView, records: list[Record]) -> None:
    """Decide for each recorded machine that the list lacks: gone, hidden by a lagging list, or not to be told."""
    missing = [record for record in records if record.cloud_id not in view.machines]
    if not missing:
        return
    # a machine that no list ever showed may be too young for this one
    if sum(record.seen for record in missing) > max(5, len(records) // 10):
        first = await asyncio.gather(*(_get(account, record) for record in missing[:3]))
        alive = [answer for answer in first if isinstance(answer, Instance) and answer.status not in DEAD]
        if alive:
            view.unverified = (
                f"the list of {account.alias} lacks {len(missing)} of {len(records)} recorded machines, "
                f"and {alive[0].cloud_id} is alive all the same"
            )
            return
    limit = asyncio.Semaphore(10)

    async def judge(record: Record) -> None:
        async with limit:
            answer = await _get(account, record)
        _conclude(view, record, answer)

    await asyncio.gather(*(judge(record) for record in missing))
    young = [record for record in missing if record.cloud_id in view.gone and not record.seen]
    if young and account.traits.grace_window_s > 0:
        await _outwait(account, view, young)


async def _get(account: Account, record: Record) -> Instance | str | None:
    """Give the machine, None when it is not found, or the text of a failure."""
    try:
        return await account.find(record.cloud_id)
    except CloudError as problem:
        return str(problem)


def _conclude(view: AccountView, record: Record, answer: Instance | str | None) -> None:
    if isinstance(answer, Instance) and answer.status not in DEAD:
        view.machines[record.cloud_id] = answer
        view.hidden.add(record.cloud_id)
    elif isinstance(answer, str):
        view.doubtful[record.cloud_id] = answer
    else:
        view.gone.add(record.cloud_id)


async def _outwait(account: Account, view: AccountView, young: list[Record]) -> None:
    """A machine never seen since it was made is gone only when list and get lack it for the whole grace window."""
    end = account.clock.monotonic() + account.traits.grace_window_s
    waiting = {record.cloud_id: record for record in young}
    while waiting and account.clock.monotonic() < end:
        await account.clock.sleep(min(account.traits.instance_poll_s, account.traits.grace_window_s))
        try:
            listed = {str(machine.cloud_id): machine for machine in await account.fetch()}
        except CloudError as problem:
            for cloud_id in waiting:
                view.gone.discard(cloud_id)
                view.doubtful[cloud_id] = str(problem)
            return
        for cloud_id in [key for key in waiting if key in listed]:
            view.gone.discard(cloud_id)
            view.machines[cloud_id] = listed[cloud_id]
            del waiting[cloud_id]
    for cloud_id, record in waiting.items():
        view.gone.discard(cloud_id)
        _conclude(view, record, await _get(account, record))
