"""One run of a command inside the simulation, which can die, be stopped or be disturbed at any of its points.

A point lies before and after every call and every durable write. Death copies the state as it is on the disk at that
very moment, before anything unwinds; from then on nothing of the run can write, call or wait any more.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brevplan.diagnostics import DiagnosticsError, Source
from brevplan.engine.apply import Apply
from brevplan.engine.bench import EVERYTHING, Options
from brevplan.engine.ports import OpenIntent, PutRecord, Write
from brevplan.operations import planfile
from brevplan.operations.apply import Applied, Hooks, apply
from brevplan.operations.plan import plan
from brevplan.operations.planning import Planned, Request
from brevplan.operations.project import load_sources
from brevplan.operations.world import Outside
from brevplan.state.store import StateStore
from tests.simulation.mutations import Guard

if TYPE_CHECKING:
    from tests.simulation.site import Site

STATE_FILES = ("brevplan.db", "brevplan.db-wal")
SIDE_FILES = ("brevplan.db-shm", "brevplan.db-journal")

PROCESS: ContextVar[Process | None] = ContextVar("simulated_process", default=None)


class Killed(BaseException):
    """The process is dead: no code of it runs on."""


@dataclass
class Accidents:
    """What happens to a run, each at the point of that number."""

    dies_at: int = 0
    power: bool = False
    """Death is a power cut: what was written and not synced is gone as well."""
    stops_at: int = 0
    """The first Ctrl-C."""
    hand_at: int = 0
    hand: Callable[[], None] = lambda: None
    """What somebody else does meanwhile."""
    stalls_at: int = 0
    stall_s: float = 0.0
    """From that point on, the next call takes that much longer."""


@dataclass(eq=False)
class Process:
    site: Site
    name: str
    folder: Path
    text: str
    accidents: Accidents = field(default_factory=Accidents)
    options: Options = EVERYTHING
    command: str = "apply"
    """`apply`, `plan`, `approve` (a plan that is written down) or `carry out` (of one that was)."""
    forces_lock: bool = False
    dead: bool = False
    points: int = 0
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    run: Apply | None = None
    approved: set[str] = field(default_factory=set)
    """Cloud ids whose end was in the plan that was approved."""
    launched: set[str] = field(default_factory=set)
    """The ref_ids of this run's launches."""
    settled: set[str] = field(default_factory=set)
    """Those of them that this run recorded as ready."""
    said: list[str] = field(default_factory=list)
    outcome: str = ""
    applied: Applied | None = None
    planned: Planned | None = None
    saved: Path | None = None

    # Points

    def point(self, what: str) -> None:
        """Pass a point, or do not: raises `Killed`."""
        if self.dead:
            raise Killed
        self.points += 1
        self.site.note(self, f"{self.points}: {what}")
        given = self.accidents
        if self.points == given.hand_at:
            given.hand()
        if self.points == given.stops_at and self.run is not None:
            self.site.note(self, "asked to stop")
            self.run.stop()
        if self.points == given.dies_at:
            self.die()
            raise Killed

    def stall(self) -> float:
        """Give how much longer the call under way takes, once."""
        given = self.accidents
        if not given.stalls_at or self.points < given.stalls_at:
            return 0.0
        given.stalls_at = 0
        return given.stall_s

    def die(self) -> None:
        self.site.note(self, "the power is cut" if self.accidents.power else "killed")
        self.dead = True
        if not self.accidents.power:
            self.save()
        for task in list(self.tasks):
            task.cancel()

    def save(self) -> None:
        """Copy the state as the disk holds it."""
        self.saved = self.folder / "saved"
        self.saved.mkdir(exist_ok=True)
        for name in STATE_FILES:
            there = self.folder / name
            if there.exists():
                shutil.copyfile(there, self.saved / name)
            else:
                (self.saved / name).unlink(missing_ok=True)

    def restore(self) -> None:
        """Put the disk back to what it held when the process died."""
        for name in (*STATE_FILES, *SIDE_FILES):
            (self.folder / name).unlink(missing_ok=True)
        if self.saved is not None:
            for name in STATE_FILES:
                if (self.saved / name).exists():
                    shutil.copyfile(self.saved / name, self.folder / name)

    # The state

    def open_store(self, path: Path, *, create: bool) -> StateStore | None:
        if create:
            self.point("open the state")
        store = _Store.open(path, create=create)
        if store is not None:
            assert isinstance(store, _Store)
            store.attach(self)
        if create:
            self.synced(store)
            self.point("the state is open")
        return store

    def synced(self, store: StateStore | None) -> None:
        """Remember what a power cut leaves: everything up to the last commit that was synced."""
        if self.accidents.power and not self.dead and store is not None and self.site.lacks is not Guard.FSYNC:
            self.save()

    # The run

    async def main(self) -> None:
        token = PROCESS.set(self)
        if self.accidents.power:
            self.save()
        try:
            await self._work()
        except (Killed, asyncio.CancelledError):
            self.outcome = "killed"
            if not self.dead:
                raise
        finally:
            PROCESS.reset(token)

    async def _work(self) -> None:
        outside = Outside(
            self.site.clock, self.site.ids, spec_of=self.site.spec_of, jitter=self.site.jitter,
            open_store=self.open_store,
        )  # fmt: skip
        hooks = Hooks(self._approve, lambda event: None, self.said.append, self._running)
        try:
            if self.forces_lock:
                self.site.take_lock_from_others(self.folder)
            if self.command in ("plan", "approve"):
                await self._plan(outside)
            else:
                await self._apply(outside, hooks)
        except DiagnosticsError as problem:
            self.outcome = "refused: " + "; ".join(f"{item.summary}: {item.detail}" for item in problem.diagnostics)
        self.site.note(self, self.outcome)

    async def _apply(self, outside: Outside, hooks: Hooks) -> None:
        request = Request(self.options, environment={})
        approved = None
        project = load_sources(self.folder, [Source("main.hcl", self.text)])
        if self.command == "carry out":
            approved = planfile.read(self.plan_file)
            request, project = approved.request(request), approved.project(self.folder)
        self.applied = await apply(project, request, outside, hooks, approved=approved)
        self.outcome = _outcome(self.applied)

    async def _plan(self, outside: Outside) -> None:
        project = load_sources(self.folder, [Source("main.hcl", self.text)])
        request = Request(self.options, environment={})
        async with plan(project, request, outside) as found:
            self._look(found)
            if self.command == "approve":
                planfile.write(self.plan_file, planfile.build(found, request, "0", {}, ""))
        self.outcome = "planned"

    @property
    def plan_file(self) -> Path:
        return self.folder / "approved.plan"

    def _approve(self, found: Planned) -> bool:
        self._look(found)
        return True

    def _look(self, found: Planned) -> None:
        self.planned = found
        plan = found.folded.plan
        self.approved = {change.cloud_id for change in plan.effective if change.destroys and change.cloud_id}
        self.site.note(self, "plan: " + (", ".join(_shown(found)) or "nothing"))
        self.site.judge_plan(self, found)

    def _running(self, run: Apply | None) -> None:
        self.run = run


