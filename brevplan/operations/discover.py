"""`brevplan discover`: what lives in the configured accounts and is not recorded. Reads only, and takes no lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brevplan.contract.model import DEAD
from brevplan.diagnostics import Diagnostic, Diagnostics, error, failure
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address, path_names
from brevplan.engine.bench import Bench, Inputs
from brevplan.engine.discovery import Discovered, Standing, discover
from brevplan.engine.imports import Imports, read_imports
from brevplan.engine.observed import Facts
from brevplan.engine.ports import Record
from brevplan.engine.provider_choice import ProviderChoice
from brevplan.engine.scope import ModuleScope
from brevplan.lang.values import Value
from brevplan.operations.catalogue_cache import catalogue_cache
from brevplan.operations.generating import check_target, default_provider
from brevplan.operations.planning import (
    Memory,
    Request,
    gather_facts,
    gather_values,
    open_state,
    state_failure,
    workspace_of,
)
from brevplan.operations.project import DATA_KINDS, KINDS, Project
from brevplan.operations.session import close_accounts, open_accounts, provider_keys, read_catalogues
from brevplan.operations.world import Outside, ProjectFiles
from brevplan.state.errors import StateError

ADOPTED = frozenset({Standing.ORPHAN, Standing.FOREIGN})
"""What `-adopt` writes import blocks for."""


@dataclass(slots=True)
class Discovery:
    """`problems` are the accounts that could not be looked at; what the others showed is in `found`."""

    found: list[Discovered]
    problems: list[Diagnostic] = field(default_factory=list)
    adopted: dict[Address, Discovered] = field(default_factory=dict)
    """The addresses that were written down."""


async def look_around(project: Project, request: Request, world: Outside, adopt_into: Path | None = None) -> Discovery:
    """List every account; raise `DiagnosticsError`. `adopt_into` is a new file for import blocks."""
    if adopt_into is not None:
        _check_file(project, adopt_into)
    keys = provider_keys(project.config)
    if not keys:
        raise failure("No provider", "No provider is configured: there is nowhere to look.",
                      hint='Add a block: provider "local" {}')  # fmt: skip
    diagnostics = Diagnostics()
    files, now = ProjectFiles(project.directory), world.clock.now()
    store = open_state(project, world, create=False)
    try:
        workspace = workspace_of(request, store)
        values, scope = gather_values(project, request, files, now, diagnostics, workspace)
        diagnostics.raise_if_errors()
        memory = Memory.read(store, workspace)
        rows = store.records() if store is not None else []
        accounts = await open_accounts(
            project.config, keys, scope, project.directory, request.environment, world, diagnostics
        )
        try:
            facts = await gather_facts(project, request, store, memory, accounts, workspace, False, None, diagnostics)
            await read_catalogues(accounts, _without_prices(facts), facts, catalogue_cache(request.environment))
        finally:
            await close_accounts(accounts)
    except StateError as problem:
        raise state_failure(problem) from problem
    finally:
        if store is not None:
            store.close()
    problems = [*diagnostics.items, *_unverified(facts, accounts)]
    found = _judged(project, facts, rows, scope, values)
    adopted = _write(project, facts, found, adopt_into) if adopt_into is not None else {}
    return Discovery(found, problems, adopted)


def _without_prices(facts: Facts) -> list[str]:
    """Give the accounts that show a living machine and do not say what it costs."""
    return [
        alias for alias, view in sorted(facts.views.items())
        if any(one.hourly_price is None and one.status not in DEAD for one in view.machines.values())
    ]  # fmt: skip


def _unverified(facts: Facts, accounts: Mapping[str, Account]) -> list[Diagnostic]:
    told: dict[str, Diagnostic] = {}
    for alias in sorted(accounts):
        view = facts.views[alias]
        if view.unverified:
            told.setdefault(view.fingerprint, error("Account cannot be looked at", f"{view.unverified}."))
    return list(told.values())


def _judged(
    project: Project, facts: Facts, rows: list[Record], scope: ModuleScope, values: Mapping[str, Value]
) -> list[Discovered]:
    quiet = Diagnostics()
    given = Inputs(KINDS, DATA_KINDS, values, scope.board.environment)
    bench = Bench(project.config, given, facts, scope)
    bench.imports = read_imports(scope, quiet)
    return discover(facts, rows, bench.declared(), _wanted(project, facts, bench.imports))


def _wanted(project: Project, facts: Facts, imports: Imports) -> dict[tuple[str, str], Address]:
    providers = ProviderChoice(project.config)
    wanted = {}
    for item in imports.wanted.values():
        declaration = project.config.declaration(item.address)
        alias: str | None = item.provider
        if not alias and declaration is not None:
            alias = providers.of(path_names(item.address.module), declaration, Diagnostics())
        view = facts.views.get(alias or default_provider(project))
        if view is not None and item.address not in facts.records:
            wanted[(view.fingerprint, item.cloud_id)] = item.address
    return wanted


def _check_file(project: Project, path: Path) -> None:
    """Refuse a file that is there, or that would be no part of the configuration; raise `DiagnosticsError`."""
    check_target(path, "-adopt")
    name = path.name
    is_part = name.endswith(".hcl") and not name.startswith(".") and name != "terragrunt.hcl"
    is_part = is_part and not name.endswith((".vars.hcl", ".pkr.hcl", ".nomad.hcl"))
    if not is_part or path.parent.resolve() != project.directory.resolve():
        raise failure(
            "Not a configuration file", f"{path} would be no part of the configuration.",
            hint="Name a .hcl file in the folder of the configuration, for example -adopt=imports.hcl",
        )  # fmt: skip


def _write(project: Project, facts: Facts, found: list[Discovered], path: Path) -> dict[Address, Discovered]:
    """Write an `import` block for every machine that may become ours; give their addresses."""
    from brevplan.lang.writer import Code, write_block  # it brings the parser along
    from brevplan.operations.naming import Names

    names = Names(project, facts)
    adopted = {names.of(item): item for item in found if item.standing in ADOPTED}
    blocks = []
    for address, item in adopted.items():
        arguments: dict[str, Value | Code] = {"to": Code(str(address)), "id": str(item.machine.cloud_id)}
        if item.alias != default_provider(project) or len(project.config.providers) > 1:
            arguments["provider"] = Code(item.alias)
        blocks.append(write_block("import", [], arguments))
    if blocks:
        try:
            path.write_text("\n".join(blocks), encoding="utf-8")
        except OSError as problem:
            raise failure("File cannot be written", f"{path}: {problem.strerror}.") from None
    return adopted
