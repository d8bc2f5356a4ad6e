"""What every command that writes to the state by hand shares: the lock, the epoch, and a row in the history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from brevplan.diagnostics import Diagnostic, DiagnosticsError, Severity, error, suggest
from brevplan.engine.address import Target
from brevplan.engine.ports import CloseRun, Intent, OpenRun, Record, Role, Write, rfc3339
from brevplan.operations.locking import locked
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request, explained_state, open_state, state_failure, workspace_of
from brevplan.operations.project import Project, load_project
from brevplan.operations.recording import run_row
from brevplan.operations.world import Outside
from brevplan.state.errors import StateError
from brevplan.state.store import StateStore

Say = Callable[[str], None]


@dataclass(slots=True)
class Surgery:
    """An open state under the lock, as it was read under it, for one command."""

    project: Project
    request: Request
    world: Outside
    store: StateStore
    command: str
    workspace: str
    records: list[Record]
    """The rows of this workspace but the forgotten ones."""
    intents: list[Intent]
    _run_id: str = field(default="")

    def begin(self, summary: str, writes: Iterable[Write] = ()) -> None:
        """Open the row of the history, before anything is changed anywhere, and write what must be known by then."""
        self.write([self._opened(summary), *writes])

    def finish(self, writes: Iterable[Write], summary: str) -> None:
        """Write everything at once, with the row of the history; raise `DiagnosticsError` when nothing was written."""
        first = [] if self._run_id else [self._opened(summary)]
        now = rfc3339(self.world.clock.now())
        self.write([*first, *writes, CloseRun(self._run_id, now, summary, "done")])

    def _opened(self, summary: str) -> OpenRun:
        row = run_row(self.world, self.project, self.workspace, self.command, summary)
        self._run_id = row.run_id
        return OpenRun(row)

    def write(self, writes: list[Write]) -> None:
        with explained_state():
            self.store.transact(writes)


def load_lenient(directory: Path, request: Request) -> Project:
    """Load the configuration of a folder as far as it goes: in the midst of a refactoring it need not be whole.

    What says where the state is must be. Raises `DiagnosticsError`.
    """
    project = load_project(directory, strict=False, required=False, cache=parse_cache(request.environment))
    if project.diagnostics.has_errors and not _knows_its_state(project):
        raise DiagnosticsError(project.diagnostics.items)
    return project


def _knows_its_state(project: Project) -> bool:
    """Tell whether the brevplan block was read, and nothing in it is wrong."""
    blocks = [block.span for body in project.bodies for block in body.blocks if block.type == "brevplan"]
    wrong = [item.span for item in project.diagnostics if item.severity is Severity.ERROR and item.span is not None]
    return bool(blocks) and not any(
        span.source is block.source and block.start <= span.start < block.end for block in blocks for span in wrong
    )


@contextmanager
def operating(
    directory: Path, command: str, request: Request, world: Outside, say: Say, *, create: bool = False
) -> Iterator[Surgery]:
    """Hold the lock and the state for the block; raise `DiagnosticsError` when it cannot be had, or there is none."""
    project = load_lenient(directory, request)
    store = open_state(project, world, create=create)
    if store is None:
        raise DiagnosticsError([*project.diagnostics.items, _no_state(project)])
    try:
        with locked(store.path, command, world, request.lock_timeout, say):
            # from here on nobody else writes: what is read now is what will be changed
            store.take("")
            workspace = workspace_of(request, store)
            yield Surgery(
                project, request, world, store, command, workspace,
                [record for record in store.records(workspace) if record.role is not Role.FORGOTTEN],
                [intent for intent in store.intents() if intent.workspace == workspace],
            )  # fmt: skip
    except StateError as problem:
        raise state_failure(problem) from problem
    finally:
        store.close()


def _no_state(project: Project) -> Diagnostic:
    return error(
        "No state",
        f"There is no state file: {project.state_path}.",
        hint="The first apply makes it. -chdir=DIR works in another directory.",
    )


def named(records: Iterable[Record], targets: Iterable[Target]) -> list[Record]:
    """Find the rows that blocks, instances and modules name, in order; raise `DiagnosticsError` for names of nothing.

    Where there is a current row, those of machines that it took over from are left where they are.
    """
    rows = sorted(records, key=lambda record: (record.address, record.role.value, record.key))
    found: dict[str, Record] = {}
    wrong = []
    for target in targets:
        mine = [row for row in rows if target.covers(row.address)]
        if not mine:
            wrong.append(not_there(rows, target))
        current = [row for row in mine if row.role is Role.CURRENT]
        found.update((row.key, row) for row in current or mine)
    if wrong:
        raise DiagnosticsError(wrong)
    return [row for row in rows if row.key in found]


def some(texts: Sequence[str]) -> str:
    """Name the first of many, and count the others."""
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"{', '.join(texts[:3])}{more}"


def by_reason(rows: Iterable[Record], reasons: Iterable[str]) -> list[tuple[str, list[Record]]]:
    """Put together what failed for the same reason, in order; what has none is left out."""
    found: dict[str, list[Record]] = {}
    for row, reason in zip(rows, reasons, strict=True):
        if reason:
            found.setdefault(reason, []).append(row)
    return list(found.items())


def not_there(records: Iterable[Record], target: Target) -> Diagnostic:
    known = sorted({str(item) for row in records for item in (row.address, row.address.block)})
    return error(
        "Not in the state",
        f"There is no {target} in the state.",
        hint=suggest(str(target), known) or "brevplan state list shows what there is.",
    )
