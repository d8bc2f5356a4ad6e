"""`brevplan offers`: the catalogue over all configured providers, cheapest first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from brevplan.contract.errors import CloudError
from brevplan.contract.gpu import GpuQuery
from brevplan.contract.model import InstanceType
from brevplan.diagnostics import Diagnostics, DiagnosticsError, error, failure
from brevplan.engine.accounts import Account
from brevplan.engine.board import Context
from brevplan.engine.config import Config
from brevplan.engine.scope import ModuleScope
from brevplan.operations.catalogue_cache import CatalogueCache, catalogue_cache
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request, environment_of, gather_values
from brevplan.operations.project import configuration_files, load_project
from brevplan.operations.session import close_accounts, open_accounts, provider_keys, read_catalogue
from brevplan.operations.world import Outside, ProjectFiles


@dataclass(frozen=True, slots=True)
class Offer:
    provider: str
    item: InstanceType
    age_s: float = 0.0
    """How long ago its catalogue was read."""


async def offers(
    directory: Path,
    environment: Mapping[str, str],
    world: Outside,
    *,
    gpu: str = "",
    max_price: Decimal | None = None,
) -> list[Offer]:
    """Read the catalogues; raise `DiagnosticsError`. Without a configured provider it is the embedded cloud's."""
    query = _query(gpu) if gpu else None
    accounts = await _accounts(directory, environment, world)
    try:
        cache = catalogue_cache(environment)
        found = await asyncio.gather(*(_read(account, cache) for account in accounts.values()))
    except CloudError as problem:
        raise failure("Catalogue cannot be read", f"{problem}.") from None
    finally:
        await close_accounts(accounts)
    wanted = [
        offer
        for offer in (offer for group in found for offer in group)
        if (query is None or query.matches(offer.item)) and _affordable(offer.item, max_price)
    ]
    return sorted(wanted, key=_order)


def _query(text: str) -> GpuQuery:
    try:
        return GpuQuery.parse(text)
    except ValueError as problem:
        raise DiagnosticsError([error("Invalid GPU", f"{problem}.")]) from None


def _affordable(item: InstanceType, limit: Decimal | None) -> bool:
    return limit is None or (item.base_price is not None and item.base_price.amount <= limit)


def _order(offer: Offer) -> tuple[bool, Decimal, str, str, str]:
    price = offer.item.base_price
    amount = price.amount if price is not None else Decimal(0)
    return price is None, amount, offer.item.type, offer.item.location, offer.provider


async def _read(account: Account, cache: CatalogueCache) -> list[Offer]:
    found = await read_catalogue(account, cache)
    age = max(0.0, account.clock.now().timestamp() - found.at)
    return [Offer(account.alias, item, age) for item in found.types]


async def _accounts(directory: Path, environment: Mapping[str, str], world: Outside) -> dict[str, Account]:
    diagnostics = Diagnostics()
    files = ProjectFiles(directory)
    config = Config()
    scope = ModuleScope.of_root(config, {}, environment_of(files, world.clock.now()), Context("default", ""))
    if directory.is_dir() and configuration_files(directory):
        project = load_project(directory, cache=parse_cache(environment))
        config = project.config
        request = Request(environment=environment)
        _, scope = gather_values(project, request, files, world.clock.now(), Diagnostics(), "default", offline=True)
    keys = provider_keys(config) or {"local": None}
    accounts = await open_accounts(config, keys, scope, directory, environment, world, diagnostics)
    if diagnostics.has_errors:
        await close_accounts(accounts)
        raise DiagnosticsError(diagnostics.items)
    return accounts
