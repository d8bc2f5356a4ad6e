"""Writing to the state outside of an apply: lock, epoch, and a run of the history in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brevplan.engine.ports import CloseRun, OpenRun, RunRow, Write, rfc3339
from brevplan.operations.locking import locked
from brevplan.operations.planning import Request, explained_state, open_state, state_failure
from brevplan.operations.project import Project
from brevplan.operations.world import Outside, git_commit, host_name, user_name
from brevplan.state.aside import move_aside
from brevplan.state.errors import StateError
from brevplan.state.store import StateStore


def take_over(store: StateStore, project: Project, world: Outside) -> None:
    """Raise the epoch for a run that holds the lock, and note the project's name; raise `DiagnosticsError`."""
    with explained_state():
        meta = store.meta()
        name = project.config.settings.project or meta.project or f"local-{world.ids.attempt()}"
        store.take(name if name != meta.project else "")


def run_row(world: Outside, project: Project, workspace: str, command: str, summary: str, run_id: str = "") -> RunRow:
    """Give the history row of a run that begins now."""
    actor, now = f"{user_name()}@{host_name()}", rfc3339(world.clock.now())
    return RunRow(
        run_id or world.ids.run(), workspace, command, actor, git_commit(project.directory), now, "", "", summary,
        "running",
    )  # fmt: skip


@dataclass(slots=True)
class Writable:
    """The state of a project under its lock. `store` is None while there is no file that can be used."""

    project: Project
    world: Outside
    command: str
    store: StateStore | None = None
    damage: StateError | None = None
    """What is wrong with the file that is there, where it may be put aside."""

    def ready(self) -> StateStore:
        """Give the store, made now where there is none; raise `DiagnosticsError`."""
        if self.store is None:
            self.store = open_state(self.project, self.world, create=True)
            assert self.store is not None
            take_over(self.store, self.project, self.world)
        return self.store

    def put_aside(self) -> Path | None:
        """Move a damaged file out of the way; give where it is now."""
        if self.damage is None:
            return None
        with explained_state():
            return move_aside(self.project.state_path)

    def record(self, workspace: str, summary: str, writes: Sequence[Write]) -> None:
        """Write all of it as one run; raise `DiagnosticsError`."""
        row = run_row(self.world, self.project, workspace, self.command, summary)
        closed = CloseRun(row.run_id, row.started, summary, "done")
        with explained_state():
            self.ready().transact([OpenRun(row), *writes, closed])


@contextmanager
def writable(
    project: Project,
    request: Request,
    world: Outside,
    command: str,
    say: Callable[[str], None],
    *,
    mending: bool = False,
) -> Iterator[Writable]:
    """Hold the lock for the block; raise `DiagnosticsError`. A file is made only when something is written.

    `mending` takes a damaged file for none, and says so in `damage`.
    """
    with locked(project.state_path, command, world, request.lock_timeout, say):
        found = Writable(project, world, command)
        try:
            found.store = _opened(project, world)
        except StateError as problem:
            if not (mending and problem.can_be_rebuilt):
                raise state_failure(problem) from problem
            found.damage = problem
        try:
            yield found
        finally:
            if found.store is not None:
                found.store.close()


def _opened(project: Project, world: Outside) -> StateStore | None:
    """Open the state, and read everything once; raise `StateError`."""
    store = world.open_store(project.state_path, create=False)
    if store is not None:
        try:
            store.check()
            take_over(store, project, world)
        except BaseException:
            store.close()
            raise
    return store
