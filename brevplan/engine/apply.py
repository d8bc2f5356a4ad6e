"""Carrying out a plan: one owner with a queue of ready steps; a failure skips what comes after it and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from brevplan.contract.errors import CloudError
from brevplan.contract.model import Instance, RefId
from brevplan.diagnostics import Diagnostic, DiagnosticsError
from brevplan.engine import machines
from brevplan.engine.accounts import Account, Snapshot
from brevplan.engine.address import Address
from brevplan.engine.belonging import let_go, moved_rows, rename_machine
from brevplan.engine.change import Action, Change, Counts, Mode, count
from brevplan.engine.closing import final_outputs, forget_gone, new_warnings, unexpected_machines
from brevplan.engine.committer import Committer
from brevplan.engine.config import Config
from brevplan.engine.events import Event, Notice, StepFailed, StepFinished, StepProgress, StepSkipped, StepStarted
from brevplan.engine.goals import Goals
from brevplan.engine.graph import Step, StepGraph, Verb, build
from brevplan.engine.kind import Kind
from brevplan.engine.machines import DELETE_TIMEOUT, former_row
from brevplan.engine.observed import Facts
from brevplan.engine.plan import Folded
from brevplan.engine.ports import (
    AccountRow,
    DropRecord,
    Journal,
    MoveRecords,
    PutAccount,
    PutOutputs,
    PutRecord,
    Record,
    Role,
    StateLost,
    World,
    Write,
    state_key,
)
from brevplan.engine.workshop import Interrupted, StepError, Target, Workshop
from brevplan.lang.values import Value

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
PROGRESS_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How an apply goes about it."""

    run_id: str
    plan_id: str
    parallelism: int = 10
    directory: str = "."
    """The project's folder, where relative private key files lie."""


@dataclass(slots=True)
class Result:
    """What became of an apply. `counts` counts what was done, in the plan's terms."""

    counts: Counts
    failed: list[StepFailed] = field(default_factory=list)
    skipped: list[StepSkipped] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    """What the closing list showed that should not be there."""
    outputs: dict[str, Value] = field(default_factory=dict)
    warnings: list[Diagnostic] = field(default_factory=list)
    """What `check` blocks say of how things are now, and did not say of the plan."""
    interrupted: bool = False
    lost: str = ""
    """Why the state could no longer be written; empty when it could."""

    @property
    def complete(self) -> bool:
        return not (self.failed or self.skipped or self.unexpected or self.interrupted or self.lost)


