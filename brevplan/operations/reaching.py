"""The accounts of some recorded machines, and no others: what a command needs that touches these machines alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from brevplan.contract.errors import CloudError
from brevplan.contract.model import CloudId
from brevplan.diagnostics import Diagnostics
from brevplan.engine.accounts import Account
from brevplan.engine.ports import Record
from brevplan.operations.planning import Request, gather_values
from brevplan.operations.project import Project
from brevplan.operations.session import close_accounts, open_accounts, provider_keys
from brevplan.operations.world import Outside, ProjectFiles
from brevplan.providers import registry


@dataclass(slots=True)
class Reached:
    """The accounts that could be opened, by provider block, and why others could not."""

    parallelism: int
    accounts: dict[str, Account] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    async def account_of(self, record: Record) -> Account:
        """Find the account in which a machine stands; raise `Unreachable`.

        An id says nothing in another account: where the recorded one is not there, only our mark tells.
        """
        for account in self.accounts.values():
            if account.fingerprint == record.account:
                return account
        near = [account for alias, account in self.accounts.items() if _is_of(record, alias)]
        for account in near:
            if await _bears_mark(account, record):
                return account
        if near:
            raise Unreachable(f'the account behind provider "{record.alias}" is another one than was recorded')
        raise Unreachable(self.problems.get(record.alias, f'provider "{record.alias}" is not configured'))

    async def each(self, records: Iterable[Record], touch: Callable[[Account, Record], Awaitable[None]]) -> list[str]:
        """Do something to each machine, some at once; give why it could not be done, empty where it was."""
        slots = asyncio.Semaphore(self.parallelism)

        async def one(record: Record) -> str:
            try:
                async with slots:
                    await touch(await self.account_of(record), record)
            except (CloudError, Unreachable) as problem:
                return str(problem)
            return ""

        return list(await asyncio.gather(*map(one, records)))


class Unreachable(Exception):
    """The account of a machine cannot be used; the text says why."""


@asynccontextmanager
async def accounts_of(
    records: Iterable[Record], project: Project, request: Request, workspace: str, world: Outside
) -> AsyncIterator[Reached]:
    """Open the accounts of machines for the block, by the provider blocks of the configuration.

    A block that cannot be used is remembered, not reported: it is for the command to say what follows. Raises
    `DiagnosticsError` for values of variables that are wrong.
    """
    reached = Reached(request.parallelism)
    machines = [record for record in records if record.cloud_id]
    try:
        if machines:
            await _open(reached, machines, project, request, workspace, world)
        yield reached
    finally:
        await close_accounts(reached.accounts)


async def _open(
    reached: Reached, records: list[Record], project: Project, request: Request, workspace: str, world: Outside
) -> None:
    diagnostics = Diagnostics()
    files = ProjectFiles(project.directory)
    now = world.clock.now()
    # of all variables only those that the provider blocks read matter here
    _, scope = gather_values(project, request, files, now, diagnostics, workspace, offline=True)
    diagnostics.raise_if_errors()
    blocks = {key: block for key, block in provider_keys(project.config).items() if registry.is_known(_name(key))}
    for key in _wanted(records, blocks):
        found = Diagnostics()
        reached.accounts |= await open_accounts(
            project.config, {key: blocks[key]}, scope, project.directory, request.environment, world, found
        )
        if key not in reached.accounts:
            reached.problems[key] = "; ".join(item.detail.rstrip(".") for item in found) or "it cannot be used"


def _wanted(records: Iterable[Record], keys: Iterable[str]) -> list[str]:
    """Choose provider blocks: those that the rows name, and where one is gone its renamed fellows."""
    keys = list(keys)
    names = {record.alias for record in records}
    fellows = {_name(name) for name in names if name not in keys}
    return sorted(key for key in keys if key in names or _name(key) in fellows)


def _name(key: str) -> str:
    return key.partition(".")[0]


def _is_of(record: Record, alias: str) -> bool:
    return _name(alias) == _name(record.alias)


async def _bears_mark(account: Account, record: Record) -> bool:
    if not record.ref_id:
        return False
    try:
        machine = await account.patience.retried(lambda: account.client.get_instance(CloudId(record.cloud_id)))
    except CloudError:
        return False
    return machine.ref_id == record.ref_id
