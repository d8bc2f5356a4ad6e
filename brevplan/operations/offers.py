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
from brevplan.diagnostics import Diagnostic, DiagnosticsError, error
from brevplan.engine.accounts import Account
from brevplan.engine.config import Config
from brevplan.operations.catalogue_cache import CatalogueCache, catalogue_cache
from brevplan.operations.configured import Keys, open_configured
from brevplan.operations.session import close_accounts, provider_keys, read_catalogue
from brevplan.operations.world import Outside


@dataclass(frozen=True, slots=True)
class Offer:
    provider: str
    item: InstanceType
    age_s: float = 0.0
    """How long ago its catalogue was read."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What was found, cheapest first; `problems` are the accounts whose catalogue could not be read."""

    items: list[Offer]
    problems: list[Diagnostic]


async def offers(
    directory: Path,
    environment: Mapping[str, str],
    world: Outside,
    *,
    gpu: str = "",
    max_price: Decimal | None = None,
) -> Offers:
    """Read the catalogues; raise `DiagnosticsError`. Without a configured provider it is the embedded cloud's."""
    query = _query(gpu) if gpu else None
    accounts = await open_configured(directory, environment, world, _keys)
    try:
        cache = catalogue_cache(environment)
        found = await asyncio.gather(*(_read(account, cache) for account in accounts.values()))
    finally:
        await close_accounts(accounts)
    wanted = [
        offer
        for offer in (offer for group in found if isinstance(group, list) for offer in group)
        if (query is None or query.matches(offer.item)) and _affordable(offer.item, max_price)
    ]
    return Offers(sorted(wanted, key=_order), [group for group in found if not isinstance(group, list)])


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


async def _read(account: Account, cache: CatalogueCache) -> list[Offer] | Diagnostic:
    try:
        found = await read_catalogue(account, cache)
    except CloudError as problem:
        return error("Catalogue cannot be read", f'"{account.alias}": {problem}.')
    age = max(0.0, account.clock.now().timestamp() - found.at)
    return [Offer(account.alias, item, age) for item in found.types]


def _keys(config: Config) -> Keys:
    return provider_keys(config) or {"local": None}
