"""Making a plan: everything between the files on disk and a finished fold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from brevplan.contract.model import DEAD, Instance
from brevplan.diagnostics import Diagnostics, DiagnosticsError, error, failure, suggest
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address, ModuleAddress, Target, parse_target
from brevplan.engine.bench import EVERYTHING, Inputs, Options
from brevplan.engine.board import Context
from brevplan.engine.identity import WORKSPACE_NAME
from brevplan.engine.imports import Import
from brevplan.engine.moves import Moves
from brevplan.engine.observed import AccountView, Facts, living
from brevplan.engine.plan import Folded, Needs, fold
from brevplan.engine.ports import Intent, IntentState, Record, Role, StateLost
from brevplan.engine.refresh import blank_view, observe, planned_places, remembered_places
from brevplan.engine.scope import ModuleScope
from brevplan.engine.settle import bind_found
from brevplan.lang.collector import collector_paused
from brevplan.lang.gate import Environment
from brevplan.lang.values import Value
from brevplan.operations import variables as inputs
from brevplan.operations.catalogue_cache import NO_CACHE, CatalogueCache, catalogue_cache
from brevplan.operations.given import Given
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.project import DATA_KINDS, KINDS, Project, load_project
from brevplan.operations.session import (
    check_recorded_providers,
    close_accounts,
    offline_views,
    open_accounts,
    provider_keys,
    read_catalogues,
)
from brevplan.operations.world import Outside, ProjectFiles, tracked_by_git
from brevplan.state.errors import StateError
from brevplan.state.lock import Holder
from brevplan.state.store import StateStore

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for, apart from the project itself."""

    options: Options = EVERYTHING
    given: tuple[Given, ...] = ()
    workspace: str = ""
    refresh: bool = True
    accepted_accounts: frozenset[str] = frozenset()
    parallelism: int = 10
    lock_timeout: float = 0.0
    generate_into: Path | None = None
    """Where to write resources that are imported and not declared."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Planned:
    """A finished plan with everything that carrying it out needs."""

    project: Project
    folded: Folded
    facts: Facts
    accounts: dict[str, Account]
    values: dict[str, Value]
    files: ProjectFiles
    now: datetime
    diagnostics: Diagnostics


@dataclass(frozen=True, slots=True)
class Fixed:
    """What an approved plan fixes in place of reading it anew."""

    values: Mapping[str, Value]
    now: datetime
    secret_names: frozenset[str] = frozenset()


Taking = Callable[[Project, Facts, Mapping[str, Account]], Awaitable[tuple[Import, ...]]]
"""Chooses machines to take in; raises `DiagnosticsError` where one cannot be."""


def state_failure(problem: StateError) -> DiagnosticsError:
    return DiagnosticsError([error(problem.summary, problem.detail, hint=problem.hint)])


@contextmanager
def explained_state() -> Iterator[None]:
    """Turn what a state cannot do any more into a `DiagnosticsError`."""
    try:
        yield
    except StateError as problem:
        raise state_failure(problem) from problem
    except StateLost as problem:
        raise state_lost(problem) from problem


def state_lost(problem: StateLost) -> DiagnosticsError:
    cause = problem.__cause__
    hint = cause.hint if isinstance(cause, StateError) else "Nothing is lost: the next apply finds what was begun."
    return failure("State cannot be written", f"{problem}.", hint=hint)


def open_state(project: Project, world: Outside, *, create: bool) -> StateStore | None:
    """Open the state file of a project; raise `DiagnosticsError`."""
    with explained_state():
        return world.open_store(project.state_path, create=create)


def environment_of(files: ProjectFiles, now: datetime, *, applying: bool = False) -> Environment:
    return Environment(files, now, applying)


def gather_values(
    project: Project, request: Request, files: ProjectFiles, now: datetime, diagnostics: Diagnostics, workspace: str,
    *, offline: bool = False,
) -> tuple[dict[str, Value], ModuleScope]:  # fmt: skip
    """Give the variables' values and a scope over them, for provider blocks and validation rules."""
    values = inputs.collect(
        project.config, project.directory, request.environment, request.given, diagnostics, offline=offline
    )
    scope = ModuleScope.of_root(
        project.config, values, environment_of(files, now), Context(workspace, project.config.settings.project)
    )
    inputs.validate(project.config, scope, diagnostics)
    return values, scope