class Apply:
    """One run of one plan. `stop` may be called at any time, from the loop's thread."""

    def __init__(
        self,
        config: Config,
        kinds: Mapping[str, Kind],
        folded: Folded,
        facts: Facts,
        accounts: Mapping[str, Account],
        journal: Journal,
        world: World,
        settings: Settings,
        tell: Callable[[Event], None],
    ) -> None:
        self.config, self.kinds, self.folded, self.facts = config, kinds, folded, facts
        self.accounts, self.world, self.settings, self.tell = accounts, world, settings, tell
        self.committer = Committer(journal)
        self.stopping = False
        self._stop = asyncio.Event()
        self._limit = asyncio.Semaphore(settings.parallelism)
        self._started: dict[str, float] = {}
        self._phases: dict[str, str] = {}
        self._steps: dict[str, Step] = {}
        self._opened: set[str] = set()
        self._records = {record.key: record for record in (*facts.records.values(), *facts.deposed)}
        self._result = Result(Counts())
        self._done: list[Change] = []
        self._trailing: set[str] = set()
        """Steps that belong to a change that is counted already."""
        self.shop = Workshop(
            facts.workspace,
            facts.project,
            facts.salt,
            settings.run_id,
            settings.plan_id,
            world,
            self.committer,
            self,
            accounts,
            dict.fromkeys(facts.foreign, "recorded elsewhere")
            | {(r.account, r.cloud_id): r.key for r in self._records.values() if r.cloud_id},
            self._progress,
            types=facts.types,
        )
        self.goals = Goals(config, kinds, folded, facts, self._records, settings.directory)

    def stop(self) -> None:
        """Start nothing new; what is under way is brought to a safe place."""
        self.stopping = True
        for account in self.accounts.values():
            account.patience.hurried = True
        self._stop.set()
        self._result.interrupted = True

    async def reserve(self, account: Account) -> None:
        """Wait for the rate token of a launch; raise `Interrupted` as soon as the run is asked to stop."""
        await self.unless_stopped(account.pacer.reserve(asyncio.current_task()))
        if self.stopping:
            raise Interrupted

    async def snapshot(self, account: Account) -> Snapshot | None:
        """Wait for the account's next list; None as soon as the run is asked to stop."""
        return await self.unless_stopped(account.next_snapshot())

    async def unless_stopped(self, awaited: Coroutine[Any, Any, T]) -> T | None:
        """Wait for something; None as soon as the run is asked to stop."""
        waiting = asyncio.ensure_future(awaited)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        finally:
            waiting.cancel()
            stopping.cancel()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        async with self._limit:
            if self.stopping or self.committer.lost is not None:
                raise Interrupted
            yield

    async def run(self) -> Result:
        changes = self.folded.plan.effective
        recorded = {
            record.address: [Address.parse(text) for text in record.reads] for record in self.facts.records.values()
        }
        graph = build(changes, recorded)
        try:
            await self._prepare()
            await self._walk(graph)
            await self._follow()
            await forget_gone(self.shop, self.folded.cleanups, self.tell)
            self._result.unexpected.extend(await unexpected_machines(self.shop, self.facts))
            await self._finish_outputs()
            if self.folded.plan.mode is not Mode.DESTROY and not self._result.interrupted:
                self._result.warnings = new_warnings(self.folded)
        except StateLost as problem:
            self._result.lost = str(problem)
        except Interrupted:
            pass  # before the first step: all that was planned is left to the next run
        if self.committer.lost is not None:
            self._result.lost = str(self.committer.lost)
        self._result.counts = count(self._done)
        return self._result

    # the walk

    async def _prepare(self) -> None:
        """Remember which accounts this run works in."""
        rows: list[Write] = [
            PutAccount(AccountRow(a.alias, a.fingerprint, a.spec.name, a.tenant, a.endpoint))
            for a in self.accounts.values()
            if not self.facts.views[a.alias].unverified
        ]
        rows.extend(PutRecord(record) for record in self.folded.bookkeeping)
        moved = [change for change in self.folded.plan.effective if change.moved_from is not None]
        if moved:
            # the machines first: a run that dies in between finds the same moves again
            await asyncio.gather(*map(self._rename, moved))
            rows.append(MoveRecords(tuple(moved_rows(self.facts, moved))))
        if rows:
            await self.committer.commit(*rows)

    async def _rename(self, change: Change) -> None:
        problem = await rename_machine(self.shop, change)
        if problem:
            self.tell(Notice(problem))

    async def _walk(self, graph: StepGraph) -> None:
        waits = dict(graph.waits)
        finished: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        tasks: set[asyncio.Task[None]] = set()
        dropped: set[str] = set()
        left = len(waits)
        ticker = asyncio.create_task(self._tick())

        def start(node: str) -> None:
            step = graph.steps.get(node)
            if step is None:
                finished.put_nowait((node, True))
                return
            task = asyncio.create_task(self._perform(step, finished))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        try:
            for node in [node for node, number in waits.items() if number == 0]:
                start(node)
            while left:
                node, good = await finished.get()
                left -= 1
                for after in graph.after[node]:
                    if not good:
                        dropped.add(after)
                    waits[after] -= 1
                    if waits[after] == 0:
                        if after in dropped:
                            self._skip(graph, after, node)
                            finished.put_nowait((after, False))
                        else:
                            start(after)
        finally:
            ticker.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(ticker, *tasks, return_exceptions=True)

    def _skip(self, graph: StepGraph, node: str, because: str) -> None:
        step = graph.steps.get(node)
        if step is not None:
            self._skipped(step, f"{because} did not succeed")

    def _skipped(self, step: Step, reason: str) -> None:
        event = StepSkipped(step.address, step.verb, reason)
        self._result.skipped.append(event)
        self.tell(event)

    async def _tick(self) -> None:
        while True:
            await self.world.clock.sleep(PROGRESS_EVERY_S)
            now = self.world.clock.monotonic()
            for step_id, started in list(self._started.items()):
                step = self._steps[step_id]
                self.tell(StepProgress(step.address, step.verb, "", now - started))

    def _progress(self, step: Step, phase: str) -> None:
        if self._phases.get(step.step_id) == phase:
            return
        self._phases[step.step_id] = phase
        elapsed = self.world.clock.monotonic() - self._started.get(step.step_id, self.world.clock.monotonic())
        self.tell(StepProgress(step.address, step.verb, phase, elapsed))

    async def _perform(self, step: Step, finished: asyncio.Queue[tuple[str, bool]]) -> None:
        """Carry out one step and turn whatever happens into events. The one place that catches everything."""
        began = self.world.clock.monotonic()
        good = False
        try:
            good = await self._carry_out(step)
        except Interrupted:
            if step.step_id in self._started:
                self._fail(step, began, "the run was asked to stop; the next apply goes on", uncertain=True)
            else:
                self._skipped(step, "the run was asked to stop")
        except StepError as problem:
            await self._failed(step, began, str(problem), uncertain=problem.uncertain)
        except CloudError as problem:
            await self._failed(step, began, str(problem))
        except DiagnosticsError as problem:
            await self._failed(step, began, _texts(problem))
        except StateLost as problem:
            self._fail(step, began, str(problem), uncertain=True)
        except asyncio.CancelledError:
            raise
        except Exception as problem:  # the step runner: a defect in one step must not take the others with it
            _LOG.debug("%s", step.step_id, exc_info=problem)
            await self._failed(step, began, f"internal error: {type(problem).__name__}: {problem}")
        finally:
            self._started.pop(step.step_id, None)
            finished.put_nowait((step.step_id, good))

    async def _failed(self, step: Step, began: float, message: str, *, uncertain: bool = False) -> None:
        self._fail(step, began, message, uncertain=uncertain)
        if step.step_id in self._opened:
            try:
                await self.committer.commit(self.shop.close_step(step, "failed", message))
            except StateLost:
                return  # told once, at the end of the run

    def _fail(self, step: Step, began: float, message: str, *, uncertain: bool = False) -> None:
        event = StepFailed(step.address, step.verb, self.world.clock.monotonic() - began, message, uncertain)
        self._result.failed.append(event)
        self.tell(event)

    def _begin(self, step: Step) -> None:
        if step.step_id in self._started:
            return
        self._started[step.step_id] = self.world.clock.monotonic()
        self._steps[step.step_id] = step
        self._opened.add(step.step_id)
        shown = step.change.deposed
        cloud_id = step.change.cloud_id if step.verb is not Verb.CREATE else ""
        self.tell(StepStarted(step.address, step.verb, cloud_id, shown))

    async def _carry_out(self, step: Step) -> bool:
        if self.stopping:
            raise Interrupted
        kind = self.kinds[step.address.kind]
        if step.verb is Verb.DESTROY:
            await self._destroy(step, kind)
        elif step.verb is Verb.FORGET:
            self._begin(step)
            await let_go(self.shop, step)
        elif step.verb is Verb.MOVE:
            await self._move(step, kind)
        elif kind.needs_provider:
            await self._make(step)
        else:
            await self._record(step, kind)
        if step.step_id not in self._trailing:
            self._done.extend(_done_part(step))
        self.goals.check_after(step)
        self.tell(
            StepFinished(
                step.address,
                step.verb,
                self.world.clock.monotonic() - self._started[step.step_id],
                self._cloud_id(step),
            )
        )
        return True

    def _cloud_id(self, step: Step) -> str:
        attributes = self.folded.scope.board.attributes(step.address)
        is_kept = step.verb not in (Verb.DESTROY, Verb.FORGET)
        value = attributes.get("id") if attributes is not None and is_kept else None
        return value if isinstance(value, str) else step.change.cloud_id

    async def _make(self, step: Step) -> None:
        change = step.change
        await self._release_former(step)
        if step.verb is Verb.CREATE:
            actual = await machines.create(self.shop, step, lambda: self._begin_target(step))
        else:
            async with self.slot():
                self._begin(step)
                goal = self.goals.machine(step)
            record = self._records.get(change.record_key)
            actual = await machines.update(self.shop, step, goal, record, self._machine(change))
        self.goals.publish(step, actual)

    async def _release_former(self, step: Step) -> None:
        """Remove what stood beside a machine that somebody else ended, before its row makes room for another."""
        record = self._records.get(former_row(step.change))
        account = self.shop.account_of(record) if record is not None else None
        if record is None or account is None or not record.ref_id:
            return
        async with self.slot():
            self._begin(step)
            await account.patience.retried(partial(account.client.release, RefId(record.ref_id)))

    def _begin_target(self, step: Step) -> Target:
        """Called by a create once it holds its slot."""
        self._begin(step)
        return self.goals.machine(step)

    def _machine(self, change: Change) -> Instance | None:
        view = self.facts.views.get(change.alias)
        return view.machines.get(change.cloud_id) if view is not None else None

    async def _destroy(self, step: Step, kind: Kind) -> None:
        if not kind.needs_provider:
            self._begin(step)
            await self.committer.commit(
                self.shop.open_step(step), DropRecord(step.change.record_key), self.shop.close_step(step)
            )
            return
        await self._release_former(step)
        declaration = self.config.declaration(step.address)
        timeout = declaration.timeouts.get("delete", DELETE_TIMEOUT) if declaration is not None else DELETE_TIMEOUT
        await machines.destroy(self.shop, step, lambda: self._begin(step), timeout)

    async def _move(self, step: Step, kind: Kind) -> None:
        """Note what else is new about a row that was moved at the start of the run."""
        self._begin(step)
        record = self._records[step.change.record_key]
        _, reads, protected = self.goals.final(step, kind)
        fresh = replace(record, reads=reads, protected=protected)
        await self.committer.commit(self.shop.open_step(step), PutRecord(fresh), self.shop.close_step(step))

    async def _record(self, step: Step, kind: Kind) -> None:
        """Make or change something that lives in the state alone."""
        self._begin(step)
        attributes, reads, protected = self.goals.final(step, kind)
        key = step.change.record_key or state_key(self.facts.workspace, step.address)
        await self.committer.commit(
            self.shop.open_step(step),
            PutRecord(
                Record(
                    key, self.facts.workspace, step.address, Role.CURRENT, kind.name, self.shop.sealed(attributes),
                    reads=reads, protected=protected,
                )
            ),
            self.shop.close_step(step),
        )  # fmt: skip
        self.goals.publish(step, attributes)

    # the end

    async def _follow(self) -> None:
        """Give machines the rules that follow from which others are there now."""
        self.goals.is_over = True
        failed = {event.address for event in self._result.failed} | {event.address for event in self._result.skipped}
        waiting = [change for change in self.folded.plan.effective if change.follows and change.address not in failed]
        if self.stopping or self.committer.lost is not None:
            for change in waiting:
                if change.only_follows:
                    self._skipped(Step(f"{change.address}", Verb.UPDATE, change), "the run was asked to stop")
            return
        steps = [step for step in map(self._following_step, waiting) if step is not None]
        await asyncio.gather(*(self._perform(step, asyncio.Queue()) for step in steps))

    def _following_step(self, change: Change) -> Step | None:
        row = self.shop.rows.get(change.address) or self._records.get(change.record_key)
        step = self.goals.following_step(change, row) if row is not None else None
        if row is None or step is None:
            return None
        self._records[row.key] = row
        if not change.only_follows:
            self._trailing.add(step.step_id)
        return step

    async def _finish_outputs(self) -> None:
        self._result.outputs, stored = final_outputs(self.config, self.folded, self.facts)
        if stored != dict(self.facts.prior_outputs):
            await self.committer.commit(PutOutputs(self.facts.workspace, stored))


def _texts(problem: DiagnosticsError) -> str:
    return "; ".join(f"{item.summary}: {item.detail}" for item in problem.diagnostics)


def _done_part(step: Step) -> Iterable[Change]:
    """Give what a finished step adds to the counts."""
    change = step.change
    if change.is_replace:
        action = Action.DELETE if step.verb is Verb.DESTROY else Action.CREATE
        imports = change.imports if step.verb is not Verb.DESTROY else ""
        return [replace(change, action=action, imports=imports)]
    return [change]
