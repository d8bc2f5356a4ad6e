"""`brevplan apply` and `destroy`: lock, plan, ask, carry out, remember."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from brevplan.diagnostics import DiagnosticsError, error
from brevplan.engine.apply import Apply, Result, Settings
from brevplan.engine.bench import Options
from brevplan.engine.change import Action, Change, Counts, Mode, Plan
from brevplan.engine.events import Event
from brevplan.engine.outputs import store_output
from brevplan.engine.ports import (
    CloseRun,
    DropRecord,
    Intent,
    IntentState,
    OpenRun,
    PutOutputs,
    PutRecord,
    Record,
    RetireIntent,
    Role,
    SetRole,
    StateLost,
    Write,
    rfc3339,
)
from brevplan.engine.secrets import seal_attributes
from brevplan.engine.settle import TwoMachines, Uncertain, bind_found, settle
from brevplan.lang.values import has_unknown
from brevplan.operations.approval import Progress
from brevplan.operations.locking import locked
from brevplan.operations.planfile import PlanFile
from brevplan.operations.planning import Planned, Request, explained_state, open_state, planned
from brevplan.operations.project import KINDS, Project
from brevplan.operations.recording import run_row, take_over
from brevplan.operations.world import Outside
from brevplan.state.store import StateStore


@dataclass(slots=True)
class Hooks:
    """How the caller takes part: shows the plan and decides, hears events, and may ask the run to stop.

    `approve` is called once, with the finished plan; False declines it. `running` receives the run while it goes on.
    """

    approve: Callable[[Planned], bool]
    tell: Callable[[Event], None]
    say: Callable[[str], None]
    running: Callable[[Apply | None], None] = lambda run: None


@dataclass(slots=True)
class Applied:
    """`result` is None when nothing was carried out: declined, refused, or nothing to do."""

    plan: Plan
    result: Result | None = None
    declined: bool = False
    already: str = ""
    """The run in which an approved plan was applied before."""
    outputs: dict[str, Any] = field(default_factory=dict)


async def apply(
    project: Project,
    request: Request,
    world: Outside,
    hooks: Hooks,
    *,
    command: str = "apply",
    approved: PlanFile | None = None,
) -> Applied:
    """Apply a fresh plan, or exactly an approved one; raise `DiagnosticsError` when it does not come to that."""
    store = open_state(project, world, create=True)
    assert store is not None
    try:
        with explained_state(), locked(store.path, command, world, request.lock_timeout, hooks.say):
            take_over(store, project, world)
            fixed = None
            progress = Progress()
            if approved is not None:
                done_in = store.run_of_plan(approved.plan_id)
                if done_in:
                    return Applied(approved.plan, already=done_in)
                fixed = approved.fixed(project, request)
                progress = Progress.of(store.steps(approved.plan_id))
                request = approved.remaining(request, progress)
            async with planned(project, request, world, store, writing=True, fixed=fixed) as found:
                return await _run(found, request, world, hooks, store, command, approved, progress)
    finally:
        store.close()


async def _run(
    found: Planned,
    request: Request,
    world: Outside,
    hooks: Hooks,
    store: StateStore,
    command: str,
    approved: PlanFile | None,
    progress: Progress,
) -> Applied:
    plan = found.folded.plan
    plan.plan_id = approved.plan_id if approved is not None else world.ids.run().replace("run", "plan")
    if approved is not None:
        approved.check_secrets(found.values)
        if not approved.restrict(plan, progress) and not _outputs_differ(plan):
            return Applied(plan, already=_last_run(store, approved.plan_id))
    if not hooks.approve(found):
        return Applied(plan, declined=True)
    if plan.mode is Mode.REFRESH_ONLY:
        return _record_drift(found, world, store, command)
    if not _has_work(found, request.options):
        return Applied(plan)
    run_id = world.ids.run()
    writer = _Run(store, world, run_id)
    writer.open(found, command)
    await _settle_open(found, request.options, store, hooks)
    run = Apply(
        found.project.config,
        KINDS,
        found.folded,
        found.facts,
        found.accounts,
        store,
        world,
        Settings(run_id, plan.plan_id, request.parallelism, str(found.project.directory)),
        hooks.tell,
    )
    board = run.folded.scope.board
    board.environment = replace(board.environment, applying=True)
    hooks.running(run)
    try:
        result = await run.run()
    finally:
        hooks.running(None)
    writer.close(result)
    return Applied(plan, result, outputs=dict(result.outputs))


def _outputs_differ(plan: Plan) -> bool:
    return any(output.action is not Action.NOOP for output in plan.outputs.values())


def _last_run(store: StateStore, plan_id: str) -> str:
    rows = store.steps(plan_id)
    return rows[-1].run_id if rows else ""


def _has_work(found: Planned, options: Options) -> bool:
    plan = found.folded.plan
    folded = found.folded
    return bool(
        plan.effective or _outputs_differ(plan) or folded.cleanups or folded.bookkeeping or _to_settle(found, options)
    )


async def _settle_open(found: Planned, options: Options, store: StateStore, hooks: Hooks) -> None:
    """Decide what became of launches without an answer, before any of their addresses is tried again."""
    await asyncio.gather(*(_settle_one(found, store, hooks, intent) for intent in _to_settle(found, options)))


def _to_settle(found: Planned, options: Options) -> list[Intent]:
    """Give the open launches; of a plan for chosen addresses, those that stand in its way."""
    facts = found.facts
    wanted = {change.address for change in found.folded.plan.effective if change.creates}
    is_whole = not (options.targets or options.excludes)
    return [
        intent
        for intent in facts.intents
        if intent.state is IntentState.OPEN
        and intent.workspace == facts.workspace
        and (is_whole or intent.address in wanted)
    ]


async def _settle_one(found: Planned, store: StateStore, hooks: Hooks, intent: Intent) -> None:
    account = next((a for a in found.accounts.values() if a.fingerprint == intent.account), None)
    if account is None:
        raise DiagnosticsError(
            [error("Open launch", f"{intent.address}: its account ({intent.alias}) is not configured any more.")]
        )
    hooks.say(f"{intent.address}: looking for the machine of a launch that was not answered ({intent.ref_id})...")
    try:
        machine = await settle(account, intent)
    except Uncertain as problem:
        raise DiagnosticsError([error("Open launch", f"{intent.address}: {problem}.")]) from None
    except TwoMachines as problem:
        # both are shown by the next plan, and one of them can be reaped
        store.transact([RetireIntent(intent.ref_id)])
        text = f"{intent.address}: one launch made several machines ({problem})."
        raise DiagnosticsError(
            [error("Open launch", text, hint="Run the same command again: the plan shows them.")]
        ) from None
    if machine is None:
        store.transact([RetireIntent(intent.ref_id)])
        return
    bind_found([intent], {intent.account: [machine]}, store.records(), store)
    raise DiagnosticsError(
        [
            error(
                "Plan is out of date",
                f"{intent.address}: the machine of an earlier launch was found ({machine.cloud_id}) and recorded.",
                hint="Run the same command again.",
            )
        ]
    )


def _record_drift(found: Planned, world: Outside, store: StateStore, command: str) -> Applied:
    """With `-refresh-only`: write down what the clouds show, and change nothing there."""
    plan = found.folded.plan
    writer = _Run(store, world, world.ids.run())
    writer.open(found, command)
    # what stood beside a machine that is gone is removed by the next apply, which then forgets the row
    writes: list[Write] = [
        SetRole(record.key, Role.DESTROYING) if record.ref_id else DropRecord(record.key)
        for record in found.folded.cleanups
    ]
    for change in plan.drift:
        record = found.facts.records.get(change.address)
        is_moving = change.address in found.facts.moved  # the next apply tells its machine, and writes it down
        if record is not None and change.after is not None and not is_moving:
            writes.append(PutRecord(_refreshed(record, change, found.facts.salt)))
    if any(output.action is not Action.NOOP for output in plan.outputs.values()):
        writes.append(PutOutputs(plan.workspace, outputs_now(plan, found.facts.salt)))
    store.transact(writes)
    result = Result(Counts())
    writer.close(result)
    return Applied(plan, result)


def outputs_now(plan: Plan, salt: str) -> dict[str, Any]:
    """Give the outputs as a plan knows them, in the form that the state keeps."""
    return {
        name: store_output(output.after, salt, sensitive=output.sensitive)
        for name, output in plan.outputs.items()
        if output.action is not Action.DELETE and not has_unknown(output.after)
    }


def _refreshed(record: Record, change: Change, salt: str) -> Record:
    fresh = seal_attributes({name: (change.after or {})[name] for name in change.changed}, salt)
    return replace(record, attributes={**record.attributes, **fresh})


class _Run:
    """The history row of a run."""

    def __init__(self, store: StateStore, world: Outside, run_id: str) -> None:
        self.store, self.world, self.run_id = store, world, run_id

    def open(self, found: Planned, command: str) -> None:
        plan = found.folded.plan
        counts = plan.counts
        summary = f"{counts.add} to add, {counts.change} to change, {counts.destroy} to destroy"
        row = run_row(self.world, found.project, plan.workspace, command, summary, self.run_id)
        self._write(OpenRun(replace(row, plan_id=plan.plan_id)))

    def close(self, result: Result) -> None:
        counts = result.counts
        summary = f"{counts.add} added, {counts.change} changed, {counts.destroy} destroyed"
        outcome = "done" if result.complete else ("interrupted" if result.interrupted else "failed")
        try:
            self._write(CloseRun(self.run_id, rfc3339(self.world.clock.now()), summary, outcome))
        except StateLost:
            if not result.lost:
                raise

    def _write(self, write: OpenRun | CloseRun) -> None:
        self.store.transact([write])
