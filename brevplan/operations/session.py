"""One command's connection to the outside: provider blocks evaluated, accounts opened, catalogues read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from brevplan.contract.client import Capability, Connection, Images
from brevplan.contract.duration import parse_duration
from brevplan.contract.errors import CloudError
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.diagnostics import Diagnostics, DiagnosticsError, Span
from brevplan.engine.accounts import Account
from brevplan.engine.calls import Patience
from brevplan.engine.config import Config, ProviderBlock
from brevplan.engine.identity import fingerprint
from brevplan.engine.observed import AccountView, Facts
from brevplan.engine.pacing import AccountPacer
from brevplan.engine.ports import Record
from brevplan.engine.provider_choice import ProviderChoice
from brevplan.engine.scope import ModuleScope
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.prepared import EvaluationError
from brevplan.lang.types import BOOL, NUMBER, STRING, ListType, MapType, Type
from brevplan.lang.values import Value, has_secret, has_unknown, reveal_deep, to_python
from brevplan.operations.catalogue_cache import NO_CACHE, Catalogue, CatalogueCache
from brevplan.operations.credentials import stored_credentials
from brevplan.operations.world import Outside
from brevplan.providers import registry
from brevplan.version import VERSION

_TYPES: Mapping[str, Type] = {
    "string": STRING, "number": NUMBER, "bool": BOOL, "list(string)": ListType(STRING),
    "map(string)": MapType(STRING), "duration": STRING, "rate": NUMBER,
}  # fmt: skip


def provider_keys(config: Config) -> dict[str, ProviderBlock | None]:
    """Give every provider that the configuration uses: its blocks, and those that are named without one."""
    keys: dict[str, ProviderBlock | None] = dict(config.providers)
    for ref in ProviderChoice(config).named():
        if ref.text not in keys and registry.is_known(ref.text):
            keys[ref.text] = None
    return keys


def check_recorded_providers(
    accounts: Mapping[str, Account], records: Iterable[Record], diagnostics: Diagnostics
) -> None:
    """Report provider blocks that are gone although machines are recorded in their accounts; a renamed one is not."""
    missing: dict[str, list[Record]] = {}
    fingerprints = {account.fingerprint for account in accounts.values()}
    for record in records:
        if record.cloud_id and record.alias not in accounts and record.account not in fingerprints:
            missing.setdefault(record.alias, []).append(record)
    for alias, rows in sorted(missing.items()):
        name, _, second = alias.partition(".")
        block = f'provider "{name}" {{ alias = "{second}" }}' if second else f'provider "{name}" {{}}'
        diagnostics.error(
            "Provider of recorded machines is not configured",
            f"{len(rows)} machine{'s' if len(rows) != 1 else ''} ({rows[0].address}"
            f'{", …" if len(rows) > 1 else ""}) stand at "{alias}", and the configuration no longer has it.',
            hint=f"Put the block back ({block}), remove the resources first and apply, and then the block.",
        )


def offline_views(config: Config) -> dict[str, AccountView]:
    """Give views that only say what each provider is like, for checking without a network."""
    views = {}
    for key, block in provider_keys(config).items():
        spec = registry.spec(block.name if block is not None else key)
        views[key] = AccountView(key, "", spec, spec.traits)
    return views


async def open_accounts(
    config: Config,
    keys: Mapping[str, ProviderBlock | None],
    scope: ModuleScope,
    directory: Path,
    environment: Mapping[str, str],
    world: Outside,
    diagnostics: Diagnostics,
) -> dict[str, Account]:
    """Connect every provider; report settings and credentials that do not work."""
    prepared = {}
    for key, block in keys.items():
        spec = world.spec_of(block.name if block is not None else key)
        settings = read_settings(key, spec, block, scope, environment, diagnostics)
        if settings is not None:
            prepared[key] = (spec, block, settings)
    opened = await asyncio.gather(
        *(
            _open(key, spec, block, settings, directory, environment, world, diagnostics)
            for key, (spec, block, settings) in prepared.items()
        )
    )
    return {account.alias: account for account in opened if account is not None}


async def _open(
    key: str,
    spec: ProviderSpec,
    block: ProviderBlock | None,
    settings: dict[str, object],
    directory: Path,
    environment: Mapping[str, str],
    world: Outside,
    diagnostics: Diagnostics,
) -> Account | None:
    pacer = AccountPacer(world.clock)
    span = block.span if block is not None else None
    client = None
    try:
        client = spec.connect(Connection(settings, environment, str(directory), pacer, world.clock))
        pacer.configure(client.traits)
        patience = Patience(
            world.clock,
            pacer,
            world.jitter,
            int(_number(settings.get("max_retries"), 5)),
            _number(settings.get("request_timeout"), 30.0),
        )
        tenant = await patience.retried(client.tenant_id)
    except CloudError as problem:
        if client is not None:
            with suppress(CloudError):
                await client.aclose()
        diagnostics.error("Provider cannot be used", f'"{key}": {problem}.', span)
        return None
    endpoint = str(settings.get("endpoint") or "")
    print_ = fingerprint(tenant, endpoint)
    return Account(key, spec, client, client.traits, print_, tenant, endpoint, pacer, patience, world.clock)


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float, Fraction)) else default


def read_settings(
    key: str,
    spec: ProviderSpec,
    block: ProviderBlock | None,
    scope: ModuleScope,
    environment: Mapping[str, str],
    diagnostics: Diagnostics,
) -> dict[str, object] | None:
    """Evaluate a provider block; None after reporting what is wrong. Secrets are revealed: never show the result."""
    settings: dict[str, object] = {}
    good = True
    stored: Mapping[str, str] | None = None
    for name, argument in spec.all_arguments().items():
        prepared = block.arguments.get(name) if block is not None else None
        if prepared is None:
            from_there = environment.get(argument.environment, "") if argument.environment else None
            settings[name] = from_there if _goes_with(argument, settings, spec, environment, block) else None
            if not settings[name] and (argument.sensitive or argument.required):
                try:
                    stored = stored if stored is not None else stored_credentials(environment, key)
                except DiagnosticsError as problem:
                    diagnostics.extend(problem.diagnostics)
                    return None
                is_one = stored.get(argument.beside) in (None, settings.get(argument.beside))
                settings[name] = stored.get(name) if is_one else None
            if not settings[name]:
                settings[name] = _default(argument)
            continue
        try:
            value = prepared.evaluate(scope)
        except EvaluationError as problem:
            diagnostics.add(problem.diagnostic)
            good = False
            continue
        converted = _convert(argument, value, prepared.node.span, diagnostics)
        good = good and converted is not None
        settings[name] = converted if converted is not _NULL else _default(argument)
    for name, argument in spec.all_arguments().items():
        if argument.required and not settings.get(name):
            diagnostics.error(
                "Missing credential",
                f'Provider "{spec.name}" needs {name}.',
                block.span if block is not None else None,
                hint=f"Set ${argument.environment}, {name} in the provider block, or "
                f'{{"{spec.name}": {{"{name}": "…"}}}} in ~/.config/brevplan/credentials.json (chmod 600).',
            )  # fmt: skip
            good = False
    return settings if good else None


def _goes_with(
    argument: Argument,
    settings: Mapping[str, object],
    spec: ProviderSpec,
    environment: Mapping[str, str],
    block: ProviderBlock | None,
) -> bool:
    """Tell whether half of a credential in the environment fits the other half: halves of two keys open nothing."""
    other = spec.all_arguments().get(argument.beside)
    if other is None:
        return True
    there = environment.get(other.environment)
    return there == settings.get(other.name) if there else block is not None and other.name in block.arguments


_NULL = object()


def _default(argument: Argument) -> object:
    if argument.type == "duration" and isinstance(argument.default, str):
        return parse_duration(argument.default)
    return argument.default


def _convert(argument: Argument, value: Value, span: Span, diagnostics: Diagnostics) -> object:
    """Convert one setting to plain Python; None after reporting a mistake, `_NULL` for null."""
    is_secret = has_secret(value)
    value = reveal_deep(value)
    if has_unknown(value):
        diagnostics.error(
            "Not known yet", f'"{argument.name}" of a provider must be known while planning.', span,
            hint="A provider block may use variables and locals.",
        )  # fmt: skip
        return None
    try:
        plain = to_python(convert(value, _TYPES[argument.type]))
        if plain is None:
            return _NULL
        if argument.type == "duration":
            return parse_duration(plain)
        if argument.type == "rate" and not 0 <= plain <= 1:
            raise ValueError("a share from 0 to 1 is needed")
        if argument.minimum is not None and plain < argument.minimum:
            raise ValueError(f"{argument.minimum:g} or more is needed")
    except (ConversionError, ValueError) as problem:
        reason = str(problem) if not is_secret else "its value is sensitive and not shown"
        diagnostics.error("Unsuitable value", f'"{argument.name}": {reason}.', span)
        return None
    return plain


async def read_catalogues(
    accounts: Mapping[str, Account], wanted: Iterable[str], facts: Facts, cache: CatalogueCache = NO_CACHE
) -> None:
    """Fetch types, locations and images of accounts into the facts, or why that cannot be done."""

    async def read(alias: str) -> None:
        try:
            found = await read_catalogue(accounts[alias], cache)
        except CloudError as problem:
            facts.unreadable[alias] = str(problem)
            return
        facts.types[alias] = {(item.type, item.location): item for item in found.types}
        facts.locations[alias] = found.locations
        if found.images is not None:
            facts.images[alias] = found.images

    await asyncio.gather(*(read(alias) for alias in wanted))


async def read_catalogue(account: Account, cache: CatalogueCache) -> Catalogue:
    """Give what an account sells, from the cache where that is young enough; raise `CloudError`."""
    kept = cache.get(account)
    if kept is not None:
        return kept
    client, patience = account.client, account.patience
    types = await patience.retried(client.get_instance_types)
    locations = await patience.retried(client.get_locations)
    images = None
    if isinstance(client, Images) and Capability.IMAGES in account.traits.capabilities:
        images = await patience.retried(client.get_images)
    found = Catalogue(VERSION, account.clock.now().timestamp(), types, locations, images)
    cache.put(account, found)
    return found


async def close_accounts(accounts: Mapping[str, Account]) -> None:
    for account in accounts.values():
        with suppress(CloudError):
            await account.aclose()