@asynccontextmanager
async def planned(
    project: Project,
    request: Request,
    world: Outside,
    store: StateStore | None,
    *,
    writing: bool,
    locked_by: Holder | None = None,
    fixed: Fixed | None = None,
    taking: Taking | None = None,
) -> AsyncIterator[Planned]:
    """Make a plan and keep its accounts open for the block; raise `DiagnosticsError`.

    `writing` says that this run holds the lock, so that open intents of dead runs may be bound. `taking` chooses
    machines to take in, once the clouds have been looked at.
    """
    diagnostics = Diagnostics(list(project.diagnostics.items))
    _warn_of_tracked(project, diagnostics)
    files = ProjectFiles(project.directory)
    now = fixed.now if fixed is not None else world.clock.now()
    workspace = workspace_of(request, store)
    values, scope = gather_values(project, request, files, now, diagnostics, workspace)
    if fixed is not None:
        values = {**fixed.values, **{name: value for name, value in values.items() if name in fixed.secret_names}}
        scope = ModuleScope.of_root(project.config, values, environment_of(files, now), scope.board.context)
    diagnostics.raise_if_errors()
    memory = Memory.read(store, workspace)
    keys = provider_keys(project.config)
    accounts = await open_accounts(
        project.config, keys, scope, project.directory, request.environment, world, diagnostics
    )
    try:
        diagnostics.raise_if_errors()
        check_recorded_providers(accounts, memory.mine, diagnostics)
        diagnostics.raise_if_errors()
        _look_where_remembered(accounts, memory)
        facts = await gather_facts(
            project, request, store, memory, accounts, workspace, writing, locked_by, diagnostics
        )
        if request.generate_into is not None:
            from brevplan.operations.generating import with_generated  # it brings the parser along

            project = with_generated(project, request.generate_into, scope, facts)
        taken = await taking(project, facts, accounts) if taking is not None else ()
        # whoever writes asks for stock and prices as they are now
        cache = NO_CACHE if writing else catalogue_cache(request.environment)
        folded = await _folded(project, request, files, now, values, facts, accounts, taken, cache)
        while await _look_where_planned(folded, facts, accounts, memory, request):
            folded = await _folded(project, request, files, now, values, facts, accounts, taken, cache)
        if not request.refresh and await _look_where_it_creates(folded, facts, accounts, memory, request):
            folded = await _folded(project, request, files, now, values, facts, accounts, taken, cache)
        diagnostics.extend(folded.diagnostics)
        _check_project(project, facts, folded, accounts, diagnostics)
        if fixed is None:
            _check_addresses(request.options, project, facts, folded, diagnostics)
        diagnostics.raise_if_errors()
        yield Planned(project, folded, facts, accounts, values, files, now, diagnostics)
    finally:
        await close_accounts(accounts)


def _warn_of_tracked(project: Project, diagnostics: Diagnostics) -> None:
    for name in tracked_by_git(project.directory, [project.config.settings.backend_path, "*.plan"]):
        diagnostics.warning(
            "Git tracks a file that it should not",
            f"{name} holds what belongs to one machine, and two clones of it would each think to own the same fleet.",
            hint=f"git rm --cached {name}, and add it to .gitignore (brevplan init does).",
        )


def workspace_of(request: Request, store: StateStore | None) -> str:
    if request.workspace:
        if not WORKSPACE_NAME.match(request.workspace):
            raise failure(
                "Invalid workspace",
                f'"{request.workspace}" cannot be one.',
                hint="Letters, digits, '-' and '_' make the name of a workspace.",
            )
        return request.workspace
    if store is None:
        return "default"
    with explained_state():
        return store.selected_workspace()


@dataclass(slots=True)
class Memory:
    """What the state remembers, or nothing where there is no state."""

    project: str = ""
    salt: str = "unsalted"
    mine: list[Record] = field(default_factory=list)
    others: list[Record] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, store: StateStore | None, workspace: str) -> Memory:
        """Read everything that a plan looks at; raise `DiagnosticsError`."""
        if store is None:
            return cls()
        with explained_state(), store.moment():
            meta = store.meta()
            mine, others = _shared_out(store.records(), workspace)
            return cls(
                meta.project,
                meta.salt,
                mine,
                others,
                store.intents(),
                store.outputs(workspace),
            )


def _look_where_remembered(accounts: Mapping[str, Account], memory: Memory) -> None:
    """Let regional accounts be listed where the state has machines; of one without any, every location is."""
    for account, same in _regional(accounts):
        account.look_at({place for one in same for place in remembered_places(one, memory.mine, memory.intents)})


async def _look_where_planned(
    folded: Folded, facts: Facts, accounts: Mapping[str, Account], memory: Memory, request: Request
) -> bool:
    """List the locations too that only the configuration names: a machine may be there that the state has lost."""
    wider = []
    for account, same in _regional(accounts):
        planned = frozenset(place for one in same for place in planned_places(one, folded.plan.changes))
        if account.places and planned - account.places:
            wider.append(account)
        # where everything was looked at, what the plan is about is enough from now on
        account.look_at(account.places | planned)
    if not request.refresh:
        return False
    facts.look_again(await observe(wider, memory.mine, facts.project, request.accepted_accounts))
    return bool(wider)