def _shown(found: Planned) -> list[str]:
    plan = found.folded.plan
    lines = [f"{c.address} {c.deposed} {c.action.value} {c.cloud_id} {c.imports and 'adopt'}" for c in plan.effective]
    lines += [f"{c.address} blocked: {c.blocked}" for c in plan.blocked]
    return lines + [f"orphan {orphan.cloud_id} {orphan.ref_id}" for orphan in plan.orphans]


def _outcome(done: Applied) -> str:
    if done.already:
        return f"already applied in {done.already}"
    if done.result is None:
        return "nothing to do" if not done.plan.blocked else "blocked"
    if done.result.complete and not done.plan.blocked:
        return "done"
    parts = [f"{item.address}: {item.error}" for item in done.result.failed]
    parts += [f"{item.address} skipped" for item in done.result.skipped]
    parts += done.result.unexpected + [done.result.lost] * bool(done.result.lost)
    return "partly: " + "; ".join(parts)


class _Store(StateStore):
    """A state file that a process may die at, before and after each durable write."""

    _process: Process

    def attach(self, process: Process) -> None:
        self._process = process
        if process.site.lacks is Guard.FSYNC:
            self._connection.execute("PRAGMA synchronous = OFF")

    def take(self, project: str) -> int:
        self._process.point("take the epoch")
        epoch = super().take(project)
        self._process.synced(self)
        self._process.point("the epoch is taken")
        return epoch

    def transact(self, writes: Sequence[Write]) -> None:
        process = self._process
        what = ", ".join(_named(write) for write in writes)
        process.point(f"write {what}")
        if process.site.lacks is Guard.WRITE_AHEAD:
            writes = [write for write in writes if not isinstance(write, OpenIntent)]
        if process.site.lacks is Guard.EPOCH:
            self.epoch = self.meta().epoch
        super().transact(writes)
        for write in writes:
            if isinstance(write, PutRecord) and write.record.settled:
                process.settled.add(write.record.ref_id)
        process.synced(self)
        process.point(f"wrote {what}")

    def close(self) -> None:
        if self._process.dead:
            self._connection.close()
        else:
            super().close()


def _named(write: Write) -> str:
    match write:
        case OpenIntent(intent):
            return f"OpenIntent {intent.address} {intent.ref_id}"
        case PutRecord(record):
            return f"PutRecord {record.address} {record.cloud_id} {record.role.value}{' settled' * record.settled}"
        case _:
            return f"{type(write).__name__} {getattr(write, 'key', '') or getattr(write, 'ref_id', '')}".strip()


def task_factory(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **fields: Any
) -> asyncio.Task[Any]:
    """Make tasks that die with their process."""
    task = asyncio.Task(coroutine, loop=loop, **fields)
    process = PROCESS.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        if process.dead:
            task.cancel()
    return task
