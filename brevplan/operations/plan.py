"""`brevplan plan`: look, fold, and give the plan. Writes nothing but what a dead run left half-written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from brevplan.engine.ports import IntentState
from brevplan.operations.locking import new_holder
from brevplan.operations.planning import Planned, Request, explained_state, open_state, planned
from brevplan.operations.project import Project
from brevplan.operations.world import Outside
from brevplan.state.errors import StateError
from brevplan.state.lock import Holder, Lock, try_lock
from brevplan.state.store import StateStore


@asynccontextmanager
async def plan(project: Project, request: Request, world: Outside) -> AsyncIterator[Planned]:
    """Make a plan; its accounts stay open for the block. Raises `DiagnosticsError`."""
    store = open_state(project, world, create=False)
    lock: Lock | Holder | None = None
    try:
        if store is not None and _has_open_intents(store):
            # open intents are a dead run's, or those of a run that goes on right now: the lock tells which
            lock = _taken(store, world)
        holder = lock if isinstance(lock, Holder) else None
        writing = isinstance(lock, Lock)
        with explained_state():
            async with planned(project, request, world, store, writing=writing, locked_by=holder) as found:
                yield found
    finally:
        if isinstance(lock, Lock):
            lock.release()
        if store is not None:
            store.close()


def _has_open_intents(store: StateStore) -> bool:
    with explained_state():
        return any(intent.state is IntentState.OPEN for intent in store.intents())


def _taken(store: StateStore, world: Outside) -> Lock | Holder | None:
    """Take the state to bind what a dead run made; None where it cannot be written, and nothing is lost by that."""
    try:
        lock = try_lock(store.path, new_holder("plan", world))
    except StateError:
        return None
    if isinstance(lock, Lock):
        try:
            store.take("")
        except StateError:
            lock.release()
            return None
        except BaseException:
            lock.release()  # whoever goes on in this process must be able to take it
            raise
    return lock
