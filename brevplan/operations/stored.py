"""Reading what is remembered: `show`, `output`, `state list`, `state show`, `history`; and `force-unlock`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brevplan.diagnostics import DiagnosticsError, error, failure, suggest
from brevplan.engine.address import Address
from brevplan.engine.ports import Record, Role, RunRow
from brevplan.operations.parse_cache import NO_CACHE, ParseCache, parse_cache
from brevplan.operations.planning import Request, explained_state, workspace_of
from brevplan.operations.project import configuration_files, load_project
from brevplan.state import lock
from brevplan.state.store import StateStore


def state_path_of(directory: Path, cache: ParseCache = NO_CACHE) -> Path:
    """Give the state's path of a folder; a configuration with mistakes still has the default one."""
    try:
        if configuration_files(directory):
            return load_project(directory, cache=cache).state_path
    except (DiagnosticsError, OSError):
        pass
    return directory / "brevplan.db"


@contextmanager
def opened(directory: Path, cache: ParseCache = NO_CACHE) -> Iterator[StateStore | None]:
    """Open the state of a folder for reading; None where there is none. Raises `DiagnosticsError`."""
    with explained_state():
        store = StateStore.open(state_path_of(directory, cache), create=False)
    try:
        with explained_state():
            yield store
    finally:
        if store is not None:
            store.close()


@dataclass(frozen=True, slots=True)
class Stored:
    """What the state holds of one workspace."""

    workspace: str
    records: list[Record]
    outputs: dict[str, Any]
    serial: int = 0
    lineage: str = ""


def read(directory: Path, request: Request) -> Stored:
    """Read one workspace; an absent state is an empty one."""
    with opened(directory, parse_cache(request.environment)) as store:
        workspace = workspace_of(request, store)
        if store is None:
            return Stored(workspace, [], {})
        meta = store.meta()
        records = sorted(store.records(workspace), key=lambda record: (record.address, record.role.value, record.key))
        return Stored(workspace, records, store.outputs(workspace), meta.serial, meta.lineage)


def choose(stored: Stored, text: str) -> list[Record]:
    """Find the current records of an address or block; raise `DiagnosticsError` when there are none."""
    try:
        address = Address.parse(text)
    except ValueError as problem:
        raise DiagnosticsError([error("Invalid address", f"{problem}.")]) from None
    current = [record for record in stored.records if record.role is Role.CURRENT]
    found = [record for record in current if record.address == address]
    if not found:
        known = [str(record.address) for record in current]
        raise failure("Not in the state", f"There is no {address} in the state.", hint=suggest(text, known))
    return found


def history(directory: Path, limit: int) -> list[RunRow]:
    with opened(directory) as store:
        return store.runs(limit) if store is not None else []


@dataclass(frozen=True, slots=True)
class Unlocked:
    """`holder` is who was thrown out; None when nobody held the lock."""

    holder: lock.Holder | None


def current_holder(directory: Path) -> lock.Holder | None:
    path = state_path_of(directory)
    with explained_state():
        return _holder(path) if lock.is_held(path) else None


def _holder(path: Path) -> lock.Holder:
    return lock.read_holder(path) or lock.SOMEBODY


def force_unlock(directory: Path, lock_id: str) -> Unlocked:
    """Take the lock away: its holder can write no more. Raises `DiagnosticsError` when the id is another's."""
    path = state_path_of(directory)
    with explained_state():
        if not lock.is_held(path):
            return Unlocked(None)
        holder = _holder(path)
        if lock_id and holder.lock_id not in ("", lock_id):
            raise failure("Another lock", f"The lock is {holder.lock_id}, held by {holder}.")
        with opened(directory) as store:
            if store is not None:
                store.raise_epoch()
        lock.force(path)
        return Unlocked(holder)
