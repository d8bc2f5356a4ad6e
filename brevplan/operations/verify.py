"""`brevplan providers verify`: puts the conformance suite to one provider, launching machines once that is approved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from brevplan.contract.conformance.item import Outcome, Result, Suite
from brevplan.contract.conformance.launching import choose, considered
from brevplan.contract.conformance.scene import Setup
from brevplan.contract.conformance.suites import run, suites_for
from brevplan.contract.errors import CloudError
from brevplan.contract.model import InstanceType, RefId
from brevplan.diagnostics import failure, suggest
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address
from brevplan.engine.config import Config
from brevplan.engine.identity import cred_ref_id, make_ref_id
from brevplan.operations.configured import Keys, open_configured
from brevplan.operations.hosts import SshHosts, new_key
from brevplan.operations.session import close_accounts
from brevplan.operations.world import Outside
from brevplan.providers import registry

_ADDRESS: Final = Address("instance", "conformance")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for. `max_price` is USD an hour for one machine."""

    name: str
    only: Suite | None = None
    max_price: Decimal | None = None
    instance_type: str = ""


@dataclass(frozen=True, slots=True)
class Offered:
    """What will be launched, for approval: one machine at a time, one for each suite."""

    account: str
    item: InstanceType
    suites: tuple[Suite, ...]


@dataclass(frozen=True, slots=True)
class Hooks:
    """How the run talks. `approve` is asked before anything is changed; `begins` is called behind it."""

    approve: Callable[[Offered], bool]
    report: Callable[[Result], None]
    tell: Callable[[str], None]
    begins: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Verified:
    results: list[Result] = field(default_factory=list)
    declined: bool = False

    def count(self, outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in self.results)


async def verify(
    directory: Path,
    environment: Mapping[str, str],
    world: Outside,
    wanted: Wanted,
    hooks: Hooks,
) -> Verified:
    """Put every item to one provider; raise `DiagnosticsError`. What was launched is ended, also when cancelled."""
    with TemporaryDirectory(prefix="brevplan-verify-") as folder:
        return await _verify(directory, environment, world, wanted, hooks, Path(folder))


async def _verify(
    directory: Path,
    environment: Mapping[str, str],
    world: Outside,
    wanted: Wanted,
    hooks: Hooks,
    keys: Path,
) -> Verified:
    accounts = await open_configured(directory, environment, world, lambda config: _key(config, wanted.name))
    try:
        account = accounts[wanted.name]
        setup = _setup(account, world, wanted, hooks, keys)
        suites = [wanted.only] if wanted.only is not None else suites_for(setup)
        launching = tuple(suite for suite in suites if suite is not Suite.CATALOGUE)
        if launching:
            offer = await _offer(account, setup)
            if not hooks.approve(Offered(wanted.name, offer, launching)):
                return Verified(declined=True)
            setup = _bound_to(setup, offer, is_free=account.spec.account_free)
        hooks.begins()
        return Verified(await run(setup, suites, hooks.report))
    finally:
        await close_accounts(accounts)


def _key(config: Config, name: str) -> Keys:
    if name in config.providers:
        return {name: config.providers[name]}
    if registry.is_known(name):
        return {name: None}
    known = sorted({*registry.names(), *config.providers})
    raise failure(
        "Unknown provider",
        f'There is neither a provider nor a provider block "{name}".',
        hint=suggest(name, known) or f"Known are: {', '.join(known)}.",
    )


def _setup(account: Account, world: Outside, wanted: Wanted, hooks: Hooks, keys: Path) -> Setup:
    public_key, private_key = new_key(keys)
    project = f"verify-{world.ids.attempt()}"

    def new_ref_id() -> RefId:
        return make_ref_id(project, "default", _ADDRESS, world.ids.attempt())

    return Setup(
        client=account.client,
        clock=world.clock,
        new_ref_id=new_ref_id,
        cred_ref_id=cred_ref_id(project),
        public_key=public_key,
        # behind the machines of the embedded cloud there is nobody
        hosts=None if account.spec.account_free else SshHosts(private_key, world.clock),
        max_price=wanted.max_price,
        instance_type=wanted.instance_type,
        tell=hooks.tell,
    )


async def _offer(account: Account, setup: Setup) -> InstanceType:
    """Read the catalogue and choose what would be launched; raise `DiagnosticsError` when there is nothing."""
    wanted = considered(setup)
    try:
        types = await account.patience.retried(lambda: account.client.get_instance_types(wanted))
    except CloudError as problem:
        raise failure("Catalogue cannot be read", f"{problem}.") from None
    offer = choose(types, setup)
    if offer is not None:
        return offer
    names = sorted({item.type for item in types})
    if setup.instance_type and setup.instance_type not in names:
        hint = suggest(setup.instance_type, names) or "brevplan offers lists the types."
        raise failure("Unknown instance type", f'"{account.alias}" has no "{setup.instance_type}".', hint=hint)
    asked = f" of {setup.instance_type}" if setup.instance_type else ""
    limit = f" for at most ${setup.max_price}/hr" if setup.max_price is not None else ""
    raise failure(
        "Nothing to launch",
        f'"{account.alias}" has no stock{asked}{limit}.',
        hint="-only=catalogue launches nothing; -instance-type and -max-price say what may be launched.",
    )


def _bound_to(setup: Setup, offer: InstanceType, *, is_free: bool) -> Setup:
    """Let nothing be launched but what was approved, and nothing dearer, whatever the stock does meanwhile."""
    price = setup.max_price
    if price is None and not is_free and offer.base_price is not None:
        price = offer.base_price.amount
    return with_fields(setup, instance_type=offer.type, location=offer.location, max_price=price)