def _regional(accounts: Mapping[str, Account]) -> list[tuple[Account, list[Account]]]:
    """Give the accounts with a regional API, each with all provider blocks that lead to it."""
    regional = [account for account in accounts.values() if account.is_regional]
    return [(one, [other for other in regional if other.fingerprint == one.fingerprint]) for one in regional]


async def _look_where_it_creates(
    folded: Folded, facts: Facts, accounts: Mapping[str, Account], memory: Memory, request: Request
) -> bool:
    """Without a refresh, list the accounts all the same in which a plan makes machines: they may be there already."""
    places = {change.made_at for change in folded.plan.effective if change.creates}
    wanted = {view.fingerprint for alias, view in facts.views.items() if alias in places}
    held = {record.account for record in memory.mine if record.cloud_id}
    unseen = [account for account in accounts.values() if account.fingerprint in wanted & held]
    facts.look_again(await observe(unseen, memory.mine, facts.project, request.accepted_accounts))
    return bool(unseen)


async def gather_facts(
    project: Project,
    request: Request,
    store: StateStore | None,
    memory: Memory,
    accounts: Mapping[str, Account],
    workspace: str,
    writing: bool,
    locked_by: Holder | None,
    diagnostics: Diagnostics,
) -> Facts:
    """Look at the clouds, and give that with what is remembered. What cannot be looked at is unverified."""
    name = project.config.settings.project or memory.project
    views: dict[str, AccountView]
    if request.refresh:
        views = await observe(accounts.values(), memory.mine, name, request.accepted_accounts)
    else:
        # an account of which nothing is remembered is looked at all the same: its state may have been lost
        held = {record.account for record in memory.mine if record.cloud_id}
        unknown = [account for account in accounts.values() if account.fingerprint not in held]
        views = {alias: blank_view(account) for alias, account in accounts.items()}
        views |= await observe(unknown, memory.mine, name, request.accepted_accounts)
    if writing and store is not None and request.refresh:
        _bind_open(store, memory, views, workspace)
    moves = Moves(project.config, KINDS)
    relocated = moves.relocate(memory.mine, memory.intents, workspace, diagnostics)
    return Facts(
        workspace,
        name,
        memory.salt,
        living(relocated.records),
        [record for record in relocated.records if record.role is not Role.CURRENT],
        relocated.intents,
        views,
        frozenset((record.account, record.cloud_id) for record in memory.others if record.cloud_id),
        prior_outputs=memory.outputs,
        locked_by=str(locked_by) if locked_by is not None else "",
        refreshed=request.refresh,
        moved=relocated.moved,
        rewritten=relocated.rewritten,
        former=moves.former,
    )


def _bind_open(store: StateStore, memory: Memory, views: Mapping[str, AccountView], workspace: str) -> None:
    """Record the machines of launches whose run died before it could."""
    pending = [intent for intent in memory.intents if intent.state is IntentState.OPEN]
    if not pending:
        return
    machines: dict[str, list[Instance]] = {}
    for view in views.values():
        if not view.unverified:
            machines[view.fingerprint] = [m for m in view.machines.values() if m.status not in DEAD]
    bind_found(pending, machines, [*memory.mine, *memory.others], store)
    memory.mine, memory.others = _shared_out(store.records(), workspace)
    memory.intents = store.intents()


def _shared_out(records: list[Record], workspace: str) -> tuple[list[Record], list[Record]]:
    """Tell what this workspace has from what it has no say over: of other workspaces, or forgotten."""
    mine = [record for record in records if record.workspace == workspace and record.role is not Role.FORGOTTEN]
    return mine, [record for record in records if record.workspace != workspace or record.role is Role.FORGOTTEN]


async def _folded(
    project: Project,
    request: Request,
    files: ProjectFiles,
    now: datetime,
    values: Mapping[str, Value],
    facts: Facts,
    accounts: Mapping[str, Account],
    taken: tuple[Import, ...],
    cache: CatalogueCache,
) -> Folded:
    given = Inputs(KINDS, DATA_KINDS, values, environment_of(files, now), request.options, taken)
    while True:
        with collector_paused():
            found = fold(project.config, given, facts)
        if isinstance(found, Folded):
            return found
        await read_catalogues(accounts, _fresh(found, facts), facts, cache)


def _fresh(needs: Needs, facts: Facts) -> list[str]:
    wanted = sorted(needs.catalogues - facts.types.keys() - facts.unreadable.keys())
    assert wanted, "the fold asked twice for the same catalogue"
    return wanted


def _check_project(
    project: Project, facts: Facts, folded: Folded, accounts: Mapping[str, Account], diagnostics: Diagnostics
) -> None:
    if project.config.settings.project:
        return
    paid = sorted(alias for alias, account in accounts.items() if not account.spec.account_free)
    if paid and any(change.creates and change.made_at in paid for change in folded.plan.changes):
        diagnostics.error(
            "No project",
            f'Machines at "{paid[0]}" are marked with the name of their project, and none is given.',
            hint='Add to the configuration: brevplan { project = "a-name-of-your-own" }',
        )


def _check_addresses(
    options: Options, project: Project, facts: Facts, folded: Folded, diagnostics: Diagnostics
) -> None:
    known: set[Target] = {*(change.address for change in folded.plan.changes), *facts.records}
    blocks = _wholes(folded, known)
    given: tuple[tuple[str, Sequence[Target]], ...] = (
        ("-target", options.targets), ("-exclude", options.excludes), ("-replace", options.replaced)
    )  # fmt: skip
    for name, addresses in given:
        possible = known if name == "-replace" else known | blocks
        for address in addresses:
            if address not in possible:
                diagnostics.error(
                    "Unknown address",
                    f"{name}={address}: there is nothing of that name.",
                    hint=suggest(str(address), sorted(map(str, possible))),
                )
    for ref in sorted(options.reaped):
        alike = {(change.account, change.cloud_id) for change in folded.plan.changes if change.cloud_id == ref}
        if len({account for account, _ in alike}) > 1:
            diagnostics.error(
                "Ambiguous orphan",
                f"-reap={ref}: machines in {len(alike)} accounts are called so.",
                hint="Name the one by its ref_id; brevplan discover shows it.",
            )
        if not any(ref in (change.deposed, change.cloud_id) for change in folded.plan.changes if change.deposed):
            diagnostics.error("Unknown orphan", f"-reap={ref}: no orphan bears that ref_id.")


def _wholes(folded: Folded, known: Iterable[Target]) -> set[Target]:
    """Give what can be chosen as a whole: blocks, modules, and modules in all their instances."""
    addresses = [address for address in known if isinstance(address, Address)]
    published = [block for block in folded.scope.board.published if not block.is_data]
    paths = {address.module[:depth] for address in addresses for depth in range(1, len(address.module) + 1)}
    paths |= {path for path in folded.scope.board.modules if path}
    paths |= {(*path[:-1], (path[-1][0], None)) for path in paths}
    return {*published, *(address.block for address in addresses), *map(ModuleAddress, paths)}


_CONSEQUENCES = frozenset({"No provider chosen", "Unknown provider", "Cycle"})
"""Messages that a mistake of structure elsewhere may bring about: left out beside one."""


def load_checked(directory: Path, request: Request, now: datetime) -> Project:
    """Load a configuration; raise `DiagnosticsError` with its mistakes of structure and those of its values."""
    project = load_project(directory, strict=False, cache=parse_cache(request.environment))
    if project.diagnostics.has_errors:
        known = len(project.diagnostics)
        found = check(project, request, now).items
        raise DiagnosticsError([*found[:known], *(item for item in found[known:] if item.summary not in _CONSEQUENCES)])
    return project


def check(project: Project, request: Request, now: datetime) -> Diagnostics:
    """Check a configuration without looking at anything but its files."""
    diagnostics = Diagnostics(list(project.diagnostics.items))
    files = ProjectFiles(project.directory)
    values, _ = gather_values(project, request, files, now, diagnostics, request.workspace or "default", offline=True)
    facts = Facts(
        request.workspace or "default", project.config.settings.project, "", {}, [], [], offline_views(project.config),
        refreshed=False,
    )  # fmt: skip
    given = Inputs(KINDS, DATA_KINDS, values, environment_of(files, now), Options(offline=True))
    with collector_paused():
        found = fold(project.config, given, facts)
    if isinstance(found, Folded):
        diagnostics.extend(found.diagnostics)
    return diagnostics


def parse_addresses(texts: Sequence[str], option: str) -> tuple[Address, ...]:
    """Read addresses from the command line; raise `DiagnosticsError` for the wrong ones together."""
    return _parsed(texts, option, Address.parse)


def parse_targets(texts: Sequence[str], option: str) -> tuple[Target, ...]:
    """Read addresses of resources or modules in the same way."""
    return _parsed(texts, option, parse_target)


def _parsed(texts: Sequence[str], option: str, parse: Callable[[str], _T]) -> tuple[_T, ...]:
    found, wrong = [], []
    for text in texts:
        try:
            found.append(parse(text))
        except ValueError as problem:
            wrong.append(error("Invalid address", f"{option}: {problem}."))
    if wrong:
        raise DiagnosticsError(wrong)
    return tuple(found)


def directory_of(chdir: str) -> Path:
    return Path(chdir) if chdir else Path()
